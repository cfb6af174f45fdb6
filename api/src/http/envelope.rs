//! The form of every JSON answer: `success`, `data` or `error`, and `meta`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::frame::RequestContext;

/// What an answer says about itself.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Meta {
    timestamp: String,
    version: &'static str,
    request_id: String,
}

impl Meta {
    pub(super) fn of(context: &RequestContext) -> Self {
        Self {
            timestamp: domain::civil::format_instant(domain::civil::now()),
            version: context.version,
            request_id: context.id.clone(),
        }
    }
}

#[derive(Serialize)]
struct Success<'a, T> {
    success: bool,
    data: &'a T,
    meta: &'a Meta,
}

/// A success. The data is written as it serialises, so that numbers keep their digits.
pub(super) fn success(data: &impl Serialize, meta: &Meta) -> Response {
    Json(Success { success: true, data, meta }).into_response()
}

/// A refusal or failure, before it knows its request.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// For each field at fault, what is wrong with it.
    pub(super) details: Value,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: json!({}) }
    }

    pub(super) fn into_response(self, context: &RequestContext) -> Response {
        let error = json!({ "code": self.code, "message": self.message, "details": self.details });
        let body = json!({ "success": false, "error": error, "meta": Meta::of(context) });
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
