//! Daily series in, quantile forecasts out.

use std::collections::BTreeMap;

use chrono::NaiveDate;

/// The probabilities of the stored quantiles, in order: `q025, q100, q200 ... q900, q975`.
pub const QUANTILES: [f64; 11] = [0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975];

/// The columns of [`QUANTILES`] in `marts.forecasts`.
pub const QUANTILE_COLUMNS: [&str; 11] =
    ["q025", "q100", "q200", "q300", "q400", "q500", "q600", "q700", "q800", "q900", "q975"];

/// What a series is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// The business.
    pub tenant: String,
    /// The store.
    pub store: String,
    /// The article.
    pub sku: String,
}

/// One article's daily net units in one store, dense from its first sale to the store's last day.
#[derive(Debug, Clone, PartialEq)]
pub struct DailySeries {
    /// What it is about.
    pub key: SeriesKey,
    /// The article's newest name.
    pub product_name: Option<String>,
    /// The day of the first value.
    pub start: NaiveDate,
    /// Units of each day, returns subtracted; 0 where nothing sold.
    pub units: Vec<f64>,
    /// Days on which something was sold.
    pub sale_days: usize,
}

/// The daily series of a lake, with the versions of the tables that they were read from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesSet {
    /// The series, ordered by key.
    pub series: Vec<DailySeries>,
    /// Table name to version, like `curated.sales` -> 12.
    pub lake_versions: BTreeMap<String, u64>,
}

/// How good a model was on past origins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backtest {
    /// Sum of absolute errors of the mean / sum of absolute actuals; `None` when nothing was sold in the tests.
    pub wape: Option<f64>,
    /// The same of the seasonal-naive forecast, the bar for every model.
    pub naive_wape: Option<f64>,
    /// The share of actuals inside the 80 % interval.
    pub coverage_80: Option<f64>,
    /// Number of forecast days compared.
    pub n: usize,
}

/// One day's forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct DayForecast {
    /// The day.
    pub date: NaiveDate,
    /// Expected net units.
    pub mean: f64,
    /// Quantiles at [`QUANTILES`], not falling.
    pub quantiles: [f64; 11],
}

/// The forecast of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesForecast {
    /// What it is about.
    pub key: SeriesKey,
    /// The article's newest name.
    pub product_name: Option<String>,
    /// The last day whose sales are known.
    pub origin: NaiveDate,
    /// The days after `origin`, one for each of the horizon.
    pub days: Vec<DayForecast>,
    /// How good it was.
    pub backtest: Backtest,
    /// Why the series did not get the model proper, if it did not.
    pub fallback: Option<String>,
}

/// All forecasts of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastRun {
    /// Hash over what shaped the model.
    pub model_version: String,
    /// What the series were read from.
    pub lake_versions: BTreeMap<String, u64>,
    /// When the run was made.
    pub created_at: crate::civil::Micros,
    /// The forecasts.
    pub forecasts: Vec<SeriesForecast>,
}
