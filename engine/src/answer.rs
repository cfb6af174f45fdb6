//! An answer: its schema at once, its rows as they come, its summary at the end.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use domain::{Error, ErrorKind, Result};
use futures::Stream;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, Sleep};

use crate::limits::Summary;
use crate::runtime::{Running, broke_off};

/// The answer to a query. Dropping its stream stops the work.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub stream: AnswerStream,
    /// The version that each table was read at; a table that was asked for at another version stands as `table@version` beside it.
    pub as_of: BTreeMap<String, u64>,
    /// Set once the stream came to its end; empty after an error.
    pub summary: Arc<OnceLock<Summary>>,
}

/// What the worker sends.
#[derive(Debug)]
pub(crate) enum Message {
    Rows(RecordBatch),
    Failed(Error),
    End(Summary),
}

/// When a query must be through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) timeout: Duration,
}

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Self {
        let now = Instant::now();
        // A time-out of centuries is none; a day less than that far is far enough.
        let at = now.checked_add(timeout).unwrap_or_else(|| now + Duration::from_secs(86_400 * 365));
        Self { at, timeout }
    }

    pub(crate) fn error(&self) -> Error {
        let limit = format!("timeout: {} s", self.timeout.as_secs_f64());
        Error::new(
            ErrorKind::LimitExceeded,
            format!("the query was stopped by its limit ({limit}): narrow it"),
        )
    }
}

/// Work within a deadline, if there is one.
pub(crate) async fn within<T>(
    deadline: Option<Deadline>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match deadline {
        None => work.await,
        Some(deadline) => {
            tokio::time::timeout_at(deadline.at, work).await.unwrap_or_else(|_| Err(deadline.error()))
        }
    }
}

/// The rows of an answer. The end comes only when every row was given, or a limit cut the rest; everything else is an error.
#[derive(Debug)]
pub struct AnswerStream {
    messages: Receiver<Message>,
    worker: Option<Running<()>>,
    summary: Arc<OnceLock<Summary>>,
    /// Beside the worker's own: its threads may be busy.
    deadline: Option<(Deadline, Pin<Box<Sleep>>)>,
}

impl AnswerStream {
    pub(crate) fn new(
        messages: Receiver<Message>,
        worker: Running<()>,
        summary: Arc<OnceLock<Summary>>,
        deadline: Option<Deadline>,
    ) -> Self {
        let deadline = deadline.map(|deadline| (deadline, Box::pin(tokio::time::sleep_until(deadline.at))));
        Self { messages, worker: Some(worker), summary, deadline }
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<RecordBatch>>> {
        self.worker = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for AnswerStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.worker.is_none() {
            return Poll::Ready(None);
        }
        if let Some((deadline, sleep)) = &mut self.deadline
            && sleep.as_mut().poll(context).is_ready()
        {
            let error = deadline.error();
            return self.fail(error);
        }
        match ready!(self.messages.poll_recv(context)) {
            Some(Message::Rows(rows)) => Poll::Ready(Some(Ok(rows))),
            Some(Message::Failed(error)) => self.fail(error),
            Some(Message::End(summary)) => {
                self.worker = None;
                let _ = self.summary.set(summary);
                Poll::Ready(None)
            }
            None => self.fail(broke_off()),
        }
    }
}
