//! Upkeep that runs by itself: small files are joined, overdue checkpoints written, files and log entries removed that no version needs.
//!
//! A [`Maintainer`] runs in any number of processes; the one that holds the [`lease`] does the work. It looks at every table in turn
//! ([`tables`]), and what it did last stands in the lake ([`record`]), so that a restart or another leader goes on from there. Nothing here is
//! needed for rows to be right: each rewrite is a commit that keeps rule 8 (`operations/compact.rs`), whoever leads.
//!
//! Left to others: checkpoints in the usual case (`operations/checkpoint.rs`, by whoever commits), and slower flushes while files are too many
//! (`ingest`).

mod clock;
mod lease;
mod record;
pub mod status;
mod tables;
mod tiers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::Result;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

pub use clock::Clock;
pub use lease::LeaseHolder;
pub use record::{Failure, Record};
pub use tables::vacuum;

use crate::lake::Lake;
use crate::log::TARGET_BYTES;
use lease::Lease;
use tables::Notes;

/// How a lake is maintained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaintenanceOptions {
    /// Between two looks at all tables.
    pub interval: Duration,
    /// How long a leader that says nothing any more stays leader.
    pub lease: Duration,
    /// Size that files are joined up to, in bytes.
    pub target_bytes: u64,
    /// Rows of files that are joined may take so many bytes in memory; ordering holds them twice.
    pub memory_bytes: usize,
    /// Small files of a table above which flushes slow down; they are joined long before.
    pub small_files_cap: usize,
}

impl Default for MaintenanceOptions {
    /// A look every five seconds, a lease of a minute, files of 128 MiB, 128 MiB of rows at once, and 2,000 small files.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            lease: Duration::from_secs(60),
            target_bytes: TARGET_BYTES,
            memory_bytes: 128 << 20,
            small_files_cap: 2_000,
        }
    }
}

/// What one look at all tables did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// Whether we hold the lease; else nothing was done.
    pub leads: bool,
    /// Files that were joined.
    pub files_before: usize,
    /// Files that they became.
    pub files_after: usize,
    /// Rows that were written anew.
    pub rows: u64,
    /// Checkpoints that were written.
    pub checkpoints: usize,
    /// Files that were removed.
    pub vacuumed_files: usize,
    /// Whether there is more to do at once.
    pub is_busy: bool,
    /// Steps that failed, each with its table; they are tried again.
    pub failures: Vec<String>,
}

/// Keeps the tables of a lake in shape, for as long as it holds the lease.
#[derive(Debug)]
pub struct Maintainer {
    lake: Arc<Lake>,
    options: MaintenanceOptions,
    clock: Clock,
    lease: Lease,
    /// By table; empty for whoever does not lead.
    notes: Mutex<HashMap<String, Notes>>,
}

impl Maintainer {
    /// A maintainer of a lake that was not opened for reading only.
    #[must_use]
    pub fn new(lake: Arc<Lake>, options: MaintenanceOptions, clock: Clock) -> Self {
        let lease = Lease::new(Arc::clone(lake.store().root()), clock.clone(), options.lease);
        Self { lake, options, clock, lease, notes: Mutex::default() }
    }

    /// Maintains until the shutdown, and gives the lease back. `tell` hears after each look how it went.
    pub async fn run(&self, shutdown: CancellationToken, tell: impl Fn(&Result<Turn>)) {
        let work = async {
            loop {
                let turn = self.turn().await;
                match &turn {
                    Ok(turn) => turn
                        .failures
                        .iter()
                        .for_each(|failure| tracing::warn!(failure, "maintenance will try it again")),
                    Err(error) => tracing::warn!(%error, "the lease of maintenance cannot be asked for"),
                }
                tell(&turn);
                if !turn.is_ok_and(|turn| turn.is_busy) {
                    tokio::time::sleep(self.options.interval).await;
                }
            }
        };
        // A step may take longer than a lease; what is cut off by the shutdown is nothing that a kill could not cut off too.
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = work => {}
            () = self.renew() => {}
        }
        if let Err(error) = self.lease.release().await {
            tracing::debug!(%error, "the lease of maintenance ends by itself");
        }
        metrics::gauge!("intellicartel_lake_maintenance_leads").set(0.0);
    }

    /// Renews the lease while a step is under way.
    async fn renew(&self) {
        loop {
            tokio::time::sleep(self.options.lease / 3).await;
            if !self.notes_are_empty()
                && let Err(error) = self.lease.hold().await
            {
                tracing::debug!(%error, "the lease of maintenance could not be renewed yet");
            }
        }
    }

    /// Whoever waits for the lease asks for it once a look, not here. A look that is under way is a leader's.
    fn notes_are_empty(&self) -> bool {
        self.notes.try_lock().is_ok_and(|notes| notes.is_empty())
    }

    /// Looks at every table once and does what is due, if we hold the lease.
    ///
    /// # Errors
    /// Those of asking for the lease. A table's are told in the answer.
    pub async fn turn(&self) -> Result<Turn> {
        let mut notes = self.notes.lock().await;
        let mut turn = Turn::default();
        for (name, table) in self.lake.tables() {
            turn.leads = self.lease.hold().await?;
            if !turn.leads {
                notes.clear();
                break;
            }
            let notes = notes.entry(name.clone()).or_default();
            self.tend(table, notes, &mut turn).await;
        }
        metrics::gauge!("intellicartel_lake_maintenance_leads").set(f64::from(u8::from(turn.leads)));
        Ok(turn)
    }
}
