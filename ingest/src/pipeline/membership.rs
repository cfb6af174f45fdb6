//! The partitions that a feed's thread reads: all of its topic, or those that its consumer group gives it; and where each begins.
//!
//! A group shares out partitions and nothing else: where a partition begins is the table's word, and group offsets are never written or read. What
//! the group wants is noted inside the poll that brings it (`FeedContext::rebalance`) and done here, between two runs of polling, because it
//! asks the lake and waits for a commit. An ended run lets what was submitted be committed; only then its partitions change, so that the next owner of one finds
//! the last position. What is only buffered is dropped if a partition goes, and becomes a last batch if partitions come. Then the next run begins with
//! what is owned now, as every run begins, at the stored positions: a partition that stays is stopped for about one commit, and reads again at most what
//! was buffered.
//!
//! Exactness does not rest on any of this. Two processes may believe that they own a partition, as when one slept: a batch is committed only
//! where the stored position equals its beginning.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Error, ErrorKind, Feed, Result};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;

use super::FeedWorker;
use super::start::Start;
use crate::kafka::context::{FeedConsumer, FeedContext, Rebalance};
use crate::kafka::kafka_error;

/// The consumer group of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOptions {
    /// `ingest.group`: the first part of the groups' names.
    pub name: String,
    /// `ingest.group_instance`: under this name the process keeps its partitions if it comes back within the session.
    pub instance: Option<String>,
}

/// A process that says nothing for so long has left its group. The least that brokers allow by default.
const SESSION: Duration = Duration::from_secs(6);

/// A group that has not changed for so long has noticed whoever was killed before, and shared its partitions out.
const SETTLED: Duration = Duration::from_secs(8);

/// A member is polled so often whatever happens: after five minutes without (`max.poll.interval.ms`) the group would take its partitions away, and what
/// the group wants waits for a poll.
const LONGEST_WITHOUT_POLL: Duration = Duration::from_secs(2);

/// New partitions of a topic are seen after so long at the latest.
const METADATA_INTERVAL: Duration = Duration::from_secs(10);

/// What becomes of the partitions that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Some come.
    Grows,
    /// Some go.
    Shrinks,
}

/// A feed's group.
struct Group {
    /// The setting's name, the topic, and the beginning of the table's id. Each feed has a group of its own, so that a change of one disturbs no other. Were
    /// the table not in it, the processes of two lakes could share a topic, and each lake would have half of it.
    id: String,
    instance: Option<String>,
}

/// A feed's consumer, which lives through all runs of polling: a new one would have to join the group again.
pub(super) struct Membership {
    consumer: Arc<FeedConsumer>,
    feed: Feed,
    topic: String,
    brokers: String,
    group: Option<Group>,
    has_joined: bool,
    polled_at: Cell<Instant>,
    /// The partitions of the last run, as metrics tell them.
    owned: BTreeSet<i32>,
}

impl Membership {
    pub(super) fn new(worker: &FeedWorker) -> Result<Self> {
        let (options, brokers) = (&worker.options, &worker.kafka.brokers);
        let queue_kbytes = (worker.shared_bytes / 8 / 1024 / worker.feeds.max(1)).max(1024);
        let mut config = worker.kafka.client();
        config
            // assign() asks for a group id and never uses it.
            .set("group.id", format!("intellicartel-{}", options.pipeline))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("statistics.interval.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", METADATA_INTERVAL.as_millis().to_string())
            .set("fetch.wait.max.ms", "100")
            // The queue is bounded by its bytes alone; a full one is looked at again soon, or a backlog would be read in bursts a second apart.
            .set("queued.min.messages", "10000000")
            .set("fetch.queue.backoff.ms", "10")
            .set("queued.max.messages.kbytes", queue_kbytes.to_string());
        let group = options.group.as_ref().map(|options| Group::of(options, worker)).transpose()?;
        if let Some(group) = &group {
            config
                .set("group.id", &group.id)
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", SESSION.as_millis().to_string())
                .set("heartbeat.interval.ms", (SESSION / 3).as_millis().to_string());
            if let Some(instance) = &group.instance {
                config.set("group.instance.id", instance);
            }
        }
        let consumer = config.create_with_context(FeedContext::of(worker.feed));
        let consumer = consumer.map_err(|error| kafka_error("kafka settings", brokers, error))?;
        Ok(Self {
            consumer: Arc::new(consumer),
            feed: worker.feed,
            topic: worker.topic.clone(),
            brokers: brokers.clone(),
            group,
            has_joined: false,
            polled_at: Cell::new(Instant::now()),
            owned: BTreeSet::new(),
        })
    }

    pub(super) fn consumer(&self) -> &Arc<FeedConsumer> {
        &self.consumer
    }

    /// Begins a run: does what the group wants, and has every partition that is owned now read from its stored position.
    pub(super) fn begin(&mut self, worker: &FeedWorker) -> Result<Start> {
        let start =
            if self.group.is_some() { self.begin_in_group(worker)? } else { self.begin_alone(worker)? };
        self.tell(start.positions.keys().copied().collect());
        Ok(start)
    }

    fn begin_alone(&self, worker: &FeedWorker) -> Result<Start> {
        let start = Start::find(worker, &self.consumer, None)?;
        let assigned = self.consumer.assign(&start.partitions(&self.topic, &worker.kafka)?);
        assigned.map_err(|error| self.failed("assigning partitions", error))?;
        Ok(start)
    }

    fn begin_in_group(&mut self, worker: &FeedWorker) -> Result<Start> {
        if !self.has_joined {
            // A member of a topic that is not there, or is not the table's, would only disturb the others.
            Start::find(worker, &self.consumer, Some(&BTreeSet::new()))?;
            let joined = self.consumer.subscribe(&[&self.topic]);
            joined.map_err(|error| self.failed("joining the group", error))?;
            self.has_joined = true;
        }
        let (context, mut owned) = (self.consumer.context(), self.assigned()?);
        let wanted = context.wanted();
        match &wanted {
            Some(Rebalance::Assign(added)) => owned.extend(added),
            Some(Rebalance::Revoke(revoked)) => {
                // Before the lake is asked for anything: another process waits for them.
                self.unassign()?;
                context.done();
                owned.retain(|partition| !revoked.contains(partition));
            }
            None => {}
        }
        let start = Start::find(worker, &self.consumer, Some(&owned))?;
        // Partitions that stay are stopped and begun anew, which the client does in this order; records in its queue are void then.
        self.unassign()?;
        let assigned = self.consumer.incremental_assign(&start.partitions(&self.topic, &worker.kafka)?);
        assigned.map_err(|error| self.failed("assigning partitions", error))?;
        // Not before: whoever fails on the way begins again with the same.
        if matches!(wanted, Some(Rebalance::Assign(_))) {
            context.done();
        }
        Ok(start)
    }

    /// What becomes of the partitions, if anything does: the run must end then.
    pub(super) fn change(&self) -> Option<Change> {
        let context = self.consumer.context();
        match context.wanted() {
            Some(Rebalance::Assign(_)) => Some(Change::Grows),
            Some(Rebalance::Revoke(_)) => Some(Change::Shrinks),
            None => (self.group.is_none() && context.partition_count() > self.owned.len())
                .then_some(Change::Grows),
        }
    }

    /// Whether nothing more is to be expected of the group, so that a process that has read all it owns may end.
    pub(super) fn is_settled(&self) -> bool {
        self.group.is_none() || self.consumer.context().settled_for().is_some_and(|time| time >= SETTLED)
    }

    /// What comes next, if it comes in time. What the group wants is noted on the way.
    pub(super) fn poll(&self, patience: Duration) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        self.polled_at.set(Instant::now());
        self.consumer.poll(patience)
    }

    /// Whether it is time to poll even where nothing can be taken in.
    pub(super) fn must_poll(&self) -> bool {
        self.group.is_some() && self.polled_at.get().elapsed() >= LONGEST_WITHOUT_POLL
    }

    /// An error that the group has for this process, in words that name the way on.
    pub(super) fn refusal(&self, error: &KafkaError) -> Option<Error> {
        let Group { id, instance } = self.group.as_ref()?;
        let fatal = self.consumer.client().fatal_error().map(|(code, _)| code);
        let (kind, what) = match fatal.or_else(|| error.rdkafka_error_code())? {
            RDKafkaErrorCode::FencedInstanceId => (
                ErrorKind::Conflict,
                format!(
                    "FencedInstanceId: another process has joined group {id} with ingest.group_instance = {} and has taken this one's place; give each process an instance of its own",
                    instance.as_deref().unwrap_or_default()
                ),
            ),
            RDKafkaErrorCode::InconsistentGroupProtocol => (
                ErrorKind::Conflict,
                format!("group {id} has members of another program: give ingest.group a name of its own"),
            ),
            RDKafkaErrorCode::GroupAuthorizationFailed => (
                ErrorKind::Unavailable,
                format!(
                    "the cluster does not let this process into group {id}: allow it to read the group, or mend ingest.group"
                ),
            ),
            RDKafkaErrorCode::InvalidSessionTimeout => (
                ErrorKind::Unavailable,
                format!(
                    "the cluster does not take a session of {} s for group {id}: lower its group.min.session.timeout.ms",
                    SESSION.as_secs()
                ),
            ),
            _ => return None,
        };
        let source = fatal.map_or_else(|| error.clone(), KafkaError::MessageConsumptionFatal);
        Some(Error::new(kind, what).with_source(source))
    }

    /// The partitions that the client reads.
    fn assigned(&self) -> Result<BTreeSet<i32>> {
        let assigned = self.consumer.assignment();
        let assigned = assigned.map_err(|error| self.failed("asking for the assignment", error))?;
        Ok(assigned.elements().iter().map(|element| element.partition()).collect())
    }

    /// Gives up all that is assigned; this also follows a revocation, of which nothing may be left by then.
    fn unassign(&self) -> Result<()> {
        let unassigned =
            self.consumer.assignment().and_then(|assigned| self.consumer.incremental_unassign(&assigned));
        unassigned.map_err(|error| self.failed("giving up partitions", error))
    }

    fn failed(&self, doing: &str, error: KafkaError) -> Error {
        kafka_error(&format!("{doing} of {}", self.topic), &self.brokers, error)
    }

    /// Says which partitions this process reads. Those that it does not read any more are another's in a group, and so is their lag.
    fn tell(&mut self, owned: BTreeSet<i32>) {
        let feed = self.feed.name();
        let labels = |partition: &i32| [("feed", feed.to_owned()), ("partition", partition.to_string())];
        for partition in self.owned.difference(&owned) {
            metrics::gauge!("intellicartel_ingest_partition_owned", &labels(partition)).set(0.0);
            if self.group.is_some() {
                metrics::gauge!("intellicartel_ingest_lag_records", &labels(partition)).set(0.0);
            }
        }
        for partition in &owned {
            metrics::gauge!("intellicartel_ingest_partition_owned", &labels(partition)).set(1.0);
        }
        if self.owned != owned {
            tracing::info!(feed, topic = self.topic, partitions = ?owned, "partitions that are read");
        }
        self.owned = owned;
    }
}

impl Drop for Membership {
    /// Whatever the group waits for is answered: the client would never end otherwise.
    fn drop(&mut self) {
        if self.has_joined {
            self.consumer.context().leave();
            let answered = self.unassign().and_then(|()| {
                let none = TopicPartitionList::new();
                self.consumer.incremental_assign(&none).map_err(|error| self.failed("leaving", error))
            });
            if let Err(error) = answered {
                tracing::debug!(feed = self.feed.name(), %error, "leaving the group");
            }
        }
        self.tell(BTreeSet::new());
    }
}

impl Group {
    fn of(options: &GroupOptions, worker: &FeedWorker) -> Result<Self> {
        let FeedWorker { feed, topic, append, options: ingest, .. } = worker;
        let state = worker.runtime.block_on(append.topic_state(*feed, &ingest.pipeline, topic))?;
        let table: String = state.table_id.chars().take(8).collect();
        Ok(Self { id: format!("{}.{topic}.{table}", options.name), instance: options.instance.clone() })
    }
}

/// Whether a feed has ended because another process has taken its place.
pub(super) fn is_fenced(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<KafkaError>());
    source.and_then(KafkaError::rdkafka_error_code) == Some(RDKafkaErrorCode::FencedInstanceId)
}
