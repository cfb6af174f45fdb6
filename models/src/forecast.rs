//! Forecasts of a business: of each article in each store, of categories, stores and the whole, with quantiles and totals, and how good they were.
//!
//! Articles are forecast by the product's blend ([`crate::candidates`]), and those that hardly sell by their own days ([`leaf`]). A horizon before the last known
//! day, all of it is done once as if the days since had not come: what was made then is compared with what came, and that is what a forecast says of
//! itself. The blend that is served takes weights and calibration from there and learns again up to the last day; those of the model that is served by
//! now are kept, unless new ones beat them there ([`selection`]). Where nothing could be judged, no model is made. Levels above the article come out of sample paths ([`paths`], [`levels`]).
//!
//! [`forecast`] promises, for any numbers whatever: no panic; every figure finite and not below 0, those of an article not above twice the greatest
//! day of its history; quantiles that do not fall; means that sum from level to level; and a stated reason wherever an article did not get the model proper.

mod business;
mod closures;
mod conformal;
mod effects;
mod frozen;
mod leaf;
mod levels;
mod manifest;
mod newcomers;
pub(crate) mod paths;
mod publish;
mod score;
mod selection;

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use domain::forecast::{Backtest, DailySeries, SeriesForecast, SeriesSet, Subject};
use domain::principal::{Principal, StoreScope};
use domain::{Error, Result};
use serde::Serialize;

pub use frozen::Frozen;
pub(crate) use leaf::CAP_FACTOR;
pub use manifest::CODE_VERSION;
pub(crate) use manifest::{Configuration, hash};
pub use publish::{Published, Timings, publish};
pub use selection::{Contest, Selection, Way};

use crate::candidates::{Chosen, Members};
use crate::panel::MOST_ROWS;
use business::{Business, Told};
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
    /// Whether a new selection challenges the one that is served, however young that is.
    pub search: bool,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        Self { horizon_days: 28, learning: Learning::FULL, search: false }
    }
}

/// What a model comes after.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Before {
    /// The version that is served by now.
    pub parent: Option<String>,
    /// Its selection, if the same code and configuration made it.
    pub selection: Option<Selection>,
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
    /// What it was told beside the days themselves.
    pub(crate) told: Told,
    /// All that the model has learned, as JSON; none where there is no model.
    pub learned: Option<Vec<u8>>,
    /// The version that was served when it was made.
    pub parent: Option<String>,
    /// Weights and calibration of the blend; none where there is no model.
    pub selection: Option<Selection>,
    /// Where they come from.
    pub way: Way,
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

impl Forecasts {
    /// By store, the last day whose sales were known.
    fn last_days(&self) -> BTreeMap<&str, String> {
        let of_store = self.forecasts.iter().filter(|made| made.subject.level() == "store");
        of_store.filter_map(|made| Some((made.subject.store()?, made.origin.to_string()))).collect()
    }
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
    before: &Before,
    progress: &dyn Fn(Stage),
) -> Result<Forecasts> {
    let (tenant, stores) = checked(set, whose, config)?;
    let origins = set.series.iter().map(DailySeries::end);
    let origins = origins.clone().min().zip(origins.max());
    progress(Stage::Weighing);
    let older = Business::new(set, &config, config.horizon_days);
    let served = before.selection.as_ref().filter(|_| !older.window().parts.is_empty());
    let is_due = |selection: &Selection| {
        let days = origins.map(|(_, last)| (last - selection.searched_on).num_days());
        config.search || days.is_none_or(|days| days >= selection::KEPT_DAYS)
    };
    let new = if served.is_none_or(is_due) { searched(&older, origins) } else { None };
    progress(Stage::Judging);
    let (selection, way, old_leaves) = judged(&older, served, new);
    let scores = levels(&older, &old_leaves);
    // Tables are large: one at a time.
    drop(older);
    progress(Stage::Learning);
    let mut business = Business::new(set, &config, 0);
    let (leaves, learned) = learned(&mut business, selection.as_ref())?;
    let made = levels(&business, &leaves);
    let parent = before.parent.as_deref();
    let identity =
        Identity::new(tenant, stores, &set.lake_versions, config, &business, (parent, learned.as_deref()));
    let judged = Judged::of(&scores, &business, &old_leaves, &leaves);
    Ok(Forecasts {
        model_version: identity.version(),
        identity: identity.canonical(),
        told: business.shape().tell(),
        learned,
        parent: before.parent.clone(),
        tenant: tenant.to_owned(),
        lake_versions: set.lake_versions.clone(),
        counts: Counts::of(&leaves),
        backtest: judged.all.measures(),
        of_business: judged
            .by_subject
            .get(&Subject::Business)
            .map(|score| score.measures())
            .unwrap_or_default(),
        origins,
        forecasts: finished(&business, made, &leaves, &judged, selection.is_some()),
        selection,
        way,
    })
}

/// The business and its stores, if they can be forecast.
fn checked<'a>(
    set: &SeriesSet,
    whose: &'a Principal,
    config: ForecastConfig,
) -> Result<(&'a str, &'a StoreScope)> {
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
    Ok((tenant, stores))
}

/// A new selection; none where no article has history enough.
fn searched(older: &Business<'_>, origins: Option<(NaiveDate, NaiveDate)>) -> Option<Selection> {
    let window = older.window();
    let (_, last) = origins.filter(|_| !window.parts.is_empty())?;
    Some(Selection { chosen: Chosen::of(&window), chosen_on: last, searched_on: last })
}

/// The leaves of all articles as of an origin; none of a series that had not begun.
type Leaves = Vec<Option<Leaf>>;

/// The selection that goes on, where it comes from, and what it forecast from the older origin.
fn judged(
    older: &Business<'_>,
    served: Option<&Selection>,
    new: Option<Selection>,
) -> (Option<Selection>, Way, Leaves) {
    let mut window = older.window();
    let entrants: Vec<&Selection> = new.iter().chain(served).collect();
    if entrants.is_empty() {
        // Each article has its own days.
        window.parts.clear();
        return (None, Way::None, leaves(older, &window, Vec::new()));
    }
    let chosen: Vec<&Chosen> = entrants.iter().map(|selection| &selection.chosen).collect();
    let asked = Members::learn(&window).ask(&window, &chosen);
    let mut made: Vec<Leaves> =
        chosen.iter().map(|chosen| leaves(older, &window, chosen.blend(&window, &asked))).collect();
    let last = made.pop().unwrap_or_default();
    match (new, served) {
        (Some(new), Some(served)) => {
            let first = made.pop().unwrap_or_default();
            let contest = Contest::of(older, &window, &first, &last);
            if contest.is_won() {
                return (Some(new), Way::Won(contest), first);
            }
            let kept = Selection { searched_on: new.searched_on, ..served.clone() };
            (Some(kept), Way::Defended(contest), last)
        }
        (new @ Some(_), None) => (new, Way::First, last),
        (None, served) => (served.cloned(), Way::Kept, last),
    }
}

/// The leaves as of the last day, explained, and what the model has learned by then. Without a model, each article has its own days.
fn learned(business: &mut Business<'_>, selection: Option<&Selection>) -> Result<(Leaves, Option<Vec<u8>>)> {
    let mut window = business.window();
    let Some(Selection { chosen, .. }) = selection.filter(|_| !window.parts.is_empty()) else {
        window.parts.clear();
        let mut leaves = leaves(business, &window, Vec::new());
        effects::of_own_days(business, &mut leaves);
        return Ok((leaves, None));
    };
    let members = Members::learn(&window);
    let asked = members.ask(&window, &[chosen]);
    let mut leaves = leaves(business, &window, chosen.blend(&window, &asked));
    effects::of_own_days(business, &mut leaves);
    effects::of_model(business, &members, chosen, asked, &mut leaves);
    Ok((leaves, Some(members.learned(chosen)?)))
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
pub(crate) mod tests;
