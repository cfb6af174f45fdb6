//! All series together.

use std::collections::{BTreeMap, HashMap};

use super::history::Sums;
use super::{Question, Row, View, cycle, is_active};
use crate::panel::{Frequency, LongTable, Period};

/// What all series came to, period by period.
#[derive(Debug)]
pub(super) struct Market {
    frequency: Frequency,
    places: HashMap<Period, usize>,
    sums: Sums,
}

/// What the known rows of all series come to, by period.
pub(crate) fn sums(table: &LongTable, view: &View, known: &[usize]) -> BTreeMap<Period, f64> {
    let mut sums: BTreeMap<Period, f64> = BTreeMap::new();
    for (series, known) in table.series.iter().zip(known) {
        for row in 0..*known {
            // A period on which all are closed is one, too: places are as far apart as periods.
            let value = if is_active(series, view, row) { series.y[row] } else { 0.0 };
            *sums.entry(series.periods[row]).or_default() += value;
        }
    }
    sums
}

impl Market {
    /// Of the known rows of each series, unless the table tells what it is a part of.
    pub(super) fn new(table: &LongTable, view: &View, known: &[usize]) -> Self {
        let all = table.market.as_deref().cloned().unwrap_or_else(|| sums(table, view, known));
        let places = all.keys().enumerate().map(|(at, period)| (*period, at)).collect();
        Self { frequency: table.frequency, places, sums: Sums::of(all.into_values()) }
    }

    /// How all series moved up to the origin, and did at the target's time a year before.
    pub(super) fn tell(&self, row: &mut Row, table: &LongTable, question: &Question) {
        let last = question.origin.checked_sub(1).map(|last| table.series[question.series].periods[last]);
        let origin = last.and_then(|last| self.places.get(&last)).map(|place| place + 1);
        let mean = |from: usize, to: usize| self.sums.between(from, to) / (to - from).max(1) as f64;
        let trend = |near: usize, far: usize| {
            let origin = origin.filter(|origin| *origin >= far)?;
            Some(mean(origin - near, origin) / mean(origin - far, origin))
        };
        let year = |reach: usize| {
            let (origin, cycle) = (origin?, cycle(self.frequency));
            let then = origin.checked_sub(cycle)?;
            let target = (origin + question.target - question.origin).checked_sub(cycle)?;
            let from = then.checked_sub(8 * 7)?;
            let (begin, end) = (target.saturating_sub(reach), target + reach + 1);
            (end <= origin).then(|| mean(begin, end) / mean(from, then))
        };
        let some = |value: Option<f64>| value.unwrap_or(f64::NAN);
        row.push("market: week of four", some(trend(7, 28)));
        row.push("market: four weeks of 26", some(trend(28, 182)));
        row.push("market: a year ago", some(year(0)));
        row.push("market: week a year ago", some(year(3)));
    }
}
