//! How the tables of a lake are, for operators: what they hold, when maintenance did what last, and what needs a hand.

use std::time::Duration;

use domain::civil::{self, Micros};
use domain::{ErrorKind, Result};
use serde_json::Value;

use super::lease::{self, LeaseHolder};
use super::record::Record;
use super::tables::{VACUUM_INTERVAL, waiting_files};
use crate::lake::Lake;
use crate::log::Log;
use crate::operations::checkpoint::{INTERVAL_COMMITS, LastCheckpoint, last_checkpoint};
use crate::operations::describe::TableSize;

/// Vacuum is late after so many intervals, and a checkpoint after so many times its commits.
const LATE: u32 = 24;
const LATE_COMMITS: u64 = 5 * INTERVAL_COMMITS;

/// How a lake is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeStatus {
    /// Who holds the lease of maintenance, or held it last.
    pub lease: Option<LeaseHolder>,
    /// The tables that are there.
    pub tables: Vec<TableStatus>,
    /// When this was seen.
    pub seen_at: Micros,
}

/// How a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableStatus {
    /// `schema.name`.
    pub name: String,
    /// What it holds.
    pub size: TableSize,
    /// Of its files, those that are small.
    pub small_files: usize,
    /// Of these, those that maintenance would join if it ran now.
    pub waiting_files: usize,
    /// The newest checkpoint.
    pub checkpoint: Option<LastCheckpoint>,
    /// Commits since then.
    pub log_tail: u64,
    /// The newest `_ingested_at` of its rows, to the millisecond, where it has that column.
    pub newest_ingested_at: Option<Micros>,
    /// When maintenance did what last.
    pub record: Record,
}

/// Something that does not mend itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToDo {
    /// What is amiss.
    pub what: String,
    /// What to run.
    pub command: String,
}

impl ToDo {
    /// What is amiss, and what to run.
    pub fn new(what: impl Into<String>, command: impl Into<String>) -> Self {
        Self { what: what.into(), command: command.into() }
    }
}

/// Looks at every table of a lake; nothing is written.
///
/// # Errors
/// Those of reaching the store.
pub async fn status(lake: &Lake) -> Result<LakeStatus> {
    let (root, seen_at) = (lake.store().root(), civil::now());
    let mut tables = Vec::new();
    for (name, table) in lake.tables() {
        let log = match table.snapshot().await {
            Ok(log) => log,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let checkpoint = last_checkpoint(table).await?;
        tables.push(TableStatus {
            name: name.clone(),
            size: TableSize::of(&log),
            small_files: log.small_files(),
            waiting_files: waiting_files(&log, seen_at),
            checkpoint,
            log_tail: log.version().saturating_sub(checkpoint.map_or(0, |last| last.version)),
            newest_ingested_at: newest_ingested_at(&log),
            record: Record::read(root, name).await?,
        });
    }
    Ok(LakeStatus { lease: lease::holder(root).await?, tables, seen_at })
}

fn newest_ingested_at(log: &Log) -> Option<Micros> {
    let newest = |stats: &str| {
        let stats: Value = serde_json::from_str(stats).ok()?;
        civil::parse_instant(stats["maxValues"]["_ingested_at"].as_str()?)
    };
    log.files().values().filter_map(|file| newest(file.stats.as_deref()?)).max()
}

impl LakeStatus {
    /// Who maintains the lake now.
    #[must_use]
    pub fn leader(&self) -> Option<&LeaseHolder> {
        self.lease.as_ref().filter(|lease| lease.expires_at > self.seen_at)
    }

    /// What needs a hand; `small_files_cap` is the number above which flushes slow down.
    #[must_use]
    pub fn to_do(&self, small_files_cap: usize) -> Vec<ToDo> {
        let mut to_do = Vec::new();
        if self.leader().is_none() && !self.tables.is_empty() {
            let since = self.lease.as_ref().map_or_else(
                || "nobody has maintained this lake yet".to_owned(),
                |lease| {
                    format!(
                        "nobody has maintained this lake since {}",
                        civil::format_instant(lease.expires_at)
                    )
                },
            );
            to_do.push(ToDo::new(
                format!("{since}: small files and files that no version needs pile up"),
                "intellicartel serve --roles maintenance",
            ));
        }
        to_do.extend(self.tables.iter().flat_map(|table| table.to_do(self.seen_at, small_files_cap)));
        to_do
    }
}

impl TableStatus {
    fn to_do(&self, now: Micros, small_files_cap: usize) -> Vec<ToDo> {
        let name = &self.name;
        let mut to_do = Vec::new();
        if self.small_files > small_files_cap {
            to_do.push(ToDo::new(
                format!(
                    "{name} has {} small files, more than {small_files_cap}: flushes are slowed down",
                    self.small_files
                ),
                format!("intellicartel lake compact {name}"),
            ));
        }
        if self.log_tail > LATE_COMMITS {
            to_do.push(ToDo::new(
                format!("{name} has {} commits behind its last checkpoint: starts are slow", self.log_tail),
                format!("intellicartel lake checkpoint {name}"),
            ));
        }
        let late = |since: Micros, interval: Duration| {
            now.saturating_sub(since) > i64::try_from(interval.as_micros()).unwrap_or(i64::MAX)
        };
        if let Some(at) = self.record.vacuumed_at.filter(|at| late(*at, VACUUM_INTERVAL * LATE)) {
            to_do.push(ToDo::new(
                format!(
                    "{name} was vacuumed last at {}: files that no version needs are kept",
                    civil::format_instant(at)
                ),
                format!("intellicartel lake vacuum {name} --apply"),
            ));
        }
        if let Some(failure) = &self.record.failure {
            to_do.push(ToDo::new(
                format!(
                    "{name}: {} failed at {}: {}",
                    failure.step,
                    civil::format_instant(failure.at),
                    failure.message
                ),
                "intellicartel doctor",
            ));
        }
        to_do
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maintenance::Failure;

    const NOW: Micros = 1_800_000_000_000_000;
    const HOUR: Micros = 3_600_000_000;

    fn table() -> TableStatus {
        TableStatus {
            name: "curated.sales".to_owned(),
            size: TableSize { version: 9, files: 1, bytes: 1, rows: Some(1) },
            small_files: 2_000,
            waiting_files: 0,
            checkpoint: None,
            log_tail: 500,
            newest_ingested_at: None,
            record: Record { vacuumed_at: Some(NOW - 24 * HOUR), ..Record::default() },
        }
    }

    fn lake(table: TableStatus, expires_at: Option<Micros>) -> LakeStatus {
        let lease = expires_at.map(|expires_at| LeaseHolder {
            holder: "a".to_owned(),
            process: "process 1 on x".to_owned(),
            expires_at,
        });
        LakeStatus { lease, tables: vec![table], seen_at: NOW }
    }

    #[test]
    fn a_lake_that_is_led_and_within_its_limits_needs_no_hand() {
        assert_eq!(lake(table(), Some(NOW + 1)).to_do(2_000), []);
    }

    #[test]
    fn each_fault_is_told_with_its_command() {
        let failure = Failure { at: NOW, step: "vacuum".to_owned(), message: "access is refused".to_owned() };
        let worse = TableStatus {
            small_files: 2_001,
            log_tail: 501,
            record: Record {
                vacuumed_at: Some(NOW - 24 * HOUR - 1),
                failure: Some(failure),
                ..Record::default()
            },
            ..table()
        };
        for expires_at in [None, Some(NOW)] {
            let to_do = lake(worse.clone(), expires_at).to_do(2_000);
            let commands: Vec<_> = to_do.iter().map(|to_do| to_do.command.as_str()).collect();
            assert_eq!(
                commands,
                [
                    "intellicartel serve --roles maintenance",
                    "intellicartel lake compact curated.sales",
                    "intellicartel lake checkpoint curated.sales",
                    "intellicartel lake vacuum curated.sales --apply",
                    "intellicartel doctor",
                ]
            );
            assert!(to_do[4].what.contains("access is refused"), "{to_do:?}");
        }
    }
}
