//! A look at a cluster, for operators: its id, its brokers, and the topics of the feeds. Nothing is created.

use std::time::Duration;

use domain::{Error, ErrorKind, Feed, Result};
use rdkafka::consumer::Consumer as _;

use super::context::{FeedConsumer, FeedContext};
use super::{KafkaConfig, kafka_error};

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
