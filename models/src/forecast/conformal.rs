//! Quantiles from past scores, with the correction that makes them hold for the next score and not only for the past ones.
//!
//! Of `n` past scores and one to come that are exchangeable, the one to come is as likely to take each of the `n + 1` ranks. So the lower quantile at
//! `p` is the score of rank `floor((n + 1) p)`, the upper one that of rank `ceil((n + 1) p)`: the interval between them holds the next score at least
//! as often as it says. Where such a rank lies outside, the scores are too few to bound it, and the bound is infinite; callers cap it.

use domain::forecast::QUANTILES_PER_MILLE;

/// Past scores in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scores(Vec<f64>);

impl Scores {
    /// Takes scores in any order.
    pub(crate) fn new(mut scores: Vec<f64>) -> Self {
        scores.sort_unstable_by(f64::total_cmp);
        Self(scores)
    }

    /// The quantiles at [`QUANTILES_PER_MILLE`]; infinite where the scores are too few. They do not fall.
    pub(crate) fn quantiles(&self) -> [f64; 11] {
        QUANTILES_PER_MILLE.map(|per_mille| self.quantile(usize::from(per_mille)))
    }

    /// Those below the middle are lower bounds, the others upper ones. Ranks are whole numbers, so no rounding of floats moves them.
    fn quantile(&self, per_mille: usize) -> f64 {
        let weighted = (self.0.len() + 1) * per_mille;
        let rank = if per_mille < 500 { weighted / 1_000 } else { weighted.div_ceil(1_000) };
        match rank.checked_sub(1) {
            None => f64::NEG_INFINITY,
            Some(at) => self.0.get(at).copied().unwrap_or(f64::INFINITY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Random;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranks_are_those_of_the_next_score() {
        let scores = Scores::new((1..=39).rev().map(f64::from).collect());
        assert_eq!(scores.quantiles(), [1.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0, 36.0, 39.0]);
    }

    #[test]
    fn too_few_scores_bound_nothing() {
        let quantiles = Scores::new((1..=38).map(f64::from).collect()).quantiles();
        assert_eq!((quantiles[0], quantiles[10]), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(quantiles[1..10].iter().all(|quantile| quantile.is_finite()));
        let none = Scores::default().quantiles();
        assert_eq!((none[4], none[5]), (f64::NEG_INFINITY, f64::INFINITY));
    }

    /// Of exchangeable scores, the next one lies in the 80 % interval at least 80 times in a hundred, and not much more often.
    #[test]
    fn the_next_score_is_covered_as_often_as_promised() {
        const TRIALS: usize = 4_000;
        let mut random = Random::new(7);
        for n in [9_usize, 42, 364] {
            let mut covered = 0;
            for _ in 0..TRIALS {
                let quantiles = Scores::new((0..n).map(|_| random.uniform()).collect()).quantiles();
                let next = random.uniform();
                covered += usize::from(quantiles[1] <= next && next <= quantiles[9]);
            }
            // Exactly: the distance of the two ranks over n + 1.
            let ranks = (9 * (n + 1)).div_ceil(10) - (n + 1) / 10;
            let expected = ranks as f64 / (n + 1) as f64;
            let deviation = (expected * (1.0 - expected) / TRIALS as f64).sqrt();
            let measured = covered as f64 / TRIALS as f64;
            assert!(expected >= 0.8, "n = {n}");
            assert!(
                (measured - expected).abs() < 4.0 * deviation,
                "n = {n}: {measured} instead of {expected}"
            );
        }
    }

    proptest! {
        #[test]
        fn quantiles_never_fall(scores in proptest::collection::vec(-1e12_f64..1e12, 0..400)) {
            prop_assert!(Scores::new(scores).quantiles().is_sorted());
        }
    }
}
