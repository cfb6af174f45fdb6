//! Daily series in, quantile forecasts out: the words that the lake, the engine and the models share.

use std::collections::BTreeMap;

use arrow_schema::DataType;
use chrono::{Days, NaiveDate};

use crate::civil::Micros;
use crate::table::{Column, timestamp};

/// The probabilities of the stored quantiles in per mille, rising: `q025, q100, q200 ... q900, q975`.
pub const QUANTILES_PER_MILLE: [u16; 11] = [25, 100, 200, 300, 400, 500, 600, 700, 800, 900, 975];

/// The columns of [`QUANTILES_PER_MILLE`] in `marts.forecasts`.
pub const QUANTILE_COLUMNS: [&str; 11] =
    ["q025", "q100", "q200", "q300", "q400", "q500", "q600", "q700", "q800", "q900", "q975"];

/// Where the bounds of the 80 % interval stand among the quantiles: q100 and q900.
pub const INTERVAL_80: (usize, usize) = (1, 9);

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

/// One article's daily net units in one store: a value for every day from its first sale or return to the store's last day; none of one that is new in stock and has sold nothing yet.
#[derive(Debug, Clone, PartialEq)]
pub struct DailySeries {
    /// What it is about.
    pub key: SeriesKey,
    /// The article's newest name.
    pub product_name: Option<String>,
    /// The category of the article's newest product record.
    pub category: Option<String>,
    /// The day of the first value.
    pub start: NaiveDate,
    /// Units of each day, returns subtracted, so that a day may be below 0; 0 where nothing sold.
    pub units: Vec<f64>,
    /// Days on which something was sold, whether or not more came back.
    pub sale_days: usize,
    /// Places in `units` of days on which nothing was left in stock at a time, rising: more may have been wanted than was sold.
    pub stocked_out: Vec<usize>,
}

impl DailySeries {
    /// Of a key, without anything.
    #[must_use]
    pub fn of(key: SeriesKey) -> Self {
        Self {
            key,
            product_name: None,
            category: None,
            start: NaiveDate::default(),
            units: Vec::new(),
            sale_days: 0,
            stocked_out: Vec::new(),
        }
    }

    /// The day of the last value, the last whose sales are known; the day before `start` when there is no value.
    #[must_use]
    pub fn end(&self) -> NaiveDate {
        let days = self.units.len() as u64;
        let end = match days {
            0 => self.start.checked_sub_days(Days::new(1)),
            _ => self.start.checked_add_days(Days::new(days - 1)),
        };
        // Beyond the calendar's 260,000 years only; callers that add days check them.
        end.unwrap_or(self.start)
    }
}

/// The weather of a day: as it was observed, else as it was forecast last.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DayWeather {
    /// Mean temperature in degrees Celsius.
    pub temp_mean_c: Option<f64>,
    /// Rain and melted snow in millimetres.
    pub precipitation_mm: Option<f64>,
}

/// What is known of a business day before it comes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PlannedDay {
    /// Whether the store is closed.
    pub is_closed: bool,
    /// Whether it is a public holiday.
    pub is_holiday: bool,
    /// Whether schools are closed for holidays.
    pub is_school_holiday: bool,
    /// Whether a promotion of the business is on.
    pub is_promotion: bool,
    /// Its weather where the store is, as far as that is known.
    pub weather: DayWeather,
}

/// The days of a store, those to come among them. Days that it does not hold are like any other.
#[derive(Debug, Clone, PartialEq)]
pub struct StorePlan {
    /// The first day.
    pub start: NaiveDate,
    /// It and those behind it.
    pub days: Vec<PlannedDay>,
}

impl StorePlan {
    /// What is known of a day.
    #[must_use]
    pub fn on(&self, day: NaiveDate) -> PlannedDay {
        let at = usize::try_from((day - self.start).num_days()).ok();
        at.and_then(|at| self.days.get(at)).copied().unwrap_or_default()
    }
}

/// The daily series of a lake, with the versions of the tables that they were read from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesSet {
    /// The series, ordered by key, each key once.
    pub series: Vec<DailySeries>,
    /// By tenant and store, what is known of its days.
    pub plans: BTreeMap<(String, String), StorePlan>,
    /// Table name to version, like `curated.sales` -> 12. All rows were read at these versions.
    pub lake_versions: BTreeMap<String, u64>,
}

/// How good a model was at past origins. Every figure was measured; where nothing could be, it is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Backtest {
    /// Sum of absolute errors of the mean / sum of absolute actuals; `None` when nothing was sold or returned in the tests.
    pub wape: Option<f64>,
    /// The same of the seasonal-naive forecast, the bar for every model.
    pub naive_wape: Option<f64>,
    /// The share of actuals inside the 80 % interval, its bounds included; `None` when no day was compared.
    pub coverage_80: Option<f64>,
    /// Number of forecast days compared.
    pub n: usize,
}

/// One day's forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct DayForecast {
    /// The day.
    pub date: NaiveDate,
    /// Expected net units: finite and not below 0.
    pub mean: f64,
    /// Quantiles at [`QUANTILES_PER_MILLE`]: finite, not below 0, not falling.
    pub quantiles: [f64; 11],
    /// Of the units of all days from the first one ahead up to and with this one.
    pub total: Total,
    /// What the mean is made of.
    pub effects: Effects,
}

/// What a day's mean is made of, in units: together they are the mean. Each of promotion, events and weather is what the model forecasts of the day as it is planned, less
/// what it forecasts without: of the weather first, of events last.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Effects {
    /// The mean of the open days of the last year.
    pub base: f64,
    /// What the days that are forecast have more than that, on the mean of whole weeks.
    pub trend: f64,
    /// What the day has more than those: its weekday, its time of the year.
    pub season: f64,
    /// Promotions, on this day and around it.
    pub promotion: f64,
    /// Holidays, school holidays, and closures that are no weekday's.
    pub events: f64,
    /// The weather that is forecast, beside not knowing it.
    pub weather: f64,
    /// What the figure was changed by after that: no article is forecast below 0, or above twice the greatest day of its history.
    pub adjustment: f64,
}

/// The columns of [`Effects`] in `marts.forecasts`, in their order.
pub const EFFECT_COLUMNS: [&str; 7] = [
    "effect_base",
    "effect_trend",
    "effect_season",
    "effect_promotion",
    "effect_events",
    "effect_weather",
    "effect_adjustment",
];

impl Effects {
    /// In the order of [`EFFECT_COLUMNS`].
    #[must_use]
    pub fn parts(&self) -> [f64; 7] {
        let Self { base, trend, season, promotion, events, weather, adjustment } = *self;
        [base, trend, season, promotion, events, weather, adjustment]
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.parts().iter().sum()
    }
}

impl std::ops::AddAssign for Effects {
    fn add_assign(&mut self, other: Self) {
        self.base += other.base;
        self.trend += other.trend;
        self.season += other.season;
        self.promotion += other.promotion;
        self.events += other.events;
        self.weather += other.weather;
        self.adjustment += other.adjustment;
    }
}

/// Units of some days in all: what is needed until a delivery comes. Finite, not below 0; quantiles do not fall.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Total {
    /// Expected units, the sum of the days' means.
    pub mean: f64,
    /// As often below as above.
    pub median: f64,
    /// Above it in one case of ten.
    pub q900: f64,
    /// Above it in one case of forty.
    pub q975: f64,
}

/// A day of a business that has come, beside what was forecast of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForecastDay {
    /// The day.
    pub date: NaiveDate,
    /// The last day that was known when it was forecast.
    pub origin: NaiveDate,
    /// What was expected, in net units.
    pub mean: f64,
    /// What came.
    pub units: f64,
}

/// A day of an article as it is served.
#[derive(Debug, Clone, PartialEq)]
pub struct ServedDay {
    /// The day.
    pub date: NaiveDate,
    /// The last day that the model knew.
    pub origin: NaiveDate,
    /// The model.
    pub model_version: String,
    /// What it expects, in net units.
    pub mean: f64,
}

/// What a forecast is about, inside a business.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// An article in a store.
    Sku {
        /// The store.
        store: String,
        /// The article.
        sku: String,
    },
    /// All articles of a category in a store.
    Category {
        /// The store.
        store: String,
        /// The category.
        category: String,
    },
    /// All articles of a store.
    Store {
        /// The store.
        store: String,
    },
    /// All stores.
    Business,
}

impl Subject {
    /// Its level, as `marts.forecasts` names it.
    #[must_use]
    pub fn level(&self) -> &'static str {
        match self {
            Self::Sku { .. } => "sku",
            Self::Category { .. } => "category",
            Self::Store { .. } => "store",
            Self::Business => "business",
        }
    }

    /// The store that it is about.
    #[must_use]
    pub fn store(&self) -> Option<&str> {
        match self {
            Self::Sku { store, .. } | Self::Category { store, .. } | Self::Store { store } => Some(store),
            Self::Business => None,
        }
    }

    /// The category that it is about.
    #[must_use]
    pub fn category(&self) -> Option<&str> {
        if let Self::Category { category, .. } = self { Some(category) } else { None }
    }

    /// The article that it is about.
    #[must_use]
    pub fn sku(&self) -> Option<&str> {
        if let Self::Sku { sku, .. } = self { Some(sku) } else { None }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [self.store(), self.category(), self.sku()];
        f.write_str(self.level())?;
        parts.into_iter().flatten().try_for_each(|part| write!(f, " {part}"))
    }
}

/// The forecast of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesForecast {
    /// The business.
    pub tenant: String,
    /// What it is about.
    pub subject: Subject,
    /// The article's newest name.
    pub product_name: Option<String>,
    /// The last day whose sales are known.
    pub origin: NaiveDate,
    /// The days after `origin`, one for each of the horizon.
    pub days: Vec<DayForecast>,
    /// How good it was.
    pub backtest: Backtest,
    /// Why the series did not get the model proper, and what it got, if it did not.
    pub fallback: Option<String>,
}

/// All forecasts of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastRun {
    /// Hash over what shaped the model: business, data versions, features, configuration, code. Runs of the same version have the same keys,
    /// origins and figures.
    pub model_version: String,
    /// What the series were read from.
    pub lake_versions: BTreeMap<String, u64>,
    /// When the run was made.
    pub created_at: Micros,
    /// The forecasts, each subject of a business once.
    pub forecasts: Vec<SeriesForecast>,
}

/// The columns of `marts.forecasts`.
#[must_use]
pub fn columns() -> Vec<Column> {
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
        total(
            "effect_base",
            "Of the mean: what the open days of the last year had on the mean. The effects sum to the mean",
        ),
        total("effect_trend", "Of the mean: what whole weeks that are forecast have more than that"),
        total("effect_season", "Of the mean: weekday and time of the year"),
        total("effect_promotion", "Of the mean: promotions, on the day and around it"),
        total("effect_events", "Of the mean: holidays, school holidays, and closures that are no weekday's"),
        total("effect_weather", "Of the mean: the weather that is forecast, beside not knowing it"),
        total(
            "effect_adjustment",
            "Of the mean: what the model's figure was changed by, to lie within its bounds",
        ),
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
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_by_their_probability() {
        for (column, per_mille) in QUANTILE_COLUMNS.into_iter().zip(QUANTILES_PER_MILLE) {
            assert_eq!(column, format!("q{per_mille:03}"));
        }
        assert!(QUANTILES_PER_MILLE.is_sorted());
        assert_eq!((QUANTILE_COLUMNS[INTERVAL_80.0], QUANTILE_COLUMNS[INTERVAL_80.1]), ("q100", "q900"));
    }

    #[test]
    fn a_series_ends_on_its_last_value() {
        let key = SeriesKey { tenant: "t".to_owned(), store: "s".to_owned(), sku: "a".to_owned() };
        let start = NaiveDate::from_ymd_opt(2011, 12, 1).expect("a date");
        let mut series = DailySeries {
            key,
            product_name: None,
            category: None,
            start,
            units: vec![1.0; 9],
            sale_days: 9,
            stocked_out: Vec::new(),
        };
        assert_eq!(series.end().to_string(), "2011-12-09");
        series.units.clear();
        assert_eq!(series.end().to_string(), "2011-11-30");
    }
}
