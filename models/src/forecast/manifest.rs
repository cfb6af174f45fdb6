//! What makes a model's version: a hash over everything that shaped it, and nothing else.

use std::collections::BTreeMap;

use domain::principal::StoreScope;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::business::Business;
use super::{ForecastConfig, Learning, business, leaf, paths};

/// The code's part of a model version. The number behind the release rises whenever a change of the code changes a figure.
pub const CODE_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "/blend-4");

/// What all models look at; covariates come on top.
const HISTORY: &str =
    "marts.item_days: daily net units by tenant, store and sku, business days of the store, their calendar";

/// All that shaped a model. Fields stand in the order of their names, so that the JSON is canonical; times have no place here.
#[derive(Debug, Serialize)]
pub(crate) struct Identity<'a> {
    code_version: &'static str,
    configuration: Configuration,
    features: Vec<String>,
    lake_versions: &'a BTreeMap<String, u64>,
    /// The version that was served when it was made.
    parent: Option<&'a str>,
    seed: u64,
    /// The stores that could be seen; absent: all of the business.
    stores: Option<Vec<&'a str>>,
    tenant: &'a str,
    /// Hash of all that the model has learned; absent where no model is served.
    weights: Option<String>,
}

/// What was chosen of a model before it learned.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Configuration {
    cap_factor: f64,
    fewest_days: usize,
    fewest_sale_days: usize,
    history_days: usize,
    horizon_days: usize,
    mean_days: usize,
    paths: usize,
    rows: usize,
    steps: usize,
    tree_rate: f32,
    trees: usize,
}

impl Configuration {
    /// As it stands in the identity of a model.
    pub(crate) fn text(config: ForecastConfig) -> String {
        // As of [`Identity::canonical`].
        serde_json::to_string(&Self::of(config)).unwrap_or_default()
    }

    /// What a model of it was made with.
    pub(crate) fn config(&self) -> ForecastConfig {
        let Self { horizon_days, rows, steps, tree_rate, trees, .. } = *self;
        ForecastConfig { horizon_days, learning: Learning { rows, trees, tree_rate, steps }, search: false }
    }

    fn of(config: ForecastConfig) -> Self {
        let ForecastConfig { horizon_days, learning, search: _ } = config;
        Self {
            cap_factor: leaf::CAP_FACTOR,
            fewest_days: business::FEWEST_DAYS,
            fewest_sale_days: business::FEWEST_SALE_DAYS,
            history_days: leaf::HISTORY_DAYS,
            horizon_days,
            mean_days: leaf::MEAN_DAYS,
            paths: paths::PATHS,
            rows: learning.rows,
            steps: learning.steps,
            tree_rate: learning.tree_rate,
            trees: learning.trees,
        }
    }
}

impl<'a> Identity<'a> {
    pub(super) fn new(
        tenant: &'a str,
        stores: &'a StoreScope,
        lake_versions: &'a BTreeMap<String, u64>,
        config: ForecastConfig,
        business: &Business<'_>,
        (parent, learned): (Option<&'a str>, Option<&[u8]>),
    ) -> Self {
        let stores = match stores {
            StoreScope::All => None,
            StoreScope::Only(stores) => Some(stores.iter().map(String::as_str).collect()),
        };
        let covariates = business.table.covariates.iter().map(|covariate| covariate.name.clone());
        let features = std::iter::once(HISTORY.to_owned()).chain(covariates).collect();
        Self {
            code_version: CODE_VERSION,
            configuration: Configuration::of(config),
            features,
            lake_versions,
            parent,
            seed: paths::SEED,
            stores,
            tenant,
            weights: learned.map(hash),
        }
    }

    /// The JSON text that is hashed.
    pub(crate) fn canonical(&self) -> String {
        // Only maps with keys that are no text, and failing writers, can make this fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// SHA-256 of [`Self::canonical`], in hexadecimal digits.
    pub(crate) fn version(&self) -> String {
        hash(self.canonical().as_bytes())
    }
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(
        tenant: &str,
        stores: &StoreScope,
        version: u64,
        horizon_days: usize,
        parent: Option<&str>,
    ) -> (String, String) {
        let versions = [("curated.sales".to_owned(), version)].into();
        let set = domain::forecast::SeriesSet::default();
        let config = ForecastConfig { horizon_days, ..ForecastConfig::default() };
        let identity = Identity::new(
            tenant,
            stores,
            &versions,
            config,
            &Business::new(&set, &config, 0),
            (parent, None),
        );
        (identity.canonical(), identity.version())
    }

    #[test]
    fn the_version_is_the_hash_of_canonical_json() {
        let (json, version) = identity("gift-uk", &StoreScope::All, 12, 28, Some("0f"));
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
            identity("a", &StoreScope::All, 1, 28, None).1,
            identity("b", &StoreScope::All, 1, 28, None).1,
            identity("a", &StoreScope::All, 2, 28, None).1,
            identity("a", &StoreScope::All, 1, 14, None).1,
            identity("a", &StoreScope::All, 1, 28, Some("0f")).1,
            identity("a", &only(&["x"]), 1, 28, None).1,
            identity("a", &only(&["x", "y"]), 1, 28, None).1,
        ];
        let distinct: std::collections::BTreeSet<_> = versions.iter().collect();
        assert_eq!(distinct.len(), versions.len());
        assert_eq!(identity("a", &only(&["y", "x", "y"]), 1, 28, None).1, versions[6]);
    }
}
