//! `forecast((SELECT ...), horizon [, level])` and `anomalies((SELECT ...))` in the place of a table.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Extension, LogicalPlan};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, TableAlias, TableFactor, Value,
};
use domain::{Error, Result};

use super::node::{AnalysisNode, Asked};
use super::stored::{function, literal};

/// Times ahead, at most.
const MAX_HORIZON: usize = 1_000;

/// Levels of intervals, and the quantiles between which they lie.
const LEVELS: [(f64, (usize, usize)); 5] =
    [(0.2, (4, 6)), (0.4, (3, 7)), (0.6, (2, 8)), (0.8, (1, 9)), (0.95, (0, 10))];

const FORECAST: &str = "forecast takes a question in parentheses, how many times ahead, and a level if an interval is wanted, like forecast((SELECT sku, date, units FROM marts.daily_demand), 28, 0.8)";
const ANOMALIES: &str = "anomalies takes a question in parentheses, like anomalies((SELECT store, date, units FROM marts.daily_demand WHERE sku = '85123A'))";

/// Whether a table function takes a question.
pub(crate) fn is_over_series(name: &ObjectName) -> bool {
    function(name).is_some_and(|name| ["forecast", "anomalies"].contains(&name.as_str()))
}

/// Plans the functions that take a question.
#[derive(Debug)]
pub(crate) struct FunctionPlanner;

impl RelationPlanner for FunctionPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let TableFactor::Table { name, args: Some(arguments), alias, .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let asked = match function(name).as_deref() {
            Some("forecast") => forecast(&arguments.args),
            Some("anomalies") => anomalies(&arguments.args),
            _ => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        let (question, asked) = asked.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let named = |name: &str| TableAlias {
            explicit: true,
            name: Ident::with_quote('"', name),
            columns: Vec::new(),
            at: None,
        };
        let given = TableFactor::Derived {
            lateral: false,
            subquery: Box::new(question.clone()),
            alias: Some(named("question")),
            sample: None,
        };
        let node = AnalysisNode::new(asked, context.plan(given)?)?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        let alias = alias.clone().or_else(|| Some(named(asked.name())));
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

fn forecast(arguments: &[FunctionArg]) -> Result<(&Query, Asked)> {
    let wrong = || Error::invalid(FORECAST);
    let (question, horizon, level) = match arguments {
        [question, horizon] => (question, horizon, None),
        [question, horizon, level] => (question, horizon, Some(level)),
        _ => return Err(wrong()),
    };
    let question = query(question).ok_or_else(wrong)?;
    let number = |argument: &FunctionArg| match literal(argument) {
        Some(Value::Number(text, _)) => Ok(text.clone()),
        _ => Err(wrong()),
    };
    let horizon = number(horizon)?;
    let horizon =
        horizon.parse().ok().filter(|horizon| (1..=MAX_HORIZON).contains(horizon)).ok_or_else(|| {
            Error::invalid(format!(
                "forecast: {horizon} times ahead: give a whole number from 1 to {MAX_HORIZON}"
            ))
        })?;
    let interval = level.map(|level| {
        let level = number(level)?;
        let found = LEVELS.iter().find(|(of, _)| level.parse() == Ok(*of));
        found.map(|(_, quantiles)| *quantiles).ok_or_else(|| {
            let known = LEVELS.map(|(level, _)| level.to_string()).join(", ");
            Error::invalid(format!("forecast: level {level}: give one of {known}"))
        })
    });
    Ok((question, Asked::Forecast { horizon, interval: interval.transpose()? }))
}

fn anomalies(arguments: &[FunctionArg]) -> Result<(&Query, Asked)> {
    let [question] = arguments else { return Err(Error::invalid(ANOMALIES)) };
    Ok((query(question).ok_or_else(|| Error::invalid(ANOMALIES))?, Asked::Anomalies))
}

/// A question in parentheses.
fn query(argument: &FunctionArg) -> Option<&Query> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(query))) => Some(query),
        _ => None,
    }
}
