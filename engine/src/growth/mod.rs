//! Bounds for what grows inside an expression. The memory pools know of operators, not of functions: `repeat(sku, 1000000000)` would take the process
//! down before any of them is asked. So functions whose result can be larger than what they are given say beforehand how large it can become, and
//! fail above a bound; a query may call so many of them, and scalars, which are repeated for each row of a batch, are bounded as if they were.
//!
//! It is a bound and no account: a query that does its worst takes some gigabytes for the time of a batch.

mod bounded;
mod literals;
mod size;

pub(crate) use literals::check_table_functions;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;
use domain::{Error, ErrorKind};

use bounded::{Bounded, Concatenation};
use size::Growth;

/// Calls of growing functions in a query at most.
const MAX_CALLS: usize = 128;

/// Puts every growing function of a plan behind its bound. It runs once types are known, so that what the parser makes of operators and literals is
/// seen as well.
#[derive(Debug)]
pub(crate) struct BoundGrowth;

impl AnalyzerRule for BoundGrowth {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> DfResult<LogicalPlan> {
        let mut calls = 0;
        let plan = plan.transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            node.map_expressions(|expression| {
                let name = names.save(&expression);
                let bounded = expression.transform_up(|part| bounded(part, &mut calls))?;
                Ok(bounded.update_data(|expression| name.restore(expression)))
            })
        })?;
        if calls > MAX_CALLS {
            return Err(limit(format!(
                "the query calls {calls} functions that make texts or lists longer, {MAX_CALLS} are the most: split it"
            )));
        }
        Ok(plan.data)
    }

    fn name(&self) -> &'static str {
        "bound_growth"
    }
}

fn bounded(part: Expr, calls: &mut usize) -> DfResult<Transformed<Expr>> {
    let (function, args) = match part {
        Expr::ScalarFunction(ScalarFunction { func, args }) => match Growth::of(func.name()) {
            Some(growth) => (ScalarUDF::from(Bounded::new(func, growth)), args),
            None => return Ok(Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }))),
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
            (ScalarUDF::from(Concatenation::default()), vec![*left, *right])
        }
        other => return Ok(Transformed::no(other)),
    };
    *calls += 1;
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func: Arc::new(function), args })))
}

/// An error in words that name no figures of the rows.
fn limit(message: String) -> DataFusionError {
    DataFusionError::External(Box::new(Error::new(ErrorKind::LimitExceeded, message)))
}
