//! What is done for one table, and when.
//!
//! | Step | When it is due |
//! |---|---|
//! | checkpoint | a hundred commits, or five minutes with commits, after the last one that anybody made |
//! | files of open periods | more than [`MANY_FILES`] of them can be joined (or half of the cap, where that is less), or any can and [`PATIENCE`] has passed; in tiers ([`tiers`]) |
//! | files of closed periods | two or more are small: up to the target size |
//! | vacuum by the log, clean-up of the log | every hour |
//! | vacuum by listing | every week, and when the log lost entries unread |
//!
//! A period is open while it is the current month or a later one, for an hour after a file came, and for ever where a table has no periods.
//! A step that failed does not keep the others from being done, and is tried again after a minute.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use domain::civil::{self, Micros};
use domain::{ErrorKind, Result};

use super::record::{Failure, Record};
use super::{Clock, Maintainer, Turn, tiers};
use crate::lake::Lake;
use crate::log::{ActiveFile, Log};
use crate::operations::checkpoint::{
    INTERVAL_COMMITS, INTERVAL_TIME, checkpoint_if_older, clean_up_log, last_checkpoint,
};
use crate::operations::compact::{CompactOptions, Joined, Rewrite, groups};
use crate::operations::vacuum::{VacuumMode, VacuumOptions, VacuumReport, sweep, vacuum_from};
use crate::table::Table;

/// Files that can be joined, above which that is done at once.
const MANY_FILES: usize = 64;

/// Fewer are joined so long after the last time.
const PATIENCE: Duration = Duration::from_secs(600);

/// A period stays open so long after its newest file.
const STAYS_OPEN: Duration = Duration::from_secs(3_600);

/// Groups of files that are joined in one look at a table, so that the others get their turn.
const GROUPS_AT_ONCE: usize = 8;

pub(crate) const VACUUM_INTERVAL: Duration = Duration::from_secs(3_600);
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_hours(7 * 24);

/// A step that failed is tried again so long after.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// What a leader remembers of a table.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// As it stands in the lake; read once.
    record: Option<Record>,
    /// The newest checkpoint that is known.
    checkpoint: u64,
    /// When commits behind it were seen first.
    tail_since: Option<Micros>,
    /// Files that memory cannot hold together with another one.
    wide: HashSet<String>,
    /// When a step failed last.
    failed: HashMap<&'static str, Micros>,
}

/// A step of a look at one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Checkpoint,
    Compaction,
    Vacuum,
}

impl Step {
    const ALL: [Self; 3] = [Self::Checkpoint, Self::Compaction, Self::Vacuum];

    fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Compaction => "compaction",
            Self::Vacuum => "vacuum",
        }
    }
}

/// Whether so much time has passed since an instant, or it is not known.
fn has_passed(since: Option<Micros>, interval: Duration, now: Micros) -> bool {
    let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX);
    since.is_none_or(|since| now.saturating_sub(since) >= interval)
}

impl Maintainer {
    /// Does what is due for a table.
    pub(super) async fn tend(&self, table: &Arc<Table>, notes: &mut Notes, turn: &mut Turn) {
        let name = table.definition().qualified_name();
        let log = match table.snapshot().await {
            Ok(log) => log,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => return turn.failures.push(format!("{name}: {error}")),
        };
        let root = self.lake.store().root();
        let before = match notes.record.take() {
            Some(record) => record,
            None => match Record::read(root, &name).await {
                Ok(record) => record,
                Err(error) => return turn.failures.push(format!("{name}: {error}")),
            },
        };
        let mut record = before.clone();
        for step in Step::ALL {
            let now = self.clock.now();
            if !has_passed(notes.failed.get(step.name()).copied(), RETRY_INTERVAL, now) {
                continue;
            }
            let done = match step {
                Step::Checkpoint => self.checkpoint(table, &log, notes, &mut record, turn).await,
                Step::Compaction => self.compact(table, &log, notes, &mut record, turn).await,
                Step::Vacuum => self.vacuum(table, &mut record, turn).await,
            };
            match done {
                Ok(()) => {
                    notes.failed.remove(step.name());
                    record.failure.take_if(|failure| failure.step == step.name());
                }
                Err(error) => {
                    notes.failed.insert(step.name(), now);
                    metrics::counter!("intellicartel_lake_maintenance_failures_total", "table" => name.clone(), "step" => step.name()).increment(1);
                    turn.failures.push(format!("{name}, {}: {error}", step.name()));
                    record.failure =
                        Some(Failure { at: now, step: step.name().to_owned(), message: error.to_string() });
                }
            }
        }
        if record != before
            && let Err(error) = record.write(root, &name).await
        {
            turn.failures.push(format!("{name}: {error}"));
        }
        notes.record = Some(record);
    }

    /// A checkpoint, where those who commit have made none.
    async fn checkpoint(
        &self,
        table: &Arc<Table>,
        log: &Log,
        notes: &mut Notes,
        record: &mut Record,
        turn: &mut Turn,
    ) -> Result<()> {
        let (version, now) = (log.version(), self.clock.now());
        notes.checkpoint = notes.checkpoint.max(log.checkpoint().unwrap_or(0));
        if version <= notes.checkpoint {
            notes.tail_since = None;
            return Ok(());
        }
        let since = *notes.tail_since.get_or_insert(now);
        let is_long = |checkpoint: u64| version.saturating_sub(checkpoint) >= INTERVAL_COMMITS;
        if !is_long(notes.checkpoint) && !has_passed(Some(since), INTERVAL_TIME, now) {
            return Ok(());
        }
        let last = last_checkpoint(table).await?.map_or(0, |last| last.version);
        if last > notes.checkpoint {
            (notes.checkpoint, notes.tail_since) = (last, (version > last).then_some(now));
            if !is_long(last) {
                return Ok(());
            }
        }
        if let Some(written) = checkpoint_if_older(table, last + 1).await? {
            turn.checkpoints += 1;
            record.checkpointed_at = Some(now);
            notes.checkpoint = written.version;
        }
        notes.tail_since = None;
        Ok(())
    }

    /// Joins what is due.
    async fn compact(
        &self,
        table: &Arc<Table>,
        log: &Log,
        notes: &mut Notes,
        record: &mut Record,
        turn: &mut Turn,
    ) -> Result<()> {
        let options = CompactOptions {
            target_bytes: self.options.target_bytes,
            memory_bytes: self.options.memory_bytes,
            ..CompactOptions::default()
        };
        let now = self.clock.now();
        let many = MANY_FILES.min(self.options.small_files_cap / 2);
        let mut due = due_groups(log, &options, many, record.compacted_at, now);
        for group in &mut due {
            group.retain(|file| !notes.wide.contains(&file.path));
        }
        due.retain(|group| group.len() > 1);
        turn.is_busy |= due.len() > GROUPS_AT_ONCE;
        let mut rewrite = Rewrite::begin(table, log, &options, self.clock.clone());
        let mut ended = Ok(());
        for files in due.into_iter().take(GROUPS_AT_ONCE) {
            let wider = files.iter().take(2).max_by_key(|file| file.size_bytes).map(|file| file.path.clone());
            match self.join(&mut rewrite, files).await {
                Ok(Joined::Committed) => {}
                Ok(Joined::TooWide) => notes.wide.extend(wider),
                Ok(Joined::GivenUp) => break,
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
        }
        let report = rewrite.report;
        if report.version.is_some() {
            record.compacted_at = Some(now);
            turn.files_before += report.files_before;
            turn.files_after += report.files_after;
            turn.rows += report.rows;
            let name = table.definition().qualified_name();
            metrics::counter!("intellicartel_lake_compacted_files_total", "table" => name.clone())
                .increment(report.files_before as u64);
            tracing::info!(
                table = name,
                files_before = report.files_before,
                files_after = report.files_after,
                rows = report.rows,
                "files were joined"
            );
        }
        ended
    }

    async fn join(&self, rewrite: &mut Rewrite<'_>, files: Vec<Arc<ActiveFile>>) -> Result<Joined> {
        // Another leads by now: it has chosen the same files.
        if !self.lease.hold().await? {
            return Ok(Joined::GivenUp);
        }
        rewrite.join(files).await
    }

    async fn vacuum(&self, table: &Arc<Table>, record: &mut Record, turn: &mut Turn) -> Result<()> {
        let now = self.clock.now();
        if has_passed(record.vacuumed_at, VACUUM_INTERVAL, now) {
            let report = by_log(table, record, true, now).await?;
            turn.vacuumed_files += report.files;
            clean_up_log(table).await?;
        }
        if has_passed(record.swept_at, SWEEP_INTERVAL, now) {
            turn.vacuumed_files += sweep(table, now).await?.files;
            record.swept_at = Some(now);
        }
        Ok(())
    }
}

/// Vacuum by the log, from where the record says on.
async fn by_log(table: &Table, record: &mut Record, apply: bool, now: Micros) -> Result<VacuumReport> {
    let looked = vacuum_from(table, record.vacuumed_to, apply, now).await?;
    if apply {
        record.vacuumed_at = Some(now);
        record.vacuumed_to = looked.next;
        record.swept_at.take_if(|_| looked.has_gap);
    }
    Ok(looked.report)
}

/// Vacuum at an operator's word, which goes on from where maintenance stands and leaves word of it.
///
/// # Errors
/// As of [`crate::operations::vacuum::vacuum`].
pub async fn vacuum(lake: &Lake, table: &Table, mode: VacuumMode, apply: bool) -> Result<VacuumReport> {
    let (root, name) = (lake.store().root(), table.definition().qualified_name());
    // Whether there is a table at all is said first.
    table.newest_version().await?;
    let mut record = Record::read(root, &name).await?;
    let now = Clock::default().now();
    let report = match mode {
        VacuumMode::Lite => by_log(table, &mut record, apply, now).await?,
        VacuumMode::Full => {
            let options = VacuumOptions { mode, apply, ..VacuumOptions::default() };
            let report = crate::operations::vacuum::vacuum(table, &options).await?;
            record.swept_at = Some(now);
            report
        }
    };
    if apply {
        record.write(root, &name).await?;
    }
    Ok(report)
}

/// The groups of files to be joined now: the tiers of open periods if enough came together, and what closed periods have.
fn due_groups(
    log: &Log,
    options: &CompactOptions,
    many: usize,
    compacted_at: Option<Micros>,
    now: Micros,
) -> Vec<Vec<Arc<ActiveFile>>> {
    let mut periods: BTreeMap<&str, Vec<&Arc<ActiveFile>>> = BTreeMap::new();
    for file in log.files().values() {
        periods.entry(&file.period).or_default().push(file);
    }
    let (open, closed): (Vec<_>, Vec<_>) =
        periods.into_iter().partition(|(period, files)| is_open(period, files, now));
    let mut due: Vec<_> = open
        .into_iter()
        .flat_map(|(_, files)| tiers::groups(files.into_iter(), options.target_bytes))
        .collect();
    let files: usize = due.iter().map(Vec::len).sum();
    if files <= many && !has_passed(compacted_at, PATIENCE, now) {
        due.clear();
    }
    let closed: HashSet<&str> = closed.into_iter().map(|(period, _)| period).collect();
    let of_closed = |group: &Vec<Arc<ActiveFile>>| {
        group.first().is_some_and(|file| closed.contains(file.period.as_str()))
    };
    due.extend(groups(log, options).into_iter().filter(of_closed));
    due
}

/// Whether more files are to be expected in a period.
fn is_open(period: &str, files: &[&Arc<ActiveFile>], now: Micros) -> bool {
    let newest = files.iter().map(|file| file.modified_ms.saturating_mul(1_000)).max();
    period.is_empty() || period >= civil::period(now).as_str() || !has_passed(newest, STAYS_OPEN, now)
}

/// How many files maintenance would join in a state if it ran now.
pub(crate) fn waiting_files(log: &Log, now: Micros) -> usize {
    let due = due_groups(log, &CompactOptions::default(), MANY_FILES, None, now);
    due.iter().map(Vec::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Micros = 3_600_000_000;

    fn file(modified_at: Micros) -> Arc<ActiveFile> {
        Arc::new(ActiveFile {
            path: "a".to_owned(),
            period: String::new(),
            size_bytes: 1,
            modified_ms: modified_at / 1_000,
            stats: None,
        })
    }

    #[test]
    fn a_period_is_open_while_files_may_come() {
        let now = civil::parse_instant("2026-03-01T00:30:00Z").expect("an instant");
        let (old, young) = (file(now - HOUR), file(now - HOUR + 1_000));
        assert!(is_open("", &[&old], now), "a table without periods");
        assert!(is_open("2026-03", &[&old], now) && is_open("2026-04", &[&old], now));
        assert!(!is_open("2026-02", &[&old], now));
        assert!(is_open("2026-02", &[&old, &young], now), "a file came within the hour");
        assert!(is_open("2020-01", &[&young], now), "late data");
    }

    #[test]
    fn what_never_was_is_due() {
        assert!(has_passed(None, VACUUM_INTERVAL, 0));
        assert!(has_passed(Some(0), VACUUM_INTERVAL, HOUR) && !has_passed(Some(1), VACUUM_INTERVAL, HOUR));
        assert!(!has_passed(Some(HOUR), VACUUM_INTERVAL, 0), "a clock that was set back");
    }
}
