//! Table functions over series: `forecast((SELECT ...), horizon [, level])` and `anomalies((SELECT ...))` of any question that gives some, and `explain_forecast('sku' [, 'store'])`
//! and `risk_score('sku' [, 'store'])` of what is stored.
//!
//! The question in parentheses is planned like any other, in the caller's scope, and becomes the input of a node of the plan ([`node`]), which is computed when the query runs
//! ([`exec`]). The other two are other ways to write a question, and are rewritten to it before anything else looks at the statement ([`stored`]).

mod columns;
mod exec;
mod node;
mod planner;
mod stored;

use std::sync::Arc;

use domain::analysis::Analysis;
use tokio::sync::Semaphore;

pub(crate) use node::AnalysisPlanner;
pub(crate) use planner::{FunctionPlanner, is_over_series};
pub(crate) use stored::rewrite;

/// Who computes, and how many of them at once: no more than there are threads for queries.
#[derive(Debug)]
pub(crate) struct Analyst {
    models: Arc<dyn Analysis>,
    turns: Arc<Semaphore>,
}

impl Analyst {
    pub(crate) fn new(models: Arc<dyn Analysis>, threads: usize) -> Self {
        Self { models, turns: Arc::new(Semaphore::new(threads)) }
    }
}
