//! One article: which rule it gets, its forecast, and how good the rule was at its past origins.
//!
//! | An article with | gets the mean | and quantiles from |
//! |---|---|---|
//! | 28 days with sales, and calibrating origins enough for 39 errors in each week ahead (119 days for a horizon of 28) | of its last week | its own errors |
//! | 28 days with sales, and similar articles in its store that have the above | of its last week | their errors, scaled to it |
//! | less | mean of its last 56 days | its own last 364 days as they are |
//!
//! The last rule takes each day as likely as another, zeros and all: for an article that sells on one day in fifty, that says more than a week does.
//! It has no calibrating origins; at each judging origin it is judged on what was known then.

use std::borrow::Cow;

use chrono::Days;
use domain::forecast::{DailySeries, DayForecast, SeriesForecast};

use super::conformal::{Scores, Weekly, fewest_origins};
use super::naive::{scale, seasonal_naive};
use super::origins::{Origins, origins};
use super::pool::Pool;
use super::score::Score;
use crate::classical::demand::DemandClass;

/// Days with sales below which an article hardly sells.
pub(crate) const FEWEST_SALE_DAYS: usize = 28;
/// Days that the mean of an article that hardly sells is made of.
pub(crate) const MEAN_DAYS: usize = 56;
/// Days that its quantiles are made of.
pub(crate) const HISTORY_DAYS: usize = 364;
/// No figure is above so many times the greatest day of the history.
pub(crate) const CAP_FACTOR: f64 = 2.0;
/// Units beyond which a day is no quantity: sums and squares stay finite below it.
const GREATEST_UNITS: f64 = 1e21;

/// Which rule an article got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The model proper.
    Model,
    /// The model with errors of similar articles.
    Pooled,
    /// Its own days.
    Sparse,
}

/// A series with what is known of its past.
#[derive(Debug)]
pub(crate) struct Article<'a> {
    series: &'a DailySeries,
    units: Cow<'a, [f64]>,
    horizon: usize,
    origins: Origins,
}

/// How a forecast is made of what was known on a day. It is the same for the future and for past origins.
enum Rule<'a> {
    /// The last week and errors of its own.
    Own(Weekly),
    /// The last week and errors of similar articles.
    Pooled(&'a Pool),
    /// Its own days.
    Sparse,
}

/// Mean and quantiles of one day.
type Day = (f64, [f64; 11]);

impl<'a> Article<'a> {
    /// Looks at a series. Days that hold no quantity count as 0.
    pub(crate) fn new(series: &'a DailySeries, horizon: usize) -> Self {
        let units = if series.units.iter().copied().all(is_quantity) {
            Cow::Borrowed(series.units.as_slice())
        } else {
            let mended = series.units.iter().map(|units| if is_quantity(*units) { *units } else { 0.0 });
            Cow::Owned(mended.collect())
        };
        Self { series, units, horizon, origins: origins(series.units.len(), horizon) }
    }

    pub(crate) fn units(&self) -> &[f64] {
        &self.units
    }

    pub(crate) fn horizon(&self) -> usize {
        self.horizon
    }

    pub(crate) fn origins(&self) -> &Origins {
        &self.origins
    }

    /// The first day that the rule is judged on; the day after the last when it cannot be judged.
    pub(crate) fn first_judging_day(&self) -> usize {
        self.origins.evaluation.last().map_or(self.units.len(), |origin| origin + 1)
    }

    fn sells(&self) -> bool {
        self.series.sale_days >= FEWEST_SALE_DAYS
    }

    /// Whether it gets the model proper.
    pub(crate) fn has_errors_of_its_own(&self) -> bool {
        self.sells() && self.origins.calibration.len() >= fewest_origins(self.horizon)
    }

    /// Whether it would get the model with errors of similar articles.
    pub(crate) fn may_borrow(&self) -> bool {
        self.sells() && !self.has_errors_of_its_own()
    }

    /// Its forecast, the rule that it got, and the rule's score at the judging origins.
    pub(crate) fn forecast(&self, pool: &Pool) -> (SeriesForecast, Kind, Score) {
        let (rule, kind, fallback) = self.rule(pool);
        let origin = self.series.end();
        // A rule is only chosen if it can be applied today.
        let made = self.apply(&rule, &self.units).unwrap_or_default();
        let days = (1..).zip(made).map_while(|(ahead, (mean, quantiles))| {
            // The calendar ends in the year 262142.
            let date = origin.checked_add_days(Days::new(ahead))?;
            Some(DayForecast { date, mean, quantiles })
        });
        let days = days.collect();
        let score = self.judge(&rule);
        let forecast = SeriesForecast {
            key: self.series.key.clone(),
            product_name: self.series.product_name.clone(),
            origin,
            days,
            backtest: score.measures(),
            fallback,
        };
        (forecast, kind, score)
    }

    fn rule<'p>(&self, pool: &'p Pool) -> (Rule<'p>, Kind, Option<String>) {
        let mended =
            matches!(self.units, Cow::Owned(_)).then(|| "days that hold no quantity count as 0".to_owned());
        if self.has_errors_of_its_own() {
            return (Rule::Own(self.own_errors()), Kind::Model, mended);
        }
        let days = self.units.len();
        let mut reasons = Vec::from_iter(mended);
        if self.sells() {
            reasons.push(format!("{days} days of history are too few for intervals of its own"));
            let rule = Rule::Pooled(pool);
            let lenders = pool.for_class(DemandClass::of(&self.units));
            if let (Some((similar, which)), Some(_)) = (lenders, self.apply(&rule, &self.units)) {
                let count = similar.articles;
                reasons.push(format!(
                    "intervals from the scaled errors of {count} {which} articles of the store"
                ));
                return (rule, Kind::Pooled, Some(reasons.join(": ")));
            }
        } else {
            reasons.push(format!("{} days with sales, {FEWEST_SALE_DAYS} are needed", self.series.sale_days));
        }
        reasons.push(format!(
            "mean of its last {} days, quantiles of its last {}",
            days.min(MEAN_DAYS),
            days.min(HISTORY_DAYS)
        ));
        (Rule::Sparse, Kind::Sparse, Some(reasons.join(": ")))
    }

    fn own_errors(&self) -> Weekly {
        let errors = self.origins.calibration.iter().flat_map(|&origin| {
            let known = &self.units[..=origin];
            (1..=self.horizon).filter_map(move |ahead| {
                Some((ahead, self.units[origin + ahead] - seasonal_naive(known, ahead)?))
            })
        });
        Weekly::new(self.horizon, errors)
    }

    /// The days after `known`, or `None` when the rule cannot be applied to it.
    fn apply(&self, rule: &Rule<'_>, known: &[f64]) -> Option<Vec<Day>> {
        let cap = CAP_FACTOR * known.iter().copied().fold(0.0, f64::max);
        let naive = |errors: &Weekly, unit: f64| -> Option<Vec<Day>> {
            let day = |ahead| {
                let mean = seasonal_naive(known, ahead)?;
                Some((mean, errors.at(ahead).map(|error| bounded(mean + error * unit, cap))))
            };
            (1..=self.horizon).map(day).collect()
        };
        match rule {
            Rule::Own(errors) => naive(errors, 1.0),
            Rule::Pooled(pool) => {
                let (similar, _) = pool.for_class(DemandClass::of(known))?;
                naive(&similar.errors, scale(known)?)
            }
            Rule::Sparse => {
                let latest = |days: usize| &known[known.len().saturating_sub(days)..];
                let recent = latest(MEAN_DAYS);
                let mean = (recent.iter().sum::<f64>() / recent.len().max(1) as f64).max(0.0);
                let quantiles = Scores::new(latest(HISTORY_DAYS).to_vec()).quantiles();
                Some(vec![(mean, quantiles.map(|units| bounded(units, cap))); self.horizon])
            }
        }
    }

    fn judge(&self, rule: &Rule<'_>) -> Score {
        let mut score = Score::default();
        for &origin in &self.origins.evaluation {
            let known = &self.units[..=origin];
            let Some(days) = self.apply(rule, known) else { continue };
            for ((mean, quantiles), ahead) in days.iter().zip(1..) {
                let Some(naive) = seasonal_naive(known, ahead) else { continue };
                score.compare(self.units[origin + ahead], *mean, naive, quantiles);
            }
        }
        score
    }
}

/// A quantile as it is stored: between 0 and the cap, in thousandths as quantities are, so that an actual on the bound lies inside.
fn bounded(units: f64, cap: f64) -> f64 {
    let units = units.clamp(0.0, cap);
    ((units * 1e3).round() / 1e3).min(cap)
}

fn is_quantity(units: f64) -> bool {
    units.abs() <= GREATEST_UNITS
}
