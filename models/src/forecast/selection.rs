//! Which selection of weights and calibration a model is made with: the one that is served by now, or a new one that has to beat it first.
//!
//! A selection is made of origins two and three horizons old, so the last horizon is new to both; members learn up to its beginning, once for both.

use chrono::NaiveDate;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::business::Business;
use super::leaf::Leaf;
use crate::candidates::{Chosen, SCORED, quantile};
use crate::panel::Window;

/// Days for which a selection is kept before another may challenge it.
pub(super) const KEPT_DAYS: i64 = 28;

/// Articles drawn anew, so many times.
const RESAMPLES: usize = 1_000;
const SEED: u64 = 11;
/// The share of resamples left aside at either end.
const ASIDE: f64 = 0.025;

/// Weights and calibration of the blend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    pub(super) chosen: Chosen,
    /// The last known day when they were chosen.
    pub chosen_on: NaiveDate,
    /// The last known day when they were last held against others.
    pub searched_on: NaiveDate,
}

/// A new selection beside the one that is served, on the last horizon.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Contest {
    /// How much greater the new one's loss is, as a share of the other's.
    pub difference: f64,
    /// The 95 % interval of that, over articles drawn anew.
    pub interval: (f64, f64),
    /// Articles that were compared.
    pub articles: usize,
}

/// Where the selection of a model comes from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Nothing could be judged: there is no model.
    None,
    /// There was none to keep.
    First,
    /// It is that of the model that is served.
    Kept,
    /// It has beaten that of the model that is served.
    Won(Contest),
    /// A new one has not beaten it.
    Defended(Contest),
}

impl Contest {
    /// Of what both forecast from an older origin: scaled quantile losses of each article that the model forecasts, paired.
    pub(super) fn of(
        business: &Business<'_>,
        window: &Window<'_>,
        new: &[Option<Leaf>],
        served: &[Option<Leaf>],
    ) -> Self {
        let loss = |leaves: &[Option<Leaf>], series: usize, scale: f64| {
            let leaf = leaves[series].as_ref()?;
            let came = business.came(series);
            let days = came.iter().zip(&leaf.quantiles).enumerate();
            let of_day = |(ahead, (came, quantiles)): (usize, (&f64, &[f64; 11]))| {
                let counts = came.is_finite()
                    && business.is_open_ahead(series, ahead)
                    && !business.is_out_ahead(series, ahead);
                counts.then(|| pinball(*came, quantiles) / scale)
            };
            Some(days.filter_map(of_day).sum::<f64>())
        };
        let pair = |part: &crate::panel::Part| {
            Some(part.scale).filter(|scale| scale.is_finite() && *scale > 0.0)?;
            Some((loss(new, part.series, part.scale)?, loss(served, part.series, part.scale)?))
        };
        let pairs: Vec<(f64, f64)> = window.parts.iter().filter_map(pair).collect();
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let mut drawn: Vec<f64> = (0..RESAMPLES)
            .map(|_| difference(pairs.iter().map(|_| &pairs[random.random_range(0..pairs.len())])))
            .collect();
        drawn.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| drawn[((RESAMPLES - 1) as f64 * share).round() as usize];
        Self {
            difference: difference(pairs.iter()),
            interval: (at(ASIDE), at(1.0 - ASIDE)),
            articles: pairs.len(),
        }
    }

    /// Whether the new one is better, and not by chance.
    pub(super) fn is_won(&self) -> bool {
        self.interval.1 < 0.0
    }
}

/// The loss over the quantiles .1 to .9.
fn pinball(came: f64, quantiles: &[f64; 11]) -> f64 {
    let of_quantile = |at: usize| {
        let (share, below) = (quantile(at).0, came - quantiles[at]);
        (share * below).max((share - 1.0) * below)
    };
    SCORED.map(of_quantile).sum()
}

/// How much more the first of pairs sum to than the second, as a share of these.
fn difference<'a>(pairs: impl Iterator<Item = &'a (f64, f64)>) -> f64 {
    let (new, served) = pairs.fold((0.0, 0.0), |sums, pair| (sums.0 + pair.0, sums.1 + pair.1));
    if served > 0.0 { new / served - 1.0 } else { 0.0 }
}

impl std::fmt::Display for Contest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { difference, interval: (low, high), articles } = self;
        let per_cent = |share: f64| share * 100.0;
        write!(
            f,
            "loss {:+.2} % (95 %: {:+.2} to {:+.2}) over {articles} articles on the last horizon",
            per_cent(*difference),
            per_cent(*low),
            per_cent(*high)
        )
    }
}

impl Way {
    /// In words, with the selection that it led to.
    #[must_use]
    pub fn describe(&self, selection: Option<&Selection>) -> String {
        let chosen_on = selection.map(|selection| selection.chosen_on.to_string()).unwrap_or_default();
        match self {
            Self::None => "no article has history enough for a model".to_owned(),
            Self::First => format!("chosen on {chosen_on}"),
            Self::Kept => format!("kept from {chosen_on}"),
            Self::Won(contest) => format!("chosen on {chosen_on}, for it beats what was served: {contest}"),
            Self::Defended(contest) => {
                format!("kept from {chosen_on}, for a new one does not beat it: {contest}")
            }
        }
    }
}
