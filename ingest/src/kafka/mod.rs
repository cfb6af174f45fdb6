//! Kafka's clients, with the settings and time-outs that the whole crate shares.

pub mod admin;
pub mod cluster;
pub mod config;
pub(crate) mod context;
pub mod topic_id;

pub use config::KafkaConfig;

use std::time::Duration;

/// How long a question to the cluster may take.
pub(crate) const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// An error of a client, with what was being done.
pub(crate) fn kafka_error(doing: &str, brokers: &str, error: rdkafka::error::KafkaError) -> domain::Error {
    domain::Error::new(
        domain::ErrorKind::Unavailable,
        format!("{doing}: {error}; is a broker reachable at kafka.brokers = {brokers}?"),
    )
    .with_source(error)
}
