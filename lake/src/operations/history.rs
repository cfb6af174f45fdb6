//! The commits of a table, newest first, as far back as its log reaches.

use deltalake::kernel::Action;
use domain::Result;
use domain::civil::Micros;
use futures::{StreamExt, TryStreamExt};

use crate::log::COMMIT_ID;
use crate::table::Table;

/// Log entries that are read at once.
const CONCURRENT_READS: usize = 8;

/// One commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// The version that it made.
    pub version: u64,
    /// When, by its writer's clock.
    pub committed_at: Option<Micros>,
    /// What was done, in Delta's words, like `WRITE` or `OPTIMIZE`.
    pub operation: Option<String>,
    /// The id under which its writer looks for it.
    pub commit_id: Option<String>,
    /// Files that came.
    pub files_added: usize,
    /// Files that went.
    pub files_removed: usize,
    /// Bytes that came.
    pub bytes_added: u64,
    /// Bytes that went.
    pub bytes_removed: u64,
    /// Rows in files that came; `None` when a file does not say how many it has.
    pub rows_added: Option<u64>,
    /// Rows in files that went; a rewrite that changes no data takes as many as it brings, otherwise the log does not say (`None`).
    pub rows_removed: Option<u64>,
    /// Application transactions that it moved: id and version.
    pub transactions: Vec<(String, i64)>,
}

/// The newest `limit` commits, newest first; fewer where the log's retention ends.
///
/// # Errors
/// [`domain::ErrorKind::NotFound`] when there is no table yet; those of reaching the store.
pub async fn history(table: &Table, limit: usize) -> Result<Vec<Commit>> {
    let newest = table.snapshot().await?.version();
    let versions = (0..=newest).rev().take(limit);
    let commits = futures::stream::iter(versions.map(|version| read_commit(table, version)));
    // Entries expire from the oldest on: behind the first that is gone there is none.
    commits
        .buffered(CONCURRENT_READS)
        .try_take_while(|commit| futures::future::ok(commit.is_some()))
        .try_filter_map(futures::future::ok)
        .try_collect()
        .await
}

async fn read_commit(table: &Table, version: u64) -> Result<Option<Commit>> {
    let Some(actions) = table.actions(version).await? else { return Ok(None) };
    Ok(Some(commit_of(version, actions)))
}

fn commit_of(version: u64, actions: Vec<Action>) -> Commit {
    let mut commit = Commit { version, rows_added: Some(0), ..Commit::default() };
    let size = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    let mut changes_data = false;
    for action in actions {
        match action {
            Action::CommitInfo(info) => {
                commit.committed_at = info.timestamp.map(|millis| millis * 1_000);
                commit.commit_id = info.info.get(COMMIT_ID).and_then(|id| id.as_str()).map(str::to_owned);
                commit.operation = info.operation;
            }
            Action::Add(add) => {
                let stats: serde_json::Value =
                    add.stats.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
                commit.files_added += 1;
                commit.bytes_added += size(add.size);
                commit.rows_added =
                    commit.rows_added.zip(stats["numRecords"].as_u64()).map(|(sum, rows)| sum + rows);
                changes_data |= add.data_change;
            }
            Action::Remove(remove) => {
                commit.files_removed += 1;
                commit.bytes_removed += remove.size.map_or(0, size);
                changes_data |= remove.data_change;
            }
            Action::Txn(txn) => commit.transactions.push((txn.app_id, txn.version)),
            _ => {}
        }
    }
    commit.rows_removed = match (commit.files_removed, changes_data) {
        (0, _) => Some(0),
        (_, false) => commit.rows_added,
        (_, true) => None,
    };
    commit
}
