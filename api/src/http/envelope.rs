//! The form of every JSON answer: `success`, `data` or `error`, `meta`, and for lists `pagination`.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Error, ErrorKind};
use serde::Serialize;
use serde_json::{Value, json};

use super::as_of::AsOf;
use super::frame::RequestContext;

/// What an answer says about itself.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Meta {
    timestamp: String,
    version: &'static str,
    request_id: String,
    /// The state of the lake that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<AsOf>,
    /// Whether a limit cut the answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    /// That limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
}

impl Meta {
    pub(super) fn of(context: &RequestContext) -> Self {
        Self {
            timestamp: domain::civil::format_instant(domain::civil::now()),
            version: context.version,
            request_id: context.id.clone(),
            as_of: None,
            truncated: false,
            limit: None,
        }
    }

    pub(super) fn with_as_of(self, as_of: AsOf) -> Self {
        Self { as_of: Some(as_of), ..self }
    }

    /// Names the limit that cut the answer, if one did.
    pub(super) fn cut_by(self, limit: Option<String>) -> Self {
        Self { truncated: limit.is_some(), limit, ..self }
    }
}

/// Where a list's page stands.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Pagination {
    page: u64,
    per_page: u64,
    total: u64,
    total_pages: u64,
}

impl Pagination {
    /// Page `page`, counted from 1, of `total` items.
    pub(super) fn new(page: u64, per_page: u64, total: u64) -> Self {
        Self { page, per_page, total, total_pages: total.div_ceil(per_page) }
    }
}

#[derive(Serialize)]
struct Success<'a, T> {
    success: bool,
    data: &'a T,
    meta: &'a Meta,
    #[serde(skip_serializing_if = "Option::is_none")]
    pagination: Option<Pagination>,
}

/// A success. The data is written as it serialises, so that numbers keep their digits.
pub(super) fn success(data: &impl Serialize, meta: &Meta) -> Response {
    Json(Success { success: true, data, meta, pagination: None }).into_response()
}

/// A page of a list.
pub(super) fn page(data: &impl Serialize, meta: &Meta, pagination: Pagination) -> Response {
    Json(Success { success: true, data, meta, pagination: Some(pagination) }).into_response()
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

    /// Fields that cannot be used, all at once, each with what is wrong with it.
    pub(super) fn fields(faults: &[(&str, String)]) -> Self {
        let messages: Vec<_> = faults.iter().map(|(name, fault)| format!("{name}: {fault}")).collect();
        let fields: serde_json::Map<_, _> =
            faults.iter().map(|(name, fault)| ((*name).to_owned(), fault.as_str().into())).collect();
        let failure = Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", messages.join("; "));
        Self { details: json!({ "fields": fields }), ..failure }
    }

    /// A defect of ours, of which the caller learns where its cause stands.
    pub(super) fn defect() -> Self {
        let message = "something went wrong here; the log has the cause under this request's id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", message)
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

/// A body that is not what it must look like.
pub(super) fn malformed(rejection: &JsonRejection, expected: &str) -> Failure {
    let code = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => "PAYLOAD_TOO_LARGE",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "UNSUPPORTED_MEDIA_TYPE",
        _ => "INVALID_REQUEST",
    };
    let message = format!("the body must be {expected} as application/json: {}", rejection.body_text());
    Failure::new(rejection.status(), code, message)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (status, code) = match error.kind() {
            ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "INVALID_REQUEST"),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            ErrorKind::Conflict => (StatusCode::CONFLICT, "CONFLICT"),
            ErrorKind::LimitExceeded => (StatusCode::UNPROCESSABLE_ENTITY, "LIMIT_EXCEEDED"),
            ErrorKind::Unavailable | ErrorKind::Cancelled => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            ErrorKind::Incompatible | ErrorKind::Internal => {
                tracing::error!(%error, "a request failed");
                return Self::defect();
            }
        };
        Self::new(status, code, error.to_string())
    }
}
