//! From articles up to the business: forecasts of every level out of the same paths.
//!
//! Means of a level are sums of those below, exactly. Quantiles are those of the summed paths, which know what sells well together.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use domain::forecast::{DayForecast, Effects, QUANTILES_PER_MILLE, SeriesForecast, Subject, Total};

use super::business::Business;
use super::leaf::{Leaf, bounded};
use super::paths::{PATHS, Paths, Scenarios, quantiles, seed_of, spread};
use super::score::Score;

/// The quantiles of [`Total`].
const OF_TOTAL: [u16; 3] = [500, 900, 975];
const SEASON_DAYS: usize = 7;

/// A forecast as of an origin, and how far it was from what came by then.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) subject: Subject,
    pub(super) origin: NaiveDate,
    pub(super) days: Vec<DayForecast>,
    pub(super) score: Score,
}

/// What articles come to in all, by day ahead.
#[derive(Debug)]
struct Sum {
    mean: Vec<f64>,
    paths: Vec<[f64; PATHS]>,
    /// What came; NaN where that is not known.
    came: Vec<f64>,
    naive: Vec<f64>,
    /// Days that tell nothing of a forecast, for more may have been wanted than was sold. Of sums of articles, all tell.
    is_out: Vec<bool>,
    /// What the means are made of, where that is explained.
    effects: Vec<Effects>,
    /// Nothing lies above.
    most: f64,
}

/// Forecasts of all levels, each article in its place, then its store's categories and the store, in the end the business; none of an article without
/// a leaf.
pub(super) fn levels(business: &Business<'_>, leaves: &[Option<Leaf>]) -> Vec<Made> {
    let horizon = business.settings.horizon;
    let known = (0..leaves.len()).map(|series| business.known(series).len());
    let most_known = known.max().unwrap_or_default();
    let scenarios = Scenarios::new(horizon, most_known);
    let mut made = Vec::with_capacity(leaves.len() + 1);
    let mut stores: Vec<(NaiveDate, Sum)> = Vec::new();
    let mut at = 0;
    for of_store in business.series.chunk_by(|a, b| a.key.store == b.key.store) {
        let mut categories: BTreeMap<&str, Sum> = BTreeMap::new();
        let mut store: Option<(NaiveDate, Sum)> = None;
        for (series, number) in of_store.iter().zip(at..) {
            let Some(leaf) = &leaves[number] else { continue };
            let sum = Sum::of(business, number, leaf, &scenarios);
            let before = Days::new(business.days_before as u64);
            let origin = series.end().checked_sub_days(before).unwrap_or(series.end());
            let subject = Subject::Sku { store: series.key.store.clone(), sku: series.key.sku.clone() };
            made.push(sum.made(subject, origin, Some(leaf)));
            let nothing = || Sum::nothing(horizon);
            if let Some(category) = &series.category {
                categories.entry(category).or_insert_with(nothing).add(&sum, 0);
            }
            store.get_or_insert_with(|| (origin, nothing())).1.add(&sum, 0);
        }
        at += of_store.len();
        let Some((origin, sum)) = store else { continue };
        let name = &of_store[0].key.store;
        made.extend(categories.into_iter().map(|(category, sum)| {
            sum.made(Subject::Category { store: name.clone(), category: category.to_owned() }, origin, None)
        }));
        made.push(sum.made(Subject::Store { store: name.clone() }, origin, None));
        stores.push((origin, sum));
    }
    made.extend(all_stores(stores, horizon));
    made
}

/// The business, on the days that are forecast of all its stores; one whose sales ended a horizon before the others' is no part of it any more.
fn all_stores(stores: Vec<(NaiveDate, Sum)>, horizon: usize) -> Option<Made> {
    let newest = stores.iter().map(|(origin, _)| *origin).max()?;
    let lag = |origin: NaiveDate| usize::try_from((newest - origin).num_days()).unwrap_or(usize::MAX);
    let is_part = |(origin, _): &&(NaiveDate, Sum)| lag(*origin) < horizon;
    let longest = stores.iter().filter(is_part).map(|(origin, _)| lag(*origin)).max().unwrap_or_default();
    let mut all = Sum::nothing(horizon - longest);
    stores.iter().filter(is_part).for_each(|(origin, sum)| all.add(sum, lag(*origin)));
    Some(all.made(Subject::Business, newest, None))
}

impl Sum {
    fn nothing(days: usize) -> Self {
        let zeros = vec![0.0; days];
        Self {
            mean: zeros.clone(),
            paths: vec![[0.0; PATHS]; days],
            came: zeros.clone(),
            naive: zeros,
            is_out: vec![false; days],
            effects: vec![Effects::default(); days],
            most: 0.0,
        }
    }

    /// Of one article.
    fn of(business: &Business<'_>, series: usize, leaf: &Leaf, scenarios: &Scenarios) -> Self {
        let known = business.known(series);
        let spreads = leaf
            .quantiles
            .iter()
            .zip(&leaf.mean)
            .map(|(quantiles, mean)| spread(quantiles, *mean, leaf.most));
        let key = &business.series[series].key;
        let paths: Paths = scenarios.paths(known, seed_of(&key.store, &key.sku), spreads);
        let naive = |ahead: usize| {
            let week = known.last_chunk::<SEASON_DAYS>();
            week.map_or(f64::NAN, |week| week[ahead % SEASON_DAYS].max(0.0))
        };
        Self {
            mean: leaf.mean.clone(),
            paths: paths.into_iter().map(|values| values.map(f64::from)).collect(),
            came: business.came(series),
            naive: (0..leaf.mean.len()).map(naive).collect(),
            is_out: (0..leaf.mean.len()).map(|ahead| business.is_out_ahead(series, ahead)).collect(),
            effects: leaf.effects.clone(),
            most: leaf.most,
        }
    }

    /// Adds the days of another from its day `from` on. Where there is no naive forecast, for want of a week, it is none of demand.
    fn add(&mut self, other: &Self, from: usize) {
        let add = |sums: &mut Vec<f64>, values: &[f64]| {
            sums.iter_mut().zip(&values[from..]).for_each(|(sum, value)| *sum += value);
        };
        add(&mut self.mean, &other.mean);
        add(&mut self.came, &other.came);
        let known = |naive: &f64| if naive.is_finite() { *naive } else { 0.0 };
        add(&mut self.naive, &other.naive.iter().map(known).collect::<Vec<_>>());
        self.effects.iter_mut().zip(other.effects.iter().skip(from)).for_each(|(sum, parts)| *sum += *parts);
        for (sums, values) in self.paths.iter_mut().zip(&other.paths[from..]) {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        self.most += other.most;
    }

    /// As a forecast; with a leaf's quantiles where it is one.
    fn made(&self, subject: Subject, origin: NaiveDate, leaf: Option<&Leaf>) -> Made {
        let mut totals = [0.0; PATHS];
        let mut total_mean = 0.0;
        let mut score = Score::default();
        let mut days = Vec::with_capacity(self.mean.len());
        for (ahead, (mean, paths)) in self.mean.iter().zip(&self.paths).enumerate() {
            let bound = |values: f64| bounded(values, self.most);
            let own = || quantiles(paths, QUANTILES_PER_MILLE).map(bound);
            let of_day = leaf.map_or_else(own, |leaf| leaf.quantiles[ahead]);
            if !self.is_out[ahead] {
                score.compare(self.came[ahead], *mean, self.naive[ahead], &of_day);
            }
            totals.iter_mut().zip(paths).for_each(|(total, units)| *total += units);
            total_mean += mean;
            let [median, q900, q975] =
                quantiles(&totals, OF_TOTAL).map(|units| bounded(units, self.most * (ahead + 1) as f64));
            // The calendar ends in the year 262142.
            let Some(date) = origin.checked_add_days(Days::new(ahead as u64 + 1)) else { break };
            let total = Total { mean: total_mean, median, q900, q975 };
            let effects = self.effects.get(ahead).copied().unwrap_or_default();
            days.push(DayForecast { date, mean: *mean, quantiles: of_day, total, effects });
        }
        Made { subject, origin, days, score }
    }
}

impl Made {
    /// As it is stored, judged by an older one of the same subject.
    pub(super) fn finished(
        self,
        tenant: &str,
        judged: Option<&Score>,
        product_name: Option<String>,
        fallback: Option<String>,
    ) -> SeriesForecast {
        SeriesForecast {
            tenant: tenant.to_owned(),
            subject: self.subject,
            product_name,
            origin: self.origin,
            days: self.days,
            backtest: judged.map(Score::measures).unwrap_or_default(),
            fallback,
        }
    }
}
