//! `GET /api/v1/forecast/accuracy`: how good forecasts were, by what came since.

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
    sku: Option<String>,
    store: Option<String>,
    category: Option<String>,
    model_version: Option<String>,
    from: Option<String>,
    to: Option<String>,
    page: Option<String>,
    per_page: Option<String>,
}

/// A row of `marts.forecast_accuracy`. Figures keep their digits.
#[derive(Debug, Deserialize, Serialize)]
struct Row {
    subject: String,
    store: Option<String>,
    category: Option<String>,
    sku: Option<String>,
    origin: String,
    model_version: String,
    days: i64,
    units: Box<RawValue>,
    forecast_units: Box<RawValue>,
    wape: Option<Box<RawValue>>,
    naive_wape: Option<Box<RawValue>>,
    value_added: Option<Box<RawValue>>,
    bias: Option<Box<RawValue>>,
    coverage_80: Option<Box<RawValue>>,
    coverage_95: Option<Box<RawValue>>,
}

pub(super) async fn accuracy(
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
    let named = equal([
        ("sku", parameters.sku),
        ("store", parameters.store),
        ("category", parameters.category),
        ("model_version", parameters.model_version),
    ]);
    let from = from.map(|from| format!(" AND origin >= DATE '{from}'")).unwrap_or_default();
    let to = to.map(|to| format!(" AND origin <= DATE '{to}'")).unwrap_or_default();
    let wanted = Wanted {
        columns: "level AS subject, store, category, sku, origin, model_version, days, units, forecast_units, wape, naive_wape, value_added, bias, \
                  coverage_80, coverage_95",
        found: &format!("FROM marts.forecast_accuracy WHERE level = '{subject}'{named}{from}{to}"),
        order: "origin DESC, store, category, sku, model_version",
        page,
    };
    paged::answer(state, caller, wanted, |row: Row| row).await
}
