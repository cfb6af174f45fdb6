//! `GET /api/v1/forecast/explain`: what the mean of each day that is forecast is made of.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::envelope::Failure;
use super::paged::{self, Wanted};
use super::parameters::{Faults, equal, given};
use super::tenant::Caller;
use crate::ApiState;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    subject: Option<String>,
    category: Option<String>,
    sku: Option<String>,
    store: Option<String>,
    from: Option<String>,
    to: Option<String>,
    page: Option<String>,
    per_page: Option<String>,
}

/// A row of `marts.served_forecasts`. Figures keep their digits.
#[derive(Debug, Deserialize)]
struct Row {
    subject: String,
    store: Option<String>,
    category: Option<String>,
    sku: Option<String>,
    product_name: Option<String>,
    unit: String,
    forecast_date: String,
    origin: String,
    mean: Box<RawValue>,
    effect_base: Box<RawValue>,
    effect_trend: Box<RawValue>,
    effect_season: Box<RawValue>,
    effect_promotion: Box<RawValue>,
    effect_events: Box<RawValue>,
    effect_weather: Box<RawValue>,
    effect_adjustment: Box<RawValue>,
    fallback: Option<String>,
    model_version: String,
}

#[derive(Debug, Serialize)]
struct Explanation {
    subject: String,
    store: Option<String>,
    category: Option<String>,
    sku: Option<String>,
    product_name: Option<String>,
    unit: String,
    forecast_date: String,
    origin: String,
    mean: Box<RawValue>,
    /// They sum to the mean.
    effects: Effects,
    fallback: Option<String>,
    model_version: String,
}

#[derive(Debug, Serialize)]
struct Effects {
    base: Box<RawValue>,
    trend: Box<RawValue>,
    season: Box<RawValue>,
    promotion: Box<RawValue>,
    events: Box<RawValue>,
    weather: Box<RawValue>,
    adjustment: Box<RawValue>,
}

impl From<Row> for Explanation {
    fn from(row: Row) -> Self {
        Self {
            subject: row.subject,
            store: row.store,
            category: row.category,
            sku: row.sku,
            product_name: row.product_name,
            unit: row.unit,
            forecast_date: row.forecast_date,
            origin: row.origin,
            mean: row.mean,
            effects: Effects {
                base: row.effect_base,
                trend: row.effect_trend,
                season: row.effect_season,
                promotion: row.effect_promotion,
                events: row.effect_events,
                weather: row.effect_weather,
                adjustment: row.effect_adjustment,
            },
            fallback: row.fallback,
            model_version: row.model_version,
        }
    }
}

pub(super) async fn explain(
    State(state): State<ApiState>,
    caller: Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Response {
    let answered = answer(&state, &caller, parameters).await;
    answered.unwrap_or_else(|failure| failure.into_response(&caller.context))
}

async fn answer(
    state: &ApiState,
    caller: &Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Failure> {
    let parameters = given(parameters)?;
    let mut faults = Faults::default();
    let subject = faults.subject(parameters.subject);
    let (from, to) = faults.span(parameters.from, parameters.to);
    let page = faults.page(parameters.page, parameters.per_page);
    faults.check()?;
    let named =
        equal([("sku", parameters.sku), ("store", parameters.store), ("category", parameters.category)]);
    let from = from.map(|from| format!(" AND forecast_date >= DATE '{from}'")).unwrap_or_default();
    let to = to.map(|to| format!(" AND forecast_date <= DATE '{to}'")).unwrap_or_default();
    let effects = domain::forecast::EFFECT_COLUMNS.join(", ");
    let wanted = Wanted {
        columns: &format!(
            "level AS subject, store, category, sku, product_name, unit, forecast_date, origin, mean, {effects}, fallback, model_version"
        ),
        found: &format!("FROM marts.served_forecasts WHERE level = '{subject}'{named}{from}{to}"),
        order: "store, category, sku, forecast_date",
        page,
    };
    paged::answer(state, caller, wanted, |row: Row| Explanation::from(row)).await
}
