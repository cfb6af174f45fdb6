//! `serve`: the HTTP server over a lake, until SIGTERM or Ctrl-C.

use std::sync::Arc;

use api::Routes;
use domain::{Error, Result};
use lake::{Lake, LakeOptions};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::wire;

pub(crate) async fn run(config: &Config) -> Result<()> {
    let metrics = wire::metrics()?;
    let lake = wire::lake(config, LakeOptions::Read).await?;
    let listener = api::bind(&config.http.listen).await?;
    http(listener, lake, metrics, Routes::All, wire::shutdown()).await
}

/// Serves until the shutdown.
pub(crate) async fn http(
    listener: TcpListener,
    lake: Arc<Lake>,
    metrics: PrometheusHandle,
    routes: Routes,
    shutdown: CancellationToken,
) -> Result<()> {
    let state = api::ApiState::new(wire::shared_engine(lake)?, env!("CARGO_PKG_VERSION"), metrics, shutdown);
    let address = listener.local_addr().map_err(|error| Error::internal(format!("http: {error}")))?;
    eprintln!("http://{address} answers; Ctrl-C ends it");
    api::serve(listener, state, routes).await
}
