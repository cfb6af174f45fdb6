//! Checkpoints: so that a start reads one file instead of the whole log. Expired log entries are removed behind them.

use std::sync::Arc;

use deltalake::DeltaTable;
use deltalake::checkpoints;
use domain::Result;

use crate::error::delta_error;
use crate::lake::Lake;
use crate::table::Table;

/// Commits between two checkpoints.
const INTERVAL_COMMITS: u64 = 100;

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
    let name = table.definition().qualified_name();
    let mut delta = DeltaTable::new(Arc::clone(table.log_store()));
    delta.load().await.map_err(|error| delta_error(&format!("{name}: checkpoint"), error))?;
    checkpoints::create_checkpoint(&delta, None)
        .await
        .map_err(|error| delta_error(&format!("{name}: checkpoint"), error))?;
    let removed = checkpoints::cleanup_metadata(&delta, None)
        .await
        .map_err(|error| delta_error(&format!("{name}: log clean-up"), error))?;
    Ok(CheckpointReport { version: delta.version().unwrap_or_default(), removed_log_entries: removed })
}

impl Lake {
    /// Checkpoints in the background once enough commits have passed; ingest does not wait for it, nor fail with it.
    pub(crate) fn checkpoint_when_due(&self, table: Arc<Table>, version: u64) {
        if version == 0 || !version.is_multiple_of(INTERVAL_COMMITS) {
            return;
        }
        tokio::spawn(async move {
            if let Err(error) = checkpoint(&table).await {
                tracing::warn!(table = table.definition().qualified_name(), %error, "checkpoint failed; the next one makes up for it");
            }
        });
    }
}
