//! The columns that every feed's table has beside its own: where a record came from and when we could know it.

use arrow_array::ArrayRef;
use arrow_array::builder::{Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_schema::DataType;
use std::sync::Arc;

use crate::civil::Micros;
use crate::table::{Column, timestamp};

/// The header by which a producer says that a record tells of the past: its `_known_at` is its own time.
pub const HISTORY_HEADER: &str = "history";

/// Where one record came from.
#[derive(Debug, Clone, Copy)]
pub struct RecordMetadata<'a> {
    /// Kafka's topic.
    pub topic: &'a str,
    /// The number of the topic's log in the table.
    pub log: i64,
    /// Kafka's partition.
    pub partition: i32,
    /// Kafka's offset.
    pub offset: i64,
    /// Kafka's timestamp.
    pub timestamp: Option<Micros>,
    /// When we took it in.
    pub ingested_at: Micros,
    /// Whether the record carries [`HISTORY_HEADER`] = `1`.
    pub history: bool,
}

/// The metadata columns, to be put behind the feed's own.
#[must_use]
pub fn columns() -> Vec<Column> {
    vec![
        Column::required("_topic", DataType::Utf8, "Kafka topic of the record"),
        Column::required(
            "_log",
            DataType::Int64,
            "Number of the topic's log: it grows when the topic is recreated",
        ),
        Column::required("_partition", DataType::Int32, "Kafka partition of the record"),
        Column::required("_offset", DataType::Int64, "Kafka offset of the record"),
        Column::optional("_timestamp", timestamp(), "Kafka timestamp of the record"),
        Column::required("_ingested_at", timestamp(), "When the record was taken in"),
        Column::required(
            "_known_at",
            timestamp(),
            "When we could know the record; backtests look at nothing else",
        ),
        Column::optional("_extra", DataType::Utf8, "Fields that the feed does not know, as a JSON object"),
    ]
}

/// Builders of the metadata columns.
#[derive(Debug, Default)]
pub struct MetadataBuilder {
    topic: StringBuilder,
    log: Int64Builder,
    partition: Int32Builder,
    offset: Int64Builder,
    timestamp: TimestampMicrosecondBuilder,
    ingested_at: TimestampMicrosecondBuilder,
    known_at: TimestampMicrosecondBuilder,
    extra: StringBuilder,
}

impl MetadataBuilder {
    /// Appends one row; `own_time` is the record's own instant, taken as `_known_at` for history.
    pub fn push(&mut self, metadata: &RecordMetadata<'_>, own_time: Micros, extra: Option<&str>) {
        self.topic.append_value(metadata.topic);
        self.log.append_value(metadata.log);
        self.partition.append_value(metadata.partition);
        self.offset.append_value(metadata.offset);
        self.timestamp.append_option(metadata.timestamp);
        self.ingested_at.append_value(metadata.ingested_at);
        self.known_at.append_value(if metadata.history { own_time } else { metadata.ingested_at });
        self.extra.append_option(extra);
    }

    /// The finished columns, in the order of [`columns`].
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.topic.finish()),
            Arc::new(self.log.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.timestamp.finish().with_timezone("UTC")),
            Arc::new(self.ingested_at.finish().with_timezone("UTC")),
            Arc::new(self.known_at.finish().with_timezone("UTC")),
            Arc::new(self.extra.finish()),
        ]
    }
}
