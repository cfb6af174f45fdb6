//! Forecasts into the lake: the manifest of the model first, then the rows, so that no row names a model that cannot be looked up.

use domain::civil;
use domain::forecast::{Backtest, ForecastRun};
use domain::ports::{Blobs, ForecastSink, WrittenRows};
use domain::{Error, Result};
use serde_json::{Value, json, value::RawValue};

use super::Forecasts;

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
}

/// Stores the manifest of a run and its forecasts. Doing so again leaves the same rows.
///
/// # Errors
/// Those of the ports. The manifest may stand there without rows then; nobody looks for it.
pub async fn publish(
    forecasts: Forecasts,
    timings: Timings,
    blobs: &dyn Blobs,
    sink: &dyn ForecastSink,
) -> Result<Published> {
    let created_at = civil::now();
    let manifest = format!("ml-models/forecasting/{}/manifest.json", forecasts.model_version);
    blobs.put(&manifest, describe(&forecasts, timings, created_at)?).await?;
    let run = ForecastRun {
        model_version: forecasts.model_version,
        lake_versions: forecasts.lake_versions,
        created_at,
        forecasts: forecasts.forecasts,
    };
    let written = sink.write_forecasts(run).await?;
    Ok(Published { manifest, written })
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
        series: super::Counts,
        backtest: Value,
        timings_ms: Value,
    }
    let manifest = Manifest {
        model_version: &forecasts.model_version,
        identity,
        created_at: civil::format_instant(created_at),
        origins: forecasts.origins.map(|(first, last)| [first.to_string(), last.to_string()]),
        series: forecasts.counts,
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
