//! Where an ingest stands in a topic's log, as the Delta table states it.

use std::collections::BTreeMap;

/// What a topic name stands for at a time: recreating a topic, or moving to another cluster, makes another log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogIdentity {
    /// Kafka's cluster id.
    pub cluster_id: String,
    /// Kafka's topic id, as 32 hexadecimal digits.
    pub topic_id: String,
}

impl std::fmt::Display for LogIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.cluster_id, self.topic_id)
    }
}

/// One log that a table knows, with its number and the pipeline that reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLog {
    /// The pipeline that registered it.
    pub pipeline: String,
    /// Which log.
    pub identity: LogIdentity,
    /// Its number; the greatest of a pipeline and topic is the current one.
    pub number: i64,
}

/// What a table knows of one topic, read at one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicState {
    /// The table's id, which no other table has.
    pub table_id: String,
    /// Every log of the topic, under any pipeline, in no order.
    pub logs: Vec<KnownLog>,
    /// Next offset by log number and partition, of the asked pipeline only.
    pub next_offsets: BTreeMap<(i64, i32), i64>,
}

impl TopicState {
    /// The current log of `pipeline`: the one with the greatest number.
    #[must_use]
    pub fn current(&self, pipeline: &str) -> Option<&KnownLog> {
        self.logs.iter().filter(|log| log.pipeline == pipeline).max_by_key(|log| log.number)
    }
}

/// The part of one partition that a batch covers: every offset from `from` up to, but not including, `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionRange {
    /// Kafka's partition.
    pub partition: i32,
    /// The position that the table must hold when the batch is committed; `None`: it must hold none.
    pub from: Option<i64>,
    /// The position that the commit stores: the last consumed offset + 1.
    pub to: i64,
}
