//! What articles sell when they are new in a store. An article's series begins with its first sale, so that of its own few days the first says too much, and the
//! others say little: they are held beside the first days of articles that were new before it, which count as so many days more (a mean shrunk to that of its
//! peers: Efron and Morris, Stein's estimation rule and its competitors, Journal of the American Statistical Association 68, 1973).

use std::collections::BTreeMap;

use domain::forecast::{DailySeries, QUANTILES_PER_MILLE};
use serde::{Deserialize, Serialize};

/// Days behind the first sale in which an article is new.
const NEW_DAYS: usize = 28;
/// Days behind a store's first one whose new articles may have been there before.
const UNTOLD_DAYS: i64 = 60;
/// Days before an origin in which articles were new that are looked at.
const YEAR_DAYS: usize = 364;
/// Articles that must have been new.
const FEWEST: usize = 20;
/// Values that stand for all of their days, at most.
const SAMPLE: usize = 200;
/// How many own days those of all others count as.
pub(super) const COUNTS_AS_DAYS: f64 = 14.0;

/// Of each store what its new articles sold, all of them and those of each category that had enough.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Newcomers(BTreeMap<String, OfStore>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OfStore {
    all: Debut,
    by_category: BTreeMap<String, Debut>,
}

/// The open days of articles while they were new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Debut {
    pub(super) articles: usize,
    mean: f64,
    /// Rising; as likely as each other.
    pub(super) sample: Vec<f64>,
}

impl Newcomers {
    /// Of series as they were so many days before their last. `units_on` gives the open days of a series among its first ones, the first left out.
    pub(super) fn of(
        series: &[DailySeries],
        days_before: usize,
        units_on: impl Fn(&DailySeries, usize) -> Vec<f64>,
    ) -> Self {
        let mut stores = BTreeMap::new();
        for of_store in series.chunk_by(|a, b| a.key.store == b.key.store) {
            let Some(first) = of_store.iter().map(|series| series.start).min() else { continue };
            let was_new = |series: &&DailySeries| {
                let age = series.units.len().saturating_sub(days_before);
                (series.start - first).num_days() > UNTOLD_DAYS && (NEW_DAYS + 1..=YEAR_DAYS).contains(&age)
            };
            let mut days: BTreeMap<&str, Vec<Vec<f64>>> = BTreeMap::new();
            for series in of_store.iter().filter(was_new) {
                let category = series.category.as_deref().unwrap_or_default();
                days.entry(category).or_default().push(units_on(series, NEW_DAYS));
            }
            let Some(all) = Debut::of(days.values().flatten()) else { continue };
            let of_category = |(name, days): (&&str, &Vec<Vec<f64>>)| {
                Some(((*name).to_owned(), Debut::of(days.iter()).filter(|_| !name.is_empty())?))
            };
            let by_category = days.iter().filter_map(of_category).collect();
            stores.insert(of_store[0].key.store.clone(), OfStore { all, by_category });
        }
        Self(stores)
    }

    /// Those that a series is held beside; none where too few articles were new.
    pub(super) fn beside(&self, series: &DailySeries) -> Option<&Debut> {
        let OfStore { all, by_category } = self.0.get(&series.key.store)?;
        let own = series.category.as_deref().and_then(|category| by_category.get(category));
        Some(own.unwrap_or(all))
    }
}

impl Debut {
    fn of<'a>(articles: impl Iterator<Item = &'a Vec<f64>> + Clone) -> Option<Self> {
        let count = articles.clone().count();
        let mut days: Vec<f64> = articles.flatten().copied().collect();
        if count < FEWEST || days.is_empty() {
            return None;
        }
        let mean = days.iter().sum::<f64>() / days.len() as f64;
        days.sort_unstable_by(f64::total_cmp);
        let kept = SAMPLE.min(days.len());
        // The middle of each of as many parts.
        let sample = (0..kept).map(|at| days[(2 * at + 1) * days.len() / (2 * kept)]).collect();
        Some(Self { articles: count, mean, sample })
    }

    /// The mean of an article's own days and these.
    pub(super) fn mean(&self, own: &[f64]) -> f64 {
        (own.iter().sum::<f64>() + COUNTS_AS_DAYS * self.mean) / (own.len() as f64 + COUNTS_AS_DAYS)
    }

    /// The quantiles at [`QUANTILES_PER_MILLE`] of its own days and these together.
    pub(super) fn quantiles(&self, own: &[f64]) -> [f64; 11] {
        let weight = COUNTS_AS_DAYS / self.sample.len() as f64;
        let all = own.iter().map(|units| (*units, 1.0));
        let mut all: Vec<(f64, f64)> = all.chain(self.sample.iter().map(|units| (*units, weight))).collect();
        all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let total = own.len() as f64 + COUNTS_AS_DAYS;
        let (mut at, mut below) = (0, 0.0);
        QUANTILES_PER_MILLE.map(|per_mille| {
            let wanted = f64::from(per_mille) / 1_000.0 * total;
            while at + 1 < all.len() && below + all[at].1 < wanted {
                below += all[at].1;
                at += 1;
            }
            all[at].0
        })
    }
}
