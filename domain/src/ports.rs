//! What the parts ask of each other. The traits stand here so that the crates that implement them never meet.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use uuid::Uuid;

use crate::civil::Micros;
use crate::dead_letter::DeadLetter;
use crate::decision::{DecisionRun, Standing};
use crate::duplicates::{RecentRows, RowHash};
use crate::error::Result;
use crate::feeds::Feed;
use crate::forecast::{ForecastDay, ForecastRun, SeriesSet, ServedDay};
use crate::ids::Pipeline;
use crate::marts::{DaySet, Mart};
use crate::planning::Override;
use crate::position::{LogIdentity, PartitionRange, TopicState};
use crate::principal::Principal;
use crate::registry::{ModelEvent, ModelHistory};
use crate::replay::{Landed, LetterEntry, LetterFilter, StoredLetter};
use crate::scope::TableScope;
use crate::table::Description;

/// A Parquet file that is written but not yet part of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedFile {
    /// Path below the table's root.
    pub path: String,
    /// Partition value `period`.
    pub period: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Rows in it.
    pub rows: u64,
    /// Delta statistics as JSON text.
    pub stats: String,
    /// When it was written.
    pub written_at: Micros,
}

/// The unit of the commit protocol: it is committed or dropped as a whole, and keeps its id on every attempt.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The same on every attempt.
    pub id: Uuid,
    /// The feed, and so the table.
    pub feed: Feed,
    /// The pipeline whose positions move.
    pub pipeline: Pipeline,
    /// The topic.
    pub topic: String,
    /// The number of the topic's log.
    pub log: i64,
    /// For each partition, what the batch covers.
    pub ranges: Vec<PartitionRange>,
    /// The bad records in the ranges.
    pub dead_letters: Vec<DeadLetter>,
    /// The good records in the ranges, as written files.
    pub files: Vec<StagedFile>,
    /// What the marks of its rows were made of, in a feed whose duplicates are told.
    pub marks: Option<Marks>,
    /// How long after its first file was written the batch may be committed; an hour at most counts, for vacuum may have taken the file then.
    pub max_age: Duration,
}

/// What the marks of a batch's rows rest on: they are true on every state whose rows since then have none of the batch's keys.
#[derive(Debug, Clone)]
pub struct Marks {
    /// The version of the table whose rows the batch was compared with.
    pub as_of: u64,
    /// The rows of the batch.
    pub rows: Vec<RowHash>,
}

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The batch stands in the table at this version.
    Committed {
        /// The table's version.
        version: u64,
        /// Active small files of the table, or of the dead letters where those are more. Whoever commits slows down while they are too many.
        small_files: usize,
        /// The rows that others have added between the state that the batch was marked on and its commit, the oldest first; none where they, or which
        /// rows of the batch stand in the table, must be learnt from [`Append::follow`].
        others: Option<Vec<RowHash>>,
    },
    /// The batch was given up whole; the stored positions tell where to go on.
    Dropped {
        /// Why, for the log.
        reason: String,
    },
}

/// Appends batches of a feed with the positions that they end at. Positions are read from the table and nowhere else.
#[async_trait]
pub trait Append: Send + Sync + Debug {
    /// What the feed's table knows of a topic, at its newest version.
    async fn topic_state(&self, feed: Feed, pipeline: &Pipeline, topic: &str) -> Result<TopicState>;

    /// Registers a log under the next number, with a position for each given partition, in a commit without rows.
    /// `known` is what the caller saw: the call fails with [`crate::ErrorKind::Conflict`] if the table's logs have changed since.
    async fn register_log(&self, request: RegisterLog<'_>) -> Result<i64>;

    /// Brings the recent rows of a feed whose duplicates are told up to the newest version of its table, whoever added them. Rows that were only
    /// rewritten are not added again.
    async fn follow(&self, feed: Feed, rows: RecentRows) -> Result<RecentRows>;

    /// Writes rows as Parquet files below the feed's table. Several calls may run at once; nothing becomes visible.
    async fn stage(&self, feed: Feed, rows: Vec<(String, RecordBatch)>) -> Result<Vec<StagedFile>>;

    /// Commits dead letters and files of a batch and moves its positions, or drops it whole. A batch with marks is dropped if others have added a row
    /// with one of its keys since they were made.
    ///
    /// An error means that the store could not be asked to the end: the caller must forget the batch, and read the stored positions
    /// before it goes on.
    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome>;
}

/// A log to be registered.
#[derive(Debug, Clone, Copy)]
pub struct RegisterLog<'a> {
    /// The feed, and so the table.
    pub feed: Feed,
    /// The pipeline that will read it.
    pub pipeline: &'a Pipeline,
    /// The topic.
    pub topic: &'a str,
    /// Which log.
    pub identity: &'a LogIdentity,
    /// What the caller saw.
    pub known: &'a TopicState,
    /// Next offset by partition; partitions not listed begin at 0.
    pub positions: &'a [(i32, i64)],
}

/// Dead letters, to be looked at and replayed.
#[async_trait]
pub trait Letters: Send + Sync + Debug {
    /// Selects the letters that match, each by its newest attempt, at the newest state of the tables.
    async fn select(&self, filter: &LetterFilter) -> Result<Arc<dyn LetterSelection>>;
}

/// Dead letters that were selected. What stands in the tables by then is looked at anew by each commit.
#[async_trait]
pub trait LetterSelection: Send + Sync + Debug {
    /// The letters, each once, by feed and then in the order in which they are stored.
    fn entries(&self) -> &[LetterEntry];

    /// Reads letters by their places in [`Self::entries`], which must ascend: as many of the first as fit into `max_bytes`, one at least.
    async fn read(&self, which: &[usize], max_bytes: usize) -> Result<Vec<StoredLetter>>;

    /// Adds rows of selected letters to their feed's table, with the coordinates that they carry, in one commit. Rows whose coordinates stand there by then
    /// are left out, and so are rows that the feed's position has not passed.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unavailable`] when the store could not be asked to the end: the rows may stand there whole or not at all, and replaying
    /// the letters again is right in both cases.
    async fn land(&self, feed: Feed, rows: Vec<(String, RecordBatch)>) -> Result<Landed>;

    /// Adds letters of a failed attempt; one whose attempt another replay has taken is left out. Gives how many were added.
    ///
    /// # Errors
    /// As of [`Self::land`].
    async fn fail(&self, letters: Vec<DeadLetter>) -> Result<u64>;
}

/// What a run became in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenRows {
    /// The version of the table that holds it.
    pub version: u64,
    /// Rows of the run.
    pub rows: u64,
    /// Rows of the same version of model or decision that they took the place of.
    pub replaced_rows: u64,
}

/// Forecasts into the lake.
#[async_trait]
pub trait ForecastSink: Send + Sync + Debug {
    /// Stores a run in `marts.forecasts`, in one commit. Rows of its model version that stand there already are replaced in that commit, so that
    /// the same run made again leaves the same rows.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a run without forecasts, or with figures that are not finite, below 0 or crossing; [`crate::ErrorKind::Unavailable`] when the store could not be asked to the end:
    /// the run may stand there whole or not at all, and writing it again is right in both cases.
    async fn write_forecasts(&self, run: ForecastRun) -> Result<WrittenRows>;
}

/// Which models were made for businesses, and which of them are served. Events are added, never changed.
#[async_trait]
pub trait ModelRegistry: Send + Sync + Debug {
    /// What happened to the models of a business, or of all of them.
    async fn model_history(&self, tenant: Option<&str>) -> Result<ModelHistory>;

    /// Adds an event, whose number is the one behind the last.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Conflict`] when another event has that number by now: look at the history again. [`crate::ErrorKind::Unavailable`] when the store could
    /// not be asked to the end: the history tells what came of it.
    async fn add_model_event(&self, event: &ModelEvent) -> Result<()>;
}

/// Planners' words into the lake.
#[async_trait]
pub trait OverrideSink: Send + Sync + Debug {
    /// Adds words to `marts.forecast_overrides`, in one commit; gives the version that holds them.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for none, or for units that are no number or below 0; [`crate::ErrorKind::Unavailable`] when the store could not be asked to the end: adding
    /// them again is right then, for the last word holds.
    async fn add_overrides(&self, overrides: &[Override]) -> Result<u64>;
}

/// Long series out of the lake.
#[async_trait]
pub trait Tables: Send + Sync + Debug {
    /// Daily net units by tenant, store and sku of all sales that `principal` may see, as the daily mart has them, and what is known of the stores' days up
    /// to `days_ahead` behind the last. Days are those of the store.
    async fn daily_series(&self, principal: &Principal, days_ahead: usize) -> Result<SeriesSet>;

    /// The days of a business that have come in all its stores, in order, each with what was forecast of the whole by the newest of the promoted models that did not know it.
    async fn forecast_days(&self, tenant: &str) -> Result<Vec<ForecastDay>>;

    /// The days of an article that are served, in order; none of one that the principal does not see.
    async fn served_days(&self, principal: &Principal, store: &str, sku: &str) -> Result<Vec<ServedDay>>;

    /// The stock of a business with the terms of its articles, and the forecasts of them that are served, or what planners expect in their place. Tables that `at` names are read at its versions, so that a standing and
    /// the series beside it are of one state; others at their newest.
    async fn standing(&self, principal: &Principal, at: &BTreeMap<String, u64>) -> Result<Standing>;
}

/// What a run of decisions became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenDecisions {
    /// In `marts.risk_scores`; none where nothing could be scored.
    pub risks: Option<WrittenRows>,
    /// In `marts.recommendations`.
    pub recommendations: WrittenRows,
}

/// Decisions into the lake.
#[async_trait]
pub trait DecisionSink: Send + Sync + Debug {
    /// Stores a run in `marts.risk_scores`, then in `marts.recommendations`, a commit each. Rows of its decision version that stand there already are
    /// replaced, so that the same run made again leaves the same rows.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a run without recommendations, or with figures that are not finite; [`crate::ErrorKind::Unavailable`] when the
    /// store could not be asked to the end: writing the run again is right then.
    async fn write_decisions(&self, run: DecisionRun) -> Result<WrittenDecisions>;
}

/// What became of a table's rows between two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// Files whose rows came or went. Files that were only rewritten do not count.
    pub files: usize,
    /// Whether rows went.
    pub removes: bool,
}

/// What changed in a table between two versions. Their rows are read in SQL, as `raw."{feed}@{from}..{to}"`.
#[async_trait]
pub trait Changes: Send + Sync + Debug {
    /// What the commits after `from`, up to `to`, have changed; none when that cannot be told any more, because entries of the log or
    /// files are gone.
    async fn changed(&self, feed: Feed, from: u64, to: u64) -> Result<Option<Changed>>;
}

/// A mart as it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MartState {
    /// The version of its table.
    pub version: u64,
    /// The versions of the sources that its rows are made from; empty before it was first made.
    pub sources: BTreeMap<Feed, u64>,
}

/// Days of a mart that take the place of those that stand there.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The mart.
    pub mart: Mart,
    /// The versions of its sources that the caller saw in [`MartState`].
    pub seen: BTreeMap<Feed, u64>,
    /// The versions of its sources that the rows are made from.
    pub sources: BTreeMap<Feed, u64>,
    /// The days whose rows go.
    pub days: DaySet,
    /// The rows that come, as written files.
    pub files: Vec<StagedFile>,
}

/// What a replacement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// The version of the mart's table that holds it.
    pub version: u64,
    /// Rows that came.
    pub rows: u64,
    /// Rows that went.
    pub replaced_rows: u64,
    /// Rows of other days that were written anew, because they shared a file with one that went.
    pub kept_rows: u64,
}

/// Days of marts into the lake: rows, the keys that they replace, and the versions of the sources, in one commit.
#[async_trait]
pub trait Replace: Send + Sync + Debug {
    /// The mart as it stands.
    async fn mart_state(&self, mart: Mart) -> Result<MartState>;

    /// Writes rows, each batch of one month, as files below the mart's table. Nothing becomes visible.
    async fn stage_days(&self, mart: Mart, rows: Vec<(String, RecordBatch)>) -> Result<Vec<StagedFile>>;

    /// Replaces days, and moves the versions of the sources.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Conflict`] when the mart's sources are others by now than the caller saw; nothing was done then.
    /// [`crate::ErrorKind::Unavailable`] when the store could not be asked to the end: the mart's state tells what came of it.
    async fn replace_days(&self, replacement: Replacement) -> Result<Replaced>;
}

/// Artefacts by name, below the lake's root. A name is a relative path like `ml-models/forecasting/x/manifest.json`.
#[async_trait]
pub trait Blobs: Send + Sync + Debug {
    /// Stores an artefact whole; an existing one of that name is replaced, and readers see the old one or the new one.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a name that leads elsewhere.
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()>;

    /// Reads an artefact, or `None` when there is none of that name.
    ///
    /// # Errors
    /// As of [`Blobs::put`].
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>>;
}

/// Which versions a table has, and for whom its rows are. Tables are named as in SQL: `schema.table`.
#[async_trait]
pub trait Snapshots: Send + Sync + Debug {
    /// For whom the table's rows are; none when there is no such table.
    fn scope(&self, table: &str) -> Option<TableScope>;

    /// What the table and its columns hold; none when there is no such table.
    fn description(&self, table: &str) -> Option<Description>;

    /// The newest version. Fails with [`crate::ErrorKind::NotFound`] before the table is created.
    async fn newest_version(&self, table: &str) -> Result<u64>;

    /// The newest version that was committed at `instant` or before. Fails with [`crate::ErrorKind::NotFound`] when there is none that can
    /// still be read.
    async fn version_at(&self, table: &str, instant: Micros) -> Result<u64>;
}
