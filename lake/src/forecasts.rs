//! Runs of forecasts into `marts.forecasts`: rows in, rows of the same model version out, in one commit.
//!
//! A model version stands for one business, one state of its tables and one configuration, so a run of it has the same series, origins and figures
//! each time. Whoever makes it again, or while another process makes it, leaves its rows there once: each commit removes what it finds of the
//! version on the very state that it is made on ([`crate::runs`]).

use async_trait::async_trait;
use domain::forecast::{ForecastRun, SeriesForecast};
use domain::ports::{ForecastSink, WrittenRows};
use domain::{Error, Result};

use crate::lake::Lake;
use crate::runs::write_run;
use crate::tables;

const MODEL_VERSION: &str = "model_version";

#[async_trait]
impl ForecastSink for Lake {
    async fn write_forecasts(&self, run: ForecastRun) -> Result<WrittenRows> {
        check(&run)?;
        let table = self.table(&tables::forecasts().qualified_name())?;
        let version = run.model_version.clone();
        let build = tokio::task::spawn_blocking(move || tables::forecast_rows(&run)).await;
        let rows = build.map_err(|error| Error::internal(format!("rows of forecasts: {error}")))??;
        write_run(table, MODEL_VERSION, version, rows).await
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
            let explained = day.effects.parts().iter().all(|part| part.is_finite());
            finite && explained && day.quantiles.is_sorted() && total.is_sorted()
        })
    };
    match run.forecasts.iter().find(|forecast| !sound(forecast)) {
        None => Ok(()),
        Some(SeriesForecast { tenant, subject, .. }) => Err(Error::invalid(format!(
            "the forecast of {tenant}, {subject}, has figures that are not finite, below 0 or crossing"
        ))),
    }
}
