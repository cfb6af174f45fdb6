//! What planners say of days that are forecast, kept beside what models say.

use arrow_schema::DataType;
use chrono::NaiveDate;

use crate::civil::Micros;
use crate::table::{Column, timestamp};

/// A planner's word on a day of an article.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The business.
    pub tenant: String,
    /// The store.
    pub store: String,
    /// The article.
    pub sku: String,
    /// The day.
    pub forecast_date: NaiveDate,
    /// Net units that are expected in the model's place; none: the model is to be followed again.
    pub units: Option<f64>,
    /// Who says so.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When it was said.
    pub at: Micros,
    /// What was served by then: the model, the last day that it knew, and its mean.
    pub model_version: String,
    /// See `model_version`.
    pub origin: NaiveDate,
    /// See `model_version`.
    pub mean: f64,
}

/// The columns of `marts.forecast_overrides`.
#[must_use]
pub fn columns() -> Vec<Column> {
    let text = |name, comment| Column::required(name, DataType::Utf8, comment);
    vec![
        text("tenant", "Business that the row belongs to"),
        text("store", "Store"),
        text("sku", "Article"),
        Column::required("forecast_date", DataType::Date32, "Day that is spoken of"),
        Column::optional(
            "units",
            DataType::Float64,
            "Net units that are expected in the model's place; null where the model is to be followed again",
        ),
        text("author", "Who says so"),
        text("reason", "Why"),
        Column::required("at", timestamp(), "When it was said; of a day's rows the last one holds"),
        text("model_version", "The model that was served by then"),
        Column::required("origin", DataType::Date32, "Last day whose sales it knew"),
        Column::required("mean", DataType::Float64, "What it expected"),
    ]
}

/// What `marts.served_forecasts` shows beside a forecast.
#[must_use]
pub fn shown_columns() -> Vec<Column> {
    vec![
        Column::optional(
            "override_units",
            DataType::Float64,
            "Net units that a planner expects in the model's place",
        ),
        Column::optional("override_author", DataType::Utf8, "Who says so"),
        Column::optional("override_reason", DataType::Utf8, "Why"),
    ]
}
