//! Rolling-origin evaluation of models on a long table, by the definitions of the field's usual Python scripts.
//!
//! The last `windows` origins lie a horizon apart; each series is cut at its own end. A series takes part in a window when it has `min_train` values
//! before the origin. Models see the rows before it and, of the covariates known for the future, those behind it. Scales come from the rows before it.
//!
//! A missing value is nobody's forecast error: it is left out of every measure.

mod blend;
mod boosted;
mod calibration;
mod classical;
mod group_median;
mod net;
mod period;
mod pooled;
mod predictions;
mod score;
mod seasonal_naive;
mod table;
mod weights;
mod window;

use std::time::{Duration, Instant};

use domain::{Error, Result};
use serde::Serialize;

use crate::classical::intermittent::Method;
use crate::classical::{ets, theta};

use blend::Chosen;
use boosted::Forests;
use net::Nets;

pub use period::{Frequency, Period};
pub use predictions::{Frame, write_parquet};
pub use score::{Measures, QuantileMeasures, measures};
pub use table::{Covariate, LongSeries, LongTable, LongTableBuilder, Role};
pub use window::{Part, Window};

/// What is evaluated, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Periods in a season.
    pub season: usize,
    /// Periods ahead.
    pub horizon: usize,
    /// How many origins.
    pub windows: usize,
    /// Values that a series needs before an origin.
    pub min_train: usize,
    /// Whether forecasts below 0 become 0.
    pub clip0: bool,
    /// The covariate that is 0 where a series is closed: there each forecast is 0.
    pub mask: Option<usize>,
    /// The covariates that part a series' past into like periods, beside the season.
    pub median_by: Vec<usize>,
    /// The covariates that models look at around a period, too.
    pub shift: Vec<usize>,
    /// How forests are grown.
    pub boost: crate::boost::Config,
    /// How nets learn.
    pub net: crate::tide::Config,
    /// Threads.
    pub jobs: usize,
}

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
    /// Forests over all series ([`crate::boost`]).
    Boost(Sight),
    /// Nets over all series ([`crate::tide`]).
    Tide(Sight),
    /// The product's own: some of the others, weighed and calibrated on older origins. It knows plans.
    Blend,
}

impl Candidate {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::SeasonalNaive,
        Self::Ets,
        Self::Theta,
        Self::SyntetosBoylan,
        Self::TeunterSyntetosBabai,
        Self::GroupMedian,
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
    fn choose(self, window: &Window<'_>) -> Option<Chosen> {
        (self == Self::Blend).then(|| Chosen::of(window))
    }

    fn forecast(self, window: &Window<'_>, chosen: Option<&Chosen>) -> Vec<Answer> {
        match self {
            Self::Blend => chosen.unwrap_or(&Chosen::default()).forecast(window),
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
            Self::Boost(sight) => Forests::grow(window, sight).forecast(window),
            Self::Tide(sight) => Nets::learn(window, sight).forecast(window),
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

/// What a model did in all windows.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Its forecasts, one frame for each window.
    pub frames: Vec<Frame>,
    /// What selection and calibration took.
    pub selection: Spent,
    /// What fit and predict took.
    pub fit: Spent,
}

/// Time that something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Wall time.
    pub wall: Duration,
    /// CPU time of the process.
    pub cpu: Duration,
}

impl Spent {
    /// Adds what making something takes.
    fn on<T>(&mut self, cpu_time: &dyn Fn() -> Duration, make: impl FnOnce() -> T) -> T {
        let (begun, cpu_before) = (Instant::now(), cpu_time());
        let made = make();
        self.wall += begun.elapsed();
        self.cpu += cpu_time().saturating_sub(cpu_before);
        made
    }
}

/// The measures of a model as they are reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelReport {
    /// Over all rows.
    #[serde(flatten)]
    pub all: Measures,
    /// Seconds of fit and predict, summed over the windows.
    pub wall_s: f64,
    /// CPU seconds of fit and predict.
    pub cpu_s: f64,
    /// Seconds of selection and calibration; 0 for a model that has neither.
    pub selection_wall_s: f64,
    /// CPU seconds of selection and calibration.
    pub selection_cpu_s: f64,
    /// Over the rows on which a series is open; none without a mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<Measures>,
    /// Of each window; none of a single one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Measures>,
}

/// The windows of a table.
///
/// # Errors
/// [`domain::ErrorKind::Invalid`] when no series is long enough for any of them.
pub fn windows<'a>(table: &'a LongTable, settings: &'a Settings) -> Result<Vec<Window<'a>>> {
    let windows: Vec<_> = (0..settings.windows).map(|number| Window::new(table, settings, number)).collect();
    if windows.iter().all(|window| window.parts.is_empty()) {
        let needed = settings.min_train + settings.horizon;
        let longest = table.series.iter().map(|series| series.y.len()).max().unwrap_or_default();
        return Err(Error::invalid(format!(
            "no series is long enough: {needed} periods are needed (--min-train and --horizon), the longest has {longest}"
        )));
    }
    Ok(windows)
}

/// Forecasts every window. `cpu_time` tells the CPU time of the process so far; `done` hears of each window.
pub fn evaluate(
    candidate: Candidate,
    windows: &[Window<'_>],
    cpu_time: &dyn Fn() -> Duration,
    done: &dyn Fn(),
) -> Evaluation {
    let (mut frames, mut selection, mut fit) = (Vec::new(), Spent::default(), Spent::default());
    for window in windows {
        let chosen = selection.on(cpu_time, || candidate.choose(window));
        let answers = fit.on(cpu_time, || candidate.forecast(window, chosen.as_ref()));
        frames.push(Frame::new(window, answers));
        done();
    }
    Evaluation { frames, selection, fit }
}

impl Evaluation {
    /// Its measures.
    #[must_use]
    pub fn report(&self, settings: &Settings) -> ModelReport {
        let of_window = |frame: &Frame| measures(std::slice::from_ref(frame), false);
        ModelReport {
            all: measures(&self.frames, false),
            wall_s: self.fit.wall.as_secs_f64(),
            cpu_s: self.fit.cpu.as_secs_f64(),
            selection_wall_s: self.selection.wall.as_secs_f64(),
            selection_cpu_s: self.selection.cpu.as_secs_f64(),
            active: settings.mask.map(|_| measures(&self.frames, true)),
            windows: if self.frames.len() > 1 {
                self.frames.iter().map(of_window).collect()
            } else {
                Vec::new()
            },
        }
    }
}

#[cfg(test)]
mod tests;
