//! What runs: series are gathered, looked at off the threads of queries, and answered in the order of their names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, Partitioning, PlanProperties,
};
use domain::analysis::{GivenSeries, Judged, Outlook};
use domain::{Error, ErrorKind};
use futures::TryStreamExt;

use super::Analyst;
use super::columns::{SeriesColumns, times};
use super::node::Asked;

/// Series of a question, at most.
const MAX_SERIES: usize = 5_000;

/// Rows of a question, at most.
const MAX_ROWS: usize = 2_000_000;

/// Rows of an answer to what comes next, at most: as many figures are held until it is given.
const MAX_ROWS_AHEAD: usize = 500_000;

/// Rows of a batch of an answer.
const BATCH_ROWS: usize = 8_192;

/// The median among the quantiles.
const MEDIAN: usize = 5;

#[derive(Debug)]
pub(super) struct AnalysisExec {
    analyst: Arc<Analyst>,
    asked: Asked,
    columns: SeriesColumns,
    input: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

/// Series by what names them, and their points.
type Gathered = BTreeMap<Vec<Option<String>>, Vec<(i64, f64)>>;

impl AnalysisExec {
    pub(super) fn new(
        analyst: Arc<Analyst>,
        asked: Asked,
        columns: SeriesColumns,
        input: Arc<dyn ExecutionPlan>,
        schema: SchemaRef,
    ) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Self { analyst, asked, columns, input, schema, properties }
    }
}

impl DisplayAs for AnalysisExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnalysisExec: {}", self.asked.name())
    }
}

impl ExecutionPlan for AnalysisExec {
    fn name(&self) -> &'static str {
        "AnalysisExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let (Some(input), true) = (children.pop(), children.is_empty()) else {
            return Err(DataFusionError::Internal("an analysis has one input".to_owned()));
        };
        let (analyst, columns, schema) =
            (Arc::clone(&self.analyst), self.columns.clone(), Arc::clone(&self.schema));
        Ok(Arc::new(Self::new(analyst, self.asked, columns, input, schema)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(DataFusionError::Internal(format!("an analysis has no partition {partition}")));
        }
        let input = self.input.execute(0, Arc::clone(&context))?;
        let (analyst, asked) = (Arc::clone(&self.analyst), self.asked);
        let (columns, schema) = (self.columns.clone(), Arc::clone(&self.schema));
        let answered = async move {
            let memory = MemoryConsumer::new("analysis").register(context.memory_pool());
            let mut gathered = Gathered::new();
            let mut rows = 0;
            let mut batches = input;
            while let Some(batch) = batches.try_next().await? {
                rows += batch.num_rows();
                // Once as it is gathered, once as models hold it.
                memory.try_grow(2 * batch.get_array_memory_size())?;
                gather(asked, &columns, &batch, &mut gathered)?;
                bound(asked, rows, gathered.len())?;
            }
            bound_ahead(asked, gathered.len())?;
            let answered = compute(analyst, asked, gathered, Arc::clone(&schema)).await;
            drop(memory);
            answered
        };
        let batches = futures::stream::once(answered)
            .map_ok(|answer| {
                let rows = answer.num_rows();
                let parts = (0..rows).step_by(BATCH_ROWS);
                futures::stream::iter(
                    parts.map(move |from| Ok(answer.slice(from, BATCH_ROWS.min(rows - from)))),
                )
            })
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }
}

fn ours(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn gather(
    asked: Asked,
    columns: &SeriesColumns,
    batch: &RecordBatch,
    gathered: &mut Gathered,
) -> DfResult<()> {
    let rows = columns.rows(batch)?;
    for row in 0..batch.num_rows() {
        let point = rows.point(row).ok_or_else(|| {
            let message = format!("{}: a row of its question has no time: leave such rows out", asked.name());
            ours(Error::invalid(message))
        })?;
        gathered.entry(rows.name(row)).or_default().push(point);
    }
    Ok(())
}

fn bound(asked: Asked, rows: usize, series: usize) -> DfResult<()> {
    let over = match (series > MAX_SERIES, rows > MAX_ROWS) {
        (true, _) => format!("more than {MAX_SERIES} series"),
        (_, true) => format!("more than {MAX_ROWS} rows"),
        _ => return Ok(()),
    };
    let message = format!("{}: its question gives {over}: narrow it, or sum by week or month", asked.name());
    Err(ours(Error::new(ErrorKind::LimitExceeded, message)))
}

fn bound_ahead(asked: Asked, series: usize) -> DfResult<()> {
    let Asked::Forecast { horizon, .. } = asked else { return Ok(()) };
    let rows = series * horizon;
    if rows <= MAX_ROWS_AHEAD {
        return Ok(());
    }
    let message = format!(
        "forecast: {series} series times {horizon} ahead are {rows} rows, {MAX_ROWS_AHEAD} are the most: give fewer"
    );
    Err(ours(Error::new(ErrorKind::LimitExceeded, message)))
}

/// Models go on while this is there.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

async fn compute(
    analyst: Arc<Analyst>,
    asked: Asked,
    gathered: Gathered,
    schema: SchemaRef,
) -> DfResult<RecordBatch> {
    let turn = Arc::clone(&analyst.turns).acquire_owned().await;
    let turn = turn.map_err(|error| ours(Error::internal(format!("turns of analyses: {error}"))))?;
    let is_waited_for = Arc::new(AtomicBool::new(true));
    let _waiting = Waiting(Arc::clone(&is_waited_for));
    let work = move || {
        let _turn = turn;
        let goes_on = || is_waited_for.load(Ordering::Relaxed);
        answer(&analyst, asked, gathered, schema, &goes_on)
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "an analysis broke off");
        ours(crate::runtime::broke_off())
    })?
}

fn answer(
    analyst: &Analyst,
    asked: Asked,
    gathered: Gathered,
    schema: SchemaRef,
    goes_on: &(dyn Fn() -> bool + Sync),
) -> DfResult<RecordBatch> {
    let (mut names, mut series) = (Vec::with_capacity(gathered.len()), Vec::with_capacity(gathered.len()));
    for (name, points) in gathered {
        series.push(one(asked, &name, points).map_err(ours)?);
        names.push(name);
    }
    let (rows, figures): (Vec<(usize, i64)>, Vec<ArrayRef>) = match asked {
        Asked::Forecast { horizon, interval } => {
            let made = analyst.models.outlooks(&series, horizon, goes_on).map_err(ours)?;
            let times = |(of, made): (usize, &Outlook)| {
                made.times.iter().map(move |at| (of, *at)).collect::<Vec<_>>()
            };
            (made.iter().enumerate().flat_map(times).collect(), outlooks(&made, interval))
        }
        Asked::Anomalies => {
            let judged = analyst.models.anomalies(&series, goes_on).map_err(ours)?;
            let times = |(of, series): (usize, &GivenSeries)| {
                series.times.iter().map(move |at| (of, *at)).collect::<Vec<_>>()
            };
            (series.iter().enumerate().flat_map(times).collect(), anomalies(&series, &judged))
        }
    };
    let named = names.first().map_or(0, Vec::len);
    let text = |column: usize| -> ArrayRef {
        Arc::new(rows.iter().map(|(of, _)| names[*of][column].as_deref()).collect::<StringArray>())
    };
    let mut columns: Vec<ArrayRef> = (0..named).map(text).collect();
    if names.is_empty() {
        return Ok(RecordBatch::new_empty(schema));
    }
    columns.push(times(rows.iter().map(|(_, at)| *at).collect(), schema.field(named).data_type())?);
    columns.extend(figures);
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// A series in order of its times, each once.
fn one(asked: Asked, name: &[Option<String>], mut points: Vec<(i64, f64)>) -> domain::Result<GivenSeries> {
    points.sort_by_key(|(at, _)| *at);
    let name = name.iter().map(|part| part.as_deref().unwrap_or("null")).collect::<Vec<_>>().join("/");
    if points.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        let of = if name.is_empty() { "its series".to_owned() } else { format!("series `{name}`") };
        return Err(Error::invalid(format!(
            "{}: {of} has a time twice: sum its values by time, or select the texts that tell its series apart",
            asked.name()
        )));
    }
    let (times, values) = points.into_iter().unzip();
    Ok(GivenSeries { name, times, values })
}

/// What is no number is null.
fn known(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

fn outlooks(made: &[Outlook], interval: Option<(usize, usize)>) -> Vec<ArrayRef> {
    let column = |of: &dyn Fn(&Outlook) -> Vec<f64>| -> ArrayRef {
        Arc::new(made.iter().flat_map(of).map(known).collect::<Float64Array>())
    };
    let quantile = |at: usize| column(&|made| made.quantiles[at].clone());
    let mean = column(&|made| made.mean.clone());
    match interval {
        None => [mean].into_iter().chain((0..11).map(quantile)).collect(),
        Some((low, high)) => vec![mean, quantile(MEDIAN), quantile(low), quantile(high)],
    }
}

fn anomalies(series: &[GivenSeries], judged: &[Vec<Judged>]) -> Vec<ArrayRef> {
    let figure = |of: fn(&Judged) -> Option<f64>| -> ArrayRef {
        Arc::new(judged.iter().flatten().map(of).collect::<Float64Array>())
    };
    vec![
        Arc::new(
            series.iter().flat_map(|series| &series.values).copied().map(known).collect::<Float64Array>(),
        ),
        figure(|of| of.expected),
        figure(|of| of.bounds.map(|of| of.0)),
        figure(|of| of.bounds.map(|of| of.1)),
        figure(|of| of.score),
        figure(|of| of.score_beside_others),
        Arc::new(judged.iter().flatten().map(|of| Some(of.kind.is_some())).collect::<BooleanArray>()),
        Arc::new(judged.iter().flatten().map(|of| of.kind.map(|kind| kind.name())).collect::<StringArray>()),
    ]
}
