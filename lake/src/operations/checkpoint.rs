//! Checkpoints: so that a start reads one file instead of the whole log. Expired log entries are removed behind them.
//!
//! One is due after a hundred commits, or five minutes after the last one if there were commits since; whoever commits makes it in the
//! background. Commits neither wait for it nor fail with it. Maintenance makes those that nobody made, as of processes that were killed
//! (`maintenance/tables.rs`).
//!
//! Log entries stay for some hours longer than the table's retentions of its log and of removed files, for vacuum learns from them which files
//! were removed.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use deltalake::DeltaTable;
use deltalake::checkpoints;
use deltalake::table::config::TablePropertiesExt as _;
use domain::civil::{self, Micros};
use domain::{Error, Result};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::{delta_error, store_error};
use crate::operations::vacuum::retention_of;
use crate::retry::retried;
use crate::table::Table;

/// Commits between two checkpoints.
pub(crate) const INTERVAL_COMMITS: u64 = 100;

/// Time between two checkpoints of a table that is committed to.
pub(crate) const INTERVAL_TIME: Duration = Duration::from_secs(300);

/// Between two clean-ups of the log, which list it whole.
const CLEAN_UP_INTERVAL: Duration = Duration::from_secs(3_600);

/// So long an expired entry stays: some hourly runs of vacuum.
const READ_BY_VACUUM: Duration = Duration::from_hours(4);

/// What a checkpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointReport {
    /// The version that it holds.
    pub version: u64,
    /// Expired log entries that were removed.
    pub removed_log_entries: usize,
}

/// Writes a checkpoint of the newest version, and removes log entries that are both expired and behind a checkpoint.
///
/// # Errors
/// Those of reaching the store; a checkpoint is written or not, never half.
pub async fn checkpoint(table: &Table) -> Result<CheckpointReport> {
    let _one_at_a_time = table.maintenance.lock().await;
    write(table, true).await
}

async fn write(table: &Table, clean_up: bool) -> Result<CheckpointReport> {
    let name = table.definition().qualified_name();
    // Refuses a table that this release does not know, and says so where there is none.
    table.snapshot().await?;
    let mut delta = DeltaTable::new(Arc::clone(table.log_store()));
    delta.load().await.map_err(|error| delta_error(&format!("{name}: checkpoint"), error))?;
    checkpoints::create_checkpoint(&delta, None)
        .await
        .map_err(|error| delta_error(&format!("{name}: checkpoint"), error))?;
    let version = delta.version().unwrap_or_default();
    table.pace().begin(version);
    let removed = if clean_up { remove_expired_entries(table, &delta).await? } else { 0 };
    Ok(CheckpointReport { version, removed_log_entries: removed })
}

/// Removes log entries that have expired and stand behind a checkpoint.
///
/// # Errors
/// As of [`checkpoint`].
pub(crate) async fn clean_up_log(table: &Table) -> Result<usize> {
    let name = table.definition().qualified_name();
    let mut delta = DeltaTable::new(Arc::clone(table.log_store()));
    delta.load().await.map_err(|error| delta_error(&format!("{name}: log clean-up"), error))?;
    remove_expired_entries(table, &delta).await
}

async fn remove_expired_entries(table: &Table, delta: &DeltaTable) -> Result<usize> {
    let failed =
        |error| delta_error(&format!("{}: log clean-up", table.definition().qualified_name()), error);
    let state = delta.snapshot().map_err(failed)?;
    let retention = state.table_config().log_retention_duration().max(retention_of(table));
    let stays = retention + READ_BY_VACUUM;
    let cutoff_ms = civil::now() / 1_000 - i64::try_from(stays.as_millis()).unwrap_or(i64::MAX);
    let removed =
        checkpoints::cleanup_expired_logs_for(state.version(), table.log_store().as_ref(), cutoff_ms, None);
    let removed = removed.await.map_err(failed)?;
    table.pace().cleaned_at = Some(Instant::now());
    Ok(removed)
}

/// A checkpoint that stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastCheckpoint {
    /// The version that it holds.
    pub version: u64,
    /// When it was written, by the store's clock.
    pub written_at: Micros,
}

/// The newest checkpoint, as the log states it; `None` where there is none yet.
///
/// # Errors
/// Those of reaching the store.
pub async fn last_checkpoint(table: &Table) -> Result<Option<LastCheckpoint>> {
    #[derive(Deserialize)]
    struct Hint {
        version: u64,
    }
    let name = table.definition().qualified_name();
    let store = table.log_store().object_store(None);
    let path = Path::from("_delta_log/_last_checkpoint");
    let read = || async {
        let got = match store.get(&path).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(store_error(&format!("{name}: the last checkpoint"), error)),
        };
        let written_at = got.meta.last_modified.timestamp_micros();
        let bytes = got.bytes().await;
        let bytes = bytes.map_err(|error| store_error(&format!("{name}: the last checkpoint"), error))?;
        Ok(Some((bytes, written_at)))
    };
    let Some((bytes, written_at)) = retried(read).await? else { return Ok(None) };
    let hint: Hint = serde_json::from_slice(&bytes).map_err(|error| {
        Error::internal(format!(
            "{name}: _last_checkpoint cannot be read ({error}): `lake checkpoint {name}` writes it anew"
        ))
    })?;
    Ok(Some(LastCheckpoint { version: hint.version, written_at }))
}

/// Writes a checkpoint unless a newer one than `than` stands there by now. `None`: it does.
///
/// # Errors
/// As of [`checkpoint`].
pub(crate) async fn checkpoint_if_older(table: &Table, than: u64) -> Result<Option<CheckpointReport>> {
    let _one_at_a_time = table.maintenance.lock().await;
    if last_checkpoint(table).await?.is_some_and(|last| last.version >= than) {
        return Ok(None);
    }
    let clean_up = table.pace().clean_up_is_due();
    write(table, clean_up).await.map(Some)
}

/// When a table was checkpointed last, as far as this process knows, and what came since.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The version of the last checkpoint.
    version: u64,
    /// When it was begun; for a process that made none, its start.
    at: Instant,
    /// The newest commit of this process.
    committed: u64,
    /// Waits for the time to pass.
    timer: Option<JoinHandle<()>>,
    /// When this process removed expired entries last.
    cleaned_at: Option<Instant>,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { version: 0, at: Instant::now(), committed: 0, timer: None, cleaned_at: None }
    }

    fn begin(&mut self, version: u64) {
        self.version = self.version.max(version);
        self.at = Instant::now();
    }

    fn clean_up_is_due(&self) -> bool {
        self.cleaned_at.is_none_or(|at| at.elapsed() >= CLEAN_UP_INTERVAL)
    }

    fn is_due_by_commits(&self) -> bool {
        self.committed >= self.version + INTERVAL_COMMITS
    }
}

impl Table {
    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a commit. `known` is the checkpoint that the state under it was loaded from.
    pub(crate) fn checkpoint_when_due(self: &Arc<Self>, version: u64, known: Option<u64>) {
        let mut pace = self.pace();
        pace.committed = version;
        pace.version = pace.version.max(known.unwrap_or(0));
        let tail = version.saturating_sub(pace.version);
        metrics::gauge!("intellicartel_lake_log_tail_commits", "table" => self.definition().qualified_name())
            .set(tail as f64);
        if pace.is_due_by_commits() {
            pace.begin(version);
            let table = Arc::clone(self);
            tokio::spawn(async move { table.checkpoint_or_warn().await });
        } else if pace.timer.as_ref().is_none_or(JoinHandle::is_finished) {
            pace.timer = Some(tokio::spawn(checkpoint_in_time(Arc::downgrade(self), pace.at)));
        }
    }

    async fn checkpoint_or_warn(&self) {
        let _one_at_a_time = self.maintenance.lock().await;
        let clean_up = self.pace().clean_up_is_due();
        if let Err(error) = write(self, clean_up).await {
            tracing::warn!(table = self.definition().qualified_name(), %error, "checkpoint failed; the next one makes up for it");
        }
    }
}

/// Waits until the last checkpoint is old enough, and makes one if there were commits since. It ends with the table.
async fn checkpoint_in_time(table: std::sync::Weak<Table>, mut last: Instant) {
    loop {
        tokio::time::sleep_until(last + INTERVAL_TIME).await;
        let Some(table) = table.upgrade() else { return };
        {
            let mut pace = table.pace();
            if pace.at > last {
                last = pace.at;
                continue;
            }
            if pace.committed <= pace.version {
                return;
            }
            let committed = pace.committed;
            pace.begin(committed);
        }
        return table.checkpoint_or_warn().await;
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::Pipeline;
    use domain::ports::{Append, RegisterLog};
    use domain::position::{LogIdentity, TopicState};
    use domain::{Feed, Result};

    use super::*;
    use crate::{Lake, LakeOptions, StoreSettings};

    /// A commit without rows.
    async fn commit(lake: &Lake, known: &TopicState) -> Result<i64> {
        let pipeline = Pipeline::new("main")?;
        let identity = LogIdentity { cluster_id: "c".to_owned(), topic_id: "t".to_owned() };
        let request = RegisterLog {
            feed: Feed::Sales,
            pipeline: &pipeline,
            topic: "topic",
            identity: &identity,
            known,
            positions: &[],
        };
        lake.register_log(request).await
    }

    #[tokio::test]
    async fn a_quiet_table_is_checkpointed_once_its_last_checkpoint_is_old() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().to_string_lossy().into_owned();
        let settings = StoreSettings { root, ..StoreSettings::default() };
        let lake = Lake::open(&settings, LakeOptions::Write).await.expect("the lake opens");
        let table = lake.table("curated.sales").expect("a table");
        let hint = folder.path().join(table.definition().path()).join("_delta_log/_last_checkpoint");
        table.pace().at = Instant::now().checked_sub(INTERVAL_TIME).expect("a clock that is old enough");
        commit(&lake, &TopicState::default()).await.expect("a commit");
        let timer = table.pace().timer.take().expect("a commit begins to wait");
        tokio::time::timeout(Duration::from_secs(60), timer).await.expect("in time").expect("no panic");
        assert!(hint.exists(), "the commit is in a checkpoint");

        // The next commit waits for its five minutes.
        let pipeline = Pipeline::new("main").expect("a name");
        let known = lake.topic_state(Feed::Sales, &pipeline, "topic").await.expect("a state");
        commit(&lake, &known).await.expect("a commit");
        assert!(!table.pace().timer.as_ref().is_none_or(JoinHandle::is_finished));
    }
}
