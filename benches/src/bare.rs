//! The peer in Rust: consume, parse, write Parquet, and nothing else: no checks, no dead letters, no statistics of our own, no periods, no commits.
//! What the exactly-once path costs is measured against it.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, Decimal128Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::compute::kernels::cast_utils::{parse_decimal, string_to_timestamp_nanos};
use arrow::datatypes::Decimal128Type;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use serde::Deserialize;

use crate::place::{PARTITIONS, service};

/// A file is written as often as our ingest commits.
const FLUSH: Duration = Duration::from_secs(1);

/// The fields of the records that are compared.
#[derive(Deserialize)]
struct Sale<'a> {
    tenant: &'a str,
    store: &'a str,
    transaction_id: &'a str,
    line: i64,
    sku: &'a str,
    #[serde(borrow)]
    product_name: Option<std::borrow::Cow<'a, str>>,
    quantity: &'a str,
    unit_price: &'a str,
    currency: &'a str,
    kind: &'a str,
    customer: Option<&'a str>,
    occurred_at: &'a str,
    country: Option<&'a str>,
    raw_sku: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Default)]
struct Columns {
    texts: [StringBuilder; 10],
    line: Int64Builder,
    quantity: Decimal128Builder,
    unit_price: Decimal128Builder,
    occurred_at: TimestampMicrosecondBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    rows: usize,
}

const TEXTS: [&str; 10] = [
    "tenant",
    "store",
    "transaction_id",
    "sku",
    "product_name",
    "currency",
    "kind",
    "customer",
    "country",
    "raw_sku",
];

impl Columns {
    fn push(&mut self, payload: &[u8], partition: i32, offset: i64) {
        let sale: Sale<'_> = serde_json::from_slice(payload).expect("a sale");
        let texts = [
            Some(sale.tenant),
            Some(sale.store),
            Some(sale.transaction_id),
            Some(sale.sku),
            sale.product_name.as_deref(),
            Some(sale.currency),
            Some(sale.kind),
            sale.customer,
            sale.country,
            sale.raw_sku.as_deref(),
        ];
        for (builder, text) in self.texts.iter_mut().zip(texts) {
            builder.append_option(text);
        }
        let decimal = |text, precision, scale| {
            parse_decimal::<Decimal128Type>(text, precision, scale).expect("a decimal")
        };
        self.line.append_value(sale.line);
        self.quantity.append_value(decimal(sale.quantity, 18, 3));
        self.unit_price.append_value(decimal(sale.unit_price, 18, 4));
        self.occurred_at
            .append_value(string_to_timestamp_nanos(sale.occurred_at).expect("an instant") / 1_000);
        self.partition.append_value(partition);
        self.offset.append_value(offset);
        self.rows += 1;
    }

    fn finish(&mut self) -> RecordBatch {
        let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
        for (name, builder) in TEXTS.into_iter().zip(&mut self.texts) {
            columns.push((name, Arc::new(builder.finish())));
        }
        let decimal = |builder: &mut Decimal128Builder, scale| {
            builder.finish().with_precision_and_scale(18, scale).expect("a decimal's type")
        };
        columns.push(("line", Arc::new(self.line.finish())));
        columns.push(("quantity", Arc::new(decimal(&mut self.quantity, 3))));
        columns.push(("unit_price", Arc::new(decimal(&mut self.unit_price, 4))));
        columns.push(("occurred_at", Arc::new(self.occurred_at.finish().with_timezone("UTC"))));
        columns.push(("_partition", Arc::new(self.partition.finish())));
        columns.push(("_offset", Arc::new(self.offset.finish())));
        self.rows = 0;
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    }
}

/// Reads a topic to its end into Parquet files in a folder.
pub(crate) fn run(topic: &str, folder: &str) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", service("INTELLICARTEL__KAFKA__BROKERS"))
        .set("group.id", "bare")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        // The same reading ahead as our ingest allows itself.
        .set("queued.min.messages", "10000000")
        .set("queued.max.messages.kbytes", (384 * 1024 / 8).to_string())
        .set("fetch.queue.backoff.ms", "10")
        .create()
        .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&assignment).expect("an assignment");
    let (mut columns, mut ended, mut files, mut flushed) = (Columns::default(), 0, 0, Instant::now());
    while ended < PARTITIONS {
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => {
                columns.push(message.payload().expect("a value"), message.partition(), message.offset());
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
        if columns.rows > 0 && (flushed.elapsed() > FLUSH || ended == PARTITIONS) {
            write(&columns.finish(), &format!("{folder}/{files}.parquet"));
            files += 1;
            flushed = Instant::now();
        }
    }
}

fn write(batch: &RecordBatch, path: &str) {
    let file = File::create(path).expect("a file");
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(batch).expect("rows are written");
    writer.close().expect("the file is closed");
}
