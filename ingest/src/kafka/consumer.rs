//! The consumer that every reader of topics uses, and what it logs.

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;

/// A consumer of feeds.
pub(crate) type FeedConsumer = BaseConsumer<FeedContext>;

/// Sorts the client's events: what the polling loop handles is not logged a second time.
pub(crate) struct FeedContext;

impl ClientContext for FeedContext {
    fn error(&self, error: KafkaError, reason: &str) {
        match error {
            KafkaError::PartitionEOF(_) => {}
            error if error.rdkafka_error_code() == Some(rdkafka::error::RDKafkaErrorCode::PartitionEOF) => {}
            error => tracing::warn!(%error, reason, "kafka client"),
        }
    }
}

impl ConsumerContext for FeedContext {}
