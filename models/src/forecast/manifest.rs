//! What makes a model's version: a hash over everything that shaped it, and nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use domain::principal::StoreScope;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{ForecastConfig, conformal, naive, origins, pool, series};

/// The code's part of a model version. The number behind the release rises whenever a change of the code changes a figure.
pub const CODE_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "/seasonal-naive-1");

/// What the model looks at. It is the history of the series alone.
const FEATURES: [&str; 1] =
    ["marts.item_days: daily net units by tenant, store and sku, business days of the store"];

/// All that shaped a model. Fields stand in the order of their names, so that the JSON is canonical; times have no place here.
#[derive(Debug, Serialize)]
pub(crate) struct Identity<'a> {
    code_version: &'static str,
    configuration: Configuration,
    features: [&'static str; 1],
    lake_versions: &'a BTreeMap<String, u64>,
    /// No random number is drawn.
    seed: Option<u64>,
    /// The stores that could be seen; absent: all of the business.
    stores: Option<Vec<&'a str>>,
    tenant: &'a str,
}

#[derive(Debug, Serialize)]
struct Configuration {
    calibration_origins: usize,
    cap_factor: f64,
    evaluation_origins: usize,
    fewest_sale_days: usize,
    fewest_scores: usize,
    history_days: usize,
    horizon_days: usize,
    mean_days: usize,
    pool_every_origin: usize,
    scale_days: usize,
    season_days: usize,
    step_days: usize,
}

impl<'a> Identity<'a> {
    pub(crate) fn new(
        tenant: &'a str,
        stores: &'a StoreScope,
        lake_versions: &'a BTreeMap<String, u64>,
        config: ForecastConfig,
    ) -> Self {
        let stores = match stores {
            StoreScope::All => None,
            StoreScope::Only(stores) => {
                let mut stores: Vec<&str> = stores.iter().map(String::as_str).collect();
                stores.sort_unstable();
                stores.dedup();
                Some(stores)
            }
        };
        let configuration = Configuration {
            calibration_origins: origins::CALIBRATION_ORIGINS,
            cap_factor: series::CAP_FACTOR,
            evaluation_origins: origins::EVALUATION_ORIGINS,
            fewest_sale_days: series::FEWEST_SALE_DAYS,
            fewest_scores: conformal::FEWEST_SCORES,
            history_days: series::HISTORY_DAYS,
            horizon_days: config.horizon_days,
            mean_days: series::MEAN_DAYS,
            pool_every_origin: pool::EVERY_ORIGIN,
            scale_days: naive::SCALE_DAYS,
            season_days: naive::SEASON_DAYS,
            step_days: origins::STEP_DAYS,
        };
        Self {
            code_version: CODE_VERSION,
            configuration,
            features: FEATURES,
            lake_versions,
            seed: None,
            stores,
            tenant,
        }
    }

    /// The JSON text that is hashed.
    pub(crate) fn canonical(&self) -> String {
        // Only maps with keys that are no text, and failing writers, can make this fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// SHA-256 of [`Self::canonical`], in hexadecimal digits.
    pub(crate) fn version(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in Sha256::digest(self.canonical()) {
            let written = write!(text, "{byte:02x}");
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(tenant: &str, stores: &StoreScope, version: u64, horizon_days: usize) -> (String, String) {
        let versions = [("curated.sales".to_owned(), version)].into();
        let identity = Identity::new(tenant, stores, &versions, ForecastConfig { horizon_days });
        (identity.canonical(), identity.version())
    }

    #[test]
    fn the_version_is_the_hash_of_canonical_json() {
        let (json, version) = identity("gift-uk", &StoreScope::All, 12, 28);
        // Parsed and written again with sorted keys, it is the same text.
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let sorted: BTreeMap<String, serde_json::Value> =
            serde_json::from_value(value.clone()).expect("an object");
        assert_eq!(serde_json::to_string(&sorted).expect("JSON"), json);
        assert_eq!(value["lake_versions"]["curated.sales"], 12);
        assert_eq!((version.len(), version.to_lowercase()), (64, version.clone()));
    }

    #[test]
    fn whatever_shapes_the_model_changes_the_version() {
        let only = |stores: &[&str]| StoreScope::Only(stores.iter().map(|&store| store.to_owned()).collect());
        let versions = [
            identity("a", &StoreScope::All, 1, 28).1,
            identity("b", &StoreScope::All, 1, 28).1,
            identity("a", &StoreScope::All, 2, 28).1,
            identity("a", &StoreScope::All, 1, 14).1,
            identity("a", &only(&["x"]), 1, 28).1,
            identity("a", &only(&["x", "y"]), 1, 28).1,
        ];
        let distinct: std::collections::BTreeSet<_> = versions.iter().collect();
        assert_eq!(distinct.len(), versions.len());
        assert_eq!(identity("a", &only(&["y", "x", "y"]), 1, 28).1, versions[5]);
    }
}
