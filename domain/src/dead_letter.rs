//! Records that a feed could not take: kept whole, with their coordinates and the reason, in `raw.dead_letters`.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::DataType;

use crate::civil::Micros;
use crate::feeds::Feed;
use crate::fields::{Fields, Reject};
use crate::kinds::Identifier;
use crate::table::{self, Column, timestamp};

/// What the table is for.
pub const COMMENT: &str = "Records that no feed could take, with their bytes, coordinates and the reason. A row is never deleted: it counts \
as resolved once its coordinates stand in the feed's table.";

/// One refused record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Kafka's key.
    pub raw_key: Option<Vec<u8>>,
    /// Kafka's value; `None` for a tombstone.
    pub raw_value: Option<Vec<u8>>,
    /// Kafka's headers as a JSON array of `{"key", "value"}`, values as text or, where they are not UTF-8,
    /// as an array of bytes.
    pub headers: Option<String>,
    /// Kafka's topic.
    pub topic: String,
    /// Number of the topic's log in the feed's table.
    pub log: i64,
    /// Kafka's partition.
    pub partition: i32,
    /// Kafka's offset.
    pub offset: i64,
    /// Kafka's timestamp.
    pub timestamp: Option<Micros>,
    /// The feed that refused it.
    pub feed: Feed,
    /// Why.
    pub reject: Reject,
    /// The business, only if the record itself states a valid one.
    pub tenant: Option<String>,
    /// The store, only if the record itself states a valid one.
    pub store: Option<String>,
    /// The pipeline that met it.
    pub pipeline: String,
    /// When it was taken in.
    pub ingested_at: Micros,
}

/// The tenant and store that a refused record states, where they can be read and are valid.
#[must_use]
pub fn owner(payload: Option<&[u8]>) -> (Option<String>, Option<String>) {
    let Ok(mut fields) = Fields::read(payload) else { return (None, None) };
    let mut identifier = |name| fields.required::<Identifier>(name, 0).ok().map(std::borrow::Cow::into_owned);
    let tenant = identifier("tenant");
    let store = tenant.as_ref().and_then(|_| identifier("store"));
    (tenant, store)
}

/// The columns of `raw.dead_letters`; its partition column `period` is the UTC month of `_ingested_at`.
#[must_use]
pub fn columns() -> Vec<Column> {
    vec![
        Column::optional("raw_key", DataType::Binary, "Kafka key, as it came"),
        Column::optional("raw_value", DataType::Binary, "Kafka value, as it came; null for a tombstone"),
        Column::optional("headers", DataType::Utf8, "Kafka headers as a JSON array of key and value"),
        Column::required("_topic", DataType::Utf8, "Kafka topic of the record"),
        Column::required("_log", DataType::Int64, "Number of the topic's log in the feed's table"),
        Column::required("_partition", DataType::Int32, "Kafka partition of the record"),
        Column::required("_offset", DataType::Int64, "Kafka offset of the record"),
        Column::optional("_timestamp", timestamp(), "Kafka timestamp of the record"),
        Column::optional(
            "schema_id",
            DataType::Int32,
            "Schema id of the Confluent wire format, where the value has one",
        ),
        Column::required("error_class", DataType::Utf8, "Kind of fault, like `missing_field`"),
        Column::required("error_message", DataType::Utf8, "The fault in words"),
        Column::required("feed", DataType::Utf8, "Feed that refused the record"),
        Column::optional("field", DataType::Utf8, "Field at fault"),
        Column::optional("value", DataType::Utf8, "Its value, shortened"),
        Column::required("expected", DataType::Utf8, "What would have been right"),
        Column::optional("tenant", DataType::Utf8, "Business, only if the record itself states a valid one"),
        Column::optional("store", DataType::Utf8, "Store, only if the record itself states a valid one"),
        Column::required("pipeline", DataType::Utf8, "Pipeline that met the record"),
        Column::required(
            "attempt",
            DataType::Int32,
            "1 for the first time, one more for each replay that failed",
        ),
        Column::required("_ingested_at", timestamp(), "When the record was taken in"),
    ]
}

/// The letters as one batch with the schema of [`columns`].
///
/// # Panics
/// Never: the arrays follow the schema.
#[must_use]
pub fn to_batch(letters: &[DeadLetter]) -> RecordBatch {
    let texts = |of: &dyn Fn(&DeadLetter) -> Option<String>| -> ArrayRef {
        let mut builder = StringBuilder::new();
        letters.iter().for_each(|letter| builder.append_option(of(letter)));
        Arc::new(builder.finish())
    };
    let bytes = |of: &dyn Fn(&DeadLetter) -> Option<&[u8]>| -> ArrayRef {
        let mut builder = BinaryBuilder::new();
        letters.iter().for_each(|letter| builder.append_option(of(letter)));
        Arc::new(builder.finish())
    };
    let longs = |of: &dyn Fn(&DeadLetter) -> i64| -> ArrayRef {
        let mut builder = Int64Builder::new();
        letters.iter().for_each(|letter| builder.append_value(of(letter)));
        Arc::new(builder.finish())
    };
    let ints = |of: &dyn Fn(&DeadLetter) -> Option<i32>| -> ArrayRef {
        let mut builder = Int32Builder::new();
        letters.iter().for_each(|letter| builder.append_option(of(letter)));
        Arc::new(builder.finish())
    };
    let instants = |of: &dyn Fn(&DeadLetter) -> Option<Micros>| -> ArrayRef {
        let mut builder = TimestampMicrosecondBuilder::new();
        letters.iter().for_each(|letter| builder.append_option(of(letter)));
        Arc::new(builder.finish().with_timezone("UTC"))
    };
    let arrays = vec![
        bytes(&|l| l.raw_key.as_deref()),
        bytes(&|l| l.raw_value.as_deref()),
        texts(&|l| l.headers.clone()),
        texts(&|l| Some(l.topic.clone())),
        longs(&|l| l.log),
        ints(&|l| Some(l.partition)),
        longs(&|l| l.offset),
        instants(&|l| l.timestamp),
        ints(&|_| None),
        texts(&|l| Some(l.reject.class.as_str().to_owned())),
        texts(&|l| Some(l.reject.to_string())),
        texts(&|l| Some(l.feed.name().to_owned())),
        texts(&|l| l.reject.field.as_deref().map(str::to_owned)),
        texts(&|l| l.reject.value.clone()),
        texts(&|l| Some(l.reject.expected.clone())),
        texts(&|l| l.tenant.clone()),
        texts(&|l| l.store.clone()),
        texts(&|l| Some(l.pipeline.clone())),
        ints(&|_| Some(1)),
        instants(&|l| Some(l.ingested_at)),
    ];
    RecordBatch::try_new(table::arrow_schema(&columns()), arrays).expect("the arrays follow the schema")
}
