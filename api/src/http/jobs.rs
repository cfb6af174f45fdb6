//! `GET /api/v1/jobs`, `GET /api/v1/jobs/{id}` and `POST /api/v1/jobs/{id}/cancel`: work that takes longer than a request.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::civil::format_instant;
use domain::jobs::{Job, JobRunner, Work};
use domain::principal::StoreScope;
use domain::{ErrorKind, Principal};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::envelope::{Failure, Meta, success};
use super::tenant::Caller;
use crate::ApiState;

/// A job as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) id: Uuid,
    work: &'static str,
    parameters: Value,
    state: &'static str,
    stage: String,
    progress: f64,
    submitted_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
    result: Option<Value>,
    error: Option<Value>,
}

impl From<Job> for Shown {
    fn from(job: Job) -> Self {
        let Work::Forecast { horizon_days, is_quick, searches } = job.work;
        let error = |(kind, message): (ErrorKind, String)| {
            let code = Failure::from(domain::Error::new(kind, message.clone())).code;
            json!({ "code": code, "message": message })
        };
        Self {
            id: job.id,
            work: job.work.name(),
            parameters: json!({ "horizon_days": horizon_days, "quick": is_quick, "search": searches }),
            state: job.state.name(),
            stage: job.stage,
            progress: job.progress,
            submitted_at: format_instant(job.submitted_at),
            started_at: job.started_at.map(format_instant),
            ended_at: job.ended_at.map(format_instant),
            result: job.result,
            error: job.error.map(error),
        }
    }
}

/// Who does jobs in this process.
pub(super) fn runner(state: &ApiState) -> Result<&Arc<dyn JobRunner>, Failure> {
    state.jobs.as_ref().ok_or_else(|| {
        let message = "this process does no jobs: ask one that runs `serve` with the roles api and forecast";
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message)
    })
}

/// The business of a caller who sees all its stores.
pub(super) fn whole_business(caller: &Caller) -> Result<&str, Failure> {
    match &caller.principal {
        Principal::Tenant { tenant, stores: StoreScope::All } => Ok(tenant),
        _ => {
            let message = "jobs are done for a whole business: ask for it without naming stores";
            Err(Failure::new(StatusCode::FORBIDDEN, "FORBIDDEN", message))
        }
    }
}

/// What is done with a job.
enum Wish {
    Show,
    Cancel,
}

pub(super) async fn list(State(state): State<ApiState>, caller: Caller) -> Response {
    let listed = async {
        let jobs = runner(&state)?.jobs(whole_business(&caller)?).await?;
        let jobs: Vec<Shown> = jobs.into_iter().map(Shown::from).collect();
        Ok::<_, Failure>(success(&jobs, &Meta::of(&caller.context)))
    };
    listed.await.unwrap_or_else(|failure| failure.into_response(&caller.context))
}

pub(super) async fn show(state: State<ApiState>, caller: Caller, id: Path<String>) -> Response {
    one(state, caller, id, Wish::Show).await
}

pub(super) async fn cancel(state: State<ApiState>, caller: Caller, id: Path<String>) -> Response {
    one(state, caller, id, Wish::Cancel).await
}

async fn one(State(state): State<ApiState>, caller: Caller, Path(id): Path<String>, wish: Wish) -> Response {
    let answered = async {
        let (runner, tenant) = (runner(&state)?, whole_business(&caller)?);
        let id = id.parse().map_err(|_| {
            Failure::new(
                StatusCode::NOT_FOUND,
                "NOT_FOUND",
                format!("there is no job {id}: GET /api/v1/jobs lists them"),
            )
        })?;
        let job = match wish {
            Wish::Show => runner.job(tenant, id).await?,
            Wish::Cancel => runner.cancel(tenant, id).await?,
        };
        Ok::<_, Failure>(success(&Shown::from(job), &Meta::of(&caller.context)))
    };
    answered.await.unwrap_or_else(|failure| failure.into_response(&caller.context))
}
