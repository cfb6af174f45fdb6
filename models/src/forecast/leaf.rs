//! The forecast of one article: the model's, or, where it hardly sells or is new, what its own days were like.
//!
//! The second takes each open day of the last year as likely as another, zeros and all: for an article that sells on one day in fifty, that says more than a model does. One that is
//! new has few days of its own, and is held beside others as they were when they were new.

use domain::forecast::Effects;

use super::business::{Business, FEWEST_DAYS, FEWEST_SALE_DAYS};
use super::conformal::Scores;
use super::newcomers::COUNTS_AS_DAYS;
use crate::candidates::Answer;
use crate::panel::Window;

/// Open days that the mean of an article that hardly sells is made of.
pub(crate) const MEAN_DAYS: usize = 56;
/// Open days that its quantiles are made of.
pub(crate) const HISTORY_DAYS: usize = 364;
/// No figure is above so many times the greatest day of the history.
pub(crate) const CAP_FACTOR: f64 = 2.0;

/// Mean and quantiles of the days ahead.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Leaf {
    pub(super) mean: Vec<f64>,
    pub(super) quantiles: Vec<[f64; 11]>,
    /// Nothing of it is above.
    pub(super) most: f64,
    /// Whether the model made it.
    pub(super) is_of_model: bool,
    /// What each mean is made of; empty before it is explained.
    pub(super) effects: Vec<Effects>,
}

/// One for each series of a business, as of its origin; none of a series that had not begun.
pub(super) fn leaves(
    business: &Business<'_>,
    window: &Window<'_>,
    answers: Vec<Answer>,
) -> Vec<Option<Leaf>> {
    let is_told_of = |series: usize| !business.known(series).is_empty() || business.is_unsold(series);
    let own = |series: usize| is_told_of(series).then(|| of_own_days(business, series));
    let mut leaves: Vec<Option<Leaf>> = (0..business.series.len()).map(own).collect();
    for (part, answer) in window.parts.iter().zip(answers) {
        let most = most(business.known(part.series));
        let day = |ahead: usize| {
            let is_open = business.is_open_ahead(part.series, ahead);
            let mut quantiles = answer.quantiles.each_ref().map(|column| column[ahead]);
            quantiles.sort_unstable_by(f64::total_cmp);
            let settle = |value: f64| if is_open { bounded(value, most) } else { 0.0 };
            let mean = if is_open { answer.mean[ahead].clamp(0.0, most) } else { 0.0 };
            (mean, quantiles.map(settle))
        };
        let (mean, quantiles) = (0..business.settings.horizon).map(day).unzip();
        leaves[part.series] = Some(Leaf { mean, quantiles, most, is_of_model: true, effects: Vec::new() });
    }
    leaves
}

fn of_own_days(business: &Business<'_>, series: usize) -> Leaf {
    let units = business.known(series);
    let is_open = |row: &usize| business.is_open(series, *row);
    let open: Vec<f64> = (0..units.len()).filter(is_open).map(|row| units[row]).collect();
    let most = if units.is_empty() { most(business.sample(series)) } else { most(units) };
    let (mean, quantiles) = match business.beside(series) {
        Some(others) => {
            // The first day is a sale by definition, and tells nothing of those behind it.
            let own = open.get(1..).unwrap_or_default();
            (others.mean(own), others.quantiles(own))
        }
        None => {
            let latest = |days: usize| &open[open.len().saturating_sub(days)..];
            let recent = latest(MEAN_DAYS);
            let mean = recent.iter().sum::<f64>() / recent.len().max(1) as f64;
            (mean, Scores::new(latest(HISTORY_DAYS).to_vec()).quantiles())
        }
    };
    let (mean, quantiles) = (mean.clamp(0.0, most), quantiles.map(|units| bounded(units, most)));
    let day = |ahead: usize| {
        if business.is_open_ahead(series, ahead) { (mean, quantiles) } else { (0.0, [0.0; 11]) }
    };
    let (mean, quantiles) = (0..business.settings.horizon).map(day).unzip();
    Leaf { mean, quantiles, most, is_of_model: false, effects: Vec::new() }
}

/// Why the last forecast of a series is not the model's, and what it is; or what else is to be said of it.
pub(super) fn fallback(
    business: &Business<'_>,
    series: usize,
    leaf: &Leaf,
    has_model: bool,
) -> Option<String> {
    let mended = business.is_mended[series].then(|| "days that hold no quantity count as 0".to_owned());
    if leaf.is_of_model {
        return mended;
    }
    let days = business.series[series].units.len();
    let sale_days = business.sale_days(series);
    let reason = if days == 0 {
        "not sold yet".to_owned()
    } else if sale_days < FEWEST_SALE_DAYS {
        format!("{sale_days} days with sales, {FEWEST_SALE_DAYS} are needed")
    } else if days < FEWEST_DAYS {
        format!("{days} days of history, {FEWEST_DAYS} are needed")
    } else {
        debug_assert!(!has_model, "the model forecasts what it can");
        "no article of the business has history enough to judge a model by".to_owned()
    };
    let made_of = match business.beside(series) {
        Some(others) => format!(
            "of its own days, beside those of {} articles when they were new, which count as {COUNTS_AS_DAYS} days more",
            others.articles
        ),
        None => format!(
            "mean of its last {} open days, quantiles of its last {}",
            days.min(MEAN_DAYS),
            days.min(HISTORY_DAYS)
        ),
    };
    Some(mended.into_iter().chain([reason, made_of]).collect::<Vec<_>>().join(": "))
}

fn most(known: &[f64]) -> f64 {
    CAP_FACTOR * known.iter().copied().fold(0.0, f64::max)
}

/// A quantile as it is stored: between 0 and the most, in thousandths as quantities are, so that an actual on the bound lies inside.
pub(super) fn bounded(units: f64, most: f64) -> f64 {
    let units = units.clamp(0.0, most);
    ((units * 1e3).round() / 1e3).min(most)
}
