//! The information schema: DataFusion's, with what tables and columns are for, and for tenants without the settings.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::catalog::information_schema::InformationSchemaProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ScalarUDF};
use datafusion::prelude::ident;
use domain::ports::Snapshots;
use domain::table::Description;
use domain::views::View;
use domain::{Error, Result};

use crate::marts::function;

/// The table of settings, which tells of the machine: the operator's.
const SETTINGS: &str = "df_settings";

/// See the module.
#[derive(Debug)]
pub(crate) struct Information {
    plain: InformationSchemaProvider,
    snapshots: Arc<dyn Snapshots>,
    shows_settings: bool,
}

impl Information {
    /// The information schema of the tables that `visible` shows.
    pub(crate) fn of(
        visible: Arc<dyn CatalogProviderList>,
        snapshots: Arc<dyn Snapshots>,
        shows_settings: bool,
    ) -> Self {
        Self { plain: InformationSchemaProvider::new(visible), snapshots, shows_settings }
    }

    fn shows(&self, name: &str) -> bool {
        self.shows_settings || !name.eq_ignore_ascii_case(SETTINGS)
    }

    /// A table with one more column, the comment on what the columns `named_by` name in each row.
    fn commented(
        &self,
        plain: Arc<dyn TableProvider>,
        named_by: &[&str],
    ) -> DfResult<Arc<dyn TableProvider>> {
        let mut columns: Vec<Expr> =
            plain.schema().fields().iter().map(|field| ident(field.name())).collect();
        let comment = comments(Arc::clone(&self.snapshots), named_by.len());
        columns.push(comment.call(named_by.iter().map(|name| ident(*name)).collect()).alias("comment"));
        let plan =
            LogicalPlanBuilder::scan("plain", provider_as_source(plain), None)?.project(columns)?.build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

#[async_trait]
impl SchemaProvider for Information {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.plain.table_names();
        names.retain(|name| self.shows(name));
        names
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let Some(plain) = self.plain.table(name).await?.filter(|_| self.shows(name)) else { return Ok(None) };
        Ok(Some(match name.to_ascii_lowercase().as_str() {
            "tables" => self.commented(plain, &["table_schema", "table_name"])?,
            "columns" => self.commented(plain, &["table_schema", "table_name", "column_name"])?,
            _ => plain,
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.shows(name) && self.plain.table_exist(name)
    }
}

/// The comment on a table, by schema and name, or on a column of it, by its name too; null where there is none.
fn comments(snapshots: Arc<dyn Snapshots>, names: usize) -> ScalarUDF {
    let of = move |arguments: &[ArrayRef]| -> Result<ArrayRef> {
        let texts = |array: &ArrayRef| array.as_string_opt::<i32>().cloned();
        let named: Option<Vec<StringArray>> = arguments.iter().map(texts).collect();
        let named = named.ok_or_else(|| Error::internal("names in the information schema are not texts"))?;
        let mut last: Option<(String, Option<Description>)> = None;
        let mut comment = |row: usize| {
            let table = format!("{}.{}", named[0].value(row), named[1].value(row));
            let description = match last.take() {
                Some((known, description)) if known == table => description,
                _ => described(&*snapshots, &table),
            };
            let (_, description) = last.insert((table, description));
            let Some(columns) = named.get(2) else {
                return description.as_ref().map(|it| it.comment.clone());
            };
            let column =
                description.iter().flat_map(|it| &it.columns).find(|it| it.name == columns.value(row));
            column.map(|column| column.comment.to_owned())
        };
        Ok(Arc::new((0..named[0].len()).map(&mut comment).collect::<StringArray>()))
    };
    function("comment", vec![DataType::Utf8; names], DataType::Utf8, of)
}

fn described(snapshots: &dyn Snapshots, table: &str) -> Option<Description> {
    let view = View::ALL.into_iter().find(|view| view.qualified_name() == table);
    view.map_or_else(|| snapshots.description(table), |view| Some(view.description()))
}
