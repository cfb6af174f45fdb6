//! What each candidate counts in a blend.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::blend::MEMBERS;
use super::{Answer, Frame, SCORED, quantile};
use crate::classical::demand::DemandClass;

/// Quantiles that count.
const SCORED_COUNT: usize = *SCORED.end() + 1 - *SCORED.start();

/// Rounds of selection: weights are multiples of one over it.
const ROUNDS: usize = 20;

/// What members count before anything is seen of them, and the share of that in every weight: one origin says little. Chosen on rows before the
/// evaluation windows of the sets of decision 015.
const PRIOR: Shares = [0.7, 0.3, 0.0, 0.0, 0.0];
const PRIOR_SHARE: f64 = 0.5;

/// Rows of a class at which its own weights count as much as those of all.
const SHRINK_ROWS: f64 = 1_000.0;

type Shares = [f64; MEMBERS.len()];

/// Weights by class of demand; they sum to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Weights([Shares; 4]);

impl Default for Weights {
    fn default() -> Self {
        Self([PRIOR; 4])
    }
}

impl Weights {
    /// Of what each member forecast. Members are chosen one after the other, with replacement, each the one that brings the scaled
    /// quantile loss of the mean of those chosen furthest down (Caruana et al., Ensemble Selection from Libraries of Models, ICML 2004); weights of a class are
    /// shrunk to those of all rows.
    pub(super) fn of(frames: &[Frame; MEMBERS.len()], classes: &[DemandClass]) -> Self {
        let (all, _) = selected(frames, |_| true);
        let of_class = |class: DemandClass| {
            let (own, rows) = selected(frames, |series| classes[series] == class);
            let share = rows / (rows + SHRINK_ROWS);
            std::array::from_fn(|member| {
                let seen = share * own[member] + (1.0 - share) * all[member];
                PRIOR_SHARE * PRIOR[member] + (1.0 - PRIOR_SHARE) * seen
            })
        };
        Self(DemandClass::ALL.map(of_class))
    }

    /// What a member counts.
    pub(super) fn share(&self, class: DemandClass, member: usize) -> f64 {
        self.0[class as usize][member]
    }

    /// What each member counts that counts at all, by class of demand and name.
    pub(super) fn by_name(&self) -> BTreeMap<&'static str, BTreeMap<&'static str, f64>> {
        let of_class = |class: DemandClass| {
            let shares = MEMBERS.iter().zip(self.0[class as usize]).filter(|(_, share)| *share > 0.0);
            (class.name(), shares.map(|(member, share)| (member.name(), share)).collect())
        };
        DemandClass::ALL.map(of_class).into()
    }

    /// The blend of a part's answers.
    pub(super) fn blend<'a>(&self, class: DemandClass, of: impl Fn(usize) -> &'a Answer) -> Answer {
        let sum = |values: &dyn Fn(&'a Answer) -> &'a Vec<f64>| {
            let mut sums: Vec<f64> = Vec::new();
            for (member, share) in
                self.0[class as usize].iter().enumerate().filter(|(_, share)| **share > 0.0)
            {
                let values = values(of(member));
                sums.resize(values.len(), 0.0);
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += share * value);
            }
            sums
        };
        Answer {
            quantiles: std::array::from_fn(|at| sum(&|answer| &answer.quantiles[at])),
            mean: sum(&|answer| &answer.mean),
        }
    }
}

/// The blend of frames of the same rows.
pub(super) fn mixed(members: &[Frame; MEMBERS.len()], weights: &Weights, classes: &[DemandClass]) -> Frame {
    let mut frame = members[0].clone();
    let mix = |row: usize, of: &dyn Fn(&Frame) -> f64| {
        let shares = &weights.0[classes[members[0].series[row]] as usize];
        shares
            .iter()
            .zip(members)
            .filter(|(share, _)| **share > 0.0)
            .map(|(share, member)| share * of(member))
            .sum()
    };
    for row in 0..frame.y.len() {
        for at in 0..frame.quantiles.len() {
            frame.quantiles[at][row] = mix(row, &|member| member.quantiles[at][row]);
        }
        frame.mean[row] = mix(row, &|member| member.mean[row]);
    }
    frame
}

/// The shares of the members by the rows of some series, and how many rows there are.
fn selected(frames: &[Frame; MEMBERS.len()], is_meant: impl Fn(usize) -> bool) -> (Shares, f64) {
    let first = &frames[0];
    let counts_in = |row: &usize| {
        first.active[*row]
            && first.y[*row].is_finite()
            && first.scale[*row].is_finite()
            && first.scale[*row] > 0.0
            && is_meant(first.series[*row])
    };
    let rows: Vec<usize> = (0..first.y.len()).filter(counts_in).collect();
    let mut counts = [0_usize; MEMBERS.len()];
    // By row and quantile, what the chosen members sum to.
    let mut sums = vec![[0.0; SCORED_COUNT]; rows.len()];
    for chosen in 1..=ROUNDS {
        let loss = |frame: &Frame| -> f64 {
            let of_row = |(row, sums): (&usize, &[f64; SCORED_COUNT])| {
                let loss = SCORED.zip(sums).map(|(at, sum)| {
                    let share = quantile(at).0;
                    let below = frame.y[*row] - (sum + frame.quantiles[at][*row]) / chosen as f64;
                    (share * below).max((share - 1.0) * below)
                });
                loss.sum::<f64>() / frame.scale[*row]
            };
            rows.iter().zip(&sums).map(of_row).sum()
        };
        let losses: Vec<f64> = frames.iter().map(loss).collect();
        let best = (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap_or_default();
        counts[best] += 1;
        for (row, sums) in rows.iter().zip(&mut sums) {
            SCORED.zip(sums).for_each(|(at, sum)| *sum += frames[best].quantiles[at][*row]);
        }
    }
    (counts.map(|count| count as f64 / ROUNDS as f64), rows.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members whose quantiles lie around the truth, each so far off.
    fn frames(off: [f64; MEMBERS.len()]) -> [Frame; MEMBERS.len()] {
        let rows = 400;
        let truth = |row: usize| 10.0 + (row % 7) as f64;
        off.map(|off| Frame {
            series: (0..rows).map(|row| row / 100).collect(),
            periods: (0..rows).map(|row| row as i64).collect(),
            y: (0..rows).map(truth).collect(),
            quantiles: std::array::from_fn(|at| {
                (0..rows).map(|row| truth(row) + off + (at as f64 - 5.0) / 10.0).collect()
            }),
            mean: (0..rows).map(|row| truth(row) + off).collect(),
            scale: vec![2.0; rows],
            active: vec![true; rows],
            window: 0,
        })
    }

    #[test]
    fn who_was_right_counts_most_and_all_counts_sum_to_one() {
        let classes = [DemandClass::Smooth, DemandClass::Smooth, DemandClass::Lumpy, DemandClass::Lumpy];
        let right = frames([5.0, 5.0, 5.0, 0.0, 5.0]);
        let weights = Weights::of(&right, &classes);
        for shares in weights.0 {
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{shares:?}");
            assert!(shares[3] > 0.49 && shares[4] == 0.0, "{shares:?}");
        }
        // One that lies above and one that lies below are better together.
        let both = Weights::of(&frames([1.0, -1.0, 9.0, 9.0, 9.0]), &classes);
        let [above, below, ..] = both.0[0];
        assert!(above > 0.4 && below > 0.3, "{both:?}");
    }

    #[test]
    fn answers_and_frames_are_blended_alike() {
        let weights = Weights::default();
        let members = frames([1.0, 2.0, f64::NAN, 4.0, 5.0]);
        let mixed = mixed(&members, &weights, &[DemandClass::Smooth; 4]);
        let answers = members
            .each_ref()
            .map(|frame| Answer { quantiles: frame.quantiles.clone(), mean: frame.mean.clone() });
        let blended = weights.blend(DemandClass::Smooth, |member| &answers[member]);
        assert_eq!((blended.quantiles, blended.mean), (mixed.quantiles, mixed.mean));
    }
}
