//! `marts.forecasts`: quantile forecasts, a row for each series and day.

use std::sync::Arc;

use arrow_array::builder::{Date32Builder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::DataType;
use chrono::{Datelike, NaiveDate};
use domain::forecast::{ForecastRun, QUANTILE_COLUMNS, SeriesForecast};
use domain::table::{Column, arrow_schema, timestamp};

use super::{Retention, TableDefinition};

const COMMENT: &str = "Forecasts of daily demand, one row for each series and day, with calibrated quantiles, the model's version and the \
table versions that it was made from. The newest origin of a series is the one that is served.";

/// The table of forecasts; its period is the month of `origin`.
#[must_use]
pub fn forecasts() -> TableDefinition {
    let quantile = |name| Column::required(name, DataType::Float64, "Quantile of net units; the digits are per mille");
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
        Column::required("mean", DataType::Float64, "Expected net units"),
    ];
    columns.extend(QUANTILE_COLUMNS.into_iter().map(quantile));
    columns.extend([
        Column::required("model_version", DataType::Utf8, "Hash over all that shaped the model"),
        Column::required("lake_versions", DataType::Utf8, "Versions of the tables that were read, as a JSON object"),
        Column::optional("backtest_wape", DataType::Float64, "Absolute error / absolute actuals on past origins"),
        Column::optional("naive_wape", DataType::Float64, "The same of the seasonal-naive forecast"),
        Column::optional("coverage_80", DataType::Float64, "Measured share of actuals inside the 80 % interval"),
        Column::required("backtest_n", DataType::Int64, "Forecast days that the measures stand on"),
        Column::optional("fallback", DataType::Utf8, "Why the series did not get the model proper"),
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
    }
}

/// The rows of a run, by period.
///
/// # Panics
/// Never: the arrays follow the definition.
#[must_use]
pub fn forecast_batch(run: &ForecastRun) -> Vec<(String, RecordBatch)> {
    let mut periods: std::collections::BTreeMap<String, Vec<&SeriesForecast>> = std::collections::BTreeMap::new();
    for forecast in &run.forecasts {
        let period = format!("{:04}-{:02}", forecast.origin.year(), forecast.origin.month());
        periods.entry(period).or_default().push(forecast);
    }
    periods.into_iter().map(|(period, forecasts)| (period, batch(run, &forecasts))).collect()
}

fn batch(run: &ForecastRun, forecasts: &[&SeriesForecast]) -> RecordBatch {
    let rows = || forecasts.iter().flat_map(|f| f.days.iter().map(move |day| (*f, day)));
    let versions = serde_json::to_string(&run.lake_versions).unwrap_or_default();
    let texts = |of: &dyn Fn(&SeriesForecast) -> Option<String>| -> ArrayRef {
        let mut builder = StringBuilder::new();
        rows().for_each(|(forecast, _)| builder.append_option(of(forecast)));
        Arc::new(builder.finish())
    };
    let floats = |of: &dyn Fn(&SeriesForecast, &domain::forecast::DayForecast) -> Option<f64>| -> ArrayRef {
        let mut builder = Float64Builder::new();
        rows().for_each(|(forecast, day)| builder.append_option(of(forecast, day)));
        Arc::new(builder.finish())
    };
    let dates = |of: &dyn Fn(&SeriesForecast, &domain::forecast::DayForecast) -> NaiveDate| -> ArrayRef {
        let mut builder = Date32Builder::new();
        rows().for_each(|(forecast, day)| builder.append_value(days_since_epoch(of(forecast, day))));
        Arc::new(builder.finish())
    };
    let mut counts = Int64Builder::new();
    rows().for_each(|(forecast, _)| counts.append_value(forecast.backtest.n as i64));
    let mut created = TimestampMicrosecondBuilder::new();
    rows().for_each(|_| created.append_value(run.created_at));
    let mut arrays = vec![
        texts(&|f| Some(f.key.tenant.clone())),
        texts(&|_| Some("sku".to_owned())),
        texts(&|f| Some(f.key.store.clone())),
        texts(&|_| None),
        texts(&|f| Some(f.key.sku.clone())),
        texts(&|f| f.product_name.clone()),
        texts(&|_| Some("units".to_owned())),
        dates(&|_, day| day.date),
        dates(&|f, _| f.origin),
        floats(&|_, day| Some(day.mean)),
    ];
    arrays.extend((0..QUANTILE_COLUMNS.len()).map(|at| floats(&|_, day| Some(day.quantiles[at]))));
    arrays.extend([
        texts(&|_| Some(run.model_version.clone())),
        texts(&|_| Some(versions.clone())),
        floats(&|f, _| f.backtest.wape),
        floats(&|f, _| f.backtest.naive_wape),
        floats(&|f, _| f.backtest.coverage_80),
        Arc::new(counts.finish()),
        texts(&|f| f.fallback.clone()),
        Arc::new(created.finish().with_timezone("UTC")),
    ]);
    RecordBatch::try_new(arrow_schema(&forecasts().columns), arrays).expect("the arrays follow the definition")
}

fn days_since_epoch(date: NaiveDate) -> i32 {
    date.num_days_from_ce() - NaiveDate::default().num_days_from_ce()
}
