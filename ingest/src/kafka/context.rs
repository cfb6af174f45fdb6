//! What Kafka's clients say of themselves: it is for the log at level `debug`. What a user must know, the call that failed returns as an error. What a
//! consumer group wants is kept for the thread that polls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::Feed;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

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

/// What the group wants of this process. The client waits until it is done, and hands over no record meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rebalance {
    /// These partitions come to those that the process owns.
    Assign(BTreeSet<i32>),
    /// These go to another.
    Revoke(BTreeSet<i32>),
}

/// The context of a consumer of feeds. It keeps where the topic's partitions end, and what the group wants.
#[derive(Debug, Default)]
pub(crate) struct FeedContext {
    feed: Option<Feed>,
    ends: Mutex<BTreeMap<i32, i64>>,
    partition_count: AtomicUsize,
    group: Mutex<Group>,
}

#[derive(Debug, Default)]
struct Group {
    /// In the order in which they came.
    wanted: VecDeque<Rebalance>,
    /// When the group spoke last.
    heard_at: Option<Instant>,
    /// Nobody will do what the group wants any more.
    leaves: bool,
}

impl FeedContext {
    /// For the consumer of a feed, whose rebalances are counted.
    pub(crate) fn of(feed: Feed) -> Self {
        Self { feed: Some(feed), ..Self::default() }
    }

    /// The offset that the next record of each partition will get, as of the client's last statistics.
    pub(crate) fn ends(&self) -> BTreeMap<i32, i64> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many partitions the topic has, as of the client's last statistics, which know the last metadata; 0 before the first.
    pub(crate) fn partition_count(&self) -> usize {
        self.partition_count.load(Ordering::Relaxed)
    }

    /// What the group wants first.
    pub(crate) fn wanted(&self) -> Option<Rebalance> {
        self.group().wanted.front().cloned()
    }

    /// It is done.
    pub(crate) fn done(&self) {
        self.group().wanted.pop_front();
    }

    /// How long nothing has changed in the group; none before the first assignment.
    pub(crate) fn settled_for(&self) -> Option<Duration> {
        self.group().heard_at.map(|at| at.elapsed())
    }

    /// From now on the client is closed: a closing client hands out revocations too, and waits until each is followed.
    pub(crate) fn leave(&self) {
        self.group().leaves = true;
    }

    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
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
        // A consumer reads one topic, whose partitions are all listed. One that was not asked for, or not heard of yet, has no end.
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let partitions: Vec<_> = partitions.filter(|partition| partition.partition >= 0).collect();
        self.partition_count.store(partitions.len(), Ordering::Relaxed);
        let ends = partitions.iter().filter(|partition| partition.hi_offset >= 0);
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) =
            ends.map(|partition| (partition.partition, partition.hi_offset)).collect();
    }
}

impl ConsumerContext for FeedContext {
    /// Takes note, for this runs inside a poll: what is to be done asks the lake, and waits for a batch that is being committed. Only what asks
    /// for nothing is answered here.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assigns = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let mut group = self.group();
        group.heard_at = Some(Instant::now());
        if let Some(feed) = self.feed {
            metrics::counter!("intellicartel_ingest_rebalances_total", "feed" => feed.name()).increment(1);
        }
        let named: BTreeSet<i32> = partitions.elements().iter().map(|element| element.partition()).collect();
        if named.is_empty() || group.leaves {
            let answered = if assigns {
                consumer.incremental_assign(&TopicPartitionList::new())
            } else {
                consumer.incremental_unassign(partitions)
            };
            if let Err(error) = answered {
                tracing::debug!(target: "librdkafka", %error, "answering a rebalance");
            }
        } else {
            group.wanted.push_back(if assigns { Rebalance::Assign(named) } else { Rebalance::Revoke(named) });
        }
    }
}
