//! A feed whose duplicates are told as queries see it: each record once, however often it was sent. All rows stay in the table, which operators see as
//! `raw.{feed}`.
//!
//! Files without duplicates, by their statistics, are read as they are; rows are looked at in the others alone.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::union::UnionExec;
use datafusion::prelude::{ident, not};
use domain::duplicates::{DUPLICATE, HASHES};

use crate::provider::DeltaProvider;

/// One version of a feed's table, without the rows that are duplicates.
#[derive(Debug)]
pub(crate) struct CountedTable {
    /// The files without duplicates.
    plain: DeltaProvider,
    /// Those that may hold some.
    mixed: DeltaProvider,
    /// Indices of the columns that are shown: all but the hashes.
    shown: Vec<usize>,
    schema: SchemaRef,
}

impl CountedTable {
    pub(crate) fn new(records: DeltaProvider) -> DfResult<Self> {
        let whole = records.schema();
        let is_shown = |column: &usize| !HASHES.contains(&whole.field(*column).name().as_str());
        let shown: Vec<usize> = (0..whole.fields().len()).filter(is_shown).collect();
        let schema = Arc::new(whole.project(&shown)?);
        let (mixed, plain) = records.partitioned(|file| file.may_be_true(DUPLICATE));
        Ok(Self { plain, mixed, shown, schema })
    }

    /// What is counted in the files that may hold duplicates.
    fn counted(
        &self,
        state: &dyn Session,
        columns: &[usize],
        filters: &[Expr],
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let mark = self.mixed.schema().index_of(DUPLICATE)?;
        let mut read = columns.to_vec();
        if !read.contains(&mark) {
            read.push(mark);
        }
        let records =
            self.mixed.scan_in(state, Some(&read), filters, None, state.config().target_partitions())?;
        let names = DFSchema::try_from(records.schema())?;
        let predicate = state.create_physical_expr(not(ident(DUPLICATE)), &names)?;
        let given = (0..columns.len()).collect();
        let counted = FilterExecBuilder::new(predicate, records).apply_projection(Some(given))?.build()?;
        Ok(Arc::new(counted))
    }
}

#[async_trait]
impl TableProvider for CountedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let columns: Vec<usize> = match projection {
            Some(projection) => projection.iter().map(|column| self.shown[*column]).collect(),
            None => self.shown.clone(),
        };
        let plain = self.plain.scan(state, Some(&columns), filters, limit).await?;
        if self.mixed.is_empty() {
            return Ok(plain);
        }
        let counted = self.counted(state, &columns, filters)?;
        if self.plain.is_empty() {
            return Ok(counted);
        }
        UnionExec::try_new(vec![plain, counted])
    }
}
