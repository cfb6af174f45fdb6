//! What Kafka's clients say of themselves: it is for the log at level `debug`. What a user must know, the call that failed returns as an error.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;

/// A consumer of feeds.
pub(crate) type FeedConsumer = BaseConsumer<FeedContext>;

/// The context of every client; one that needs its own hands its log over to this.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QuietContext;

impl ClientContext for QuietContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

/// The context of a consumer of feeds, which also keeps where its partitions end.
#[derive(Debug, Default)]
pub(crate) struct FeedContext {
    ends: Mutex<BTreeMap<i32, i64>>,
}

impl FeedContext {
    /// The offset that the next record of each partition will get, as of the client's last statistics.
    pub(crate) fn ends(&self) -> BTreeMap<i32, i64> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for FeedContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        QuietContext.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        QuietContext.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        // A consumer reads one topic. A partition that was not asked for, or not heard of yet, has no end.
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let ends = partitions.filter(|partition| partition.partition >= 0 && partition.hi_offset >= 0);
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) =
            ends.map(|partition| (partition.partition, partition.hi_offset)).collect();
    }
}

impl ConsumerContext for FeedContext {}
