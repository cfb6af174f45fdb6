//! What operators ask a process for.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::Principal;
use engine::Limits;
use serde_json::json;

use super::envelope::{Failure, Meta, success};
use super::frame::RequestContext;
use crate::{ApiState, Routes};

const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// Planning it reads the table's newest state, and nothing else.
const LAKE_CHECK: &str = "SELECT count(*) FROM curated.sales";

/// The process runs.
pub(super) async fn live(Extension(context): Extension<RequestContext>) -> Response {
    success(&json!({ "status": "live" }), &Meta::of(&context))
}

/// Requests can be answered: no shutdown has begun, and the lake can be read. `?verbose` names each check, and how the other parts of the process are.
/// They decide only where questions are not answered.
pub(super) async fn ready(
    routes: Routes,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
    Extension(context): Extension<RequestContext>,
) -> Response {
    let limits = Limits { timeout: Some(CHECK_TIMEOUT), ..Limits::default() };
    let lake = match state.engine.session(Principal::Operator).query(LAKE_CHECK, limits).await {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    let serving = if state.shutdown.is_cancelled() { "shutting down" } else { "ok" }.to_owned();
    let mut checks = BTreeMap::from([("lake".to_owned(), lake), ("serving".to_owned(), serving)]);
    let mut is_ready = checks.values().all(|check| check == "ok");
    for (part, told) in state.health.told() {
        is_ready &= told.is_ok() || routes == Routes::All;
        checks.insert(part, told.unwrap_or_else(|amiss| amiss));
    }
    let is_verbose = query.is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose")));
    let shown = if is_verbose { json!(checks) } else { json!({}) };
    if is_ready {
        return success(&json!({ "status": "ready", "checks": shown }), &Meta::of(&context));
    }
    let mut failure =
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", "not ready: ask with ?verbose");
    failure.details = json!({ "checks": shown });
    failure.into_response(&context)
}

/// All metrics in Prometheus's text form.
pub(super) async fn metrics(State(state): State<ApiState>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], state.metrics.render()).into_response()
}

/// What runs here.
pub(super) async fn version(
    State(state): State<ApiState>,
    Extension(context): Extension<RequestContext>,
) -> Response {
    success(&json!({ "name": "intellicartel", "version": state.version }), &Meta::of(&context))
}
