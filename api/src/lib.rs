//! The network faces. Today HTTP: questions in SQL, forecasts, and what operators ask a process for.
//!
//! Until identity comes, the server listens on the loopback only.

mod health;
mod http;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::jobs::JobRunner;
use domain::what_if::WhatIf;
use domain::{Error, ErrorKind, Result};
use engine::Engine;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use health::Health;

/// Requests that are under way at a shutdown have so long to end.
const DRAIN_PATIENCE: Duration = Duration::from_secs(20);

/// Answers that are held in memory at once.
const ANSWERS_AT_ONCE: usize = 8;

/// What the routes share.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// Answers questions.
    engine: Engine,
    /// Answers what would be.
    what_if: Arc<dyn WhatIf>,
    /// Does what takes longer than a request; none where this process does no such work.
    jobs: Option<Arc<dyn JobRunner>>,
    /// The version that every answer names.
    version: &'static str,
    /// Renders the process's metrics.
    metrics: PrometheusHandle,
    /// Set once a shutdown began: the process is not ready any more.
    shutdown: CancellationToken,
    /// For each answer that is held in memory; those that find none wait.
    turns: Arc<Semaphore>,
    newest_sales: Arc<http::NewestSales>,
    /// What else the process does.
    health: Health,
}

impl ApiState {
    /// The state of a server that begins.
    #[must_use]
    pub fn new(
        engine: Engine,
        what_if: Arc<dyn WhatIf>,
        version: &'static str,
        metrics: PrometheusHandle,
        shutdown: CancellationToken,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(ANSWERS_AT_ONCE));
        let (newest_sales, health) = (Arc::default(), Health::default());
        Self { engine, what_if, jobs: None, version, metrics, shutdown, turns, newest_sales, health }
    }

    /// With who does jobs in this process.
    #[must_use]
    pub fn with_jobs(mut self, jobs: Arc<dyn JobRunner>) -> Self {
        self.jobs = Some(jobs);
        self
    }

    /// With the state of what else the process does. A process that answers questions is ready for them whatever that state is; one that does not is
    /// ready once all its parts are well.
    #[must_use]
    pub fn with_health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }
}

/// Binds `listen`, an address of the loopback.
///
/// # Errors
/// [`ErrorKind::Invalid`] for an address that others could reach, or that is none; [`ErrorKind::Unavailable`] when the port is taken.
pub async fn bind(listen: &str) -> Result<TcpListener> {
    let address: SocketAddr = listen.parse().map_err(|_| {
        Error::invalid(format!(
            "--listen (http.listen) `{listen}` is not an address: give one like 127.0.0.1:8080"
        ))
    })?;
    if !address.ip().is_loopback() {
        return Err(Error::invalid(format!(
            "--listen (http.listen) `{listen}` can be reached by others, and requests are not authenticated yet: give 127.0.0.1:PORT or [::1]:PORT"
        )));
    }
    TcpListener::bind(address).await.map_err(|error| {
        let fix = format!(
            "http.listen {listen}: {error}; stop the program that holds the port, or choose another by --listen (http.listen)"
        );
        Error::new(ErrorKind::Unavailable, fix).with_source(error)
    })
}

/// What a process answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routes {
    /// Everything.
    All,
    /// What operators ask: whether it lives and is ready, its metrics, its version.
    Operations,
}

/// Serves until the shutdown, then lets requests under way end.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, state: ApiState, routes: Routes) -> Result<()> {
    let shutdown = state.shutdown.clone();
    let begun = shutdown.clone();
    let server = axum::serve(listener, http::router(state, routes))
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
