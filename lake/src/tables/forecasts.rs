//! `marts.forecasts`: quantile forecasts, a row for each series and day.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_schema::DataType;
use domain::forecast::{DayForecast, ForecastRun, QUANTILE_COLUMNS, SeriesForecast};
use domain::scope::TableScope;
use domain::table::{Column, arrow_schema, timestamp};
use domain::{Error, Result, civil};

use super::arrays::{days, floats, instants, texts, whole};
use super::{Retention, TableDefinition};

const COMMENT: &str = "Forecasts of daily demand, one row for each subject and day, with calibrated quantiles, the model's version and the \
table versions that it was made from. Subjects are articles (level sku), categories, stores and the business: filter by level. Means of a level sum to those of the \
level above, quantiles do not. The newest origin of a subject is the one that is served.";

/// Series of one file, so that a file of a month's horizon stays below some 20 MB.
const SERIES_PER_FILE: usize = 10_000;

/// The table of forecasts; its period is the month of `origin`.
#[must_use]
pub fn forecasts() -> TableDefinition {
    let quantile =
        |name| Column::required(name, DataType::Float64, "Quantile of net units; the digits are per mille");
    let mut columns = vec![
        Column::required("tenant", DataType::Utf8, "Business that the row belongs to"),
        Column::required("level", DataType::Utf8, "What is forecast: sku, category, store or business"),
        Column::optional("store", DataType::Utf8, "Store, at the levels sku, category and store"),
        Column::optional("category", DataType::Utf8, "Category, at the level category"),
        Column::optional("sku", DataType::Utf8, "Article, at the level sku"),
        Column::optional("product_name", DataType::Utf8, "Newest name of the article"),
        Column::required("unit", DataType::Utf8, "What the figures count"),
        Column::required("forecast_date", DataType::Date32, "Day that is forecast"),
        Column::required("origin", DataType::Date32, "Last day whose sales were known"),
        Column::required("mean", DataType::Float64, "Expected net units: sold less returned"),
    ];
    columns.extend(QUANTILE_COLUMNS.into_iter().map(quantile));
    let total = |name, comment| Column::required(name, DataType::Float64, comment);
    columns.extend([
        total("total_mean", "Expected net units of all days behind origin up to and with this one"),
        total(
            "total_q500",
            "Median of the same: of a delivery that comes the day after, what is needed until then",
        ),
        total("total_q900", "What it stays below in nine cases of ten"),
        total("total_q975", "What it stays below in thirty-nine cases of forty"),
        Column::required(
            "model_version",
            DataType::Utf8,
            "Hash over all that shaped the model; its manifest lies under it in ml-models/forecasting",
        ),
        Column::required(
            "lake_versions",
            DataType::Utf8,
            "Versions of the tables that were read, as a JSON object",
        ),
        Column::optional(
            "backtest_wape",
            DataType::Float64,
            "Absolute error / absolute actuals at past origins",
        ),
        Column::optional("naive_wape", DataType::Float64, "The same of the seasonal-naive forecast"),
        Column::optional(
            "coverage_80",
            DataType::Float64,
            "Measured share of actuals inside the 80 % interval at past origins",
        ),
        Column::required("backtest_n", DataType::Int64, "Forecast days that the measures stand on"),
        Column::optional(
            "fallback",
            DataType::Utf8,
            "Why the series did not get the model proper, and what it got",
        ),
        Column::required("created_at", timestamp(), "When the forecast was made"),
    ]);
    TableDefinition {
        schema: "marts",
        name: "forecasts".to_owned(),
        comment: COMMENT,
        columns,
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
        texts(&rows, |_| Some(&run.model_version)),
        texts(&rows, |_| Some(&versions)),
        floats(&rows, |(forecast, _)| forecast.backtest.wape),
        floats(&rows, |(forecast, _)| forecast.backtest.naive_wape),
        floats(&rows, |(forecast, _)| forecast.backtest.coverage_80),
        whole(&rows, |(forecast, _)| Some(i64::try_from(forecast.backtest.n).unwrap_or(i64::MAX))),
        texts(&rows, |(forecast, _)| forecast.fallback.as_deref()),
        instants(&rows, |_| run.created_at),
    ]);
    RecordBatch::try_new(arrow_schema(&forecasts().columns), arrays).map_err(|error| failed(&error))
}
