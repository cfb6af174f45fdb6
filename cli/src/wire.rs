//! Joins the parts: settings to clients, the lake to its readers.

use std::sync::Arc;

use ::engine::marts::{MartParts, Marts};
use ::engine::series::SeriesReader;
use ::engine::{Engine, EngineParts, EngineSettings, Limits, ObjectStoreUrl, Output, write_output};
use ::ingest::kafka::KafkaConfig;
use ::lake::catalog::LakeCatalog;
use ::lake::{Lake, LakeOptions, S3Settings, StoreSettings};
use ::models::analysis::SeriesAnalysis;
use ::models::what_if::ServedModels;
use domain::{Error, Principal, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, EMBEDDED, Secret};

/// Memory that the one query of the command line may take.
const QUERY_MEMORY_BYTES: usize = 1 << 30;

/// How Kafka is reached; the embedded broker is the demo's alone.
pub(crate) fn kafka(config: &Config) -> Result<KafkaConfig> {
    if config.kafka.brokers == EMBEDDED {
        return Err(Error::invalid(
            "kafka.brokers is `embedded`, the broker inside `intellicartel demo`: give host:port,... of a cluster",
        ));
    }
    Ok(KafkaConfig {
        brokers: config.kafka.brokers.clone(),
        prefix: config.kafka.prefix.clone(),
        embedded: false,
    })
}

/// Where the lake lies, and how its store is reached.
pub(crate) fn store(config: &Config) -> StoreSettings {
    let revealed = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.reveal().to_owned());
    let s3 = S3Settings {
        endpoint: config.s3.endpoint.clone(),
        region: config.s3.region.clone(),
        access_key_id: revealed(&config.s3.access_key_id),
        secret_access_key: revealed(&config.s3.secret_access_key),
        allow_http: config.s3.allow_http,
    };
    StoreSettings { root: config.lake.root.clone(), s3 }
}

pub(crate) async fn lake(config: &Config, options: LakeOptions) -> Result<Arc<Lake>> {
    Lake::open(&store(config), options).await
}

/// For the command line, whose one query may take all the memory.
pub(crate) fn engine(lake: Arc<Lake>) -> Result<Engine> {
    let settings = EngineSettings {
        memory_bytes: QUERY_MEMORY_BYTES,
        query_memory_bytes: QUERY_MEMORY_BYTES,
        ..EngineSettings::default()
    };
    engine_with(lake, settings)
}

/// For a server, where no query may take what others need.
pub(crate) fn shared_engine(lake: Arc<Lake>) -> Result<Engine> {
    engine_with(lake, EngineSettings::default())
}

fn engine_with(lake: Arc<Lake>, settings: EngineSettings) -> Result<Engine> {
    let (url, store) = lake.store().bucket();
    let url = ObjectStoreUrl::parse(url.as_str())
        .map_err(|error| Error::internal(format!("store URL {url}: {error}")))?;
    let catalog = Arc::new(LakeCatalog::new(Arc::clone(&lake)));
    let models = Arc::new(SeriesAnalysis);
    Engine::new(EngineParts { catalog, snapshots: lake, models, store: (url, store) }, settings)
}

/// The rows of an answer to the operator.
pub(crate) async fn ask(lake: &Arc<Lake>, sql: &str) -> Result<Vec<Map<String, Value>>> {
    let session = engine(Arc::clone(lake))?.session(Principal::Operator);
    let mut bytes = Vec::new();
    write_output(session.query(sql, Limits::default()).await?, Output::Json, &mut bytes).await?;
    serde_json::from_slice(&bytes).map_err(|error| Error::internal(format!("an answer is not JSON: {error}")))
}

/// What keeps the daily marts.
pub(crate) fn marts(lake: Arc<Lake>) -> Result<Marts> {
    let parts = MartParts { changes: lake.clone(), replace: lake.clone(), snapshots: lake.clone() };
    Ok(Marts::new(&engine(lake)?, parts))
}

/// What models read their series with.
pub(crate) fn series(lake: Arc<Lake>) -> Result<SeriesReader> {
    Ok(SeriesReader::new(&engine(Arc::clone(&lake))?, lake))
}

/// What answers what would be.
pub(crate) fn served_models(lake: Arc<Lake>) -> Result<ServedModels> {
    Ok(ServedModels::new(Arc::new(series(Arc::clone(&lake))?), Arc::clone(&lake) as _, lake))
}

/// The recorder of this process's metrics, to be installed once and before any of them is counted.
pub(crate) fn metrics() -> Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new().install_recorder();
    recorder.map_err(|error| Error::internal(format!("metrics: {error}")))
}

/// A token that is cancelled by SIGTERM or Ctrl-C, from this call on.
pub(crate) fn shutdown() -> CancellationToken {
    let token = CancellationToken::new();
    let caught =
        || Ok::<_, std::io::Error>((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?));
    match caught() {
        Ok((mut terminate, mut interrupt)) => {
            let cancelled = token.clone();
            tokio::spawn(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                cancelled.cancel();
            });
        }
        Err(error) => tracing::warn!(%error, "SIGTERM and Ctrl-C cannot be caught"),
    }
    token
}
