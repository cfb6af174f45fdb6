//! The network faces. Today HTTP, with what operators ask a process for.
//!
//! Until identity comes, the server listens on the loopback only.

pub mod http;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::{Error, ErrorKind, Result};
use engine::Engine;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Requests that are under way at a shutdown have so long to end.
const DRAIN_PATIENCE: Duration = Duration::from_secs(20);

/// What the routes share.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// Answers questions.
    pub engine: Arc<Engine>,
    /// The version that every answer names.
    pub version: &'static str,
    /// Renders the process's metrics.
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
    /// Set once a shutdown began: the process is not ready any more.
    pub shutdown: CancellationToken,
}

/// Binds `listen`, an address of the loopback.
///
/// # Errors
/// [`ErrorKind::Invalid`] for an address that others could reach, or that is none; [`ErrorKind::Unavailable`] when the port is taken.
pub async fn bind(listen: &str) -> Result<TcpListener> {
    let address: SocketAddr = listen.parse().map_err(|_| {
        Error::invalid(format!("http.listen `{listen}` is not an address: give one like 127.0.0.1:8080"))
    })?;
    if !address.ip().is_loopback() {
        return Err(Error::invalid(format!(
            "http.listen `{listen}` can be reached by others, and requests are not authenticated yet: give 127.0.0.1:PORT or [::1]:PORT"
        )));
    }
    TcpListener::bind(address).await.map_err(|error| {
        let fix = format!(
            "http.listen {listen}: {error}; stop the program that holds the port, or choose another by --listen (http.listen)"
        );
        Error::new(ErrorKind::Unavailable, fix).with_source(error)
    })
}

/// Serves until the shutdown, then lets requests under way end.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, state: ApiState) -> Result<()> {
    let shutdown = state.shutdown.clone();
    let begun = shutdown.clone();
    let server = axum::serve(listener, http::router(state))
        .with_graceful_shutdown(async move { begun.cancelled().await });
    let late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN_PATIENCE).await;
    };
    tokio::select! {
        served = server => served.map_err(|error| Error::internal(format!("http: {error}"))),
        () = late => {
            tracing::warn!("requests were cut off: they did not end within {} s of the shutdown", DRAIN_PATIENCE.as_secs());
            Ok(())
        }
    }
}
