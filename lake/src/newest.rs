//! A feed of states as queries see it: of each natural key the newest record. All records stay in the table, which operators see as `raw.{feed}`.
//!
//! The newest is the one that was issued last (`issued_at`, else Kafka's timestamp); of those, the one that Kafka got last, then that of the greatest
//! coordinates. The table is read whole, but for files that hold no wanted key, and sorted, on disk where memory does not suffice.

use std::fmt;
use std::sync::Arc;

use arrow::compute::{SortOptions, filter_record_batch};
use arrow::row::{OwnedRow, RowConverter, SortField};
use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, Partitioning, PhysicalExpr,
    PhysicalSortExpr,
};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use datafusion::prelude::{ident, when};
use futures::{StreamExt, TryStreamExt};

use crate::provider::DeltaProvider;

/// When Kafka got a record, and where it stands.
const ARRIVAL: [&str; 4] = ["_timestamp", "_log", "_offset", "_partition"];

/// When a record was issued, in feeds that can say so.
const ISSUED_AT: &str = "issued_at";

/// Files that are read at once.
const READERS: usize = 4;

/// One version of a feed's table, the newest record of each natural key.
#[derive(Debug)]
pub(crate) struct NewestTable {
    records: DeltaProvider,
    key: &'static [&'static str],
}

impl NewestTable {
    pub(crate) fn new(records: DeltaProvider, key: &'static [&'static str]) -> Self {
        Self { records, key }
    }

    /// Whether a filter may be applied before the newest is chosen: only the key decides which records are compared.
    fn is_of_key(&self, filter: &Expr) -> bool {
        filter.column_refs().iter().all(|column| self.key.contains(&column.name()))
    }

    /// Indices of what has to be read: first the columns to give, then those that choose.
    fn columns(&self, projection: Option<&Vec<usize>>) -> DfResult<(Vec<usize>, usize)> {
        let schema = self.schema();
        let mut columns = projection.cloned().unwrap_or_else(|| (0..schema.fields().len()).collect());
        let given = columns.len();
        for name in self.key.iter().chain(&ARRIVAL).chain([&ISSUED_AT]) {
            match schema.index_of(name) {
                Ok(column) if !columns.contains(&column) => columns.push(column),
                Err(error) if *name != ISSUED_AT => return Err(error.into()),
                _ => {}
            }
        }
        Ok((columns, given))
    }

    /// Keys together, the newest record of each first.
    fn order(&self, state: &dyn Session, schema: &SchemaRef) -> DfResult<LexOrdering> {
        let names = DFSchema::try_from(Arc::clone(schema))?;
        let by = |expression: Expr, descending: bool| {
            let expression = state.create_physical_expr(expression, &names)?;
            Ok(PhysicalSortExpr::new(expression, SortOptions { descending, nulls_first: false }))
        };
        let key = self.key.iter().map(|name| by(ident(*name), false));
        let issued = match schema.index_of(ISSUED_AT) {
            Ok(_) => when(ident(ISSUED_AT).is_not_null(), ident(ISSUED_AT)).otherwise(ident(ARRIVAL[0]))?,
            Err(_) => ident(ARRIVAL[0]),
        };
        let newest = std::iter::once(issued).chain(ARRIVAL.map(ident)).map(|column| by(column, true));
        let order = key.chain(newest).collect::<DfResult<Vec<_>>>()?;
        LexOrdering::new(order).ok_or_else(|| DataFusionError::Internal("a feed has a key".to_owned()))
    }
}

#[async_trait]
impl TableProvider for NewestTable {
    fn schema(&self) -> SchemaRef {
        self.records.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.is_of_key(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let (columns, given) = self.columns(projection)?;
        let of_key: Vec<Expr> = filters.iter().filter(|filter| self.is_of_key(filter)).cloned().collect();
        let records = self.records.scan_in(state, Some(&columns), &of_key, None, READERS)?;
        let schema = records.schema();
        let order = self.order(state, &schema)?;
        let records = Arc::new(CoalescePartitionsExec::new(records));
        let sorted = Arc::new(SortExec::new(order.clone(), records));
        let key = self.key.iter().map(|name| schema.index_of(name)).collect::<Result<_, _>>()?;
        Ok(Arc::new(NewestExec::new(sorted, Newest { order, key, given })?))
    }
}

/// How the newest record of each key is found in sorted input.
#[derive(Debug, Clone)]
struct Newest {
    /// The order of the input.
    order: LexOrdering,
    /// The columns of the key.
    key: Vec<usize>,
    /// How many of the input's first columns are given.
    given: usize,
}

/// Gives the first row of each run of rows with the same key.
#[derive(Debug)]
struct NewestExec {
    input: Arc<dyn ExecutionPlan>,
    newest: Newest,
    properties: Arc<PlanProperties>,
}

impl NewestExec {
    fn new(input: Arc<dyn ExecutionPlan>, newest: Newest) -> DfResult<Self> {
        let given: Vec<usize> = (0..newest.given).collect();
        let schema = Arc::new(input.schema().project(&given)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Ok(Self { input, newest, properties: Arc::new(properties) })
    }
}

impl DisplayAs for NewestExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewestExec")
    }
}

impl ExecutionPlan for NewestExec {
    fn name(&self) -> &str {
        "NewestExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![Some(OrderingRequirements::from(self.newest.order.clone()))]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        let mut recursion = TreeNodeRecursion::Continue;
        for by in &self.newest.order {
            recursion = recursion.visit_sibling(|| visit(&by.expr))?;
        }
        Ok(recursion)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::new(input, self.newest.clone())?)),
            _ => Err(DataFusionError::Internal("the newest records are of one input".to_owned())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let sorted = self.input.execute(partition, context)?;
        let mut runs = Runs::new(&self.input.schema(), self.newest.clone())?;
        let rows = sorted.map(move |batch| runs.firsts(&batch?)).try_filter(|batch| {
            let has_rows = batch.num_rows() > 0;
            async move { has_rows }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

/// Where one key ends and the next begins, across batches.
struct Runs {
    converter: RowConverter,
    newest: Newest,
    last: Option<OwnedRow>,
}

impl Runs {
    fn new(schema: &SchemaRef, newest: Newest) -> DfResult<Self> {
        let fields =
            newest.key.iter().map(|column| SortField::new(schema.field(*column).data_type().clone()));
        Ok(Self { converter: RowConverter::new(fields.collect())?, newest, last: None })
    }

    /// The rows of a batch with which a key begins.
    fn firsts(&mut self, batch: &RecordBatch) -> DfResult<RecordBatch> {
        let key: Vec<_> = self.newest.key.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        let rows = self.converter.convert_columns(&key)?;
        let is_first = |at: usize| match at.checked_sub(1) {
            Some(before) => rows.row(at) != rows.row(before),
            None => self.last.as_ref().is_none_or(|last| last.row() != rows.row(at)),
        };
        let firsts: BooleanArray = (0..batch.num_rows()).map(|at| Some(is_first(at))).collect();
        if let Some(end) = batch.num_rows().checked_sub(1) {
            self.last = Some(rows.row(end).owned());
        }
        let given: Vec<usize> = (0..self.newest.given).collect();
        Ok(filter_record_batch(&batch.project(&given)?, &firsts)?)
    }
}
