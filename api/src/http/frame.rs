//! What stands around every request: its id, its time-out, its log line, its metrics, and an envelope for whatever goes wrong outside of the routes.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument as _;
use uuid::Uuid;

use super::envelope::Failure;
use crate::ApiState;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Until its first byte an answer may take so long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What a request carries along.
#[derive(Debug, Clone)]
pub(super) struct RequestContext {
    pub(super) id: String,
    pub(super) version: &'static str,
}

/// Gives a request its id, its time-out and its log line.
pub(super) async fn around(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let id = given.filter(|id| is_usable(id)).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    let context = RequestContext { id: id.clone(), version: state.version };
    request.extensions_mut().insert(context.clone());
    let span = tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
    let begun = Instant::now();
    let answered = async {
        let timed = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
        let mut response = timed.unwrap_or_else(|_| {
            let message = format!("no answer within {} s: ask for less", REQUEST_TIMEOUT.as_secs());
            Failure::new(StatusCode::GATEWAY_TIMEOUT, "TIMEOUT", message).into_response(&context)
        });
        // What could not know its request is given its envelope here.
        if let Some(failure) = response.extensions_mut().remove::<Failure>() {
            response = failure.into_response(&context);
        }
        tracing::info!(
            status = response.status().as_u16(),
            ms = begun.elapsed().as_millis() as u64,
            "answered"
        );
        response
    };
    let mut response = answered.instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// A client's own id is kept if it does no harm in a log.
fn is_usable(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (8..=64).contains(&id.len()) && id.bytes().all(allowed)
}

/// Counts and times requests by route, never by path.
pub(super) async fn measured(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let method = request.method().to_string();
    let _flight = InFlight::begin(route.clone());
    let response = next.run(request).await;
    let labels = [("route", route), ("method", method), ("status", response.status().as_u16().to_string())];
    metrics::counter!("intellicartel_http_requests_total", &labels).increment(1);
    metrics::histogram!("intellicartel_http_request_seconds", &labels).record(begun.elapsed().as_secs_f64());
    response
}

/// A request that is being answered, counted in a gauge until it is answered or its client has left.
struct InFlight(metrics::Gauge);

impl InFlight {
    fn begin(route: String) -> Self {
        let gauge = metrics::gauge!("intellicartel_http_requests_in_flight", "route" => route);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// An answer that [`around`] puts into its envelope.
pub(super) fn outside(failure: Failure) -> Response {
    let mut response = failure.status.into_response();
    response.extensions_mut().insert(failure);
    response
}

pub(super) async fn unknown_path(uri: Uri) -> Response {
    let message = format!("there is no `{}`", uri.path());
    outside(Failure::new(StatusCode::NOT_FOUND, "NOT_FOUND", message))
}

pub(super) async fn unknown_method(method: Method, uri: Uri) -> Response {
    let message = format!("`{}` does not take {method}", uri.path());
    outside(Failure::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message))
}

pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let what = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let what = what.or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(what, "a handler panicked");
    outside(Failure::defect())
}
