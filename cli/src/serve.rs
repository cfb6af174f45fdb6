//! `serve`: the HTTP server over a lake, until SIGTERM or Ctrl-C.

use std::sync::Arc;

use domain::Result;
use lake::{Lake, LakeOptions};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::wire;

pub(crate) async fn run(config: &Config) -> Result<()> {
    let metrics = wire::metrics()?;
    let lake = wire::lake(config, LakeOptions::Read).await?;
    http(config, lake, metrics, wire::shutdown()).await
}

/// Serves until the shutdown.
pub(crate) async fn http(
    config: &Config,
    lake: Arc<Lake>,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
) -> Result<()> {
    let listener = api::bind(&config.http.listen).await?;
    let engine = Arc::new(wire::engine(lake)?);
    let state = api::ApiState { engine, version: env!("CARGO_PKG_VERSION"), metrics, shutdown };
    eprintln!(
        "http://{} answers /livez, /readyz?verbose, /metrics and /version; Ctrl-C ends it",
        config.http.listen
    );
    api::serve(listener, state).await
}
