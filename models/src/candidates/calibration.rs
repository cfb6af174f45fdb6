//! By how much intervals and means were off at an older origin, and forecasts that are mended by it.
//!
//! The score of a value is how far it lay from the median, in distances of the interval's bound on its side; intervals are stretched about the median by
//! the quantile of the scores that they promise to hold (conformal prediction with normalised scores: Papadopoulos, Gammerman and Vovk, Normalized
//! nonconformity measures, 2008). Scores are taken by class of demand and third of the horizon, shrunk to all rows.
//!
//! The median stays: at one origin all of a business is off to one side together, and the next time to the other.

use domain::forecast::INTERVAL_80;
use serde::{Deserialize, Serialize};

use super::{Answer, Frame, MEDIAN, quantile};
use crate::classical::demand::DemandClass;

/// Parts of the horizon that are calibrated apart.
const BUCKETS: usize = 3;

/// Rows at which those of a class and part count as much as all.
const SHRINK_ROWS: f64 = 500.0;

/// Rows at which what all say counts as much as that nothing is off.
const DOUBT_ROWS: f64 = 20.0;

/// The share of a change that is made, but for the outermost interval: one origin is no more than a hint.
const SHARE: f64 = 0.4;

/// Nothing is changed by more than this factor, either way.
const MOST: f64 = 2.0;

const INTERVAL_95: (usize, usize) = (0, 10);

/// What the inner and the outermost quantiles' distances from the median are multiplied by, and the mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Factors {
    inner: f64,
    outer: f64,
    mean: f64,
}

/// Factors by class of demand and part of the horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Calibration([[Factors; BUCKETS]; 4]);

impl Default for Calibration {
    /// Changes nothing.
    fn default() -> Self {
        Self([[Factors::NONE; BUCKETS]; 4])
    }
}

impl Calibration {
    /// Of what was forecast from an older origin, a row for each period ahead. Few rows change little.
    pub(super) fn of(frame: &Frame, classes: &[DemandClass], horizon: usize) -> Self {
        let counts_in = |row: &usize| frame.active[*row] && frame.y[*row].is_finite();
        let rows: Vec<usize> = (0..frame.y.len()).filter(counts_in).collect();
        let all = Factors::NONE.shrunk(&Factors::of(frame, &rows), rows.len() as f64, DOUBT_ROWS);
        let of = |class: DemandClass, bucket: usize| {
            let is_own = |row: &usize| {
                classes[frame.series[*row]] == class && bucket_of(row % horizon, horizon) == bucket
            };
            let own: Vec<usize> = rows.iter().copied().filter(is_own).collect();
            all.shrunk(&Factors::of(frame, &own), own.len() as f64, SHRINK_ROWS)
        };
        Self(DemandClass::ALL.map(|class| std::array::from_fn(|bucket| of(class, bucket))))
    }

    /// A part's answer, mended. Quantiles that would cross are put in order.
    pub(super) fn apply(&self, class: DemandClass, mut answer: Answer) -> Answer {
        let horizon = answer.mean.len();
        for ahead in 0..horizon {
            let factors = &self.0[class as usize][bucket_of(ahead, horizon)];
            let median = answer.quantiles[MEDIAN][ahead];
            let mut quantiles: [f64; 11] = std::array::from_fn(|at| {
                let is_outer = [INTERVAL_95.0, INTERVAL_95.1].contains(&at);
                let factor = if is_outer { factors.outer } else { factors.inner };
                median + factor * (answer.quantiles[at][ahead] - median)
            });
            quantiles.sort_unstable_by(f64::total_cmp);
            answer.quantiles.iter_mut().zip(quantiles).for_each(|(column, value)| column[ahead] = value);
            answer.mean[ahead] *= factors.mean;
        }
        answer
    }
}

fn bucket_of(ahead: usize, horizon: usize) -> usize {
    ahead * BUCKETS / horizon
}

impl Factors {
    /// They change nothing.
    const NONE: Self = Self { inner: 1.0, outer: 1.0, mean: 1.0 };

    /// Of some rows of a frame; factors of one where there are none.
    fn of(frame: &Frame, rows: &[usize]) -> Self {
        let sum = |values: &[f64]| rows.iter().map(|row| values[*row]).sum::<f64>();
        let damped = |factor: f64| 1.0 + SHARE * (factor - 1.0);
        Self {
            inner: damped(stretch(frame, rows, INTERVAL_80)),
            outer: stretch(frame, rows, INTERVAL_95),
            mean: damped(bounded(sum(&frame.y) / sum(&frame.mean))),
        }
    }

    /// Those of so many rows of its own, of which `even` count as much as these.
    fn shrunk(&self, own: &Self, rows: f64, even: f64) -> Self {
        let of = |own: f64, all: f64| (rows * own + even * all) / (rows + even);
        Self {
            inner: of(own.inner, self.inner),
            outer: of(own.outer, self.outer),
            mean: of(own.mean, self.mean),
        }
    }
}

/// The factor by which an interval must be stretched to hold the share of values that it promises.
fn stretch(frame: &Frame, rows: &[usize], (low, high): (usize, usize)) -> f64 {
    let score = |row: &usize| {
        let off = frame.y[*row] - frame.quantiles[MEDIAN][*row];
        let bound = if off < 0.0 { low } else { high };
        let reach = (frame.quantiles[bound][*row] - frame.quantiles[MEDIAN][*row]).abs();
        if off == 0.0 { 0.0 } else { off.abs() / reach }
    };
    let mut scores: Vec<f64> = rows.iter().map(score).collect();
    let promised = quantile(high).0 - quantile(low).0;
    // One more than there are: the value to come is as likely to take any rank among them.
    let rank = ((scores.len() + 1) as f64 * promised).ceil() as usize;
    let Some(last) = scores.len().checked_sub(1) else { return 1.0 };
    bounded(*scores.select_nth_unstable_by(rank.saturating_sub(1).min(last), f64::total_cmp).1)
}

fn bounded(factor: f64) -> f64 {
    if factor.is_nan() { 1.0 } else { factor.clamp(1.0 / MOST, MOST) }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const HORIZON: usize = 9;
    const CLASSES: [DemandClass; 200] = [DemandClass::Smooth; 200];

    /// Forecasts of values from 0 to 1 that are too narrow, with a mean that is a quarter too high.
    fn frame(seed: u64) -> Frame {
        let rows = CLASSES.len() * HORIZON;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        Frame {
            series: (0..rows).map(|row| row / HORIZON).collect(),
            periods: (0..rows).map(|row| (row % HORIZON) as i64).collect(),
            y: (0..rows).map(|_| random.random_range(0.0..1.0)).collect(),
            quantiles: std::array::from_fn(|at| vec![0.5 + 0.5 * (quantile(at).0 - 0.5); rows]),
            mean: vec![0.625; rows],
            scale: vec![1.0; rows],
            active: vec![true; rows],
            window: 0,
        }
    }

    fn answer(frame: &Frame) -> Answer {
        let first = |values: &Vec<f64>| values[..HORIZON].to_vec();
        Answer { quantiles: frame.quantiles.each_ref().map(first), mean: first(&frame.mean) }
    }

    #[test]
    fn narrow_intervals_and_high_means_are_mended_by_a_share_and_the_outermost_wholly() {
        let before = frame(1);
        let mended = Calibration::of(&before, &CLASSES, HORIZON).apply(DemandClass::Smooth, answer(&before));
        for ahead in 0..HORIZON {
            let at = |quantile: usize| mended.quantiles[quantile][ahead];
            assert!((at(0) - 0.025).abs() < 0.05 && (at(10) - 0.975).abs() < 0.05, "{mended:?}");
            let reach = 0.2 * (1.0 + SHARE);
            assert!((at(1) - 0.5 + reach).abs() < 0.02 && (at(9) - 0.5 - reach).abs() < 0.02, "{mended:?}");
            let mean = 0.625 - SHARE * 0.125;
            assert!(at(5) == 0.5 && (mended.mean[ahead] - mean).abs() < 0.02, "{mended:?}");
            assert!((0..10).all(|quantile| at(quantile) <= at(quantile + 1)));
        }
    }

    #[test]
    fn few_rows_move_little_and_points_without_a_spread_stay() {
        let reach_by = |rows: usize| {
            let mut few = frame(2);
            few.active.iter_mut().skip(rows).for_each(|active| *active = false);
            let calibration = Calibration::of(&few, &CLASSES, HORIZON);
            calibration.apply(DemandClass::Lumpy, answer(&few)).quantiles[10][0] - 0.5
        };
        let plain = answer(&frame(2)).quantiles[10][0] - 0.5;
        assert_eq!(reach_by(0), plain);
        let (few, many) = (reach_by(60), reach_by(CLASSES.len() * HORIZON));
        assert!(plain < few && few < many && many < 2.0 * plain, "{plain} {few} {many}");
        let mut points = frame(3);
        points.quantiles.iter_mut().for_each(|values| values.fill(0.5));
        let plain = answer(&points);
        let mended = Calibration::of(&points, &CLASSES, HORIZON).apply(DemandClass::Lumpy, plain.clone());
        assert_eq!(mended.quantiles, plain.quantiles);
        assert!(mended.mean.iter().all(|mean| mean.is_finite()));
    }
}
