//! A look at a cluster, for operators: its id, its brokers, and the topics of the feeds. Nothing is created.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::position::LogIdentity;
use domain::{Error, ErrorKind, Feed, Result};
use rdkafka::consumer::Consumer as _;

use super::context::{FeedConsumer, FeedContext};
use super::{KafkaConfig, admin, kafka_error, topic_id};
use crate::pipeline::watermarks;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its id.
    pub id: String,
    /// The addresses under which its brokers want to be reached, as host:port.
    pub advertised: Vec<String>,
    /// The topic of each feed.
    pub topics: Vec<FeedTopic>,
}

/// The topic of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedTopic {
    /// The feed.
    pub feed: Feed,
    /// The topic's name.
    pub name: String,
    /// Its partitions; 0: it is not there.
    pub partitions: usize,
}

/// Looks at the cluster. Blocks up to twice the time-out.
///
/// # Errors
/// When a setting is not usable, or the cluster does not answer.
pub fn look(kafka: &KafkaConfig, timeout: Duration) -> Result<Cluster> {
    let failed = |error| kafka_error("asking the cluster", &kafka.brokers, error);
    let consumer: FeedConsumer =
        kafka.client().create_with_context(FeedContext::default()).map_err(failed)?;
    let metadata = consumer.fetch_metadata(None, timeout).map_err(failed)?;
    let id = consumer.client().fetch_cluster_id(timeout).ok_or_else(|| {
        Error::new(
            ErrorKind::Unavailable,
            format!("the cluster at kafka.brokers = {} gave no id", kafka.brokers),
        )
    })?;
    let topics = Feed::ALL.into_iter().map(|feed| {
        let name = feed.topic(&kafka.prefix);
        let known = metadata.topics().iter().find(|topic| topic.name() == name && topic.error().is_none());
        FeedTopic { feed, partitions: known.map_or(0, |topic| topic.partitions().len()), name }
    });
    Ok(Cluster {
        id,
        advertised: metadata
            .brokers()
            .iter()
            .map(|broker| format!("{}:{}", broker.host(), broker.port()))
            .collect(),
        topics: topics.collect(),
    })
}

/// Where a feed's topic begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicBounds {
    /// Which log it is.
    pub identity: LogIdentity,
    /// For each partition the offset of its first record, and the one behind its last.
    pub partitions: BTreeMap<i32, (i64, i64)>,
}

/// Asks for the bounds of the feeds' topics; a topic that is not there has none. Blocks: up to `timeout` where no cluster answers.
///
/// # Errors
/// When a setting is not usable, or the cluster does not answer.
pub fn topic_bounds(
    kafka: &KafkaConfig,
    feeds: &[Feed],
    timeout: Duration,
) -> Result<BTreeMap<Feed, TopicBounds>> {
    let failed = |error| kafka_error("asking the cluster", &kafka.brokers, error);
    let consumer: FeedConsumer =
        kafka.client().create_with_context(FeedContext::default()).map_err(failed)?;
    consumer.fetch_metadata(None, timeout).map_err(failed)?;
    let mut found = BTreeMap::new();
    for &feed in feeds {
        let topic = feed.topic(&kafka.prefix);
        let numbers = admin::partitions(consumer.client(), &topic, &kafka.brokers)?;
        if numbers.is_empty() {
            continue;
        }
        let Some(identity) = topic_id::log_identity(consumer.client(), &topic, &kafka.brokers)? else {
            continue;
        };
        let bounds =
            numbers.into_iter().map(|at| Ok((at, watermarks(&consumer, &topic, at, &kafka.brokers)?)));
        found.insert(feed, TopicBounds { identity, partitions: bounds.collect::<Result<_>>()? });
    }
    Ok(found)
}
