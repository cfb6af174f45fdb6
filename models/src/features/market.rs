//! All series together.

use std::collections::{BTreeMap, HashMap};

use super::history::Sums;
use super::{Question, Row, View, cycle, is_active};
use crate::panel::{Frequency, LongTable, Period};

/// All series rise or fall for the time of the year by no more than this factor.
const MOST_RISE: f64 = 4.0;

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
        let origin = self.origin(table, question);
        let [week, weeks, half] = stretches(self.frequency);
        let trend = |near: usize, far: usize| {
            let origin = origin.filter(|origin| *origin >= far)?;
            Some(self.mean(origin - near, origin) / self.mean(origin - far, origin))
        };
        let year = |reach: usize| {
            let (target, then) = self.year_before(origin?, question)?;
            let from = then.checked_sub(2 * weeks)?;
            let (begin, end) = (target.saturating_sub(reach), target + reach + 1);
            (end <= origin?).then(|| self.mean(begin, end) / self.mean(from, then))
        };
        let some = |value: Option<f64>| value.unwrap_or(f64::NAN);
        row.push("market: week of four", some(trend(week, weeks)));
        row.push("market: four weeks of 26", some(trend(weeks, half)));
        row.push("market: a year ago", some(year(0)));
        row.push("market: week a year ago", some(year((week / 2).max(1))));
    }

    /// By how much a target may be expected above the newest rows for the time of the year: half of the way (on the scale of ratios) that all series went a year before. 1 where
    /// that is not known, and where periods are shorter than weeks: what came in like periods says it nearer there.
    pub(super) fn rise(&self, table: &LongTable, question: &Question) -> f64 {
        if !matches!(self.frequency, Frequency::Weekly(_) | Frequency::MonthStart) {
            return 1.0;
        }
        let [_, weeks, _] = stretches(self.frequency);
        let rise = || {
            let origin = self.origin(table, question)?;
            let (target, then) = self.year_before(origin, question)?;
            let (from, end) = (then.checked_sub(2 * weeks)?, target + 2);
            (end <= origin).then(|| self.mean(target.saturating_sub(1), end) / self.mean(from, then))
        };
        let rise = rise().filter(|rise| rise.is_finite() && *rise > 0.0).unwrap_or(1.0);
        rise.clamp(1.0 / MOST_RISE, MOST_RISE).sqrt()
    }

    fn origin(&self, table: &LongTable, question: &Question) -> Option<usize> {
        let last = table.series[question.series].periods[question.origin.checked_sub(1)?];
        self.places.get(&last).map(|place| place + 1)
    }

    /// The places of target and origin a year before.
    fn year_before(&self, origin: usize, question: &Question) -> Option<(usize, usize)> {
        let then = origin.checked_sub(cycle(self.frequency))?;
        Some((then + question.target - question.origin, then))
    }

    fn mean(&self, from: usize, to: usize) -> f64 {
        self.sums.between(from, to) / (to - from).max(1) as f64
    }
}

/// A week, four weeks and half a year; where periods are months, one, three and six of them.
fn stretches(frequency: Frequency) -> [usize; 3] {
    match frequency {
        Frequency::Weekly(_) => [1, 4, 26],
        Frequency::MonthStart => [1, 3, 6],
        Frequency::Hourly => [7 * 24, 28 * 24, 182 * 24],
        Frequency::Daily | Frequency::Steps(_) => [7, 28, 182],
    }
}
