//! Routes, one file for each subject, and what all of them share: envelope, request ids, time-outs, logs and metrics.

mod envelope;
mod frame;
mod operations;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use crate::ApiState;

/// Every route, with all that stands around it.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/livez", get(operations::live))
        .route("/readyz", get(operations::ready))
        .route("/metrics", get(operations::metrics))
        .route("/version", get(operations::version))
        .fallback(frame::unknown_path)
        .method_not_allowed_fallback(frame::unknown_method)
        .layer(CatchPanicLayer::custom(frame::panicked))
        .layer(from_fn_with_state(state.clone(), frame::around))
        .layer(from_fn(frame::measured))
        .with_state(state)
}
