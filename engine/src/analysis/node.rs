//! The node of a plan.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef, DataFusionError, Result as DfResult};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use domain::Error;
use domain::forecast::QUANTILES_PER_MILLE;

use super::Analyst;
use super::columns::SeriesColumns;
use super::exec::AnalysisExec;

/// What is asked of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Asked {
    /// So many times ahead; all quantiles, or an interval between two of them.
    Forecast { horizon: usize, interval: Option<(usize, usize)> },
    /// What was out of the ordinary.
    Anomalies,
}

impl Asked {
    /// What it is in SQL.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Forecast { .. } => "forecast",
            Self::Anomalies => "anomalies",
        }
    }

    /// The columns of an answer behind names and time; `value` is the question's column of values.
    fn columns(self, value: &Field) -> Vec<Field> {
        let figure = |name: &str| Field::new(name, DataType::Float64, true);
        match self {
            Self::Forecast { interval: None, .. } => {
                let quantiles = QUANTILES_PER_MILLE.map(|per_mille| figure(&format!("q{per_mille:03}")));
                [figure("mean")].into_iter().chain(quantiles).collect()
            }
            Self::Forecast { interval: Some(_), .. } => {
                ["mean", "median", "lower", "upper"].map(figure).to_vec()
            }
            Self::Anomalies => {
                let mut columns = vec![figure(value.name())];
                columns.extend(["expected", "lower", "upper", "score", "score_beside_others"].map(figure));
                columns.push(Field::new("is_anomaly", DataType::Boolean, false));
                columns.push(Field::new("kind", DataType::Utf8, true));
                columns
            }
        }
    }
}

/// Series, looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AnalysisNode {
    input: LogicalPlan,
    pub(super) asked: Asked,
    pub(super) columns: SeriesColumns,
    schema: DFSchemaRef,
}

impl AnalysisNode {
    /// Over a question.
    ///
    /// # Errors
    /// [`domain::ErrorKind::Invalid`] for one whose columns are no series.
    pub(super) fn new(asked: Asked, input: LogicalPlan) -> DfResult<Self> {
        let given = input.schema().as_arrow().clone();
        let columns = SeriesColumns::of(asked.name(), &given)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let mut fields = columns.shown(&given);
        fields.extend(asked.columns(given.field(columns.value)));
        check_names(asked, &fields)?;
        let schema = DFSchema::from_unqualified_fields(fields.into(), std::collections::HashMap::new())?;
        Ok(Self { input, asked, columns, schema: Arc::new(schema) })
    }
}

/// Refuses a question with a column that is named as one of the answer is.
fn check_names(asked: Asked, fields: &[Field]) -> DfResult<()> {
    let is_again =
        |(at, field): &(usize, &Field)| fields[..*at].iter().any(|before| before.name() == field.name());
    let Some((_, again)) = fields.iter().enumerate().find(is_again) else { return Ok(()) };
    let (function, name) = (asked.name(), again.name());
    let message =
        format!("{function}: its question has a column `{name}`, and so has the answer: name it otherwise");
    Err(DataFusionError::External(Box::new(Error::invalid(message))))
}

impl PartialOrd for AnalysisNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (&self.asked, &self.columns, &self.input).partial_cmp(&(&other.asked, &other.columns, &other.input))
    }
}

impl UserDefinedLogicalNodeCore for AnalysisNode {
    fn name(&self) -> &'static str {
        "Analysis"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.asked {
            Asked::Forecast { horizon, .. } => write!(f, "Forecast: {horizon} ahead"),
            Asked::Anomalies => f.write_str("Anomalies"),
        }
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => Self::new(self.asked, input),
            _ => Err(DataFusionError::Internal("an analysis has one input".to_owned())),
        }
    }
}

/// Makes physical plans of plans with such nodes.
#[derive(Debug)]
pub(crate) struct AnalysisPlanner(pub(crate) Arc<Analyst>);

#[async_trait]
impl QueryPlanner for AnalysisPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        state: &dyn Session,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let of_nodes: Arc<dyn ExtensionPlanner + Send + Sync> = Arc::new(OfNodes(Arc::clone(&self.0)));
        DefaultPhysicalPlanner::with_extension_planners(vec![of_nodes])
            .create_physical_plan(plan, state)
            .await
    }
}

struct OfNodes(Arc<Analyst>);

#[async_trait]
impl ExtensionPlanner for OfNodes {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(node), [input]) = (node.as_any().downcast_ref::<AnalysisNode>(), inputs) else {
            return Ok(None);
        };
        let schema = Arc::new(node.schema.as_arrow().clone());
        let exec = AnalysisExec::new(
            Arc::clone(&self.0),
            node.asked,
            node.columns.clone(),
            Arc::clone(input),
            schema,
        );
        Ok(Some(Arc::new(exec)))
    }
}
