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
#[derive(Debug, Deserialize, Serialize)]
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
    /// They sum to the mean.
    effects: Box<RawValue>,
    fallback: Option<String>,
    model_version: String,
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
    let effect = |column: &&str| format!("'{}', {column}", column.trim_start_matches("effect_"));
    let effects = domain::forecast::EFFECT_COLUMNS.iter().map(effect).collect::<Vec<_>>().join(", ");
    let wanted = Wanted {
        columns: &format!(
            "level AS subject, store, category, sku, product_name, unit, forecast_date, origin, mean, named_struct({effects}) AS effects, fallback, model_version"
        ),
        found: &format!("FROM marts.served_forecasts WHERE level = '{subject}'{named}{from}{to}"),
        order: "store, category, sku, forecast_date",
        page,
    };
    paged::answer(state, caller, wanted, |row: Row| row).await
}
