//! The product's forecast: a blend of candidates, weighed and calibrated on origins before the one that is forecast from.
//!
//! Models first learn up to two horizons before the origin. What they forecast from there chooses what each candidate counts, by class of demand; what they
//! forecast a horizon later, of periods that lie behind all of those, says by how much quantiles and mean were off. Then they learn again up to the
//! origin itself.

use domain::{Error, Result};
use serde::{Deserialize, Serialize};

use super::boosted::Forests;
use super::calibration::Calibration;
use super::net::Nets;
use super::weights::{Weights, mixed};
use super::{Answer, Candidate, Frame, Sight};
use crate::classical::demand::DemandClass;
use crate::panel::{LongSeries, Part, Window};

/// What is blended.
pub(super) const MEMBERS: [Candidate; 5] = [
    Candidate::Boost(Sight::Known),
    Candidate::Tide(Sight::Known),
    Candidate::Theta,
    Candidate::TeunterSyntetosBabai,
    Candidate::SeasonalNaive,
];

/// Parts that candidates are weighed and calibrated by, at most.
const MOST_WEIGHED: usize = 500;

/// Horizons before the origin at which candidates are weighed, and at which what they made is calibrated.
const WEIGHED_AT: usize = 2;
const CALIBRATED_AT: usize = 1;

/// What was learned of older origins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    weights: Weights,
    calibration: Calibration,
}

impl Chosen {
    /// By the known rows of a window alone.
    pub(crate) fn of(window: &Window<'_>) -> Self {
        let older = |horizons: usize| window.before(horizons * window.settings.horizon);
        let (oldest, newest) = (older(WEIGHED_AT), older(CALIBRATED_AT));
        if oldest.parts.is_empty() {
            return Self::default();
        }
        let forests = Forests::grow(&oldest, Sight::Known);
        let nets = Nets::learn(&oldest, Sight::Known);
        let frames = |window: &Window<'_>| {
            let some = window.some(MOST_WEIGHED);
            answers(window, &some.parts, &forests, &nets, |_, _| true)
                .map(|answers| Frame::new(&some, answers))
        };
        let classes = classes(window);
        let weights = Weights::of(&frames(&oldest), &classes);
        let made = mixed(&frames(&newest), &weights, &classes);
        let calibration = Calibration::of(&made, &classes, window.settings.horizon);
        Self { weights, calibration }
    }
}

/// What is blended, having learned up to an origin.
#[derive(Debug)]
pub(crate) struct Members {
    forests: Forests,
    nets: Nets,
}

impl Members {
    /// They learn from the known rows of a window.
    pub(crate) fn learn(window: &Window<'_>) -> Self {
        Self { forests: Forests::grow(window, Sight::Known), nets: Nets::learn(window, Sight::Known) }
    }

    /// Forecasts the parts of the window, by each of some choices.
    pub(crate) fn forecast(&self, window: &Window<'_>, chosen: &[&Chosen]) -> Vec<Vec<Answer>> {
        let classes = classes(window);
        let counts = |member: usize, part: &Part| {
            chosen.iter().any(|chosen| chosen.weights.share(classes[part.series], member) > 0.0)
        };
        let members = answers(window, &window.parts, &self.forests, &self.nets, counts);
        let of_part = |Chosen { weights, calibration }: &Chosen, at: usize, part: &Part| {
            let class = classes[part.series];
            calibration.apply(class, weights.blend(class, |member| &members[member][at]))
        };
        let of_parts = |chosen: &&Chosen| {
            window.parts.iter().enumerate().map(|(at, part)| of_part(chosen, at, part)).collect()
        };
        chosen.iter().map(of_parts).collect()
    }

    /// All that shapes a forecast, as JSON: what was chosen, forests and nets. Models of one series keep nothing.
    pub(crate) fn learned(&self, chosen: &Chosen) -> Result<Vec<u8>> {
        serde_json::to_vec(&(chosen, self.forests.learned(), self.nets.learned()))
            .map_err(|error| Error::internal(format!("what a model has learned: {error}")))
    }
}

/// What each member answers for some parts of a window; nothing for those for which it need not be asked. What is below 0 is 0 before it is blended, where
/// it would be so in the end.
fn answers(
    window: &Window<'_>,
    parts: &[Part],
    forests: &Forests,
    nets: &Nets,
    is_asked: impl Fn(usize, &Part) -> bool,
) -> [Vec<Answer>; MEMBERS.len()] {
    let of_some = |at: usize, member: Candidate| {
        let asked = parts.iter().copied().filter(|part| is_asked(at, part)).collect();
        let mut made = member.forecast(&Window { parts: asked, ..window.clone() }, None).into_iter();
        let of_part = |part: &Part| {
            if is_asked(at, part) { made.next().unwrap_or_default() } else { Answer::default() }
        };
        parts.iter().map(of_part).collect()
    };
    let mut all = std::array::from_fn(|at| match MEMBERS[at] {
        Candidate::Boost(_) => forests.forecast(window, parts),
        Candidate::Tide(_) => nets.forecast(window, parts),
        other => of_some(at, other),
    });
    if window.settings.clip0 {
        for answer in all.iter_mut().flatten() {
            let columns = answer.quantiles.iter_mut().chain([&mut answer.mean]);
            columns.flatten().for_each(|value| *value = value.max(0.0));
        }
    }
    all
}

/// The class of each of the table's series, by its known rows on which it is open.
fn classes(window: &Window<'_>) -> Vec<DemandClass> {
    let settings = window.settings;
    let of_series = |(series, known): (&LongSeries, usize)| {
        let is_open = |row: &usize| {
            series.y[*row].is_finite()
                && settings.mask.is_none_or(|mask| series.covariates[mask][*row] != 0.0)
        };
        DemandClass::of(&(0..known).filter(is_open).map(|row| series.y[row]).collect::<Vec<_>>())
    };
    window.table.series.iter().zip(window.known()).map(of_series).collect()
}
