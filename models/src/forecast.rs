//! The first forecast: seasonal naive by week, with conformal intervals from its own past errors.
//!
//! **The mean** of a day is the value of the same weekday in the last known week, 0 if more came back than was sold. It is the naive forecast
//! itself, and so the bar for every later model.
//!
//! **The quantiles** are that value plus quantiles of its signed past errors ([`origins`] says which), one set for each week of the horizon.
//! Which errors an article stands on is told in [`series`]: its own, those of similar articles of its store, or, for an article that hardly
//! sells, the days of its own last year. What the measures of past origins say, and what they leave out, stands in
//! `docs/decisions/003-first-forecast.md`.
//!
//! [`forecast`] promises, for any numbers whatever: no panic; every figure finite, not below 0 and not above twice the greatest day of the
//! history; quantiles that do not fall; and a stated reason wherever a series did not get the model proper.

mod conformal;
mod manifest;
mod naive;
mod origins;
mod pool;
mod publish;
mod score;
mod series;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::forecast::{Backtest, DailySeries, SeriesForecast, SeriesSet};
use domain::principal::Principal;
use domain::{Error, Result};
use serde::Serialize;

pub use conformal::Scores;
pub use manifest::CODE_VERSION;
pub use origins::{Origins, origins};
pub use publish::{Published, Timings, publish};

use manifest::Identity;
use pool::Pool;
use score::Score;
use series::{Article, Kind};

/// The longest horizon in days.
pub const MAX_HORIZON_DAYS: usize = 365;

/// What can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForecastConfig {
    /// Days ahead, 1 to [`MAX_HORIZON_DAYS`].
    pub horizon_days: usize,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        Self { horizon_days: 28 }
    }
}

/// How many series got what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them.
    pub series: usize,
    /// The model proper: seasonal naive with errors of their own.
    pub model: usize,
    /// Seasonal naive with the errors of similar articles, for want of history.
    pub pooled: usize,
    /// The mean and the quantiles of their own days, for want of sales or of similar articles.
    pub sparse: usize,
}

/// The forecasts of one business, before they are stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecasts {
    /// Hash of [`Forecasts::identity`].
    pub model_version: String,
    /// All that shaped the model, as canonical JSON.
    pub identity: String,
    /// The business.
    pub tenant: String,
    /// What the series were read from.
    pub lake_versions: BTreeMap<String, u64>,
    /// One for each series, in their order.
    pub forecasts: Vec<SeriesForecast>,
    /// How many got what.
    pub counts: Counts,
    /// The measures over all series, weighted by their units.
    pub backtest: Backtest,
    /// The first and the last of the series' origins; `None` without series.
    pub origins: Option<(NaiveDate, NaiveDate)>,
}

/// Splits a set by business, in order of their names.
#[must_use]
pub fn by_tenant(set: SeriesSet) -> Vec<(String, SeriesSet)> {
    let mut tenants: BTreeMap<String, Vec<DailySeries>> = BTreeMap::new();
    for series in set.series {
        tenants.entry(series.key.tenant.clone()).or_default().push(series);
    }
    let part = |series| SeriesSet { series, lake_versions: set.lake_versions.clone() };
    tenants.into_iter().map(|(tenant, series)| (tenant, part(series))).collect()
}

/// Forecasts every series of a business. It computes for seconds: call it off the async threads. `progress` is told the number of series that
/// are done.
///
/// # Errors
/// [`domain::ErrorKind::Invalid`] for a horizon out of bounds, the operator in the place of a business (models are made for one business each),
/// and series of another business.
pub fn forecast(
    set: &SeriesSet,
    whose: &Principal,
    config: ForecastConfig,
    progress: &dyn Fn(usize),
) -> Result<Forecasts> {
    let horizon = config.horizon_days;
    if !(1..=MAX_HORIZON_DAYS).contains(&horizon) {
        return Err(Error::invalid(format!("a horizon of {horizon} days: give 1 to {MAX_HORIZON_DAYS}")));
    }
    let Principal::Tenant { tenant, stores } = whose else {
        return Err(Error::invalid("models are made for one business each: name it"));
    };
    if let Some(other) = set.series.iter().find(|series| series.key.tenant != *tenant) {
        return Err(Error::invalid(format!(
            "a series of `{}` among those of `{tenant}`: models are made for one business each",
            other.key.tenant
        )));
    }
    let identity = Identity::new(tenant, stores, &set.lake_versions, config);
    let mut made = Forecasts {
        model_version: identity.version(),
        identity: identity.canonical(),
        tenant: tenant.clone(),
        lake_versions: set.lake_versions.clone(),
        forecasts: Vec::with_capacity(set.series.len()),
        counts: Counts::default(),
        backtest: Backtest::default(),
        origins: None,
    };
    let mut total = Score::default();
    for store in set.series.chunk_by(|a, b| a.key.store == b.key.store) {
        let articles: Vec<Article<'_>> = store.iter().map(|series| Article::new(series, horizon)).collect();
        let pool = Pool::of(&articles);
        for article in &articles {
            let (forecast, kind, score) = article.forecast(&pool);
            made.counts.add(kind);
            total.add(&score);
            let origin = forecast.origin;
            made.origins =
                Some(made.origins.map_or((origin, origin), |(a, b)| (a.min(origin), b.max(origin))));
            made.forecasts.push(forecast);
            progress(made.forecasts.len());
        }
    }
    made.backtest = total.measures();
    Ok(made)
}

impl Counts {
    fn add(&mut self, kind: Kind) {
        self.series += 1;
        match kind {
            Kind::Model => self.model += 1,
            Kind::Pooled => self.pooled += 1,
            Kind::Sparse => self.sparse += 1,
        }
    }
}

#[cfg(test)]
mod tests;
