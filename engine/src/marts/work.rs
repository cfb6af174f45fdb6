//! Questions that the marts ask of the lake: as the operator, at versions that are named, with functions of their own.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, Date32Type};
use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use domain::marts::Day;
use domain::{Error, Principal, Result};

use crate::Shared;
use crate::error::query_error;
use crate::session::CATALOG;

/// Asks the lake's catalogue itself, in which `"sales@12"` is a version and `raw."sales@5..12"` what changed.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    engine: Arc<Shared>,
    functions: Vec<Arc<ScalarUDF>>,
}

impl Work {
    pub(crate) fn new(engine: Arc<Shared>) -> Self {
        Self { engine, functions: Vec::new() }
    }

    /// With these functions too.
    pub(super) fn with(&self, functions: impl IntoIterator<Item = ScalarUDF>) -> Self {
        let mut work = self.clone();
        work.functions.extend(functions.into_iter().map(Arc::new));
        work
    }

    /// All rows of an answer.
    pub(super) async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let (work, sql) = (self.clone(), sql.to_owned());
        let running = self.engine.runtime.spawn(async move {
            let context = work.context();
            let answer = async { Box::pin(context.sql(&sql)).await?.collect().await }.await;
            answer.map_err(|error| query_error(&Principal::Operator, error))
        });
        running.result().await?
    }

    fn context(&self) -> SessionContext {
        let catalogs = MemoryCatalogProviderList::new();
        datafusion::catalog::CatalogProviderList::register_catalog(
            &catalogs,
            CATALOG.to_owned(),
            Arc::clone(&self.engine.catalog),
        );
        let config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, "curated")
            .with_create_default_catalog_and_schema(false)
            .with_target_partitions(self.engine.settings.threads.get());
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(self.engine.environment())
            .with_default_features()
            .with_catalog_list(Arc::new(catalogs))
            .build();
        let context = SessionContext::new_with_state(state);
        self.functions.iter().for_each(|function| context.register_udf(function.as_ref().clone()));
        context
    }
}

/// The columns of an answer, by name.
pub(super) struct Columns<'a>(pub(super) &'a RecordBatch);

impl<'a> Columns<'a> {
    pub(super) fn text(&self, name: &str) -> Result<&'a StringArray> {
        self.find(name, |column| column.as_string_opt::<i32>())
    }

    pub(super) fn primitive<T: ArrowPrimitiveType>(&self, name: &str) -> Result<&'a PrimitiveArray<T>> {
        self.find(name, |column| column.as_primitive_opt::<T>())
    }

    pub(super) fn flag(&self, name: &str) -> Result<&'a BooleanArray> {
        self.find(name, |column| column.as_boolean_opt())
    }

    pub(super) fn days(&self, name: &str) -> Result<&'a PrimitiveArray<Date32Type>> {
        self.primitive::<Date32Type>(name)
    }

    fn find<T>(&self, name: &str, of: impl Fn(&'a dyn Array) -> Option<&'a T>) -> Result<&'a T> {
        let found = self.0.column_by_name(name).and_then(|column| of(column.as_ref()));
        found.ok_or_else(|| Error::internal(format!("the marts' question has no usable answer {name}")))
    }
}

/// The value of a row, or none where it is null.
pub(super) fn text_at(column: &StringArray, row: usize) -> Option<String> {
    column.is_valid(row).then(|| column.value(row).to_owned())
}

/// The day of a row, or none where it is null.
pub(super) fn day_at(column: &PrimitiveArray<Date32Type>, row: usize) -> Option<Day> {
    column.is_valid(row).then(|| column.value(row))
}

/// A text as SQL has it.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
