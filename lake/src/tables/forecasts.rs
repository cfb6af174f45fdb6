//! `marts.forecasts`: quantile forecasts, a row for each series and day.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use domain::forecast::{DayForecast, EFFECT_COLUMNS, ForecastRun, QUANTILE_COLUMNS, SeriesForecast, columns};
use domain::scope::TableScope;
use domain::table::arrow_schema;
use domain::{Error, Result, civil};

use super::arrays::{days, floats, instants, texts, whole};
use super::{Retention, TableDefinition};

const COMMENT: &str = "Forecasts of daily demand, one row for each subject and day, with calibrated quantiles, the model's version and the \
table versions that it was made from. Subjects are articles (level sku), categories, stores and the business: filter by level. Means of a level sum to those of the \
level above, quantiles do not. Those that are served are marts.served_forecasts.";

/// Series of one file, so that a file of a month's horizon stays below some 20 MB.
const SERIES_PER_FILE: usize = 10_000;

/// The table of forecasts; its period is the month of `origin`.
#[must_use]
pub fn forecasts() -> TableDefinition {
    TableDefinition {
        schema: "marts",
        name: "forecasts".to_owned(),
        comment: COMMENT,
        columns: columns(),
        indexed_texts: &["tenant", "store", "sku", "model_version"],
        clustering: &["tenant", "store", "sku", "forecast_date"],
        retention: Retention { deleted_file_days: 7 },
        has_periods: true,
        scope: TableScope::TenantAndStores,
    }
}

/// The rows of a run, each batch a file of one period.
pub(crate) fn rows(run: &ForecastRun) -> Result<Vec<(String, RecordBatch)>> {
    let mut periods: BTreeMap<String, Vec<&SeriesForecast>> = BTreeMap::new();
    for forecast in &run.forecasts {
        periods.entry(civil::month(forecast.origin)).or_default().push(forecast);
    }
    let files = periods.iter().flat_map(|(period, forecasts)| {
        forecasts.chunks(SERIES_PER_FILE).map(move |chunk| Ok((period.clone(), batch(run, chunk)?)))
    });
    files.collect()
}

fn batch(run: &ForecastRun, of_series: &[&SeriesForecast]) -> Result<RecordBatch> {
    let rows: Vec<(&SeriesForecast, &DayForecast)> =
        of_series.iter().flat_map(|forecast| forecast.days.iter().map(move |day| (*forecast, day))).collect();
    let failed = |error: &dyn std::fmt::Display| Error::internal(format!("rows of forecasts: {error}"));
    let versions = serde_json::to_string(&run.lake_versions).map_err(|error| failed(&error))?;
    let of_day = |of: &dyn Fn(&DayForecast) -> f64| floats(&rows, |(_, day)| Some(of(day)));
    let mut arrays = vec![
        texts(&rows, |(forecast, _)| Some(&forecast.tenant)),
        texts(&rows, |(forecast, _)| Some(forecast.subject.level())),
        texts(&rows, |(forecast, _)| forecast.subject.store()),
        texts(&rows, |(forecast, _)| forecast.subject.category()),
        texts(&rows, |(forecast, _)| forecast.subject.sku()),
        texts(&rows, |(forecast, _)| forecast.product_name.as_deref()),
        texts(&rows, |_| Some("units")),
        days(&rows, |(_, day)| day.date),
        days(&rows, |(forecast, _)| forecast.origin),
        of_day(&|day| day.mean),
    ];
    arrays.extend((0..QUANTILE_COLUMNS.len()).map(|at| of_day(&|day| day.quantiles[at])));
    arrays.extend([
        of_day(&|day| day.total.mean),
        of_day(&|day| day.total.median),
        of_day(&|day| day.total.q900),
        of_day(&|day| day.total.q975),
    ]);
    arrays.extend((0..EFFECT_COLUMNS.len()).map(|at| of_day(&|day| day.effects.parts()[at])));
    arrays.extend([
        texts(&rows, |_| Some(&run.model_version)),
        texts(&rows, |_| Some(&versions)),
        floats(&rows, |(forecast, _)| forecast.backtest.wape),
        floats(&rows, |(forecast, _)| forecast.backtest.naive_wape),
        floats(&rows, |(forecast, _)| forecast.backtest.coverage_80),
        whole(&rows, |(forecast, _)| Some(i64::try_from(forecast.backtest.n).unwrap_or(i64::MAX))),
        texts(&rows, |(forecast, _)| forecast.fallback.as_deref()),
        instants(&rows, |_| run.created_at),
    ]);
    RecordBatch::try_new(arrow_schema(&columns()), arrays).map_err(|error| failed(&error))
}
