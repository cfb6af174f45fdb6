//! The product's forecast: a blend of candidates, weighed and calibrated on origins before the one that is forecast from.
//!
//! Models first learn up to two horizons before the origin. What they forecast from there chooses what each candidate counts, by class of demand; what they
//! forecast a horizon later, of periods that lie behind all of those, says by how much quantiles and mean were off. Then they learn again up to the
//! origin itself.

use std::collections::BTreeMap;

use domain::{Error, Result};
use serde::{Deserialize, Serialize};

use super::boosted::Forests;
use super::calibration::Calibration;
use super::net::Nets;
use super::weights::{Weights, mixed};
use super::{Answer, Candidate, Frame, Sight, pooled};
use crate::classical::demand::DemandClass;
use crate::features::market;
use crate::panel::{LongSeries, Part, Period, Settings, Window};

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
    /// What each member counts, by class of demand and name.
    pub(crate) fn weights(&self) -> BTreeMap<&'static str, BTreeMap<&'static str, f64>> {
        self.weights.by_name()
    }

    /// The blend of what members have answered for the parts of a window.
    pub(crate) fn blend(&self, window: &Window<'_>, Asked(members): &Asked) -> Vec<Answer> {
        let classes = classes(window);
        let of_part = |(at, part): (usize, &Part)| {
            let class = classes[part.series];
            let answer =
                self.calibration.apply(class, self.weights.blend(class, |member| &members[member][at]));
            if are_counts(&window.series(part).y[..part.known]) { counted(answer) } else { answer }
        };
        window.parts.iter().enumerate().map(of_part).collect()
    }

    /// By the known rows of a window alone.
    pub(crate) fn of(window: &Window<'_>) -> Self {
        let older = |horizons: usize| window.before(horizons * window.settings.horizon);
        let (oldest, newest) = (older(WEIGHED_AT), older(CALIBRATED_AT));
        if oldest.parts.is_empty() {
            return Self::default();
        }
        let members = Members::learn(&oldest);
        let frames = |window: &Window<'_>| {
            let some = window.some(MOST_WEIGHED);
            members.answers(window, &some.parts, |_, _| true).map(|answers| Frame::new(&some, answers))
        };
        let classes = classes(window);
        let weights = Weights::of(&frames(&oldest), &classes);
        let made = mixed(&frames(&newest), &weights, &classes);
        let calibration = Calibration::of(&made, &classes, window.settings.horizon);
        Self { weights, calibration }
    }
}

/// What members have answered, in their order, for the parts of a window.
#[derive(Debug)]
pub(crate) struct Asked([Vec<Answer>; MEMBERS.len()]);

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

    /// What they answer for the parts of a window; those that count for none of some choices are not asked.
    pub(crate) fn ask(&self, window: &Window<'_>, chosen: &[&Chosen]) -> Asked {
        let classes = classes(window);
        let counts = |member: usize, part: &Part| {
            chosen.iter().any(|chosen| chosen.weights.share(classes[part.series], member) > 0.0)
        };
        Asked(self.answers(window, &window.parts, counts))
    }

    /// Asks those again that are told of plans, for parts of the window at some places.
    pub(crate) fn ask_again(&self, window: &Window<'_>, places: &[usize], Asked(members): &mut Asked) {
        if places.is_empty() {
            return;
        }
        let parts: Vec<Part> = places.iter().map(|place| window.parts[*place]).collect();
        for (member, answers) in MEMBERS.iter().zip(members) {
            if let Some(anew) = self.of_all_series(*member, window, &parts) {
                places.iter().zip(anew).for_each(|(place, answer)| answers[*place] = answer);
            }
        }
    }

    /// What each member answers for some parts of a window; nothing for those for which it need not be asked.
    fn answers(
        &self,
        window: &Window<'_>,
        parts: &[Part],
        is_asked: impl Fn(usize, &Part) -> bool,
    ) -> [Vec<Answer>; MEMBERS.len()] {
        let of_some = |at: usize| {
            let asked = parts.iter().copied().filter(|part| is_asked(at, part)).collect();
            let asked = Window { parts: asked, ..window.clone() };
            let mut made = floored(window, MEMBERS[at].forecast(&asked, None)).into_iter();
            let of_part = |part: &Part| {
                if is_asked(at, part) { made.next().unwrap_or_default() } else { Answer::default() }
            };
            parts.iter().map(of_part).collect()
        };
        std::array::from_fn(|at| {
            self.of_all_series(MEMBERS[at], window, parts).unwrap_or_else(|| of_some(at))
        })
    }

    /// The answers of a member that learns from all series.
    fn of_all_series(&self, member: Candidate, window: &Window<'_>, parts: &[Part]) -> Option<Vec<Answer>> {
        let answers = match member {
            Candidate::Boost(_) => self.forests.forecast(window, parts),
            Candidate::Tide(_) => self.nets.forecast(window, parts),
            _ => return None,
        };
        Some(floored(window, answers))
    }

    /// All that shapes a forecast, as JSON: what was chosen, forests and nets. Models of one series keep nothing.
    pub(crate) fn learned(&self, chosen: &Chosen) -> Result<Vec<u8>> {
        serde_json::to_vec(&(chosen, self.forests.learned(), self.nets.learned()))
            .map_err(|error| Error::internal(format!("what a model has learned: {error}")))
    }

    /// What was chosen, and the members, of [`Self::learned`]; none where it is something else.
    pub(crate) fn of(learned: &[u8], settings: &Settings) -> Option<(Chosen, Self)> {
        let (chosen, forests, nets) = serde_json::from_slice(learned).ok()?;
        let forests = Forests::of(forests, settings, Sight::Known);
        Some((chosen, Self { forests, nets: Nets::of(nets, settings, Sight::Known)? }))
    }

    /// What all parts of a window came to, period by period: what they are told of the others.
    pub(crate) fn market(window: &Window<'_>) -> BTreeMap<Period, f64> {
        market(window.table, &pooled::view(window.settings, Sight::Known), &window.known())
    }
}

/// Whether values are counts: whole numbers, as many of them as are known.
fn are_counts(known: &[f64]) -> bool {
    known.iter().all(|y| y.is_nan() || y.fract() == 0.0)
}

/// Quantiles of counts are counts: a blend of models, each of which may say another one, lies between. The mean is none.
fn counted(mut answer: Answer) -> Answer {
    answer.quantiles.iter_mut().flatten().for_each(|value| *value = value.round());
    answer
}

/// What is below 0 is 0 before it is blended, where it would be so in the end.
fn floored(window: &Window<'_>, mut answers: Vec<Answer>) -> Vec<Answer> {
    if window.settings.clip0 {
        for answer in &mut answers {
            let columns = answer.quantiles.iter_mut().chain([&mut answer.mean]);
            columns.flatten().for_each(|value| *value = value.max(0.0));
        }
    }
    answers
}

/// The class of each of the table's series, by its known rows on which it is open.
pub(super) fn classes(window: &Window<'_>) -> Vec<DemandClass> {
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
