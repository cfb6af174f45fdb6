//! What is known of the future, and what never changes.

use super::{Question, Row, View};
use crate::panel::{LongSeries, LongTable, Role};

/// How far around a period a plan is looked at.
const REACH: usize = 14;

/// Of each covariate that may be told, its value; of those that the view looks around, what stands near the target, as far as the plan is known.
pub(super) fn tell(row: &mut Row, table: &LongTable, view: &View, question: &Question) {
    let series = &table.series[question.series];
    for (at, covariate) in table.covariates.iter().enumerate() {
        let is_told = match covariate.role {
            Role::Static => true,
            Role::Known | Role::Forecast => view.known,
            Role::Oracle => view.oracle,
        };
        if is_told {
            let is_there = covariate.role != Role::Forecast || question.foresees;
            let value = Some(series.covariates[at][question.target]).filter(|_| is_there);
            row.push(&covariate.name, value.unwrap_or(f64::NAN));
        }
        if is_told && view.around.contains(&at) {
            around(row, &covariate.name, series, at, question, view.horizon);
        }
    }
}

fn around(row: &mut Row, name: &str, series: &LongSeries, at: usize, question: &Question, horizon: usize) {
    let target = question.target;
    // The plan reaches as far as the horizon does.
    let plan = &series.covariates[at][..(question.origin + horizon).min(series.y.len())];
    let before = &plan[target.saturating_sub(REACH)..target];
    let after = &plan[target + 1..plan.len().min(target + 1 + REACH)];
    row.push_of(name, "before", before.last().copied().unwrap_or(f64::NAN));
    row.push_of(name, "after", after.first().copied().unwrap_or(f64::NAN));
    let zeros = |values: &mut dyn Iterator<Item = &f64>, of: usize| {
        let zeros = values.take_while(|value| **value == 0.0).count();
        if zeros == of { f64::NAN } else { zeros as f64 }
    };
    row.push_of(name, "since", zeros(&mut before.iter().rev(), before.len()));
    row.push_of(name, "until", zeros(&mut after.iter(), after.len()));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    row.push_of(name, "week before", mean(&before[before.len().saturating_sub(7)..]));
    row.push_of(name, "week after", mean(&after[..after.len().min(7)]));
}
