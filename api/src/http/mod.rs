//! Routes, one file for each subject, and what all of them share: envelope, request ids, time-outs, logs and metrics.

mod accuracy;
mod answering;
mod as_of;
mod decisions;
mod envelope;
mod explain;
mod forecast;
mod frame;
mod generate;
mod jobs;
mod operations;
mod paged;
mod parameters;
mod sql;
mod tenant;
mod what_if;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{ApiState, Routes};

pub(crate) use as_of::NewestSales;

/// Bytes of a request's body at most; a question may have half of that.
const MAX_BODY_BYTES: usize = 512 << 10;

/// The routes, with all that stands around it.
pub(crate) fn router(state: ApiState, routes: Routes) -> Router {
    let mut router = Router::new()
        .route("/livez", get(operations::live))
        .route("/readyz", get(move |state, query, context| operations::ready(routes, state, query, context)))
        .route("/metrics", get(operations::metrics))
        .route("/version", get(operations::version));
    if routes == Routes::All {
        router = router
            .route("/api/v1/data/sql", post(sql::query))
            .route("/api/v1/forecast/predictions", get(forecast::predictions))
            .route("/api/v1/forecast/explain", get(explain::explain))
            .route("/api/v1/forecast/what-if", post(what_if::what_if))
            .route("/api/v1/forecast/generate", post(generate::generate))
            .route("/api/v1/jobs", get(jobs::list))
            .route("/api/v1/jobs/{id}", get(jobs::show))
            .route("/api/v1/jobs/{id}/cancel", post(jobs::cancel))
            .route("/api/v1/forecast/accuracy", get(accuracy::accuracy))
            .route("/api/v1/forecast/recommendations", get(decisions::recommendations))
            .route("/api/v1/forecast/risks", get(decisions::risks));
    }
    router
        .fallback(frame::unknown_path)
        .method_not_allowed_fallback(frame::unknown_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(CatchPanicLayer::custom(frame::panicked))
        .layer(from_fn_with_state(state.clone(), frame::around))
        .layer(from_fn(frame::measured))
        .with_state(state)
}
