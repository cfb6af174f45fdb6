//! Forecasts of a business: of each article in each store, of categories, stores and the whole, with quantiles and totals, and how good they were.
//!
//! Articles are forecast by the product's blend ([`crate::candidates`]), and those that hardly sell by their own days ([`leaf`]). A horizon before the last known
//! day, all of it is done once as if the days since had not come: what was made then is compared with what came, and that is what a forecast says of
//! itself. The blend that is served takes weights and calibration from there and learns again up to the last day. Where nothing could be
//! judged, no model is served. Levels above the article come out of sample paths ([`paths`], [`levels`]).
//!
//! [`forecast`] promises, for any numbers whatever: no panic; every figure finite and not below 0, those of an article not above twice the greatest
//! day of its history; quantiles that do not fall; means that sum from level to level; and a stated reason wherever an article did not get the model proper.

mod business;
mod closures;
mod conformal;
mod leaf;
mod levels;
mod manifest;
pub(crate) mod paths;
mod publish;
mod score;

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use domain::forecast::{Backtest, DailySeries, SeriesForecast, SeriesSet, Subject};
use domain::principal::Principal;
use domain::{Error, Result};
use serde::Serialize;

pub(crate) use leaf::CAP_FACTOR;
pub use manifest::CODE_VERSION;
pub(crate) use manifest::hash;
pub use publish::{Published, Timings, publish};

use crate::candidates::Chosen;
use crate::panel::MOST_ROWS;
use business::Business;
use leaf::{Leaf, fallback, leaves};
use levels::{Made, levels};
use manifest::Identity;
use score::Score;

/// The longest horizon in days.
pub const MAX_HORIZON_DAYS: usize = 365;

/// How much models learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learning {
    /// Rows that they learn from, at most.
    pub rows: usize,
    /// Trees of a forest, and the rate at which they are added.
    pub trees: usize,
    /// See `trees`.
    pub tree_rate: f32,
    /// Steps of a net.
    pub steps: usize,
}

impl Learning {
    /// From fewer rows, in fewer steps: for a first look.
    pub const QUICK: Self = Self { rows: 50_000, trees: 100, tree_rate: 0.15, steps: 300 };
    /// What accuracy is measured with.
    pub const FULL: Self = Self { rows: MOST_ROWS, trees: 400, tree_rate: 0.05, steps: 1_500 };
}

/// What can be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForecastConfig {
    /// Days ahead, 1 to [`MAX_HORIZON_DAYS`].
    pub horizon_days: usize,
    /// How much models learn.
    pub learning: Learning,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        Self { horizon_days: 28, learning: Learning::FULL }
    }
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Candidates are weighed and calibrated on older origins.
    Weighing,
    /// The model is judged on the last horizon.
    Judging,
    /// It learns up to the last day, and forecasts.
    Learning,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Weighing, Self::Judging, Self::Learning];

    /// As a progress bar shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Weighing => "weighing candidates on older origins",
            Self::Judging => "judging the model on the last horizon",
            Self::Learning => "learning up to the last day",
        }
    }
}

/// How many articles got what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them.
    pub series: usize,
    /// The model proper.
    pub model: usize,
    /// The mean and the quantiles of their own days, for want of sales or of history.
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
    /// Of all levels: articles in their order, behind those of a store its categories and itself, in the end the business.
    pub forecasts: Vec<SeriesForecast>,
    /// How many articles got what.
    pub counts: Counts,
    /// The measures over all articles, weighted by their units.
    pub backtest: Backtest,
    /// Those of the business as a whole.
    pub of_business: Backtest,
    /// The first and the last of the articles' origins; `None` without articles.
    pub origins: Option<(NaiveDate, NaiveDate)>,
}

/// Splits a set by business, in order of their names.
#[must_use]
pub fn by_tenant(set: SeriesSet) -> Vec<(String, SeriesSet)> {
    let mut tenants: BTreeMap<String, SeriesSet> = BTreeMap::new();
    let empty = || SeriesSet { lake_versions: set.lake_versions.clone(), ..SeriesSet::default() };
    for series in set.series {
        tenants.entry(series.key.tenant.clone()).or_insert_with(empty).series.push(series);
    }
    for ((tenant, store), plan) in set.plans {
        if let Some(of_tenant) = tenants.get_mut(&tenant) {
            of_tenant.plans.insert((tenant, store), plan);
        }
    }
    tenants.into_iter().collect()
}

/// Forecasts a business. It computes for seconds to minutes: call it off the async threads. `progress` hears of each stage as it begins.
///
/// # Errors
/// [`domain::ErrorKind::Invalid`] for a horizon out of bounds, the operator in the place of a business (models are made for one business each),
/// and series of another business.
pub fn forecast(
    set: &SeriesSet,
    whose: &Principal,
    config: ForecastConfig,
    progress: &dyn Fn(Stage),
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
    progress(Stage::Weighing);
    let older = Business::new(set, &config, horizon);
    let chosen = {
        let window = older.window();
        (!window.parts.is_empty()).then(|| Chosen::of(&window))
    };
    progress(Stage::Judging);
    let (old_leaves, judged, _) = made(&older, chosen.as_ref())?;
    // Tables are large: one at a time.
    drop(older);
    progress(Stage::Learning);
    let business = Business::new(set, &config, 0);
    let (leaves, made, learned) = made(&business, chosen.as_ref())?;
    let identity = Identity::new(tenant, stores, &set.lake_versions, config, &business, learned.as_deref());
    let judged = Judged::of(&judged, &business, &old_leaves, &leaves);
    let origins = set.series.iter().map(DailySeries::end);
    Ok(Forecasts {
        model_version: identity.version(),
        identity: identity.canonical(),
        tenant: tenant.clone(),
        lake_versions: set.lake_versions.clone(),
        counts: Counts::of(&leaves),
        backtest: judged.all.measures(),
        of_business: judged
            .by_subject
            .get(&Subject::Business)
            .map(|score| score.measures())
            .unwrap_or_default(),
        origins: origins.clone().min().zip(origins.max()),
        forecasts: finished(&business, made, &leaves, &judged, chosen.is_some()),
    })
}

/// The leaves of all articles as of an origin, the forecasts of all levels that are made of them, and what the model has learned.
type AsOf = (Vec<Option<Leaf>>, Vec<Made>, Option<Vec<u8>>);

/// Without a model, each article has its own days.
fn made(business: &Business<'_>, chosen: Option<&Chosen>) -> Result<AsOf> {
    let mut window = business.window();
    let fitted = chosen.filter(|_| !window.parts.is_empty()).map(|chosen| chosen.fit(&window));
    if fitted.is_none() {
        window.parts.clear();
    }
    let answers = fitted.as_ref().map(|fitted| fitted.forecast(&window)).unwrap_or_default();
    let leaves = leaves(business, &window, answers);
    let made = levels(business, &leaves);
    Ok((leaves, made, fitted.map(|fitted| fitted.learned()).transpose()?))
}

/// How far forecasts from the older origin were from what came.
struct Judged<'a> {
    by_subject: HashMap<&'a Subject, &'a Score>,
    /// Of all articles.
    all: Score,
}

impl<'a> Judged<'a> {
    /// An article that another rule forecasts by now is not judged.
    fn of(made: &'a [Made], business: &Business<'_>, before: &[Option<Leaf>], now: &[Option<Leaf>]) -> Self {
        let rule = |leaf: &Option<Leaf>| leaf.as_ref().map(|leaf| leaf.is_of_model);
        let changed = before.iter().zip(now).zip(business.series).filter(|((a, b), _)| rule(a) != rule(b));
        let changed: std::collections::HashSet<(&str, &str)> =
            changed.map(|(_, series)| (series.key.store.as_str(), series.key.sku.as_str())).collect();
        let is_the_same = |made: &&Made| match &made.subject {
            Subject::Sku { store, sku } => !changed.contains(&(store.as_str(), sku.as_str())),
            _ => true,
        };
        let mut all = Score::default();
        made.iter().filter(|made| made.subject.sku().is_some()).for_each(|made| all.add(&made.score));
        let by_subject = made.iter().filter(is_the_same).map(|made| (&made.subject, &made.score)).collect();
        Self { by_subject, all }
    }
}

/// Forecasts as they are stored.
fn finished(
    business: &Business<'_>,
    made: Vec<Made>,
    leaves: &[Option<Leaf>],
    judged: &Judged<'_>,
    has_model: bool,
) -> Vec<SeriesForecast> {
    let tenant = business.series.first().map(|series| series.key.tenant.as_str()).unwrap_or_default();
    // Articles come in the order of their series, those without a leaf left out.
    let mut articles = (0..).zip(leaves).filter_map(|(at, leaf)| Some((at, leaf.as_ref()?)));
    let finish = |made: Made| {
        let score = judged.by_subject.get(&made.subject).copied();
        let (mut name, mut reason) = (None, None);
        if made.subject.sku().is_some()
            && let Some((at, leaf)) = articles.next()
        {
            name = business.series[at].product_name.clone();
            reason = fallback(business, at, leaf, has_model);
        }
        made.finished(tenant, score, name, reason)
    };
    made.into_iter().map(finish).collect()
}

impl Counts {
    fn of(leaves: &[Option<Leaf>]) -> Self {
        let made = || leaves.iter().flatten();
        let model = made().filter(|leaf| leaf.is_of_model).count();
        Self { series: made().count(), model, sparse: made().count() - model }
    }
}

#[cfg(test)]
mod tests;
