//! `produce`: replays a mapped file to its topics, with an idempotent producer and an exact count of what the cluster acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::feeds::metadata::HISTORY_HEADER;
use domain::{Error, ErrorKind, Feed, Result};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tokio_util::sync::CancellationToken;

use crate::kafka::admin::Admin;
use crate::kafka::context::QuietContext;
use crate::kafka::{KafkaConfig, kafka_error};
use crate::mapping::{LocalTimes, MappedRecord, Mapper, Mapping, Parameters};
use crate::source::{self, Row, Rows};

/// What is to be produced.
#[derive(Debug, Clone)]
pub struct ProduceOptions {
    /// The source file.
    pub file: PathBuf,
    /// The mapping file.
    pub map: PathBuf,
    /// Values of the mapping's parameters.
    pub parameters: Parameters,
    /// The feeds that are wanted of those that the mapping fills; none means all.
    pub feeds: Vec<Feed>,
    /// Records a second at most.
    pub rate: Option<f64>,
    /// Partitions of topics that are created.
    pub partitions: i32,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Records handed to the client.
    pub records: u64,
    /// Bytes read of the source file, as it lies there; estimated for Parquet.
    pub read_bytes: u64,
    /// Its size.
    pub size_bytes: u64,
}

/// What was produced.
#[derive(Debug, Clone, Default)]
pub struct ProduceReport {
    /// Records that the cluster acknowledged.
    pub acknowledged: u64,
    /// Local times that needed a decision.
    pub local_times: LocalTimes,
    /// Topics that were created.
    pub created_topics: Vec<String>,
    /// Whether the caller stopped it before the end of the file.
    pub cancelled: bool,
}

/// How long a record may wait for its acknowledgement.
const DELIVERY_TIMEOUT_MS: &str = "60000";

/// Replays a file. Topics that do not exist are created.
///
/// # Errors
/// A file or mapping that cannot be used (nothing was produced then), a row that cannot be read, a cluster that does not acknowledge; the message tells
/// how many records were acknowledged.
pub async fn produce(
    kafka: &KafkaConfig,
    options: ProduceOptions,
    progress: impl Fn(Progress) + Send + 'static,
    cancel: CancellationToken,
) -> Result<ProduceReport> {
    let rate = options.rate;
    let (wanted, stop) = (options.clone(), cancel.clone());
    let opened = blocking(move || Opened::new(&wanted, &stop)).await?;
    let admin = Admin::new(kafka)?;
    let mut created_topics = Vec::new();
    let topics: BTreeMap<Feed, String> =
        opened.feeds.iter().map(|feed| (*feed, feed.topic(&kafka.prefix))).collect();
    for topic in topics.values() {
        if admin.ensure_topic(topic, options.partitions).await? {
            created_topics.push(topic.clone());
        }
    }
    let kafka = kafka.clone();
    let mut report = blocking(move || opened.run(&kafka, &topics, rate, &progress, &cancel)).await?;
    report.created_topics = created_topics;
    Ok(report)
}

/// Runs what reads files off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal(format!("producing: {error}")))?
}

/// A file whose columns fit its mapping.
pub(crate) struct Opened {
    feeds: BTreeSet<Feed>,
    pub(crate) mapper: Mapper,
    rows: Box<dyn Rows>,
    row: Row,
    size_bytes: u64,
    name: String,
}

impl Opened {
    pub(crate) fn new(options: &ProduceOptions, cancel: &CancellationToken) -> Result<Self> {
        let (map, file) = (options.map.display(), &options.file);
        let of_map = |error: Error| Error::invalid(format!("--map {map}: {error}"));
        let mapping = Mapping::load(&options.map)?.only(&options.feeds).map_err(of_map)?;
        let source = source::open("--file", file, mapping.file_format, mapping.delimiter, cancel)?;
        let feeds = mapping.feeds();
        let (mapper, columns) = mapping.bind(source.columns(), &options.parameters).map_err(of_map)?;
        let (name, size_bytes) = (file.display().to_string(), source.size_bytes());
        let rows =
            source.rows(&columns).map_err(|fault| Error::invalid(format!("--file {name}: {fault}")))?;
        Ok(Self { feeds, mapper, rows, row: Row::default(), size_bytes, name })
    }

    /// The records of the next row; none at the file's end.
    ///
    /// # Errors
    /// What is wrong with the row, naming the file and the place.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<MappedRecord>>> {
        match self.rows.read(&mut self.row) {
            Ok(true) => Ok(Some(self.mapper.map(&self.row))),
            Ok(false) => Ok(None),
            Err(fault) => Err(Error::invalid(format!("--file {}: {fault}", self.name))),
        }
    }

    fn run(
        mut self,
        kafka: &KafkaConfig,
        topics: &BTreeMap<Feed, String>,
        rate: Option<f64>,
        progress: &dyn Fn(Progress),
        cancel: &CancellationToken,
    ) -> Result<ProduceReport> {
        let producer = RecordProducer::new(kafka)?;
        let begun = Instant::now();
        let (mut sent, mut shown_at) = (0_u64, Instant::now());
        let mut cancelled = false;
        loop {
            if cancel.is_cancelled() {
                cancelled = true;
                break;
            }
            let records = match self.next() {
                Ok(Some(records)) => records,
                Ok(None) => break,
                Err(error) => {
                    let acknowledged = producer.finish()?;
                    return Err(Error::invalid(format!(
                        "{error}; {acknowledged} records before it were acknowledged"
                    )));
                }
            };
            for record in records {
                let topic = topics.get(&record.feed).map_or("", String::as_str);
                producer.send(topic, None, &record)?;
                sent += 1;
            }
            let due = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(sent as f64 / rate));
            while let Some(early) = due.checked_sub(begun.elapsed())
                && !cancel.is_cancelled()
            {
                std::thread::sleep(early.min(Duration::from_millis(200)));
            }
            if shown_at.elapsed() > Duration::from_millis(100) {
                let read_bytes = self.rows.read_bytes();
                progress(Progress { records: sent, read_bytes, size_bytes: self.size_bytes });
                shown_at = Instant::now();
            }
        }
        let acknowledged = producer.finish()?;
        if acknowledged != sent {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("{acknowledged} of {sent} records were acknowledged"),
            ));
        }
        progress(Progress { records: sent, read_bytes: self.size_bytes, size_bytes: self.size_bytes });
        Ok(ProduceReport {
            acknowledged,
            local_times: self.mapper.local_times(),
            created_topics: Vec::new(),
            cancelled,
        })
    }
}

#[derive(Default)]
struct Deliveries {
    acknowledged: AtomicU64,
    failed: std::sync::Mutex<Option<KafkaError>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        QuietContext.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        QuietContext.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                let mut failed = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                failed.get_or_insert(error.clone());
            }
        }
    }
}

/// An idempotent producer that counts acknowledgements.
pub struct RecordProducer {
    producer: ThreadedProducer<Deliveries>,
    brokers: String,
}

impl std::fmt::Debug for RecordProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordProducer").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl RecordProducer {
    /// A producer; nothing is sent yet.
    ///
    /// # Errors
    /// When a setting is not usable.
    pub fn new(kafka: &KafkaConfig) -> Result<Self> {
        let mut config = kafka.client();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // The partitioner of Java's clients, so that keys meet in the same partitions whoever produced them.
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            .set("linger.ms", "20")
            .set("queue.buffering.max.kbytes", "65536")
            .set("message.timeout.ms", DELIVERY_TIMEOUT_MS);
        let producer = config.create_with_context(Deliveries::default());
        let producer = producer.map_err(|error| kafka_error("kafka settings", &kafka.brokers, error))?;
        Ok(Self { producer, brokers: kafka.brokers.clone() })
    }

    /// Hands a mapped record over; waits while the client's queue is full.
    ///
    /// # Errors
    /// When an earlier record was not acknowledged, or the client refuses this one.
    pub fn send(&self, topic: &str, partition: Option<i32>, record: &MappedRecord) -> Result<()> {
        self.send_raw(
            topic,
            partition,
            record.key.as_deref().map(str::as_bytes),
            Some(&record.value),
            record.history,
        )
    }

    /// Hands any bytes over; no value makes a tombstone.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_raw(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        history: bool,
    ) -> Result<()> {
        loop {
            self.check()?;
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
            record.partition = partition;
            record.key = key;
            record.payload = value;
            if history {
                record = record
                    .headers(OwnedHeaders::new().insert(Header { key: HISTORY_HEADER, value: Some("1") }));
            }
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                Err((error, _)) => return Err(self.failure(error)),
            }
        }
    }

    fn check(&self) -> Result<()> {
        let failed =
            self.producer.context().failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        failed.map_or(Ok(()), |error| Err(self.failure(error)))
    }

    fn failure(&self, error: KafkaError) -> Error {
        let acknowledged = self.producer.context().acknowledged.load(Ordering::Relaxed);
        kafka_error(
            &format!("producing stopped after {acknowledged} acknowledged records"),
            &self.brokers,
            error,
        )
    }

    /// Waits for all acknowledgements and gives their number.
    ///
    /// # Errors
    /// When a record was not acknowledged.
    pub fn finish(&self) -> Result<u64> {
        self.producer.flush(Duration::from_secs(90)).map_err(|error| self.failure(error))?;
        self.check()?;
        Ok(self.producer.context().acknowledged.load(Ordering::Relaxed))
    }
}
