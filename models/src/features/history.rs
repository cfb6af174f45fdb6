//! What came before an origin in a series, in sums that answer any stretch of it at once.

use std::collections::HashMap;

use super::{Question, Row, View, cycle, is_active};
use crate::panel::{Frequency, LongSeries, LongTable};

/// Members of a group that are looked at, the newest ones.
const MEMBERS: usize = 16;

/// What a member of a group counts beside the next newer one.
const DECAY: f64 = 0.85;

/// Rows that a level keeps of the longer past when the nearer one is thin.
const PRIOR: f64 = 7.0;

/// A level is no less than this share of the smallest value that a series ever had: nothing sold yet is no unit to count in.
const LEAST: f64 = 0.05;

/// A level is no more than this, so that values in levels are numbers even where sums of values are none.
const MOST: f64 = 1e150;

/// Values that a net reads on a bent scale are no more: some ten thousand levels.
const MOST_BENT: f64 = 10.0;

/// How far back a last sale is looked for.
const FAR: usize = 200;

/// Sums over the first rows: at `n`, over rows before `n`.
#[derive(Debug)]
pub(super) struct Sums(Vec<f64>);

impl Sums {
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sums = vec![0.0];
        sums.extend(values.scan(0.0, |sum, value| {
            *sum += value;
            Some(*sum)
        }));
        Self(sums)
    }

    /// Over rows from one up to another.
    pub(super) fn between(&self, from: usize, to: usize) -> f64 {
        let most = self.0.len() - 1;
        self.0[to.min(most)] - self.0[from.min(most)]
    }

    fn last(&self, origin: usize, rows: usize) -> f64 {
        self.between(origin.saturating_sub(rows), origin)
    }
}

/// The known rows of a series.
#[derive(Debug)]
pub(super) struct History<'a> {
    series: &'a LongSeries,
    view: &'a View,
    frequency: Frequency,
    /// Rows on which the series is open, with a value: all others count nowhere.
    active: Sums,
    y: Sums,
    squares: Sums,
    zeros: Sums,
    /// How far values lay from those a season before, and how many there are of them.
    changes: (Sums, Sums),
    /// How far values lay above what came in like periods before.
    surprises: Sums,
    /// The rows of like periods, ascending: by the place in the season and the view's covariates, and by the place alone.
    groups: HashMap<Vec<u64>, Vec<u32>>,
    slots: HashMap<u64, Vec<u32>>,
    /// Rows that means are taken over, ascending.
    windows: Vec<usize>,
    /// Rows that a level is taken from.
    pub(super) near: usize,
    /// The least that a level is, at `n` by rows before `n`.
    least: Vec<f64>,
}

impl<'a> History<'a> {
    /// Of the first `known` rows.
    pub(super) fn new(table: &'a LongTable, series: &'a LongSeries, view: &'a View, known: usize) -> Self {
        let frequency = table.frequency;
        let counted = |row: usize| is_active(series, view, row);
        let sums = |of: &dyn Fn(usize) -> f64| {
            Sums::of((0..known).map(|row| if counted(row) { of(row) } else { 0.0 }))
        };
        let change = |row: usize| {
            let before = row.checked_sub(view.season).filter(|before| counted(*before))?;
            Some((series.y[row] - series.y[before]).abs())
        };
        let smallest = (0..known).scan(f64::INFINITY, |smallest, row| {
            let sold = counted(row) && series.y[row] != 0.0;
            *smallest = if sold { smallest.min(series.y[row].abs()) } else { *smallest };
            Some(*smallest)
        });
        let least = |smallest: f64| if smallest.is_finite() { LEAST * smallest } else { LEAST };
        let least = std::iter::once(f64::INFINITY).chain(smallest).map(least).collect();
        let (windows, near) = windows(frequency, view.season);
        let mut history = Self {
            series,
            view,
            frequency,
            active: sums(&|_| 1.0),
            y: sums(&|row| series.y[row]),
            squares: sums(&|row| series.y[row].powi(2)),
            zeros: sums(&|row| f64::from(series.y[row] == 0.0)),
            changes: (sums(&|row| change(row).unwrap_or(0.0)), sums(&|row| f64::from(change(row).is_some()))),
            surprises: Sums::of(std::iter::empty()),
            groups: HashMap::new(),
            slots: HashMap::new(),
            windows,
            near,
            least,
        };
        let surprises: Vec<f64> =
            (0..known).map(|row| if counted(row) { history.surprise(row) } else { 0.0 }).collect();
        history.surprises = Sums::of(surprises.into_iter());
        history
    }

    /// How far a row lies above like periods before it, of which it becomes one.
    fn surprise(&mut self, row: usize) -> f64 {
        let (key, slot) = (self.key(row), self.slot(row));
        let members = self.groups.entry(key).or_default();
        let like = decayed(self.series, members);
        members.push(row as u32);
        self.slots.entry(slot).or_default().push(row as u32);
        like.map_or(0.0, |like| self.series.y[row] - like)
    }

    /// The place of a row in its season. Weeks and months come again after a year, which is too seldom for groups.
    fn slot(&self, row: usize) -> u64 {
        match self.frequency {
            Frequency::Steps(_) => (row % self.view.season.max(1)) as u64,
            Frequency::Weekly(_) | Frequency::MonthStart => 0,
            Frequency::Hourly | Frequency::Daily => {
                self.frequency.season_of(self.series.periods[row]).map_or(0, u64::from)
            }
        }
    }

    fn key(&self, row: usize) -> Vec<u64> {
        let by = self.view.by.iter().map(|at| self.series.covariates[*at][row].to_bits());
        std::iter::once(self.slot(row)).chain(by).collect()
    }

    /// The unit in which a series is told: the mean of its newer rows, and of the longer past where those are thin; above 0.
    pub(super) fn level(&self, origin: usize) -> f64 {
        let near = self.near;
        let long = self.y.last(origin, usize::MAX) / self.active.last(origin, usize::MAX).max(1.0);
        let level = (self.y.last(origin, near) + PRIOR * long) / (self.active.last(origin, near) + PRIOR);
        level.max(self.least[origin]).min(MOST)
    }

    /// What came in periods like the target, the newest counting most; the level where there were none.
    pub(super) fn like(&self, question: &Question, level: f64) -> f64 {
        let members = before(self.groups.get(&self.key(question.target)), question.origin);
        let Some(like) = decayed(self.series, members).filter(|like| like.is_finite()) else { return level };
        let count = members.len() as f64;
        (count * like + level) / (count + 1.0)
    }

    pub(super) fn tell(&self, row: &mut Row, question: &Question, level: f64) {
        let origin = question.origin;
        let of_level = |sum: f64, count: f64| sum / count / level;
        for window in &self.windows {
            let (name, count) = (window.to_string(), self.active.last(origin, *window));
            row.push_of("mean of", &name, of_level(self.y.last(origin, *window), count));
        }
        for window in [self.windows[2], self.windows[self.windows.len() - 2]] {
            let (name, count) = (window.to_string(), self.active.last(origin, window));
            let mean = self.y.last(origin, window) / count;
            let variance = self.squares.last(origin, window) / count - mean * mean;
            row.push_of("zeros of", &name, self.zeros.last(origin, window) / count);
            row.push_of("spread of", &name, variance.max(0.0).sqrt() / level);
            let (changes, changed) = &self.changes;
            row.push_of(
                "change of",
                &name,
                of_level(changes.last(origin, window), changed.last(origin, window)),
            );
        }
        for window in &self.windows[..self.windows.len() - 2] {
            let (name, count) = (window.to_string(), self.active.last(origin, *window));
            row.push_of("surprise of", &name, of_level(self.surprises.last(origin, *window), count));
        }
        row.push("age", origin as f64);
        row.push("level", level.ln());
        let is_active = |row: &usize| is_active(self.series, self.view, *row);
        let sold = (0..origin).rev().take(FAR).find(|row| is_active(row) && self.series.y[*row] != 0.0);
        row.push("since a sale", sold.map_or(f64::NAN, |sold| (origin - sold) as f64));
        let last = origin.checked_sub(1).filter(is_active);
        row.push("last", last.map_or(f64::NAN, |last| self.series.y[last] / level));
        let group = before(self.groups.get(&self.key(question.target)), origin);
        let slot = before(self.slots.get(&self.slot(question.target)), origin);
        self.tell_members(row, "like periods", group, level);
        self.tell_members(row, "place in season", slot, level);
        self.tell_year(row, question, level);
    }

    /// The newest `rows` rows before an origin, the newest last: of each its value, how far it lay above like periods (both in levels, on a scale that bends), and
    /// whether there is one.
    pub(super) fn newest(&self, origin: usize, rows: usize, level: f64, into: &mut Vec<f32>) {
        for back in (1..=rows).rev() {
            let row = origin.checked_sub(back).filter(|row| is_active(self.series, self.view, *row));
            let bent = |of: &dyn Fn(usize) -> f64| {
                let levels = row.map(|row| of(row) / level).filter(|levels| !levels.is_nan());
                levels.unwrap_or(0.0).asinh().clamp(-MOST_BENT, MOST_BENT) as f32
            };
            let value = bent(&|row| self.series.y[row]);
            let surprise = bent(&|row| self.surprises.between(row, row + 1));
            into.extend([value, surprise, f32::from(u8::from(row.is_some()))]);
        }
    }

    fn tell_members(&self, row: &mut Row, name: &str, members: &[u32], level: f64) {
        let newest = |some: usize| &members[members.len().saturating_sub(some)..];
        let of_level =
            |rows: &[u32]| rows.iter().map(|row| self.series.y[*row as usize] / level).collect::<Vec<f64>>();
        let mut values = of_level(newest(MEMBERS));
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        row.push_of(name, "mean of 4", mean(&of_level(newest(4))));
        row.push_of(name, "mean of 16", mean(&values));
        row.push_of(name, "newest", values.last().copied().unwrap_or(f64::NAN));
        row.push_of(name, "decayed", decayed(self.series, members).map_or(f64::NAN, |like| like / level));
        let zeros = values.iter().filter(|value| **value == 0.0).count();
        row.push_of(name, "zeros", zeros as f64 / values.len() as f64);
        values.sort_unstable_by(f64::total_cmp);
        for (part, share) in [("low", 0.1), ("middle", 0.5), ("high", 0.9)] {
            let at = (share * values.len().saturating_sub(1) as f64).round() as usize;
            row.push_of(name, part, values.get(at).copied().unwrap_or(f64::NAN));
        }
    }

    /// The same time of the years before, beside the level that was known then.
    fn tell_year(&self, row: &mut Row, question: &Question, level: f64) {
        let cycle = cycle(self.frequency);
        let reach = if cycle > 100 { 3 } else { 1 };
        let around = |years: usize, reach: usize| {
            let back = cycle.checked_mul(years)?;
            let (target, origin) = (question.target.checked_sub(back)?, question.origin.checked_sub(back)?);
            let (from, to) = (target.saturating_sub(reach), target + reach + 1);
            let count = self.active.between(from, to);
            (count > 0.0 && to <= question.origin)
                .then(|| self.y.between(from, to) / count / self.level(origin))
        };
        let some = |value: Option<f64>| value.unwrap_or(f64::NAN);
        row.push("a year ago", some(around(1, 0)));
        row.push("week a year ago", some(around(1, reach)));
        row.push("weeks a year ago", some(around(1, 3 * reach)));
        row.push("week two years ago", some(around(2, reach)));
        let (year, count) = (self.y.last(question.origin, cycle), self.active.last(question.origin, cycle));
        row.push("mean of a year", year / count / level);
    }
}

/// Rows that means are taken over, and those of a level: seasons of a short season, parts of a year where the season is one.
fn windows(frequency: Frequency, season: usize) -> (Vec<usize>, usize) {
    match frequency {
        Frequency::Weekly(_) => (vec![4, 8, 13, 26, 52], 26),
        Frequency::MonthStart => (vec![2, 3, 4, 6, 12], 6),
        _ => {
            let seasons = |count: usize| count.saturating_mul(season.max(2));
            ([1, 2, 4, 8, 13, 26, 52].map(seasons).to_vec(), seasons(4))
        }
    }
}

/// The rows before an origin.
fn before(rows: Option<&Vec<u32>>, origin: usize) -> &[u32] {
    let rows = rows.map_or(&[] as &[u32], Vec::as_slice);
    &rows[..rows.partition_point(|row| (*row as usize) < origin)]
}

/// The mean of the newest members, the newest counting most.
fn decayed(series: &LongSeries, members: &[u32]) -> Option<f64> {
    let (mut sum, mut weights, mut weight) = (0.0, 0.0, 1.0);
    for row in members.iter().rev().take(MEMBERS) {
        sum += weight * series.y[*row as usize];
        weights += weight;
        weight *= DECAY;
    }
    (weights > 0.0).then(|| sum / weights)
}
