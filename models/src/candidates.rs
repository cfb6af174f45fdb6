//! Models by name: each forecasts the parts of a window, and sees the rows before its origin and, of the covariates known for the future, those behind it.

mod blend;
mod boosted;
mod calibration;
mod classical;
mod combined;
mod frame;
mod group_median;
mod net;
mod pooled;
mod seasonal_naive;
mod weights;

use domain::{Error, Result};

use crate::classical::intermittent::Method;
use crate::classical::{ets, theta};
use crate::panel::Window;

pub use blend::Chosen;
pub(crate) use blend::{Asked, Members};
use boosted::Forests;
pub use frame::Frame;
pub(crate) use frame::{MEDIAN, SCORED, quantile};
use net::Nets;

/// What of the future a model is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// The calendar alone.
    Alone,
    /// The covariates that are known for the future, too.
    Known,
    /// And what really came: an experiment, no forecast.
    Oracle,
}

/// A model by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidate {
    /// The last season again, with normal intervals from its errors.
    SeasonalNaive,
    /// Seasonal exponential smoothing ([`crate::classical::ets`]), with normal intervals.
    Ets,
    /// The dynamic optimised theta model ([`crate::classical::theta`]), with normal intervals.
    Theta,
    /// Smoothed sizes and intervals of demand ([`crate::classical::intermittent`]).
    SyntetosBoylan,
    /// Smoothed sizes and chances of demand.
    TeunterSyntetosBabai,
    /// The median of the series' own past in the same season of the calendar. It gives no intervals.
    GroupMedian,
    /// Smoothing, theta and TSB, each where it fits, with calibrated intervals.
    Combined,
    /// Forests over all series ([`crate::boost`]).
    Boost(Sight),
    /// Nets over all series ([`crate::tide`]).
    Tide(Sight),
    /// The product's own: some of the others, weighed and calibrated on older origins. It knows plans.
    Blend,
}

impl Candidate {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::SeasonalNaive,
        Self::Ets,
        Self::Theta,
        Self::SyntetosBoylan,
        Self::TeunterSyntetosBabai,
        Self::GroupMedian,
        Self::Combined,
        Self::Boost(Sight::Alone),
        Self::Boost(Sight::Known),
        Self::Boost(Sight::Oracle),
        Self::Tide(Sight::Alone),
        Self::Tide(Sight::Known),
        Self::Tide(Sight::Oracle),
        Self::Blend,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SeasonalNaive => "SeasonalNaive",
            Self::Ets => "ETS",
            Self::Theta => "DOT",
            Self::SyntetosBoylan => "CrostonSBA",
            Self::TeunterSyntetosBabai => "TSB",
            Self::GroupMedian => "GroupMedian",
            Self::Combined => "Combined",
            Self::Boost(Sight::Alone) => "Boost",
            Self::Boost(Sight::Known) => "Boost+known",
            Self::Boost(Sight::Oracle) => "Boost+oracle",
            Self::Tide(Sight::Alone) => "TiDE-Q",
            Self::Tide(Sight::Known) => "TiDE-Q+known",
            Self::Tide(Sight::Oracle) => "TiDE-Q+oracle",
            Self::Blend => "intellicartel",
        }
    }

    /// The candidate of a name.
    ///
    /// # Errors
    /// [`domain::ErrorKind::Invalid`] with the names that there are.
    pub fn named(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|candidate| candidate.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::invalid(format!("there is no model `{name}`: give some of {names}"))
        })
    }

    /// What it chooses and calibrates by older origins, before it is fitted.
    pub(crate) fn choose(self, window: &Window<'_>) -> Option<Chosen> {
        (self == Self::Blend).then(|| Chosen::of(window))
    }

    pub(crate) fn forecast(self, window: &Window<'_>, chosen: Option<&Chosen>) -> Vec<Answer> {
        match self {
            Self::Blend => {
                let chosen = chosen.cloned().unwrap_or_default();
                chosen.blend(window, &Members::learn(window).ask(window, &[&chosen]))
            }
            Self::SeasonalNaive => seasonal_naive::forecast(window),
            Self::Ets => classical::normal(window, |known, season, horizon| {
                Some(ets::fit(known, season)?.forecast(horizon))
            }),
            Self::Theta => classical::normal(window, |known, season, horizon| {
                Some(theta::fit(known, season)?.forecast(horizon))
            }),
            Self::SyntetosBoylan => classical::intermittent(window, Method::SyntetosBoylan),
            Self::TeunterSyntetosBabai => classical::intermittent(window, Method::TeunterSyntetosBabai),
            Self::GroupMedian => group_median::forecast(window),
            Self::Combined => combined::forecast(window),
            Self::Boost(sight) => Forests::grow(window, sight).forecast(window, &window.parts),
            Self::Tide(sight) => Nets::learn(window, sight).forecast(window, &window.parts),
        }
    }
}

/// A series' forecast at an origin.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Of each period ahead, the values at [`domain::forecast::QUANTILES_PER_MILLE`]; all empty but the median for a model without intervals.
    pub quantiles: [Vec<f64>; 11],
    /// The mean of each period ahead; empty for a model that has none.
    pub mean: Vec<f64>,
}
