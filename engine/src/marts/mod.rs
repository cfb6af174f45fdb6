//! The daily marts, kept true while everything beneath them moves.
//!
//! A refresh pins a version of every source, looks up which days of which stores the commits since the last refresh touch ([`affected`]), makes those days
//! anew from the pinned versions ([`item_days`], [`store_days`]), and replaces them in one commit that carries the versions. Days are always made whole and
//! from all that is known, so that late sales, corrected weather or a store's record that comes last are no special cases, and a mart equals one that is made
//! from nothing. Where the log does not reach back to the last refresh, everything is made anew.
//!
//! Any number of processes may refresh: a commit is made only if the versions are still those that the refresh began with.

mod affected;
mod item_days;
mod pieces;
mod plans;
mod posts;
mod rivals;
mod sold;
mod store_days;
mod stores;
mod surroundings;
mod windows;
mod work;

pub(crate) use plans::plans;
pub(crate) use stores::function;
pub(crate) use work::{Work, literal};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use domain::marts::{DaySet, Mart, StoreDays};
use domain::ports::{Changes, MartState, Replace, Replacement, Snapshots, StagedFile};
use domain::{ErrorKind, Feed, Result};

use crate::Engine;
use affected::{Affected, Search};
use stores::Stores;

/// Rows of a file at most.
const FILE_ROWS: usize = 500_000;

/// A refresh begins anew so often when another process commits the same mart meanwhile.
const MAX_ATTEMPTS: u32 = 5;

/// Versions without changes of data are moved this often, so that the log reaches back to them.
const MOVED_AT_LEAST: Duration = Duration::from_secs(3_600);

/// What marts are made of and where they go.
#[derive(Debug, Clone)]
pub struct MartParts {
    /// What changed in the sources.
    pub changes: Arc<dyn Changes>,
    /// Where days are replaced.
    pub replace: Arc<dyn Replace>,
    /// Which versions there are.
    pub snapshots: Arc<dyn Snapshots>,
}

/// Keeps the daily marts.
#[derive(Debug)]
pub struct Marts {
    work: Work,
    parts: MartParts,
    /// When the versions of a mart were last moved by us.
    moved_at: std::sync::Mutex<BTreeMap<Mart, Instant>>,
}

/// What a refresh did to a mart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    /// The mart.
    pub mart: Mart,
    /// The version that it made; none when nothing was to be done.
    pub version: Option<u64>,
    /// Days that were made anew, of stores of which some were.
    pub store_days: u64,
    /// Stores of which all days were made anew; none are counted where everything was.
    pub whole_stores: u64,
    /// Rows that came.
    pub rows: u64,
    /// Rows that went.
    pub replaced_rows: u64,
    /// Rows of other days that were written anew, because they shared a file.
    pub kept_rows: u64,
    /// Why everything was made anew, where it was.
    pub rebuilt_because: Option<String>,
}

impl Marts {
    /// Marts that are made by `engine`.
    #[must_use]
    pub fn new(engine: &Engine, parts: MartParts) -> Self {
        Self { work: Work::new(Arc::clone(&engine.shared)), parts, moved_at: std::sync::Mutex::default() }
    }

    /// Brings every mart to the newest versions of its sources.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when another process was first again and again; those of reading and writing. Marts that were committed before stand.
    pub async fn refresh(&self) -> Result<Vec<Refreshed>> {
        self.make_at_last(false).await
    }

    /// Makes every mart from nothing.
    ///
    /// # Errors
    /// As of [`Self::refresh`].
    pub async fn rebuild(&self) -> Result<Vec<Refreshed>> {
        self.make_at_last(true).await
    }

    /// Begins anew where another process was first, but not for ever.
    async fn make_at_last(&self, from_nothing: bool) -> Result<Vec<Refreshed>> {
        for _ in 1..MAX_ATTEMPTS {
            match self.make(from_nothing).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                made => return made,
            }
        }
        self.make(from_nothing).await
    }

    async fn make(&self, from_nothing: bool) -> Result<Vec<Refreshed>> {
        let mut target = BTreeMap::new();
        for feed in Mart::ALL.iter().flat_map(|mart| mart.sources()) {
            let version = self.parts.snapshots.newest_version(&format!("curated.{}", feed.name())).await?;
            target.insert(*feed, version);
        }
        let stores = Stores::load(&self.work, target.get(&Feed::Stores).copied().unwrap_or_default()).await?;
        let stores = Arc::new(stores);
        let mut made = Vec::new();
        for mart in Mart::ALL {
            let begun = Instant::now();
            let done = self.make_one(mart, &target, &stores, from_nothing).await?;
            if done.version.is_some() {
                tracing::info!(
                    mart = mart.name(),
                    store_days = done.store_days,
                    whole_stores = done.whole_stores,
                    rows = done.rows,
                    replaced_rows = done.replaced_rows,
                    reason = done.rebuilt_because.as_deref(),
                    seconds = begun.elapsed().as_secs_f64(),
                    "a mart was refreshed"
                );
            }
            made.push(done);
        }
        Ok(made)
    }

    async fn make_one(
        &self,
        mart: Mart,
        target: &BTreeMap<Feed, u64>,
        stores: &Arc<Stores>,
        from_nothing: bool,
    ) -> Result<Refreshed> {
        let state = self.parts.replace.mart_state(mart).await?;
        let sources: BTreeMap<Feed, u64> =
            mart.sources().iter().filter_map(|source| Some((*source, *target.get(source)?))).collect();
        let affected = if from_nothing {
            Affected::everything("it was asked for")
        } else if state.sources == sources {
            return Ok(Refreshed::nothing(mart));
        } else {
            let work = self.work.clone();
            let changes = self.parts.changes.as_ref();
            Search { work, changes, stores, mart, state: &state, target: &sources }.run().await?
        };
        if affected.days.is_empty() && !self.must_move(mart) {
            return Ok(Refreshed::nothing(mart));
        }
        self.commit(mart, state, sources, stores, affected).await
    }

    /// Whether the versions were not moved for long.
    fn must_move(&self, mart: Mart) -> bool {
        let moved_at = self.moved_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        moved_at.get(&mart).is_none_or(|at| at.elapsed() > MOVED_AT_LEAST)
    }

    async fn commit(
        &self,
        mart: Mart,
        state: MartState,
        sources: BTreeMap<Feed, u64>,
        stores: &Arc<Stores>,
        affected: Affected,
    ) -> Result<Refreshed> {
        let days = Arc::new(affected.days);
        let files = match mart {
            _ if days.is_empty() => Vec::new(),
            Mart::StoreDays => {
                let rows = store_days::rows(&self.work, stores, &sources, &days, &affected.spans).await?;
                self.stage(mart, rows).await?
            }
            Mart::ItemDays => {
                let mut files = Vec::new();
                for piece in pieces::pieces(&self.work, &sources, &days).await? {
                    let rows = item_days::rows(&self.work, stores, &sources, &days, piece).await?;
                    files.extend(self.stage(mart, rows).await?);
                }
                files
            }
        };
        let (store_days, whole_stores) = count(&days);
        let days = Arc::unwrap_or_clone(days);
        let replacement = Replacement { mart, seen: state.sources, sources, days, files };
        let done = self.parts.replace.replace_days(replacement).await?;
        let mut moved_at = self.moved_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        moved_at.insert(mart, Instant::now());
        Ok(Refreshed {
            mart,
            version: Some(done.version),
            store_days,
            whole_stores,
            rows: done.rows,
            replaced_rows: done.replaced_rows,
            kept_rows: done.kept_rows,
            rebuilt_because: affected.rebuilt_because,
        })
    }

    async fn stage(&self, mart: Mart, rows: Vec<(String, RecordBatch)>) -> Result<Vec<StagedFile>> {
        let pieces = rows.into_iter().flat_map(|(month, rows)| {
            let starts = (0..rows.num_rows()).step_by(FILE_ROWS);
            let piece = |from: usize| rows.slice(from, FILE_ROWS.min(rows.num_rows() - from));
            starts.map(|from| (month.clone(), piece(from))).collect::<Vec<_>>()
        });
        self.parts.replace.stage_days(mart, pieces.collect()).await
    }
}

impl Refreshed {
    fn nothing(mart: Mart) -> Self {
        Self {
            mart,
            version: None,
            store_days: 0,
            whole_stores: 0,
            rows: 0,
            replaced_rows: 0,
            kept_rows: 0,
            rebuilt_because: None,
        }
    }
}

fn count(days: &DaySet) -> (u64, u64) {
    let (mut some, mut whole) = (0, 0);
    for (_, _, days) in days.stores().into_iter().flatten() {
        match days {
            StoreDays::All => whole += 1,
            StoreDays::Only(days) => some += days.len() as u64,
        }
    }
    (some, whole)
}
