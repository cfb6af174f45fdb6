//! `POST /api/v1/data/sql`: a question in SQL, answered from what the caller may see, as JSON, CSV or an Arrow stream.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::Error;
use engine::Output;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answering::{Column, written};
use super::envelope::{Failure, Meta, malformed, success};
use super::tenant::Caller;
use crate::ApiState;

/// Rows of an answer unless the question says otherwise, and at most.
const DEFAULT_ROWS: u64 = 10_000;
const MAX_ROWS: u64 = 100_000;
/// Bytes of an answer's columns at most.
const MAX_BYTES: u64 = 32 << 20;

const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// What JSON says in `meta`, for the forms that have none.
const AS_OF: HeaderName = HeaderName::from_static("x-intellicartel-as-of");
const TRUNCATED: HeaderName = HeaderName::from_static("x-intellicartel-truncated");

/// What a body looks like.
const BODY: &str = r#"{"sql": "SELECT ...", "limit"?: 100}"#;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    sql: String,
    limit: Option<u64>,
}

#[derive(Serialize)]
struct Rows {
    columns: Vec<Column>,
    rows: Box<RawValue>,
}

pub(super) async fn query(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    question: Result<Json<Question>, JsonRejection>,
) -> Response {
    let answered = answer(&state, &caller, &headers, question).await;
    answered.unwrap_or_else(|failure| failure.into_response(&caller.context))
}

async fn answer(
    state: &ApiState,
    caller: &Caller,
    headers: &HeaderMap,
    question: Result<Json<Question>, JsonRejection>,
) -> Result<Response, Failure> {
    let output = accepted(headers)?;
    let Json(question) = question.map_err(|rejection| malformed(&rejection, BODY))?;
    let max_rows = question.limit.unwrap_or(DEFAULT_ROWS);
    if !(1..=MAX_ROWS).contains(&max_rows) {
        return Err(Failure::fields(&[("limit", format!("{max_rows} rows: give 1 to {MAX_ROWS}"))]));
    }
    let session = state.engine.session(caller.principal.clone());
    let written = written(state, &session, &question.sql, (max_rows, MAX_BYTES), output).await?;
    let as_of = state.newest_sales.as_of(&session, written.tables).await;
    let limit = written.summary.truncated.map(|cut| cut.to_string());
    let content_type = match output {
        Output::Csv => "text/csv; charset=utf-8",
        Output::Arrow => ARROW_STREAM,
        Output::Json | Output::Table => {
            let meta = Meta::of(&caller.context).with_as_of(as_of).cut_by(limit);
            return Ok(success(&Rows { columns: written.columns, rows: raw(written.bytes)? }, &meta));
        }
    };
    let mut response = ([(header::CONTENT_TYPE, content_type)], written.bytes).into_response();
    let as_of = serde_json::to_string(&as_of).map_err(|error| Error::internal(error.to_string()))?;
    for (name, value) in [(AS_OF, Some(as_of)), (TRUNCATED, limit)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// The rows as they were written, so that numbers keep their digits.
fn raw(bytes: Vec<u8>) -> Result<Box<RawValue>, Error> {
    let failed =
        |error: &dyn std::fmt::Display| Error::internal(format!("an answer that is not JSON: {error}"));
    let text = String::from_utf8(bytes).map_err(|error| failed(&error))?;
    RawValue::from_string(text).map_err(|error| failed(&error))
}

/// The first form of `Accept` that is ours; without the header, JSON.
fn accepted(headers: &HeaderMap) -> Result<Output, Failure> {
    let accept = headers.get(header::ACCEPT).map_or(Ok("*/*"), HeaderValue::to_str).unwrap_or_default();
    for part in accept.split(',') {
        let kind = part.split(';').next().unwrap_or_default().trim();
        match kind.to_ascii_lowercase().as_str() {
            "application/json" | "*/*" | "application/*" => return Ok(Output::Json),
            "text/csv" | "text/*" => return Ok(Output::Csv),
            ARROW_STREAM => return Ok(Output::Arrow),
            _ => {}
        }
    }
    let message = format!("Accept: give one of application/json, text/csv, {ARROW_STREAM}");
    Err(Failure::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", message))
}
