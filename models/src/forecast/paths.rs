//! Sample paths: futures that are as likely as each other, of all articles together.
//!
//! A forecast says of each day alone how likely what is. Whether a good day is followed by another, and whether articles sell well on the same days, is
//! taken from the past: each path stands for an older origin, on the weekday of the one that is forecast from, and what its days rank among those of the others, by
//! how far they lay from the mean of their weekday before it, is the rank that the path's days take in the forecast (the Schaake shuffle: Clark et al., Journal of
//! Hydrometeorology 5, 2004; an empirical copula). All articles take the same origins.

use domain::forecast::QUANTILES_PER_MILLE;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// Paths of each series.
pub(crate) const PATHS: usize = 200;
/// Weeks before the origin from which paths are taken, at most: two years.
const MOST_WEEKS: usize = 104;
/// Weeks that the mean of a weekday is taken from.
const MEAN_WEEKS: usize = 8;
const SEASON_DAYS: usize = 7;
/// Where the drawing of origins begins.
pub(crate) const SEED: u64 = 7;

/// Units by day ahead and path.
pub(crate) type Paths = Vec<[f32; PATHS]>;

/// Where the drawing of an article's paths begins.
pub(crate) fn seed_of(store: &str, sku: &str) -> u64 {
    let hash = Sha256::new()
        .chain_update(SEED.to_le_bytes())
        .chain_update(store)
        .chain_update("/")
        .chain_update(sku)
        .finalize();
    hash.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// The older origins that paths stand for.
#[derive(Debug)]
pub(crate) struct Scenarios {
    horizon: usize,
    /// Of each path, how many days its origin lies before the one that is forecast from.
    days_before: Vec<usize>,
}

impl Scenarios {
    /// For forecasts from an origin before which so many days are known at most.
    pub(crate) fn new(horizon: usize, most_known: usize) -> Self {
        let first = horizon.div_ceil(SEASON_DAYS);
        let weeks = (most_known / SEASON_DAYS).saturating_sub(first).clamp(1, MOST_WEEKS);
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let days_before = (0..PATHS).map(|_| SEASON_DAYS * (first + random.random_range(0..weeks))).collect();
        Self { horizon, days_before }
    }

    /// The paths of a series: of each day ahead its spread, in the order in which the past ranks it.
    pub(crate) fn paths(
        &self,
        known: &[f64],
        seed: u64,
        spreads: impl Iterator<Item = [f32; PATHS]>,
    ) -> Paths {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut paths = vec![[0.0; PATHS]; self.horizon];
        for ((ahead, path), spread) in paths.iter_mut().enumerate().zip(spreads) {
            let mut order: Vec<(f64, u32, usize)> = (0..PATHS)
                .map(|at| (self.off(known, self.days_before[at], ahead), random.random(), at))
                .collect();
            let there: Vec<f64> = order.iter().map(|(off, ..)| *off).filter(|off| off.is_finite()).collect();
            // What is not known of the past takes any place.
            for (off, ..) in order.iter_mut().filter(|(off, ..)| !off.is_finite()) {
                *off = if there.is_empty() { 0.0 } else { there[random.random_range(0..there.len())] };
            }
            order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
            order.iter().zip(spread).for_each(|((.., at), value)| path[*at] = value);
        }
        paths
    }

    /// How far a day of the past lay from the mean of its weekday before an older origin; NaN where that is not known.
    fn off(&self, known: &[f64], days_before: usize, ahead: usize) -> f64 {
        let Some(origin) = known.len().checked_sub(days_before) else { return f64::NAN };
        let Some(value) = known.get(origin + ahead) else { return f64::NAN };
        let newest = origin + ahead % SEASON_DAYS;
        let weekday =
            (1..=MEAN_WEEKS).filter_map(|weeks| known.get(newest.checked_sub(weeks * SEASON_DAYS)?));
        let (sum, count) = weekday.fold((0.0, 0), |(sum, count), units| (sum + units, count + 1));
        if count == 0 { f64::NAN } else { value - sum / f64::from(count) }
    }
}

/// A day's distribution as values that are as likely as each other, rising: between the quantiles even, below the first one on as before it down to 0, above
/// the last one as far up as brings the mean of all to that of the forecast, `most` at most.
pub(crate) fn spread(quantiles: &[f64; 11], mean: f64, most: f64) -> [f32; PATHS] {
    let mut knots = [(0.0, 0.0); 13];
    for (knot, (value, per_mille)) in knots[1..].iter_mut().zip(quantiles.iter().zip(QUANTILES_PER_MILLE)) {
        *knot = (f64::from(per_mille) / 1_000.0, *value);
    }
    let slope = (knots[2].1 - knots[1].1) / (knots[2].0 - knots[1].0);
    knots[0] = (0.0, (knots[1].1 - slope * knots[1].0).max(0.0));
    let area = |from: (f64, f64), to: (f64, f64)| (to.0 - from.0) * (from.1 + to.1) / 2.0;
    let below: f64 = knots[..12].windows(2).map(|pair| area(pair[0], pair[1])).sum();
    let (share, last) = knots[11];
    let top = 2.0 * (mean - below) / (1.0 - share) - last;
    knots[12] = (1.0, top.clamp(last, most.max(last)));
    let mut at = 0;
    std::array::from_fn(|path| {
        let share = (path as f64 + 0.5) / PATHS as f64;
        while knots[at + 1].0 < share {
            at += 1;
        }
        let ((low, from), (high, to)) = (knots[at], knots[at + 1]);
        (from + (to - from) * (share - low) / (high - low)) as f32
    })
}

/// Quantiles of values in any order, at some probabilities in per mille.
pub(crate) fn quantiles<const N: usize>(values: &[f64; PATHS], per_mille: [u16; N]) -> [f64; N] {
    let mut values = *values;
    values.sort_unstable_by(f64::total_cmp);
    per_mille.map(|per_mille| {
        let at = (f64::from(per_mille) / 1_000.0 * PATHS as f64 - 0.5).clamp(0.0, (PATHS - 1) as f64);
        let (low, share) = (at.floor() as usize, at.fract());
        let high = values[(low + 1).min(PATHS - 1)];
        values[low] + share * (high - values[low])
    })
}
