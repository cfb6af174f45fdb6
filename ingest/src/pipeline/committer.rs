//! Writes and commits a topic's batches in order, beside the polling thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use domain::ports::{Batch, CommitOutcome};
use domain::position::{LogIdentity, PartitionRange};
use domain::{Error, ErrorKind, Result, civil};
use rdkafka::consumer::Consumer;
use tokio::sync::mpsc::error::TrySendError;
use uuid::Uuid;

use super::FeedWorker;
use super::error_budget::{ErrorBudget, Tally};
use super::marking::Marking;
use crate::buffer::{Buffer, Consumed};
use crate::kafka::context::FeedConsumer;
use crate::kafka::topic_id;

/// What became of a batch.
#[derive(Debug)]
pub(super) enum CommitEvent {
    /// It stands in the table.
    Committed {
        rows: u64,
        dead_letters: u64,
        newest_at: civil::Micros,
        ranges: Vec<PartitionRange>,
        small_files: usize,
        /// The feed must stop behind it.
        stop: Option<Error>,
    },
    /// It was given up.
    Dropped(String),
    /// The store could not be asked to the end.
    Unknown(Error),
    /// The feed must stop.
    Stop(Error),
}

/// A batch on its way to the committer.
pub(super) struct Submission {
    consumed: Consumed,
    taken_at: civil::Micros,
}

impl Submission {
    pub(super) fn of(buffer: &mut Buffer) -> Self {
        Self { consumed: buffer.take(), taken_at: civil::now() }
    }
}

/// The committer of one assignment. It ends at the first batch that is not committed: whatever follows would not fit the stored positions.
pub(super) struct Committer {
    /// `None` once no more batches will come.
    submissions: Option<tokio::sync::mpsc::Sender<Submission>>,
    events: Receiver<CommitEvent>,
    /// Batches handed over whose event has not come.
    pending: usize,
}

impl Committer {
    pub(super) fn spawn(
        worker: &FeedWorker,
        consumer: &Arc<FeedConsumer>,
        log: i64,
        identity: LogIdentity,
    ) -> Self {
        let (submissions, mut queue) = tokio::sync::mpsc::channel::<Submission>(1);
        let (sender, events) = channel();
        let task = Task {
            feed: worker.feed,
            pipeline: worker.options.pipeline.clone(),
            topic: worker.topic.clone(),
            brokers: worker.kafka.brokers.clone(),
            batch_age: worker.options.batch_age,
            append: Arc::clone(&worker.append),
            consumer: Arc::clone(consumer),
            log,
            identity,
            error_budget: Arc::clone(&worker.error_budget),
        };
        let (recent, bytes) = (Arc::clone(&worker.recent), worker.options.duplicate_index_bytes);
        worker.runtime.spawn(async move {
            let mut marking = match task.feed.marks_duplicates() {
                true => Some(Marking::begin(recent, task.feed, Arc::clone(&task.append), bytes).await),
                false => None,
            };
            while let Some(submission) = queue.recv().await {
                let event = match task.commit(submission, marking.as_mut()).await {
                    Ok(event) => event,
                    Err(error) if error.is_retryable() => CommitEvent::Unknown(error),
                    Err(error) => CommitEvent::Stop(error),
                };
                let goes_on = matches!(event, CommitEvent::Committed { stop: None, .. });
                if report(&sender, event).is_err() || !goes_on {
                    break;
                }
            }
            // Before the sender goes, which tells the end: whoever hears of it closes the consumer, and leaves the group by that.
            drop(task);
        });
        Self { submissions: Some(submissions), events, pending: 0 }
    }

    /// Whether a batch can be handed over without waiting.
    pub(super) fn has_room(&self) -> bool {
        self.submissions.as_ref().is_some_and(|submissions| submissions.capacity() > 0)
    }

    /// Hands a batch over; waits while one is waiting already, which is the back-pressure, until `give_up` says so: the batch is dropped then. A
    /// committer that ended takes nothing: its last event tells why.
    pub(super) fn submit(&mut self, mut submission: Submission, give_up: impl Fn() -> bool) {
        let Some(submissions) = &self.submissions else { return };
        loop {
            match submissions.try_send(submission) {
                Ok(()) => {
                    self.pending += 1;
                    return;
                }
                Err(TrySendError::Closed(_)) => return,
                Err(TrySendError::Full(_)) if give_up() => return,
                Err(TrySendError::Full(refused)) => submission = refused,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The next event, if it comes within `patience`.
    pub(super) fn next_event(&mut self, patience: Duration) -> Next {
        let event = if patience.is_zero() {
            self.events.try_recv().map_err(|error| error == TryRecvError::Disconnected)
        } else {
            self.events.recv_timeout(patience).map_err(|error| error == RecvTimeoutError::Disconnected)
        };
        match event {
            Ok(event) => {
                self.pending -= 1;
                Next::Event(event)
            }
            Err(false) => Next::Nothing,
            Err(true) if self.pending == 0 && self.submissions.is_none() => Next::End,
            Err(true) => {
                Next::Event(CommitEvent::Stop(Error::internal("the committer ended without a word")))
            }
        }
    }

    /// Lets the committer end once all batches are through.
    pub(super) fn close(&mut self) {
        self.submissions = None;
    }
}

/// What a look for an event finds.
pub(super) enum Next {
    /// One.
    Event(CommitEvent),
    /// None yet.
    Nothing,
    /// None any more: every batch has had its event.
    End,
}

fn report(sender: &Sender<CommitEvent>, event: CommitEvent) -> std::result::Result<(), ()> {
    sender.send(event).map_err(|_| ())
}

struct Task {
    feed: domain::Feed,
    pipeline: domain::ids::Pipeline,
    topic: String,
    brokers: String,
    batch_age: Duration,
    append: Arc<dyn domain::ports::Append>,
    consumer: Arc<FeedConsumer>,
    log: i64,
    identity: LogIdentity,
    error_budget: Arc<Mutex<ErrorBudget>>,
}

impl Task {
    /// # Errors
    /// Those of the store and of marking: nothing is known of the batch then.
    async fn commit(&self, submission: Submission, mut marking: Option<&mut Marking>) -> Result<CommitEvent> {
        let Consumed { mut rows, row_count, letters, ranges } = submission.consumed;
        let dead_letters = letters.len() as u64;
        let tally = Tally::of(&rows, &letters);
        let mut marks = None;
        if let Some(marking) = &mut marking {
            let (marked, made) = marking.mark(rows).await?;
            (rows, marks) = (marked, Some(made));
        }
        let files = self.append.stage(self.feed, rows).await?;
        if let Some(event) = self.check_identity().await {
            return Ok(event);
        }
        let batch = Batch {
            id: Uuid::new_v4(),
            feed: self.feed,
            pipeline: self.pipeline.clone(),
            topic: self.topic.clone(),
            log: self.log,
            ranges,
            dead_letters: letters,
            files,
            marks,
            max_age: self.batch_age,
        };
        let (version, small_files, others) = match self.append.commit(&batch).await? {
            CommitOutcome::Committed { version, small_files, others } => (version, small_files, others),
            CommitOutcome::Dropped { reason } => return Ok(CommitEvent::Dropped(reason)),
        };
        if let Some((marking, marks)) = marking.zip(batch.marks) {
            marking.committed(version, marks, others).await?;
        }
        Ok(CommitEvent::Committed {
            rows: row_count as u64,
            dead_letters,
            newest_at: submission.taken_at,
            ranges: batch.ranges,
            small_files,
            stop: self.error_budget.lock().ok().and_then(|mut budget| budget.spend(tally, Instant::now())),
        })
    }

    /// Asks again which log the topic is: librdkafka adopts a recreated topic without a word, and would hand us its records at our old offsets.
    async fn check_identity(&self) -> Option<CommitEvent> {
        let (consumer, topic, brokers) =
            (Arc::clone(&self.consumer), self.topic.clone(), self.brokers.clone());
        let ask = move || topic_id::log_identity(consumer.client(), &topic, &brokers);
        match tokio::task::spawn_blocking(ask).await {
            Ok(Ok(Some(identity))) if identity == self.identity => None,
            Ok(Ok(identity)) => {
                let now = identity.map_or_else(|| "gone".to_owned(), |identity| format!("log {identity}"));
                Some(CommitEvent::Stop(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "topic {} was log {} and is now {now}: it was recreated while ingest ran; nothing of the new log was stored; run `intellicartel ingest accept-log {} --from earliest|latest|OFFSET` to go on",
                        self.topic, self.identity, self.topic
                    ),
                )))
            }
            Ok(Err(error)) => Some(CommitEvent::Unknown(error)),
            Err(error) => {
                Some(CommitEvent::Stop(Error::internal(format!("asking for the topic's id: {error}"))))
            }
        }
    }
}
