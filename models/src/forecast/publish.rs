//! Forecasts into the lake: the model and its manifest first, then the rows, so that no row names a model that cannot be looked up; and in the end
//! whether they are served.

use std::collections::BTreeMap;

use domain::civil;
use domain::forecast::{Backtest, ForecastRun};
use domain::ports::{Blobs, ForecastSink, ModelRegistry, WrittenRows};
use domain::{Error, Result};
use serde_json::{Value, json, value::RawValue};

use super::Forecasts;
use crate::registry::{Verdict, artefact, settle};

/// How long the steps took. They stand in the manifest, outside of the hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Reading the series.
    pub read_ms: u64,
    /// Making the forecasts.
    pub forecast_ms: u64,
}

/// Where forecasts were stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The manifest's name below the lake's root.
    pub manifest: String,
    /// What was written.
    pub written: WrittenRows,
    /// Whether it is served.
    pub verdict: Verdict,
}

/// Stores a model and its forecasts, and serves them unless something speaks against it. Doing so again leaves the same rows.
///
/// # Errors
/// Those of the ports. Model, manifest and rows may stand there then; none of them is served.
pub async fn publish(
    mut forecasts: Forecasts,
    timings: Timings,
    blobs: &dyn Blobs,
    sink: &dyn ForecastSink,
    registry: &dyn ModelRegistry,
) -> Result<Published> {
    let created_at = civil::now();
    if let Some(learned) = forecasts.learned.take() {
        blobs.put(&artefact(&forecasts.model_version, "model.json"), learned).await?;
    }
    let manifest = artefact(&forecasts.model_version, "manifest.json");
    blobs.put(&manifest, describe(&forecasts, timings, created_at)?).await?;
    let run = ForecastRun {
        model_version: forecasts.model_version.clone(),
        lake_versions: forecasts.lake_versions.clone(),
        created_at,
        forecasts: std::mem::take(&mut forecasts.forecasts),
    };
    let written = sink.write_forecasts(run).await?;
    let verdict = settle(&forecasts, registry).await?;
    Ok(Published { manifest, written, verdict })
}

fn describe(forecasts: &Forecasts, timings: Timings, created_at: civil::Micros) -> Result<Vec<u8>> {
    let failed = |error: serde_json::Error| Error::internal(format!("the manifest of a model: {error}"));
    // As text that is kept as it is, so that whoever hashes it gets the version.
    let identity: &RawValue = serde_json::from_str(&forecasts.identity).map_err(failed)?;
    #[derive(serde::Serialize)]
    struct Manifest<'a> {
        model_version: &'a str,
        identity: &'a RawValue,
        created_at: String,
        origins: Option<[String; 2]>,
        /// By store.
        last_days: BTreeMap<&'a str, String>,
        told: &'a super::Told,
        series: super::Counts,
        /// What each member of the blend counts, by class of demand.
        blend: Option<BTreeMap<&'static str, BTreeMap<&'static str, f64>>>,
        selection: Option<&'a super::Selection>,
        way: super::Way,
        backtest: Value,
        timings_ms: Value,
    }
    let manifest = Manifest {
        model_version: &forecasts.model_version,
        identity,
        created_at: civil::format_instant(created_at),
        origins: forecasts.origins.map(|(first, last)| [first.to_string(), last.to_string()]),
        last_days: forecasts.last_days(),
        told: &forecasts.told,
        series: forecasts.counts,
        blend: forecasts.selection.as_ref().map(|selection| selection.chosen.weights()),
        selection: forecasts.selection.as_ref(),
        way: forecasts.way,
        backtest: json!({ "sku": measures(&forecasts.backtest), "business": measures(&forecasts.of_business) }),
        timings_ms: json!({ "read": timings.read_ms, "forecast": timings.forecast_ms }),
    };
    serde_json::to_vec(&manifest).map_err(failed)
}

fn measures(backtest: &Backtest) -> Value {
    json!({
        "wape": backtest.wape,
        "naive_wape": backtest.naive_wape,
        "coverage_80": backtest.coverage_80,
        "n": backtest.n,
    })
}
