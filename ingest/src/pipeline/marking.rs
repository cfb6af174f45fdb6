//! Which rows of a batch were sent before, as the recent rows of the feed's table tell.
//!
//! The committer marks a batch just before it writes it, once the batch before stands in the table. So nothing is remembered of rows that are not
//! committed, and a dropped batch leaves nothing to be taken back. What others add to the table in the meantime is looked at by the commit: it drops a batch
//! whose marks it contradicts, and tells of it otherwise.

use std::sync::Arc;

use arrow_array::RecordBatch;
use domain::duplicates::{Mark, RecentRows, RowHash, hashes_of, mark_rows};
use domain::ports::{Append, Marks};
use domain::{Error, Feed, Result};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The recent rows of a feed's table. They outlive an assignment, and one committer has them at a time.
pub(super) type Recent = Arc<Mutex<Option<RecentRows>>>;

/// What a committer marks with.
pub(super) struct Marking {
    feed: Feed,
    append: Arc<dyn Append>,
    bytes: usize,
    /// None before they were read, and after that failed.
    recent: OwnedMutexGuard<Option<RecentRows>>,
    /// Whether they are as of the table's state behind our last commit, but for what others have added.
    is_current: bool,
    /// Duplicates and conflicts of the batch that was marked last.
    marked: [u64; 2],
}

impl Marking {
    /// Waits until no other committer has the recent rows, and reads what is missing of them beforehand: `bytes` of them at most.
    pub(super) async fn begin(recent: Recent, feed: Feed, append: Arc<dyn Append>, bytes: usize) -> Self {
        let recent = recent.lock_owned().await;
        let mut marking = Self { feed, append, bytes, recent, is_current: false, marked: [0; 2] };
        if let Err(error) = marking.follow().await {
            tracing::debug!(feed = feed.name(), %error, "the recent rows are read with the first batch");
        }
        marking
    }

    async fn follow(&mut self) -> Result<()> {
        let recent = self.recent.take().unwrap_or_else(|| RecentRows::within(self.bytes));
        *self.recent = Some(self.append.follow(self.feed, recent).await?);
        self.is_current = true;
        self.tell(0);
        Ok(())
    }

    /// Marks the rows of a batch.
    ///
    /// # Errors
    /// Those of reading the table.
    pub(super) async fn mark(
        &mut self,
        mut rows: Vec<(String, RecordBatch)>,
    ) -> Result<(Vec<(String, RecordBatch)>, Marks)> {
        if !self.is_current {
            self.follow().await?;
        }
        let missing = || Error::internal("the recent rows are missing");
        let recent = self.recent.take().ok_or_else(missing)?;
        self.is_current = false;
        let mark = move || -> Result<_> {
            // Rows of the same content are of the same period, so that twins follow each other in the order in which they were sent.
            let hashes = hashes_of(&rows)?;
            let marks = recent.marks(&hashes);
            mark_rows(&mut rows, &marks)?;
            Ok((recent, rows, marks, hashes))
        };
        let (recent, rows, marks, hashes) = off_async(mark).await??;
        let as_of = recent.as_of().ok_or_else(missing)?;
        *self.recent = Some(recent);
        self.is_current = true;
        self.marked = [Mark::Duplicate, Mark::Conflict]
            .map(|mark| marks.iter().filter(|of_row| **of_row == mark).count() as u64);
        Ok((rows, Marks { as_of, rows: hashes }))
    }

    /// The batch stands in the table at a version, behind what others have added.
    ///
    /// # Errors
    /// When the work cannot be done off the async threads.
    pub(super) async fn committed(
        &mut self,
        version: u64,
        marks: Marks,
        others: Option<Vec<RowHash>>,
    ) -> Result<()> {
        self.is_current = false;
        let ([duplicates, conflicts], feed) = (self.marked, self.feed.name());
        metrics::counter!("intellicartel_ingest_duplicates_total", "feed" => feed).increment(duplicates);
        metrics::counter!("intellicartel_ingest_conflicts_total", "feed" => feed).increment(conflicts);
        let (Some(others), Some(mut recent)) = (others, self.recent.take()) else { return Ok(()) };
        let evicted = recent.evicted();
        let extend = move || {
            recent.extend(others.into_iter().chain(marks.rows));
            recent.reached(version);
            recent
        };
        *self.recent = Some(off_async(extend).await?);
        self.is_current = true;
        self.tell(evicted);
        Ok(())
    }

    fn tell(&self, evicted_before: u64) {
        let Some(recent) = self.recent.as_ref() else { return };
        let feed = self.feed.name();
        metrics::gauge!("intellicartel_ingest_recent_rows", "feed" => feed).set(recent.len() as f64);
        metrics::gauge!("intellicartel_ingest_recent_rows_bytes", "feed" => feed).set(recent.bytes() as f64);
        metrics::counter!("intellicartel_ingest_recent_rows_evicted_total", "feed" => feed)
            .increment(recent.evicted().saturating_sub(evicted_before));
    }
}

async fn off_async<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| Error::internal(format!("marking rows: {error}")))
}
