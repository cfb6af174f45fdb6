//! `serve`: what a process does for as long as it runs, until SIGTERM or Ctrl-C. By itself one process does everything; `--roles` gives it a part.
//!
//! All roles share the opened lake, the shutdown and the listener. A feed that fails is tried again, one whose topic is not there yet waits for it, and
//! neither keeps anything else from running; `/readyz?verbose` tells of it.

use std::sync::Arc;
use std::time::Duration;

use ::ingest::kafka::KafkaConfig;
use ::ingest::pipeline::{self, FeedState, IngestOptions, Watch};
use ::lake::maintenance::{Clock, Maintainer, MaintenanceOptions};
use ::lake::{Lake, LakeOptions};
use api::{ApiState, Health, Routes};
use clap::ValueEnum;
use domain::ids::Pipeline;
use domain::{Error, ErrorKind, Feed, Result};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, EMBEDDED, Listen};
use crate::{forecasting, ingest, wire};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the process does, separated by commas [default: all; without ingest where kafka.brokers names no cluster].
    #[arg(long, value_enum, value_delimiter = ',')]
    roles: Vec<Role>,
    /// The feeds that are read, separated by commas [default: all].
    #[arg(long, value_delimiter = ',')]
    feeds: Vec<String>,
    #[command(flatten)]
    pub(crate) listen: Listen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Answers questions over HTTP.
    Api,
    /// Reads feeds from Kafka into their tables.
    Ingest,
    /// Keeps the tables in shape, if no other process does.
    Maintenance,
    /// Keeps the daily marts up to date.
    Marts,
    /// Forecasts businesses, each after so many new days, and on request.
    Forecast,
}

pub(crate) async fn run(config: &Config, args: &Args) -> Result<()> {
    let roles = roles(config, &args.roles)?;
    let has = |role| roles.contains(&role);
    let metrics = wire::metrics()?;
    // A port that is taken is told before a lake is created.
    let listener = api::bind(&config.http.listen).await?;
    let options = match (has(Role::Ingest), has(Role::Maintenance) || has(Role::Marts) || has(Role::Forecast))
    {
        (true, _) => LakeOptions::Write,
        (false, true) => LakeOptions::Upkeep,
        (false, false) => LakeOptions::Read,
    };
    let lake = wire::lake(config, options).await?;
    let (shutdown, health) = (wire::shutdown(), Health::default());
    let mut parts: Vec<BoxFuture<'_, ()>> = Vec::new();
    if has(Role::Ingest) {
        let mut options = ingest::options(config, Pipeline::new(config.ingest.pipeline.clone())?, false);
        let kafka = wire::kafka(config)?;
        let feeds = ingest::feeds(&args.feeds)?;
        options.awaits_topics = args.feeds.is_empty();
        parts.push(read(feeds, Arc::clone(&lake), kafka, options, health.clone(), shutdown.clone()).boxed());
    }
    if has(Role::Maintenance) {
        parts.push(maintain(config, Arc::clone(&lake), health.clone(), shutdown.clone()).boxed());
    }
    if has(Role::Marts) {
        parts.push(keep_marts(config, Arc::clone(&lake), health.clone(), shutdown.clone()).boxed());
    }
    let jobs = has(Role::Forecast).then(|| forecasting::runner(&lake));
    if let Some(jobs) = &jobs {
        let (jobs, shutdown) = (jobs.clone(), shutdown.clone());
        parts.push(async move { jobs.run(shutdown).await }.boxed());
    }
    if let Some(jobs) = &jobs {
        let (lake, jobs) = (Arc::clone(&lake), jobs.clone());
        parts.push(forecasting::keep(config, lake, jobs, health.clone(), shutdown.clone()).boxed());
    }
    let routes = if has(Role::Api) { Routes::All } else { Routes::Operations };
    let mut state = state(lake, metrics, shutdown.clone())?.with_health(health);
    if let Some(jobs) = jobs {
        state = state.with_jobs(Arc::new(jobs));
    }
    let served = async {
        let served = http(listener, state, routes).await;
        // A listener that failed ends the process, and with it what else it does.
        shutdown.cancel();
        served
    };
    let (served, _) = tokio::join!(served, join_all(parts));
    served
}

/// The roles that were asked for, or all that can be had.
fn roles(config: &Config, asked: &[Role]) -> Result<Vec<Role>> {
    if !asked.is_empty() {
        if asked.contains(&Role::Ingest) {
            wire::kafka(config)?;
        }
        return Ok(asked.to_vec());
    }
    let mut roles = Role::value_variants().to_vec();
    if config.kafka.brokers == EMBEDDED {
        roles.retain(|role| *role != Role::Ingest);
        eprintln!("no feed is read: kafka.brokers names no cluster (INTELLICARTEL__KAFKA__BROKERS)");
    }
    Ok(roles)
}

/// Reads feeds until the shutdown, whatever happens to them.
async fn read(
    feeds: Vec<Feed>,
    lake: Arc<Lake>,
    kafka: KafkaConfig,
    options: IngestOptions,
    health: Health,
    shutdown: CancellationToken,
) {
    let part = |feed: Feed| format!("feed {}", feed.name());
    feeds.iter().for_each(|feed| health.tell(&part(*feed), Ok("begins")));
    let watch = Watch::new({
        let health = health.clone();
        let in_group = options.group.is_some();
        move |feed, state| {
            let told = match state {
                FeedState::Reads(partitions) if in_group => Ok(partitions_told(&partitions)),
                FeedState::Reads(_) => Ok("ok".to_owned()),
                FeedState::AwaitsTopic => Ok("its topic is not there yet".to_owned()),
                FeedState::Failed(error) => Err(error),
            };
            health.tell(&part(feed), told.as_deref().map_err(Clone::clone));
        }
    });
    if let Err(error) = pipeline::keep_running(&feeds, &kafka, lake, &options, shutdown, watch).await {
        tracing::error!(%error, "no feed is read any more");
        health.tell("ingest", Err(error.to_string()));
    }
}

/// Which partitions of a shared topic this process reads.
fn partitions_told(partitions: &[i32]) -> String {
    match partitions {
        [] => "owns no partition".to_owned(),
        [only] => format!("reads partition {only}"),
        several => {
            let several: Vec<_> = several.iter().map(i32::to_string).collect();
            format!("reads partitions {}", several.join(", "))
        }
    }
}

/// Keeps the tables in shape until the shutdown.
async fn maintain(config: &Config, lake: Arc<Lake>, health: Health, shutdown: CancellationToken) {
    const PART: &str = "maintenance";
    let settings = &config.maintenance;
    let options = MaintenanceOptions {
        interval: Duration::from_millis(settings.interval_ms),
        lease: Duration::from_secs(settings.lease_seconds),
        memory_bytes: settings.memory_bytes,
        small_files_cap: settings.small_files_cap,
        ..MaintenanceOptions::default()
    };
    health.tell(PART, Ok("begins"));
    let maintainer = Maintainer::new(lake, options, Clock::default());
    let tell = |turn: &Result<_>| match turn {
        Ok(::lake::maintenance::Turn { leads: true, failures, .. }) if !failures.is_empty() => {
            health.tell(PART, Err(failures.join("; ")));
        }
        Ok(::lake::maintenance::Turn { leads: true, .. }) => health.tell(PART, Ok("ok")),
        Ok(_) => health.tell(PART, Ok("another process holds the lease")),
        Err(error) => health.tell(PART, Err(error.to_string())),
    };
    maintainer.run(shutdown, tell).await;
}

/// Keeps the daily marts until the shutdown. What another process did first is not to be done any more.
async fn keep_marts(config: &Config, lake: Arc<Lake>, health: Health, shutdown: CancellationToken) {
    const PART: &str = "marts";
    let interval = Duration::from_millis(config.marts.refresh_ms.max(100));
    health.tell(PART, Ok("begins"));
    let keep = async {
        let marts = wire::marts(lake)?;
        loop {
            match marts.refresh().await {
                Ok(_) => health.tell(PART, Ok("ok")),
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    health.tell(PART, Ok("another process refreshes them too"));
                }
                Err(error) => {
                    tracing::warn!(%error, "the marts could not be refreshed, and it will be tried again");
                    health.tell(PART, Err(error.to_string()));
                }
            }
            tokio::time::sleep(interval).await;
        }
    };
    let kept: Result<()> = tokio::select! {
        kept = keep => kept,
        () = shutdown.cancelled() => Ok(()),
    };
    if let Err(error) = kept {
        health.tell(PART, Err(error.to_string()));
    }
}

/// What a server over the lake needs.
pub(crate) fn state(
    lake: Arc<Lake>,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
) -> Result<ApiState> {
    let engine = wire::shared_engine(Arc::clone(&lake))?;
    let what_if = Arc::new(wire::served_models(lake)?);
    Ok(ApiState::new(engine, what_if, env!("CARGO_PKG_VERSION"), metrics, shutdown))
}

/// Serves until the shutdown.
pub(crate) async fn http(listener: TcpListener, state: ApiState, routes: Routes) -> Result<()> {
    let address = listener.local_addr().map_err(|error| Error::internal(format!("http: {error}")))?;
    eprintln!("http://{address} answers; Ctrl-C ends it");
    api::serve(listener, state, routes).await
}
