//! Where a feed begins (rule 5): the topic's log must be the one that the table knows, and the stored positions must lie in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use backon::{BlockingRetryable as _, ExponentialBuilder};
use domain::ports::RegisterLog;
use domain::position::{LogIdentity, TopicState};
use domain::{Error, ErrorKind, Result};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::FeedWorker;
use crate::buffer::PartitionPosition;
use crate::kafka::context::FeedConsumer;
use crate::kafka::{ASK_TIMEOUT, KafkaConfig, admin, kafka_error, topic_id};

/// A checked beginning.
#[derive(Debug)]
pub(super) struct Start {
    /// The number of the log in the table.
    pub(super) log: i64,
    /// The log.
    pub(super) identity: LogIdentity,
    /// The partitions that are read.
    pub(super) positions: BTreeMap<i32, PartitionPosition>,
}

impl Start {
    /// For these partitions, or for all.
    pub(super) fn find(
        worker: &FeedWorker,
        consumer: &FeedConsumer,
        owned: Option<&BTreeSet<i32>>,
    ) -> Result<Self> {
        let (topic, brokers) = (worker.topic.as_str(), worker.kafka.brokers.as_str());
        let partitions = admin::partitions(consumer.client(), topic, brokers)?;
        let identity = topic_id::log_identity(consumer.client(), topic, brokers)?;
        let Some(identity) = identity.filter(|_| !partitions.is_empty()) else {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "there is no topic {topic} on {brokers}: create it, or fill it with `intellicartel produce {}`",
                    worker.feed.name()
                ),
            ));
        };
        let pipeline = &worker.options.pipeline;
        let ask = || worker.runtime.block_on(worker.append.topic_state(worker.feed, pipeline, topic));
        let mut state = ask()?;
        let is_new_demo = worker.kafka.embedded
            && state.current(pipeline.as_str()).is_none_or(|known| known.identity != identity);
        if state.logs.is_empty() || is_new_demo {
            let earliest = earliest_positions(consumer, topic, &partitions, brokers)?;
            let positions: Vec<(i32, i64)> = earliest.into_iter().filter(|(_, low)| *low > 0).collect();
            let request = RegisterLog {
                feed: worker.feed,
                pipeline,
                topic,
                identity: &identity,
                known: &state,
                positions: &positions,
            };
            match worker.runtime.block_on(worker.append.register_log(request)) {
                Ok(_) => {}
                // Another process registered first; what it stored decides below.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
            state = ask()?;
        }
        let log = check_log(&state, pipeline.as_str(), topic, &identity)?;
        let mut positions = BTreeMap::new();
        for partition in owned.map_or(partitions, |owned| owned.iter().copied().collect()) {
            let from = state.next_offsets.get(&(log, partition)).copied();
            let next = from.unwrap_or(0);
            if !worker.kafka.embedded {
                check_bounds(consumer, topic, partition, next, brokers)?;
            }
            positions.insert(partition, PartitionPosition { from, next });
        }
        Ok(Self { log, identity, positions })
    }

    /// As the client takes them.
    pub(super) fn partitions(&self, topic: &str, kafka: &KafkaConfig) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (&partition, position) in &self.positions {
            let from = if kafka.embedded { 0 } else { position.next };
            let added = list.add_partition_offset(topic, partition, Offset::Offset(from));
            added.map_err(|error| kafka_error("assigning partitions", &kafka.brokers, error))?;
        }
        Ok(list)
    }
}

/// The number of the log, if it is the current one of this pipeline.
fn check_log(state: &TopicState, pipeline: &str, topic: &str, identity: &LogIdentity) -> Result<i64> {
    let accept = format!(
        "if that is meant, run `intellicartel ingest accept-log {topic} --from earliest|latest|OFFSET`"
    );
    match state.current(pipeline) {
        Some(known) if known.identity == *identity => Ok(known.number),
        Some(known) => Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "topic {topic} is now log {identity}, the table's positions are for log {}: it was recreated, or this is another cluster; {accept}",
                known.identity
            ),
        )),
        None => {
            let owners: Vec<_> =
                state.logs.iter().map(|log| format!("{} ({})", log.pipeline, log.identity)).collect();
            Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "ingest.pipeline is `{pipeline}`, but the table knows topic {topic} under pipeline {}: a second pipeline would read every record again; mend the name, or, {accept}",
                    owners.join(", ")
                ),
            ))
        }
    }
}

/// The earliest offset of each partition.
pub(crate) fn earliest_positions(
    consumer: &FeedConsumer,
    topic: &str,
    partitions: &[i32],
    brokers: &str,
) -> Result<Vec<(i32, i64)>> {
    let low = |&partition: &i32| Ok((partition, watermarks(consumer, topic, partition, brokers)?.0));
    partitions.iter().map(low).collect()
}

/// The first offset of a partition, and the one behind its last. A partition whose leader is being chosen, as of a topic that was created just now, is asked
/// again for a quarter of a minute.
pub(crate) fn watermarks(
    consumer: &FeedConsumer,
    topic: &str,
    partition: i32,
    brokers: &str,
) -> Result<(i64, i64)> {
    let policy = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(12)
        .with_jitter();
    let watermarks = (|| consumer.fetch_watermarks(topic, partition, ASK_TIMEOUT))
        .retry(policy)
        .when(|error| error.rdkafka_error_code().is_some_and(|code| LEADERLESS.contains(&code)))
        .notify(|_, _| metrics::counter!("intellicartel_ingest_retries_total").increment(1))
        .call();
    watermarks.map_err(|error| {
        kafka_error(&format!("asking for the bounds of {topic} partition {partition}"), brokers, error)
    })
}

/// What a partition says that has no leader for the moment, or another one than the client knows; and what the client says of one that was added just now.
const LEADERLESS: [RDKafkaErrorCode; 3] = [
    RDKafkaErrorCode::NotLeaderForPartition,
    RDKafkaErrorCode::LeaderNotAvailable,
    RDKafkaErrorCode::UnknownPartition,
];

/// Refuses a position that does not lie in the log.
pub(super) fn check_bounds(
    consumer: &FeedConsumer,
    topic: &str,
    partition: i32,
    next: i64,
    brokers: &str,
) -> Result<()> {
    let (low, high) = watermarks(consumer, topic, partition, brokers)?;
    if (low..=high).contains(&next) {
        return Ok(());
    }
    let what = if next < low {
        format!("the log begins at {low}, so {} records were deleted before they were read", low - next)
    } else {
        format!("the log ends at {high}: records that were read are gone, or this is another log")
    };
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "topic {topic} partition {partition}: the table's position is {next}, but {what}; run `intellicartel ingest accept-log {topic} --partition {partition} --from earliest|latest|OFFSET` to go on"
        ),
    ))
}
