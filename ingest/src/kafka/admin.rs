//! Topics: created with a stated number of partitions, deleted, and looked at.

use std::time::{Duration, Instant};

use backon::{BlockingRetryable as _, ExponentialBuilder};
use domain::{Error, ErrorKind, Result};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::context::QuietContext;
use super::{ASK_TIMEOUT, KafkaConfig, kafka_error};

/// Creates topics and looks at them.
pub struct Admin {
    client: AdminClient<QuietContext>,
    brokers: String,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl Admin {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// When a setting is not usable.
    pub fn new(kafka: &KafkaConfig) -> Result<Self> {
        let client = kafka.client().create_with_context(QuietContext);
        let client = client.map_err(|error| kafka_error("kafka settings", &kafka.brokers, error))?;
        Ok(Self { client, brokers: kafka.brokers.clone() })
    }

    /// Creates a topic unless it is there. `true`: it was created.
    ///
    /// # Errors
    /// When the cluster refuses or does not answer.
    pub async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<bool> {
        let doing = format!("creating topic {topic}");
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        let results = self.client.create_topics([&new], &options()).await;
        let results = results.map_err(|error| kafka_error(&doing, &self.brokers, error))?;
        match results.into_iter().next() {
            Some(Ok(_)) => Ok(true),
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
            Some(Err((_, code))) => Err(Error::new(ErrorKind::Unavailable, format!("{doing}: {code}"))),
            None => Err(Error::internal(format!("{doing}: the cluster gave no result"))),
        }
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// When the cluster refuses or does not answer.
    pub async fn delete_topic(&self, topic: &str) -> Result<()> {
        let doing = format!("deleting topic {topic}");
        let results = self.client.delete_topics(&[topic], &options()).await;
        match results.map_err(|error| kafka_error(&doing, &self.brokers, error))?.into_iter().next() {
            // What is not there is deleted.
            Some(Err((_, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic))) => {
                Ok(())
            }
            Some(Err((_, code))) => Err(Error::new(ErrorKind::Unavailable, format!("{doing}: {code}"))),
            _ => Ok(()),
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ASK_TIMEOUT)).operation_timeout(Some(ASK_TIMEOUT))
}

/// The partitions of a topic; empty when it does not exist. A connection that was lost is asked for again within the time-out; blocks for two of them at most.
pub(crate) fn partitions<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    brokers: &str,
) -> Result<Vec<i32>> {
    let begun = Instant::now();
    let is_lost = |error: &KafkaError| {
        error.rdkafka_error_code() == Some(RDKafkaErrorCode::BrokerTransportFailure)
            && begun.elapsed() < ASK_TIMEOUT
    };
    let metadata = (|| client.fetch_metadata(Some(topic), ASK_TIMEOUT))
        .retry(ExponentialBuilder::default().with_min_delay(Duration::from_millis(50)).with_jitter())
        .when(is_lost)
        .notify(|_, _| metrics::counter!("intellicartel_ingest_retries_total").increment(1))
        .call();
    let metadata =
        metadata.map_err(|error| kafka_error(&format!("looking for topic {topic}"), brokers, error))?;
    let found = metadata.topics().iter().find(|known| known.name() == topic && known.error().is_none());
    let mut partitions: Vec<i32> =
        found.map(|topic| topic.partitions().iter().map(|p| p.id()).collect()).unwrap_or_default();
    partitions.sort_unstable();
    Ok(partitions)
}
