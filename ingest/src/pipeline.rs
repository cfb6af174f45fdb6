//! A feed's way from its topic into its table.
//!
//! One OS thread a topic polls a consumer whose partitions were assigned at the positions that the table states; group offsets are never used. It
//! reads all partitions, also those that are added meanwhile, or what a consumer group gives it.
//! What is consumed becomes batches; one committer a topic writes and commits them in order while the thread goes on polling. A batch is
//! committed or dropped whole. After a drop, everything behind it is dropped too, and the thread begins anew at the stored positions.
//!
//! Memory is bounded: the recent rows, by which records that were sent twice are known, have a share of the cap of their own. Of the rest, what is
//! buffered, waits and is committed shares half with all feeds, the clients' queues an eighth.

mod committer;
mod error_budget;
mod lag;
mod marking;
mod membership;
mod memory;
mod pressure;
mod progress;
mod start;
mod supervision;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use domain::ids::Pipeline;
use domain::ports::Append;
use domain::{Error, ErrorKind, Feed, Result, civil};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio_util::sync::CancellationToken;

use crate::buffer::Buffer;
use crate::kafka::KafkaConfig;
use crate::kafka::context::FeedConsumer;
use committer::{CommitEvent, Committer, Next, Submission};
use error_budget::ErrorBudget;
pub use error_budget::ErrorBudgetOptions;
use lag::Lag;
use marking::Recent;
pub use membership::GroupOptions;
use membership::{Change, Membership};
use memory::{Held, Memory};
use pressure::Pressure;
use progress::Progress;
use start::Start;
pub(crate) use start::watermarks;
pub use supervision::{FeedState, Watch};

/// How an ingest runs.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// `ingest.pipeline`: the name under which positions are kept.
    pub pipeline: Pipeline,
    /// The processes that share the partitions; none: this one reads all.
    pub group: Option<GroupOptions>,
    /// `ingest.flush_ms`: a batch is committed at the latest so long after its first record.
    pub flush: Duration,
    /// `ingest.flush_bytes`: a batch is committed once it holds so much.
    pub flush_bytes: usize,
    /// `ingest.memory_cap_bytes`.
    pub memory_cap_bytes: usize,
    /// `ingest.duplicate_index_bytes`: what the recent rows may take of it, by which records that were sent twice are known.
    pub duplicate_index_bytes: usize,
    /// `maintenance.small_files_cap`: while a table has more small files, flushes are slower and batches larger.
    pub small_files_cap: usize,
    /// `ingest.batch_seconds`: how long after its first file was written a batch may be committed.
    pub batch_age: Duration,
    /// Ends once every partition was read to its end and committed. A member of a group ends once that holds for those that it owns, which may be none, and
    /// nothing has changed in the group for eight seconds: by then somebody owns the partitions of members that were killed.
    pub until_end: bool,
    /// Whether a feed whose topic is not there yet waits for it; until the end, it has none then. Else that is an error.
    pub awaits_topics: bool,
    /// A feed that lags and receives nothing for so long has stalled.
    pub stall_timeout: Duration,
    /// How many records may be refused before it is told.
    pub error_budget: ErrorBudgetOptions,
}

impl IngestOptions {
    /// What buffers and clients share.
    fn shared_bytes(&self, feeds: &[Feed]) -> usize {
        let marking = feeds.iter().filter(|feed| feed.marks_duplicates()).count();
        self.memory_cap_bytes.saturating_sub(marking * self.duplicate_index_bytes)
    }
}

/// What an ingest did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IngestReport {
    /// Rows committed.
    pub rows: u64,
    /// Dead letters committed.
    pub dead_letters: u64,
    /// Batches committed.
    pub commits: u64,
    /// Batches dropped.
    pub dropped: u64,
}

/// How long what is buffered at a shutdown may take to be committed; after that it is dropped, and read again by the next start.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(20);

/// Batches in a row that may fail before the feed ends; each has had its own retries.
const MAX_FAILURES: u32 = 5;

/// Between two looks for a topic that is not there yet.
const TOPIC_INTERVAL: Duration = Duration::from_secs(5);

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long a feed waits when all feeds together hold all the memory that they may, or when its batches are not committed as fast as they come.
const HELD_BACK_PAUSE: Duration = Duration::from_millis(5);

/// Messages that are taken in between two looks at the clock and at everything else.
const BURST: usize = 256;

/// Reads feeds until the end, a shutdown or an error.
///
/// # Errors
/// The first feed's error, naming the feed; the other feeds are shut down then.
pub async fn run(
    feeds: &[Feed],
    kafka: &KafkaConfig,
    append: Arc<dyn Append>,
    options: &IngestOptions,
    shutdown: CancellationToken,
) -> Result<IngestReport> {
    work(feeds, kafka, append, options, shutdown, None).await
}

/// Reads feeds until the shutdown. A feed that fails is tried again and keeps no other from being read; `watch` hears of it.
///
/// # Errors
/// When a thread cannot be started.
pub async fn keep_running(
    feeds: &[Feed],
    kafka: &KafkaConfig,
    append: Arc<dyn Append>,
    options: &IngestOptions,
    shutdown: CancellationToken,
    watch: Watch,
) -> Result<IngestReport> {
    work(feeds, kafka, append, options, shutdown, Some(watch)).await
}

async fn work(
    feeds: &[Feed],
    kafka: &KafkaConfig,
    append: Arc<dyn Append>,
    options: &IngestOptions,
    shutdown: CancellationToken,
    watch: Option<Watch>,
) -> Result<IngestReport> {
    let stop = shutdown.child_token();
    let mut threads = FuturesUnordered::new();
    let shared_bytes = options.shared_bytes(feeds);
    let memory = Memory::new(shared_bytes / 2);
    for &feed in feeds {
        let worker = FeedWorker {
            feed,
            topic: feed.topic(&kafka.prefix),
            kafka: kafka.clone(),
            append: Arc::clone(&append),
            options: options.clone(),
            feeds: feeds.len(),
            shared_bytes,
            memory: Arc::clone(&memory),
            shutdown: stop.clone(),
            watch: watch.clone(),
            runtime: tokio::runtime::Handle::current(),
            error_budget: Arc::new(Mutex::new(ErrorBudget::new(feed, options.error_budget))),
            recent: Recent::default(),
        };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let spawned = std::thread::Builder::new().name(format!("ingest-{}", feed.name())).spawn(move || {
            // The receiver is gone only when the whole ingest was cancelled.
            let _ = sender.send(worker.work());
        });
        spawned.map_err(|error| {
            Error::internal(format!("starting a thread for feed {}: {error}", feed.name()))
        })?;
        threads.push(async move { (feed, receiver.await) });
    }
    let mut total = IngestReport::default();
    let mut failure = None;
    while let Some((feed, ended)) = threads.next().await {
        let result = ended.unwrap_or_else(|_| Err(Error::internal("its thread ended unexpectedly")));
        match result {
            Ok(report) => {
                total.rows += report.rows;
                total.dead_letters += report.dead_letters;
                total.commits += report.commits;
                total.dropped += report.dropped;
            }
            Err(error) => {
                stop.cancel();
                failure.get_or_insert(
                    Error::new(error.kind(), format!("feed {}: {error}", feed.name())).with_source(error),
                );
            }
        }
    }
    failure.map_or(Ok(total), Err)
}

/// The embedded broker has no transactions and deletes nothing, so that a gap can only be records that were not handed over.
fn check_gap(buffer: &Buffer, partition: i32, offset: i64) -> Result<()> {
    match buffer.positions().get(&partition) {
        Some(position) if offset > position.next => Err(Error::internal(format!(
            "the embedded broker skipped the offsets {} to {} of partition {partition}",
            position.next,
            offset - 1
        ))),
        _ => Ok(()),
    }
}

/// One feed's thread.
struct FeedWorker {
    feed: Feed,
    topic: String,
    kafka: KafkaConfig,
    append: Arc<dyn Append>,
    options: IngestOptions,
    /// How many feeds share the memory.
    feeds: usize,
    /// The memory that buffers and clients share.
    shared_bytes: usize,
    memory: Arc<Memory>,
    shutdown: CancellationToken,
    watch: Option<Watch>,
    runtime: tokio::runtime::Handle,
    /// Its windows outlive an assignment.
    error_budget: Arc<Mutex<ErrorBudget>>,
    /// They outlive an assignment too.
    recent: Recent,
}

/// Why a run of polling ended.
enum Ended {
    /// All is committed.
    Done,
    /// Other partitions are to be read.
    Reassigned,
    /// A batch was dropped: begin anew at the stored positions.
    Dropped(String),
    /// A batch could not be written, or its outcome is unknown: begin anew at the stored positions, but not for ever.
    Failed(Error),
}

impl FeedWorker {
    fn run(&self) -> Result<IngestReport> {
        let mut report = IngestReport::default();
        let (mut restarts, mut failures) = (0_u32, 0_u32);
        let mut pressure = Pressure::new(self.feed, self.options.small_files_cap, self.options.flush);
        let mut membership = Membership::new(self)?;
        loop {
            let Some(start) = self.start(&mut membership)? else { return Ok(report) };
            self.tell(FeedState::Reads(start.positions.keys().copied().collect()));
            let commits_before = report.commits;
            let ended = self.poll(&membership, start, &mut report, &mut pressure)?;
            if report.commits > commits_before {
                (restarts, failures) = (0, 0);
            }
            restarts += u32::from(!matches!(ended, Ended::Reassigned));
            match ended {
                Ended::Done => return Ok(report),
                Ended::Reassigned => continue,
                Ended::Dropped(reason) => tracing::warn!(
                    feed = self.feed.name(),
                    pipeline = self.options.pipeline.as_str(),
                    reason,
                    "a batch was dropped, and the feed goes on from the table's positions; if this repeats, another process runs ingest with the same pipeline"
                ),
                Ended::Failed(error) => {
                    failures += 1;
                    if failures >= MAX_FAILURES {
                        return Err(error);
                    }
                    tracing::warn!(feed = self.feed.name(), %error, "a batch is given up, and the feed goes on from the table's positions");
                }
            }
            report.dropped += 1;
            metrics::counter!("intellicartel_ingest_dropped_batches_total", "feed" => self.feed.name())
                .increment(1);
            if self.wait(Duration::from_millis(100 * u64::from(restarts.min(50)))) {
                return Ok(report);
            }
        }
    }

    /// Finds where to begin; none when there is nothing to wait for any more.
    fn start(&self, membership: &mut Membership) -> Result<Option<Start>> {
        let mut was_told = false;
        loop {
            match membership.begin(self) {
                Err(error) if error.kind() == ErrorKind::NotFound && self.options.awaits_topics => {
                    self.tell(FeedState::AwaitsTopic);
                    if !std::mem::replace(&mut was_told, true) {
                        tracing::info!(
                            feed = self.feed.name(),
                            topic = self.topic,
                            "there is no such topic yet"
                        );
                    }
                    if self.options.until_end || self.wait(TOPIC_INTERVAL) {
                        return Ok(None);
                    }
                }
                found => return found.map(Some),
            }
        }
    }

    /// Polls until the end, a shutdown, a dropped batch, a change of the partitions or an error.
    fn poll(
        &self,
        membership: &Membership,
        start: Start,
        report: &mut IngestReport,
        pressure: &mut Pressure,
    ) -> Result<Ended> {
        let (pipeline, consumer) = (self.options.pipeline.as_str(), membership.consumer());
        let mut progress = Progress::of(start.positions.keys());
        let stored = start.positions.iter().map(|(partition, position)| (*partition, position.next));
        let mut lag = Lag::of(self.feed, stored.collect());
        let mut buffer = Buffer::new(self.feed, &self.topic, start.log, pipeline, start.positions);
        let mut committer = Committer::spawn(self, consumer, start.log, start.identity);
        let mut first_at: Option<Instant> = None;
        let mut held = Held::of(&self.memory);
        while !self.shutdown.is_cancelled() {
            while let Next::Event(event) = committer.next_event(Duration::ZERO) {
                held.settled();
                if let Some(ended) = self.settle(event, report, &mut lag, pressure)? {
                    return Ok(ended);
                }
            }
            let limit = pressure.bytes(self.options.flush_bytes, self.shared_bytes / 6);
            let exhausted = held.is_exhausted();
            let held_back = exhausted || (buffer.bytes() >= limit && !committer.has_room());
            // Held back, it takes one record where it must poll.
            let room = if held_back { 0 } else { limit };
            if held_back {
                progress.held_back();
            }
            if held_back && !membership.must_poll() {
                // Committers free memory; until then records wait in the clients' queues, which are bounded too.
                std::thread::sleep(HELD_BACK_PAUSE);
            } else if let Some(at) = self.receive(membership, &mut buffer, &mut progress, room)? {
                first_at.get_or_insert(at);
            }
            held.buffered(buffer.bytes());
            lag.tell(|| consumer.context().ends());
            if let Some(change) = membership.change() {
                let last = (change == Change::Grows).then_some(&mut buffer);
                let ended = self.drain(committer, last, membership, report, &mut lag, pressure)?;
                let goes_on = matches!(ended, Ended::Done) && !self.shutdown.is_cancelled();
                return Ok(if goes_on { Ended::Reassigned } else { ended });
            }
            let ended = self.options.until_end && progress.all_at_end() && membership.is_settled();
            let due = exhausted || first_at.is_some_and(|at| at.elapsed() >= pressure.flush());
            let full = buffer.bytes() >= limit;
            if !buffer.is_empty() && (full || ended || due) && committer.has_room() {
                held.submitted();
                committer.submit(Submission::of(&mut buffer), || self.shutdown.is_cancelled());
                first_at = None;
            }
            if ended && buffer.is_empty() {
                break;
            }
            for partition in progress.silent_for(self.options.stall_timeout) {
                self.check_for_stall(consumer, &buffer, partition)?;
            }
        }
        self.drain(committer, Some(&mut buffer), membership, report, &mut lag, pressure)
    }

    /// Waits for messages and takes some in; gives the time at which they came, if any did.
    fn receive(
        &self,
        membership: &Membership,
        buffer: &mut Buffer,
        progress: &mut Progress,
        limit: usize,
    ) -> Result<Option<Instant>> {
        let mut polled = membership.poll(POLL_INTERVAL);
        let (at, now) = (Instant::now(), civil::now());
        let mut received = 0;
        loop {
            match polled {
                Some(Ok(message)) => {
                    received += 1;
                    progress.received(message.partition(), at);
                    if self.kafka.embedded {
                        check_gap(buffer, message.partition(), message.offset())?;
                    }
                    buffer.push(&message, now);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => progress.reached_end(partition, at),
                Some(Err(error)) => self.consumer_error(membership, buffer, error)?,
                None => break,
            }
            // Nothing may be polled that is not looked at: the client would not give it again.
            if received >= BURST || buffer.bytes() >= limit {
                break;
            }
            polled = membership.poll(Duration::ZERO);
        }
        Ok((received > 0).then_some(at))
    }

    /// Lets what was submitted be committed, and a last batch, within bounds at a shutdown. What is polled here is given up: the run is over.
    fn drain(
        &self,
        mut committer: Committer,
        last: Option<&mut Buffer>,
        membership: &Membership,
        report: &mut IngestReport,
        lag: &mut Lag,
        pressure: &mut Pressure,
    ) -> Result<Ended> {
        let begun = Instant::now();
        let is_late = || self.shutdown.is_cancelled() && begun.elapsed() > SHUTDOWN_PATIENCE;
        if let Some(buffer) = last.filter(|buffer| !buffer.is_empty()) {
            committer.submit(Submission::of(buffer), is_late);
        }
        committer.close();
        loop {
            if membership.must_poll() {
                membership.poll(Duration::ZERO);
            }
            match committer.next_event(Duration::from_millis(100)) {
                Next::Event(event) => {
                    if let Some(ended) = self.settle(event, report, lag, pressure)? {
                        // At a shutdown a dropped batch is read again by the next start.
                        return Ok(if self.shutdown.is_cancelled() { Ended::Done } else { ended });
                    }
                }
                Next::End => return Ok(Ended::Done),
                Next::Nothing if is_late() => {
                    tracing::warn!(
                        feed = self.feed.name(),
                        "the last batch was not committed in time; the next start reads it again"
                    );
                    return Ok(Ended::Done);
                }
                Next::Nothing => {}
            }
        }
    }

    fn settle(
        &self,
        event: CommitEvent,
        report: &mut IngestReport,
        lag: &mut Lag,
        pressure: &mut Pressure,
    ) -> Result<Option<Ended>> {
        let feed = self.feed.name();
        match event {
            CommitEvent::Committed { rows, dead_letters, newest_at, ranges, small_files, stop } => {
                pressure.note(small_files);
                ranges.iter().for_each(|range| lag.committed(range.partition, range.to));
                report.rows += rows;
                report.dead_letters += dead_letters;
                report.commits += 1;
                metrics::counter!("intellicartel_ingest_rows_total", "feed" => feed).increment(rows);
                metrics::counter!("intellicartel_ingest_dead_letters_total", "feed" => feed)
                    .increment(dead_letters);
                metrics::counter!("intellicartel_ingest_commits_total", "feed" => feed).increment(1);
                let freshness = (civil::now() - newest_at) as f64 / 1e6;
                metrics::gauge!("intellicartel_ingest_freshness_seconds", "feed" => feed).set(freshness);
                stop.map_or(Ok(None), Err)
            }
            CommitEvent::Dropped(reason) => Ok(Some(Ended::Dropped(reason))),
            CommitEvent::Unknown(error) => Ok(Some(Ended::Failed(error))),
            CommitEvent::Stop(error) => Err(error),
        }
    }

    /// Decides which of the client's errors end the feed.
    fn consumer_error(&self, membership: &Membership, buffer: &Buffer, error: KafkaError) -> Result<()> {
        if let Some(refusal) = membership.refusal(&error) {
            return Err(refusal);
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                for (&partition, position) in buffer.positions() {
                    start::check_bounds(
                        membership.consumer(),
                        &self.topic,
                        partition,
                        position.next,
                        &self.kafka.brokers,
                    )?;
                }
                Ok(())
            }
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Err(Error::new(
                    ErrorKind::NotFound,
                    format!(
                        "topic {} is gone; if it was recreated, look at `ingest accept-log {} --from earliest|latest|OFFSET`",
                        self.topic, self.topic
                    ),
                ))
            }
            Some(
                RDKafkaErrorCode::Fatal
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::Authentication,
            ) => Err(crate::kafka::kafka_error(
                &format!("reading topic {}", self.topic),
                &self.kafka.brokers,
                error,
            )),
            // Brokers come and go; the watchdog ends a feed that waits too long.
            _ => {
                tracing::warn!(feed = self.feed.name(), %error, "kafka client");
                Ok(())
            }
        }
    }

    /// The watchdog: nothing came from a partition for long. Without lag that is right; with lag, or without an answer, the feed has stalled.
    fn check_for_stall(&self, consumer: &FeedConsumer, buffer: &Buffer, partition: i32) -> Result<()> {
        let Some(position) = buffer.positions().get(&partition) else { return Ok(()) };
        let (_, high) = watermarks(consumer, &self.topic, partition, &self.kafka.brokers)?;
        // Transaction markers may stand at the end, so that only a position before the last two offsets is sure to lag.
        if high - position.next <= 2 {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!(
                "stalled: topic {} partition {partition} stands at {} of {high}, and nothing came for {} s",
                self.topic,
                position.next,
                self.options.stall_timeout.as_secs()
            ),
        ))
    }

    /// Waits; `true` when a shutdown came.
    fn wait(&self, pause: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < pause && !self.shutdown.is_cancelled() {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.shutdown.is_cancelled()
    }
}
