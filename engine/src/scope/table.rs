//! A table as a tenant's plan sees it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::comparisons::cannot_fail;
use super::rows::RowScope;
use super::scan::{ScopedScan, Visible};

/// A table without its hidden columns and rows.
#[derive(Debug)]
pub(crate) struct ScopedTable {
    name: String,
    table: Arc<dyn TableProvider>,
    scope: RowScope,
    /// Indices of the columns that are shown.
    shown: Vec<usize>,
    schema: SchemaRef,
    reader: Arc<SessionState>,
    files_ahead: usize,
}

impl ScopedTable {
    /// `reader` is the session that files are read in; `files_ahead` how many at once.
    pub(crate) fn new(
        name: String,
        table: Arc<dyn TableProvider>,
        scope: RowScope,
        reader: Arc<SessionState>,
        files_ahead: usize,
    ) -> Result<Self> {
        let whole = table.schema();
        scope.check(&whole)?;
        let is_shown = |column: &usize| !scope.hidden().contains(&whole.field(*column).name().as_str());
        let shown: Vec<usize> = (0..whole.fields().len()).filter(is_shown).collect();
        let schema = Arc::new(whole.project(&shown)?);
        Ok(Self { name, table, scope, shown, schema, reader, files_ahead })
    }

    /// Indices in the whole table of what has to be read: first the columns to give, then those to judge by.
    fn columns(&self, projection: Option<&Vec<usize>>, comparisons: &[Expr]) -> Result<Vec<usize>> {
        let whole = self.table.schema();
        let mut columns = match projection {
            Some(projection) => projection.iter().map(|column| self.shown[*column]).collect(),
            None => self.shown.clone(),
        };
        let mut add = |column: usize| {
            if !columns.contains(&column) {
                columns.push(column);
            }
        };
        for name in self.scope.columns() {
            add(whole.index_of(name)?);
        }
        let compared = comparisons.iter().flat_map(Expr::column_refs).map(|column| column.name().to_owned());
        for name in compared.collect::<std::collections::BTreeSet<_>>() {
            add(whole.index_of(&name)?);
        }
        Ok(columns)
    }
}

#[async_trait]
impl TableProvider for ScopedTable {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| {
            if cannot_fail(filter, &self.schema) {
                TableProviderFilterPushDown::Inexact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let comparisons: Vec<Expr> =
            filters.iter().filter(|filter| cannot_fail(filter, &self.schema)).cloned().collect();
        let columns = self.columns(projection, &comparisons)?;
        let by = comparisons.iter().cloned().chain(self.scope.filters()).collect::<Vec<_>>();
        let files = self.table.scan(self.reader.as_ref(), Some(&columns), &by, None).await?;
        let shown: Vec<_> = comparisons.iter().map(ToString::to_string).collect();
        let read = DFSchema::try_from(files.schema())?;
        let compared = conjunction(comparisons).map(|all| self.reader.create_physical_expr(all, &read));
        let given = projection.map_or(self.shown.len(), Vec::len);
        let scan = ScopedScan::new(Visible {
            table: self.name.clone(),
            files,
            scope: self.scope.clone(),
            comparisons: compared.transpose()?,
            shown: shown.join(", "),
            columns: (0..given).collect(),
            files_ahead: self.files_ahead,
        })?;
        Ok(Arc::new(scan))
    }
}
