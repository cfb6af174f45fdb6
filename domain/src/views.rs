//! Views: questions under a name, over the marts and feeds. What they ask stands in the engine; here stands what they are for, and what they show.

use arrow_schema::DataType;

use crate::marts::{Mart, amount, units};
use crate::table::{Column, Description, timestamp};

/// A view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// `marts.daily_demand`.
    DailyDemand,
    /// `marts.sales_live`.
    SalesLive,
    /// `marts.forecast_accuracy`.
    ForecastAccuracy,
    /// `marts.served_forecasts`.
    ServedForecasts,
    /// `marts.override_value`.
    OverrideValue,
}

const DAILY_DEMAND: &str = "Demand for each article in each store and business day, from the article's first sale there to the store's last business day, with 0 \
where nothing sold, and what the day was like: the columns of marts.item_days and marts.store_days. An article's product_name and category are those of its product \
record with the latest valid_from.";

const SALES_LIVE: &str = "What each store has sold on its business day so far, in its currency, as of the last commit of sales. A store that has sold nothing yet \
has zeros.";

const FORECAST_ACCURACY: &str = "How good forecasts were, by what came since: a row for each subject, origin and model of marts.forecasts of which a day has come. The naive \
forecast is that of the last known week again; value_added is what a forecast was better by. Categories are those that articles have now.";

const SERVED_FORECASTS: &str = "The forecasts that are served: those rows of marts.forecasts whose model version was promoted last for their business, and not rolled back, and beside them what planners expect instead.";

const OVERRIDE_VALUE: &str = "What planners' words were worth: a row for each day of an article of which a planner had the last word before it came. value_added is what the word was \
nearer to what came than the model's mean.";

impl View {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::DailyDemand,
        Self::SalesLive,
        Self::ForecastAccuracy,
        Self::ServedForecasts,
        Self::OverrideValue,
    ];

    /// Its name in SQL.
    #[must_use]
    pub fn qualified_name(self) -> &'static str {
        match self {
            Self::DailyDemand => "marts.daily_demand",
            Self::SalesLive => "marts.sales_live",
            Self::ForecastAccuracy => "marts.forecast_accuracy",
            Self::ServedForecasts => "marts.served_forecasts",
            Self::OverrideValue => "marts.override_value",
        }
    }

    /// What it is for, and its columns as an operator sees them.
    #[must_use]
    pub fn description(self) -> Description {
        let (comment, columns) = match self {
            Self::DailyDemand => (DAILY_DEMAND, daily_demand()),
            Self::SalesLive => (SALES_LIVE, sales_live()),
            Self::ForecastAccuracy => (FORECAST_ACCURACY, forecast_accuracy()),
            Self::ServedForecasts => (SERVED_FORECASTS, served_forecasts()),
            Self::OverrideValue => (OVERRIDE_VALUE, override_value()),
        };
        Description { comment: comment.to_owned(), columns }
    }
}

/// Columns of a mart, in the order of their names here.
fn of_mart(mart: Mart, names: &[&str]) -> Vec<Column> {
    let columns = mart.columns();
    names.iter().filter_map(|name| columns.iter().find(|column| column.name == *name).cloned()).collect()
}

fn daily_demand() -> Vec<Column> {
    let mut columns = of_mart(Mart::ItemDays, &["tenant", "store", "sku", "date"]);
    columns.extend([
        Column::optional("product_name", DataType::Utf8, "Name of the article"),
        Column::optional("category", DataType::Utf8, "Category of the article"),
    ]);
    let sold = [
        "units",
        "returned_units",
        "revenue",
        "refunds",
        "discounts",
        "sale_lines",
        "return_lines",
        "other_currency_lines",
    ];
    columns.extend(of_mart(Mart::ItemDays, &sold));
    columns.extend(of_mart(Mart::StoreDays, &["currency"]));
    columns.extend(of_mart(
        Mart::ItemDays,
        &["price", "is_promoted", "on_hand", "is_stocked_out", "rival_price"],
    ));
    columns.extend([
        Column::optional(
            "sku_sentiment",
            DataType::Float64,
            "Mean score of the day's posts about the article, -1 (bad) to 1 (good)",
        ),
        Column::required("sku_posts", DataType::Int64, "The scored posts that sku_sentiment is the mean of"),
    ]);
    let day = [
        "is_closed",
        "holiday",
        "is_school_holiday",
        "is_promotion",
        "events",
        "expected_attendance",
        "signals",
    ];
    columns.extend(of_mart(Mart::StoreDays, &day));
    let weather = [
        "weather_kind",
        "temp_mean_c",
        "temp_min_c",
        "temp_max_c",
        "precipitation_mm",
        "wind_kmh",
        "humidity",
        "condition",
    ];
    columns.extend(of_mart(Mart::StoreDays, &weather));
    columns.extend([
        Column::optional(
            "place_sentiment",
            DataType::Float64,
            "Mean score of the day's posts about the store's location or region, -1 (bad) to 1 (good)",
        ),
        Column::required(
            "place_posts",
            DataType::Int64,
            "The scored posts that place_sentiment is the mean of",
        ),
    ]);
    columns
}

fn sales_live() -> Vec<Column> {
    let mut columns = of_mart(Mart::StoreDays, &["tenant", "store", "date", "currency"]);
    columns.extend([
        Column::required("units", units(), "Units sold so far; returns are not taken off"),
        Column::required("returned_units", units(), "Units that came back, as a number above 0"),
        Column::required(
            "revenue",
            amount(),
            "quantity * unit_price of what was sold in the store's currency",
        ),
        Column::required(
            "refunds",
            amount(),
            "quantity * unit_price of what came back in the store's currency, as a number above 0",
        ),
        Column::required("sale_lines", DataType::Int64, "Lines of receipts"),
        Column::optional(
            "last_sale_at",
            timestamp(),
            "When the last of the day's lines was sold or returned; null on a day without",
        ),
    ]);
    columns
}

fn served_forecasts() -> Vec<Column> {
    [crate::forecast::columns(), crate::planning::shown_columns()].concat()
}

fn override_value() -> Vec<Column> {
    let text = |name, comment| Column::required(name, DataType::Utf8, comment);
    let figure = |name, comment| Column::required(name, DataType::Float64, comment);
    vec![
        text("tenant", "Business that the row belongs to"),
        text("store", "Store"),
        text("sku", "Article"),
        Column::required("forecast_date", DataType::Date32, "Day that was spoken of"),
        text("author", "Who had the last word"),
        text("reason", "Why"),
        text("model_version", "The model that was served by then"),
        figure("override_units", "What the planner expected"),
        figure("mean", "What the model expected"),
        figure("units", "What came: net units"),
        figure(
            "value_added",
            "How much nearer the planner was, in units; below 0 where the model was nearer",
        ),
    ]
}

fn forecast_accuracy() -> Vec<Column> {
    let text = |name, comment| Column::required(name, DataType::Utf8, comment);
    let part = |name, comment| Column::optional(name, DataType::Utf8, comment);
    let share = |name, comment| Column::optional(name, DataType::Float64, comment);
    vec![
        text("tenant", "Business that the row belongs to"),
        text("level", "What was forecast: sku, category, store or business"),
        part("store", "Store, at the levels sku, category and store"),
        part("category", "Category, at the level category"),
        part("sku", "Article, at the level sku"),
        Column::required("origin", DataType::Date32, "Last day whose sales were known"),
        text("model_version", "The model that made the forecast"),
        Column::required("days", DataType::Int64, "Forecast days that have come"),
        Column::required("units", DataType::Float64, "Net units of these days: sold less returned"),
        Column::required("forecast_units", DataType::Float64, "What the means of these days sum to"),
        share(
            "wape",
            "Absolute errors of the means / absolute units; null where nothing was sold or returned",
        ),
        share("naive_wape", "The same of the naive forecast"),
        share("value_added", "naive_wape - wape: above 0 where the forecast was better than the naive one"),
        share("bias", "(forecast_units - units) / units; null where units are 0"),
        share("coverage_80", "Share of days within q100 and q900"),
        share("coverage_95", "Share of days within q025 and q975"),
    ]
}
