//! A Kafka broker in this process, for the demo alone: its records live in memory and die with it.
//!
//! Of its limits (`docs/decisions/004-embedded-broker.md`), the ingest must know that it cannot be asked for the end of a log, and that a fetch
//! into the middle of a batch skips the rest: see [`ingest::kafka::KafkaConfig::embedded`].

use std::net::TcpListener;

use domain::{Error, ErrorKind, Result};
use tansu_broker::broker::Broker;
use tansu_broker::coordinator::group::administrator::Controller;
use tansu_storage::StorageContainer;
use url::Url;
use uuid::Uuid;

/// Starts the broker on a free port of the loopback, and gives its address. It ends with the process.
///
/// # Errors
/// When no port can be had, or the broker does not start.
pub(crate) async fn start() -> Result<String> {
    let failed = |what: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Unavailable, format!("the embedded broker does not start: {what}"))
    };
    // The port is free again for a moment until the broker takes it.
    let free = TcpListener::bind("127.0.0.1:0").map_err(|error| failed(&error))?;
    let address = free.local_addr().map_err(|error| failed(&error))?;
    drop(free);
    let url = |text: String| Url::parse(&text).map_err(|error| failed(&error));
    let listener = url(format!("tcp://{address}"))?;
    let builder = Broker::<Controller<StorageContainer>, StorageContainer>::builder()
        .node_id(1)
        .cluster_id(Uuid::new_v4().simple().to_string())
        .incarnation_id(Uuid::new_v4())
        .advertised_listener(listener.clone())
        .storage(url("memory://demo/".to_owned())?)
        .listener(listener)
        .silent(true);
    let mut broker = builder.build().await.map_err(|error| failed(&error))?;
    tokio::spawn(async move {
        if let Err(error) = broker.serve(tokio::time::Instant::now()).await {
            tracing::error!(%error, "the embedded broker ended");
        }
    });
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Ok(address.to_string());
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    Err(failed(&"it does not listen"))
}
