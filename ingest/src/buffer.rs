//! What was consumed and not yet handed to the committer: good rows as columns, bad records as dead letters, and the range of each partition.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use domain::feeds::metadata::HISTORY_HEADER;
use domain::feeds::{FeedBuilder, RecordMetadata};
use domain::position::PartitionRange;
use domain::{DeadLetter, Feed, civil, dead_letter};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

/// Bytes that a dead letter takes beside its key and value.
const LETTER_BYTES: usize = 512;

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionPosition {
    /// Where the next batch begins: the end of the previous one, or the stored position.
    pub(crate) from: Option<i64>,
    /// The next offset to be consumed.
    pub(crate) next: i64,
}

/// A taken buffer: what becomes one batch.
#[derive(Debug)]
pub(crate) struct Consumed {
    pub(crate) rows: Vec<(String, RecordBatch)>,
    pub(crate) row_count: usize,
    pub(crate) letters: Vec<DeadLetter>,
    pub(crate) ranges: Vec<PartitionRange>,
}

/// The buffer of one topic.
pub(crate) struct Buffer {
    feed: Feed,
    topic: String,
    log: i64,
    pipeline: String,
    builder: Box<dyn FeedBuilder>,
    letters: Vec<DeadLetter>,
    letter_bytes: usize,
    positions: BTreeMap<i32, PartitionPosition>,
}

impl Buffer {
    pub(crate) fn new(
        feed: Feed,
        topic: &str,
        log: i64,
        pipeline: &str,
        positions: BTreeMap<i32, PartitionPosition>,
    ) -> Self {
        let (topic, pipeline) = (topic.to_owned(), pipeline.to_owned());
        Self {
            feed,
            topic,
            log,
            pipeline,
            builder: feed.builder(),
            letters: Vec::new(),
            letter_bytes: 0,
            positions,
        }
    }

    /// Takes a message in; one below the partition's position was consumed before and is passed over.
    pub(crate) fn push(&mut self, message: &BorrowedMessage<'_>, now: civil::Micros) {
        let Some(position) = self.positions.get_mut(&message.partition()) else { return };
        if message.offset() < position.next {
            return;
        }
        position.next = message.offset() + 1;
        let metadata = RecordMetadata {
            topic: &self.topic,
            log: self.log,
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().map(|ms| ms * 1_000),
            ingested_at: now,
            history: is_history(message),
        };
        if let Err(reject) = self.builder.push(message.payload(), &metadata, now) {
            let (tenant, store) = dead_letter::owner(message.payload());
            self.letter_bytes += LETTER_BYTES
                + message.payload().map_or(0, <[u8]>::len)
                + message.key().map_or(0, <[u8]>::len);
            self.letters.push(DeadLetter {
                raw_key: message.key().map(<[u8]>::to_vec),
                raw_value: message.payload().map(<[u8]>::to_vec),
                headers: headers_json(message),
                topic: self.topic.clone(),
                log: self.log,
                partition: message.partition(),
                offset: message.offset(),
                timestamp: metadata.timestamp,
                feed: self.feed,
                reject,
                tenant,
                store,
                pipeline: self.pipeline.clone(),
                attempt: 1,
                ingested_at: now,
            });
        }
    }

    /// Whether nothing was consumed since the last [`Self::take`].
    pub(crate) fn is_empty(&self) -> bool {
        self.builder.rows() == 0 && self.letters.is_empty()
    }

    /// Memory held, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.builder.bytes() + self.letter_bytes
    }

    pub(crate) fn positions(&self) -> &BTreeMap<i32, PartitionPosition> {
        &self.positions
    }

    /// Gives what was consumed; the next batch begins where it ends.
    pub(crate) fn take(&mut self) -> Consumed {
        let mut ranges = Vec::new();
        for (&partition, position) in &mut self.positions {
            if position.from.unwrap_or(0) < position.next {
                ranges.push(PartitionRange { partition, from: position.from, to: position.next });
                position.from = Some(position.next);
            }
        }
        self.letter_bytes = 0;
        Consumed {
            row_count: self.builder.rows(),
            rows: self.builder.finish(),
            letters: std::mem::take(&mut self.letters),
            ranges,
        }
    }
}

fn is_history(message: &BorrowedMessage<'_>) -> bool {
    let Some(headers) = message.headers() else { return false };
    headers.iter().any(|header| header.key == HISTORY_HEADER && header.value == Some(b"1"))
}

/// Headers as a JSON array; values that are not UTF-8 are given as their bytes.
fn headers_json(message: &BorrowedMessage<'_>) -> Option<String> {
    let headers = message.headers()?;
    let entries = headers.iter().map(|header| {
        let value = match header.value.map(std::str::from_utf8) {
            Some(Ok(text)) => serde_json::Value::from(text),
            Some(Err(_)) => serde_json::Value::from(header.value.unwrap_or_default()),
            None => serde_json::Value::Null,
        };
        serde_json::json!({ "key": header.key, "value": value })
    });
    Some(serde_json::Value::from_iter(entries).to_string())
}
