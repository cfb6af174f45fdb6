//! The leaf of a tenant's plan: reads a table, gives the visible rows.
//!
//! To the planner it is a leaf without children, statistics, order or metrics, with one partition; it takes no filter and no limit that arrives
//! after it was made. Inside, files are read some ahead of each other and given in the order of the plan below, which is that of their names.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::{and, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use domain::{Error, ErrorKind};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use super::chunks::Chunks;
use super::rows::RowScope;

/// Batches that a file which is read ahead may hold.
const BATCHES_AHEAD: usize = 4;

/// How the rows of a table become the visible ones.
#[derive(Debug)]
pub(crate) struct Visible {
    /// The table, as it was written in the query's plan.
    pub(crate) table: String,
    /// The plan that reads the files, a partition each.
    pub(crate) files: Arc<dyn ExecutionPlan>,
    pub(crate) scope: RowScope,
    /// Comparisons of the query, over the columns of `files`.
    pub(crate) comparisons: Option<Arc<dyn PhysicalExpr>>,
    /// The same for people.
    pub(crate) shown: String,
    /// The columns of `files` that are given, in order.
    pub(crate) columns: Vec<usize>,
    /// Files read at once.
    pub(crate) files_ahead: usize,
}

impl Visible {
    /// The visible rows of a batch.
    fn of(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mask = self.scope.mask(batch)?;
        let given = batch.project(&self.columns)?;
        let mask = match (&self.comparisons, mask) {
            (None, None) => return Ok(given),
            (None, Some(mask)) => mask,
            (Some(comparisons), mask) => {
                let compared = comparisons.evaluate(batch)?.into_array(batch.num_rows())?;
                let compared: &BooleanArray = compared.as_boolean();
                // What is neither true nor false is not kept.
                let compared = match compared.null_count() {
                    0 => compared.clone(),
                    _ => prep_null_mask_filter(compared),
                };
                match mask {
                    Some(mask) => and(&mask, &compared)?,
                    None => compared,
                }
            }
        };
        Ok(filter_record_batch(&given, &mask)?)
    }

    /// What is told when a file cannot be read: neither its name nor what is in it.
    fn unreadable(&self, error: &DataFusionError) -> DataFusionError {
        tracing::error!(table = self.table, %error, "a file of a table cannot be read");
        let message = format!("{} cannot be read at the moment: try again later", self.table);
        DataFusionError::External(Box::new(Error::new(ErrorKind::Unavailable, message)))
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ScopedScan {
    visible: Arc<Visible>,
    properties: Arc<PlanProperties>,
}

impl ScopedScan {
    pub(crate) fn new(visible: Visible) -> Result<Self> {
        let schema = Arc::new(visible.files.schema().project(&visible.columns)?);
        Chunks::check(&schema)?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        // Its rows come through a channel, which counts the work of the task that reads it.
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(Self { visible: Arc::new(visible), properties: Arc::new(properties) })
    }
}

impl DisplayAs for ScopedScan {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.schema();
        let columns: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let (table, columns, shown) = (&self.visible.table, columns.join(", "), &self.visible.shown);
        match kind {
            DisplayFormatType::TreeRender => {
                write!(f, "table={table}\ncolumns={columns}\ncomparisons={shown}")
            }
            _ => write!(f, "ScopedScan: table={table}, columns=[{columns}], comparisons=[{shown}]"),
        }
    }
}

impl ExecutionPlan for ScopedScan {
    fn name(&self) -> &str {
        "ScopedScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(DataFusionError::Internal(format!("a scoped scan has no partition {partition}")));
        }
        let schema = self.schema();
        let reading = Reading {
            visible: Arc::clone(&self.visible),
            chunks: Chunks::new(SchemaRef::clone(&schema), context.session_config().batch_size()),
            context,
            next_file: 0,
            ahead: VecDeque::new(),
        };
        let rows = futures::stream::try_unfold(reading, async |mut reading| {
            Ok::<_, DataFusionError>(reading.next().await?.map(|batch| (batch, reading)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// A file that is being read.
struct File {
    batches: mpsc::Receiver<Result<RecordBatch>>,
    task: SpawnedTask<()>,
}

/// A scan under way.
struct Reading {
    visible: Arc<Visible>,
    chunks: Chunks,
    context: Arc<TaskContext>,
    next_file: usize,
    /// The files being read, in order.
    ahead: VecDeque<File>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(full) = self.chunks.full()? {
                return Ok(Some(full));
            }
            self.read_ahead();
            let Some(file) = self.ahead.front_mut() else { return self.chunks.rest() };
            match file.batches.recv().await {
                Some(batch) => self.chunks.push(batch?),
                None => {
                    if let Some(file) = self.ahead.pop_front()
                        && let Err(error) = file.task.join().await
                    {
                        return Err(DataFusionError::ExecutionJoin(Box::new(error)));
                    }
                }
            }
        }
    }

    fn read_ahead(&mut self) {
        let files = self.visible.files.output_partitioning().partition_count();
        while self.ahead.len() < self.visible.files_ahead.max(1) && self.next_file < files {
            let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
            let (visible, context) = (Arc::clone(&self.visible), Arc::clone(&self.context));
            let task = SpawnedTask::spawn(read(visible, self.next_file, context, sender));
            self.ahead.push_back(File { batches, task });
            self.next_file += 1;
        }
    }
}

async fn read(
    visible: Arc<Visible>,
    file: usize,
    context: Arc<TaskContext>,
    sender: mpsc::Sender<Result<RecordBatch>>,
) {
    let rows = async {
        let mut batches = visible.files.execute(file, context)?.map_ok(|batch| visible.of(&batch));
        while let Some(batch) = batches.next().await {
            let batch = batch??;
            if batch.num_rows() > 0 && sender.send(Ok(batch)).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    if let Err(error) = rows.await {
        // Whoever reads may be gone; then nobody needs to know.
        let _ = sender.send(Err(visible.unreadable(&error))).await;
    }
}
