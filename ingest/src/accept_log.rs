//! `ingest accept-log`: the operator's word that a feed goes on with a log, or from an offset, that the table does not expect.

use std::sync::Arc;

use domain::ids::Pipeline;
use domain::ports::{Append, RegisterLog};
use domain::{Error, ErrorKind, Feed, Result};
use rdkafka::consumer::Consumer;

use crate::kafka::context::{FeedConsumer, FeedContext};
use crate::kafka::{KafkaConfig, admin, kafka_error, topic_id};
use crate::pipeline::watermarks;

/// Where the feed goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptFrom {
    /// At the first record that is there.
    Earliest,
    /// Behind the last.
    Latest,
    /// At this offset.
    Offset(i64),
}

impl std::str::FromStr for AcceptFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => text
                .parse()
                .ok()
                .filter(|offset| *offset >= 0)
                .map(Self::Offset)
                .ok_or_else(|| format!("`{text}` is not earliest, latest or an offset")),
        }
    }
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptReport {
    /// The new number of the log.
    pub number: i64,
    /// The next offset of each partition.
    pub positions: Vec<(i32, i64)>,
}

/// Registers the topic's log under the next number, with a position for every partition: `from` for the named partition or all of them; the others
/// keep their stored position in the same log, or begin at their earliest record in another.
///
/// # Errors
/// A topic or partition that is not there, an offset outside the log, a broker or store that does not answer.
pub async fn accept_log(
    kafka: &KafkaConfig,
    append: Arc<dyn Append>,
    pipeline: &Pipeline,
    feed: Feed,
    partition: Option<i32>,
    from: AcceptFrom,
) -> Result<AcceptReport> {
    let topic = feed.topic(&kafka.prefix);
    let known = append.topic_state(feed, pipeline, &topic).await?;
    let (config, name) = (kafka.clone(), topic.clone());
    let (identity, bounds) = tokio::task::spawn_blocking(move || look_up(&config, &name))
        .await
        .map_err(|error| Error::internal(format!("asking the cluster: {error}")))??;
    if let Some(named) = partition.filter(|named| !bounds.iter().any(|(partition, ..)| partition == named)) {
        return Err(Error::invalid(format!(
            "--partition {named}: topic {topic} has the partitions 0 to {}",
            bounds.len() - 1
        )));
    }
    let current = known.current(pipeline.as_str()).filter(|log| log.identity == identity);
    let mut positions = Vec::new();
    for (id, low, high) in bounds {
        let stored = current.and_then(|log| known.next_offsets.get(&(log.number, id)).copied());
        let is_named = partition.is_none_or(|named| named == id);
        let offset = match from {
            _ if !is_named => stored.unwrap_or(low),
            AcceptFrom::Earliest => low,
            AcceptFrom::Latest => high,
            AcceptFrom::Offset(offset) => offset,
        };
        // A kept position that lies outside the log too stops the feed at its start, and is accepted by a call of its own.
        if is_named && !(low..=high).contains(&offset) {
            return Err(Error::invalid(format!(
                "topic {topic} partition {id} holds the offsets {low} to {high}; {offset} is outside: give --from earliest, latest or an offset within"
            )));
        }
        positions.push((id, offset));
    }
    let request = RegisterLog {
        feed,
        pipeline,
        topic: &topic,
        identity: &identity,
        known: &known,
        positions: &positions,
    };
    let number = append.register_log(request).await?;
    Ok(AcceptReport { number, positions })
}

type Bounds = Vec<(i32, i64, i64)>;

fn look_up(kafka: &KafkaConfig, topic: &str) -> Result<(domain::position::LogIdentity, Bounds)> {
    let brokers = kafka.brokers.as_str();
    let consumer: FeedConsumer = kafka
        .client()
        .set("group.id", "intellicartel")
        .create_with_context(FeedContext::default())
        .map_err(|error| kafka_error("kafka settings", brokers, error))?;
    let missing = || Error::new(ErrorKind::NotFound, format!("there is no topic {topic} on {brokers}"));
    let partitions = admin::partitions(consumer.client(), topic, brokers)?;
    let identity = topic_id::log_identity(consumer.client(), topic, brokers)?.ok_or_else(missing)?;
    let bounds = |partition: i32| {
        watermarks(&consumer, topic, partition, brokers).map(|(low, high)| (partition, low, high))
    };
    let bounds = partitions.into_iter().map(bounds).collect::<Result<Bounds>>()?;
    if bounds.is_empty() { Err(missing()) } else { Ok((identity, bounds)) }
}
