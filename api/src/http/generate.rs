//! `POST /api/v1/forecast/generate`: a business's forecasts are made anew, as a job.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::jobs::Work;
use serde::Deserialize;

use super::envelope::{Failure, Meta, malformed, success};
use super::jobs::{Shown, runner, whole_business};
use super::tenant::Caller;
use crate::ApiState;

const BODY: &str = r#"{} or {"horizon_days": 28, "quick": false, "search": false}"#;

const MOST_DAYS: usize = 365;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Asked {
    horizon_days: usize,
    quick: bool,
    search: bool,
}

impl Default for Asked {
    fn default() -> Self {
        Self { horizon_days: 28, quick: false, search: false }
    }
}

pub(super) async fn generate(
    State(state): State<ApiState>,
    caller: Caller,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Response {
    let answered = answer(&state, &caller, asked).await;
    answered.unwrap_or_else(|failure| failure.into_response(&caller.context))
}

async fn answer(
    state: &ApiState,
    caller: &Caller,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Result<Response, Failure> {
    let Json(Asked { horizon_days, quick, search }) =
        asked.map_err(|rejection| malformed(&rejection, BODY))?;
    if !(1..=MOST_DAYS).contains(&horizon_days) {
        return Err(Failure::fields(&[(
            "horizon_days",
            format!("{horizon_days}: give 1 to {MOST_DAYS} days"),
        )]));
    }
    let tenant = whole_business(caller)?;
    let work = Work::Forecast { horizon_days, is_quick: quick, searches: search };
    let job = Shown::from(runner(state)?.submit(tenant, work).await?);
    let place = [(header::LOCATION, format!("/api/v1/jobs/{}", job.id))];
    Ok((StatusCode::ACCEPTED, place, success(&job, &Meta::of(&caller.context))).into_response())
}
