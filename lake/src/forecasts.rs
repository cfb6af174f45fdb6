//! Runs of forecasts into `marts.forecasts`: rows in, rows of the same model version out, in one commit.
//!
//! A model version stands for one business, one state of its tables and one configuration, so a run of it has the same series, origins and figures
//! each time. Whoever makes it again, or while another process makes it, leaves its rows there once: each commit removes what it finds of the
//! version on the very state that it is made on ([`crate::replace`]).

use std::collections::BTreeSet;

use arrow_array::cast::AsArray;
use arrow_array::{BooleanArray, RecordBatch};
use async_trait::async_trait;
use domain::forecast::{ForecastRun, SeriesForecast};
use domain::ports::{ForecastSink, WrittenForecasts};
use domain::{Error, Result};
use serde_json::Value;

use crate::lake::Lake;
use crate::log::ActiveFile;
use crate::replace::{Request, Rows, Share, replace};
use crate::stage::write_files;
use crate::tables;

const MODEL_VERSION: &str = "model_version";

#[async_trait]
impl ForecastSink for Lake {
    async fn write_forecasts(&self, run: ForecastRun) -> Result<WrittenForecasts> {
        check(&run)?;
        let table = self.table(&tables::forecasts().qualified_name())?;
        let periods = run.forecasts.iter().map(|forecast| tables::forecast_period(forecast.origin)).collect();
        let earlier = EarlierRun { model_version: run.model_version.clone(), periods };
        let build = tokio::task::spawn_blocking(move || tables::forecast_rows(&run)).await;
        let rows = build.map_err(|error| Error::internal(format!("rows of forecasts: {error}")))??;
        let files = write_files(&table.log_store().object_store(None), table.definition(), rows).await?;
        let done = replace(table, Request { rows: &earlier, files, transactions: Vec::new() }).await?;
        Ok(WrittenForecasts { version: done.version, rows: done.rows, replaced_rows: done.replaced_rows })
    }
}

/// What no reader should have to expect is refused at the door: figures that are no numbers, below 0 or crossing.
fn check(run: &ForecastRun) -> Result<()> {
    if run.forecasts.iter().all(|forecast| forecast.days.is_empty()) {
        return Err(Error::invalid("a run without forecasts: there is nothing to write"));
    }
    let sound = |forecast: &SeriesForecast| {
        forecast.days.iter().all(|day| {
            let total = [day.total.median, day.total.q900, day.total.q975];
            let all = day.quantiles.iter().chain(&total).chain([&day.mean, &day.total.mean]);
            let finite = all.into_iter().all(|figure| figure.is_finite() && *figure >= 0.0);
            finite && day.quantiles.is_sorted() && total.is_sorted()
        })
    };
    match run.forecasts.iter().find(|forecast| !sound(forecast)) {
        None => Ok(()),
        Some(SeriesForecast { tenant, subject, .. }) => Err(Error::invalid(format!(
            "the forecast of {tenant}, {subject}, has figures that are not finite, below 0 or crossing"
        ))),
    }
}

/// The rows of a model version.
#[derive(Debug)]
struct EarlierRun {
    model_version: String,
    /// The months of the run's origins: rows of the version lie in no other.
    periods: BTreeSet<String>,
}

impl Rows for EarlierRun {
    fn columns(&self) -> &'static [&'static str] {
        &[MODEL_VERSION]
    }

    fn share(&self, file: &ActiveFile, stats: &Value) -> Share {
        let bound = |which: &str| stats[which][MODEL_VERSION].as_str();
        let (low, high, version) = (bound("minValues"), bound("maxValues"), self.model_version.as_str());
        let is_outside = low.is_some_and(|low| low > version) || high.is_some_and(|high| high < version);
        if is_outside || !self.periods.contains(&file.period) {
            return Share::Nothing;
        }
        if low == Some(version) && high == Some(version) { Share::All } else { Share::Unknown }
    }

    fn mask(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let column = rows.column_by_name(MODEL_VERSION).and_then(|column| column.as_string_opt::<i32>());
        let column =
            column.ok_or_else(|| Error::internal(format!("a file of forecasts lacks {MODEL_VERSION}")))?;
        Ok(column.iter().map(|found| Some(found == Some(self.model_version.as_str()))).collect())
    }

    fn predicate(&self) -> String {
        format!("{MODEL_VERSION} = '{}'", self.model_version)
    }
}
