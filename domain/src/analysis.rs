//! What models tell of any series that a question gives: what comes next, and what was out of the ordinary.

use std::fmt::Debug;

use crate::civil::Micros;
use crate::error::Result;

/// A series as a question gave it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GivenSeries {
    /// As errors name it; empty where there is one alone.
    pub name: String,
    /// When its values were, ascending, each once: hours, days, weeks or months apart.
    pub times: Vec<Micros>,
    /// A value for each time; NaN where it is missing.
    pub values: Vec<f64>,
}

/// What comes next in a series; NaN where it has no value to tell it by.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outlook {
    /// The times behind its last.
    pub times: Vec<Micros>,
    /// The mean at each.
    pub mean: Vec<f64>,
    /// The quantiles at [`crate::forecast::QUANTILES_PER_MILLE`], a value for each time.
    pub quantiles: [Vec<f64>; 11],
}

/// In which way a value is out of the ordinary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnomalyKind {
    /// Far above what its series has at such a time.
    Spike,
    /// Far below.
    Dip,
    /// The first of a level above the one before, which stays.
    LevelUp,
    /// The same below.
    LevelDown,
    /// Beside what its series has at such a time, far from what the other series have beside theirs.
    UnlikeOthers,
}

impl AnomalyKind {
    /// As it is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::Dip => "dip",
            Self::LevelUp => "level_up",
            Self::LevelDown => "level_down",
            Self::UnlikeOthers => "unlike_others",
        }
    }
}

/// What is told of a value of a series.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Judged {
    /// What its series has at such a time; none where too little is known.
    pub expected: Option<f64>,
    /// Bounds beyond which a value is a spike or a dip.
    pub bounds: Option<(f64, f64)>,
    /// How far it lies from what is expected, in spreads; below 0 where it lies below.
    pub score: Option<f64>,
    /// The same beside the other series at that time; none where they are fewer than five.
    pub score_beside_others: Option<f64>,
    /// What is out of the ordinary about it.
    pub kind: Option<AnomalyKind>,
}

/// Models that look at series as they are given, and keep nothing.
pub trait Analysis: Send + Sync + Debug {
    /// What comes next in each series, `horizon` times behind its last. It computes for milliseconds a series, and ends with an error of
    /// [`crate::ErrorKind::Cancelled`] soon after `goes_on` says no.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for times that are no hours, days, weeks or months, naming the series.
    fn outlooks(
        &self,
        series: &[GivenSeries],
        horizon: usize,
        goes_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Outlook>>;

    /// What is told of each value of each series.
    ///
    /// # Errors
    /// As of [`Self::outlooks`].
    fn anomalies(
        &self,
        series: &[GivenSeries],
        goes_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Vec<Judged>>>;
}
