//! Vacuum: removes files that no version within the table's retention needs. Nothing is committed, and `_delta_log` is never touched.
//!
//! Lite asks the log which files were removed long enough ago. It costs the reading of the log's older entries; whoever remembers up to where it was
//! read the last time ([`vacuum_from`]) reads each entry once. Full lists the table's folder, and so also finds what no commit ever named: files
//! of batches that were dropped, and of processes that were killed.
//!
//! A file that is on its way into a commit is never taken. It is younger than a day, and commits refuse files older than an hour
//! (`append::too_old`).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use deltalake::kernel::Action;
use deltalake::table::state::DeltaTableState;
use domain::Result;
use domain::civil::{self, Micros};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::error::{delta_error, store_error};
use crate::log::load_state;
use crate::retry::retried;
use crate::table::Table;
use crate::tables::PERIOD;

/// No file is removed earlier, whatever the table's retention says.
const LEAST_RETENTION: Duration = Duration::from_hours(24);

/// A commit may be written so long after the instant that it states.
const COMMIT_DELAY_MS: i64 = 3_600_000;

/// Log entries that are read, and files that are removed, at once.
const CONCURRENT_CALLS: usize = 16;

/// Where vacuum looks for files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VacuumMode {
    /// In the log: files that commits have removed.
    #[default]
    Lite,
    /// In the table's folder: all files that no version needs.
    Full,
}

/// What is removed, and whether.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VacuumOptions {
    /// Where it looks.
    pub mode: VacuumMode,
    /// Whether files are removed; else it is a dry run.
    pub apply: bool,
    /// For tests, which cannot wait for a day: replaces the retention. Files of commits in flight, and of readers, are removed with it.
    #[doc(hidden)]
    pub unsafe_retention: Option<Duration>,
}

/// What vacuum found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VacuumReport {
    /// Files that no version within the retention needs.
    pub files: usize,
    /// Their size.
    pub bytes: u64,
    /// Whether they were removed.
    pub applied: bool,
    /// The retention that was kept.
    pub retention: Duration,
}

/// Finds, and if asked to, removes what is no longer needed. Runs beside each other, and after one that was cut off, do no harm.
///
/// # Errors
/// [`domain::ErrorKind::NotFound`] when there is no table yet; those of reaching the store. Files that were removed by then are gone.
pub async fn vacuum(table: &Table, options: &VacuumOptions) -> Result<VacuumReport> {
    let retention = options.unsafe_retention.unwrap_or_else(|| retention_of(table));
    let cutoff_ms = cutoff_ms(civil::now(), retention);
    let store = table.log_store().object_store(None);
    let found = match options.mode {
        VacuumMode::Lite => find_in_log(table, &store, cutoff_ms).await?,
        VacuumMode::Full => find_in_folder(table, &store, cutoff_ms).await?,
    };
    let found = found.into_iter().map(|file| (file.location, file.size)).collect();
    finish(table, found, options.apply, retention).await
}

/// Counts the files, and removes them if asked to.
async fn finish(
    table: &Table,
    found: Vec<(Path, u64)>,
    apply: bool,
    retention: Duration,
) -> Result<VacuumReport> {
    let bytes = found.iter().map(|(_, size)| size).sum();
    let report = VacuumReport { files: found.len(), bytes, applied: apply, retention };
    if apply {
        let store = table.log_store().object_store(None);
        let removals: Vec<_> = found.into_iter().map(|(path, _)| remove(&store, path)).collect();
        futures::stream::iter(removals).buffer_unordered(CONCURRENT_CALLS).try_collect::<()>().await?;
        metrics::counter!("intellicartel_lake_vacuumed_bytes_total", "table" => table.definition().qualified_name())
            .increment(report.bytes);
    }
    Ok(report)
}

fn cutoff_ms(now: Micros, retention: Duration) -> i64 {
    now / 1_000 - i64::try_from(retention.as_millis()).unwrap_or(i64::MAX)
}

/// What [`vacuum_from`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Looked {
    pub(crate) report: VacuumReport,
    /// The first version that was not looked at to the end: where the next look begins.
    pub(crate) next: u64,
    /// Whether entries before the first that was read had been cleaned away unread: only Full finds what they removed.
    pub(crate) has_gap: bool,
}

/// Lite, from a version on up to the first commit that removed files within the retention. Unlike [`vacuum`] it does not look whether the files
/// are there still.
///
/// # Errors
/// As of [`vacuum`].
pub(crate) async fn vacuum_from(table: &Table, from: u64, apply: bool, now: Micros) -> Result<Looked> {
    let retention = retention_of(table);
    let cutoff_ms = cutoff_ms(now, retention);
    let newest = retried(|| table.newest_version()).await?;
    let mut first = from;
    if from <= newest && read_removals(table, from).await?.is_none() {
        let store = table.log_store().object_store(None);
        let entries = list(&store, Some("_delta_log")).await?;
        first = entries.iter().filter_map(version_of).min().unwrap_or(newest);
    }
    let reads = (first..=newest).map(|version| async move { (version, read_removals(table, version).await) });
    let mut reads = futures::stream::iter(reads.collect::<Vec<_>>()).buffered(CONCURRENT_CALLS);
    let (mut next, mut removals) = (first, Vec::new());
    while let Some((version, removed)) = reads.next().await {
        // An entry is cleaned away only once it has expired, and those before it with it: there is nothing to be had from it.
        let removed = removed?.unwrap_or_default();
        if removed.iter().any(|removal| removal.at_ms >= cutoff_ms) {
            break;
        }
        removals.extend(removed);
        next = version + 1;
    }
    drop(reads);
    if !removals.is_empty() {
        let known = Known::load(table).await?;
        removals.retain(|removal| !known.is_needed(&removal.path, cutoff_ms));
    }
    let found = removals.into_iter().map(|removal| (Path::from(removal.path), removal.bytes)).collect();
    let report = finish(table, found, apply, retention).await?;
    Ok(Looked { report, next, has_gap: first > from })
}

/// Full, as of an instant, with the table's own retention.
///
/// # Errors
/// As of [`vacuum`].
pub(crate) async fn sweep(table: &Table, now: Micros) -> Result<VacuumReport> {
    let retention = retention_of(table);
    let store = table.log_store().object_store(None);
    let found = find_in_folder(table, &store, cutoff_ms(now, retention)).await?;
    finish(table, found.into_iter().map(|file| (file.location, file.size)).collect(), true, retention).await
}

/// The version of a log entry, by its name.
fn version_of(entry: &ObjectMeta) -> Option<u64> {
    entry.location.filename()?.strip_suffix(".json")?.parse().ok()
}

/// How long removed files of a table stay.
pub(crate) fn retention_of(table: &Table) -> Duration {
    let days = table.definition().retention.deleted_file_days;
    Duration::from_hours(24 * u64::from(days)).max(LEAST_RETENTION)
}

/// Removes a file; one that is gone already is no error.
async fn remove(store: &Arc<dyn ObjectStore>, path: Path) -> Result<()> {
    let remove = || async {
        match store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(store_error(&format!("removing {path}"), error)),
        }
    };
    retried(remove).await
}

/// What the newest version says of files.
struct Known {
    active: HashSet<String>,
    /// Removed files that the log still remembers, and when they were removed, in milliseconds since 1970.
    removed_ms: HashMap<String, i64>,
}

impl Known {
    async fn load(table: &Table) -> Result<Self> {
        let name = table.definition().qualified_name();
        let failed = |error| delta_error(&format!("{name}: reading removed files"), error);
        let state: DeltaTableState = retried(|| load_state(&name, table.log_store(), None)).await?;
        let active = state.log_data().iter().map(|file| file.path().into_owned()).collect();
        let mut removed_ms = HashMap::new();
        let mut tombstones = state.all_tombstones(table.log_store().as_ref());
        while let Some(tombstone) = tombstones.try_next().await.map_err(failed)? {
            let at = tombstone.deletion_timestamp().unwrap_or(0);
            note(&mut removed_ms, tombstone.path().into_owned(), at);
        }
        drop(tombstones);
        Ok(Self { active, removed_ms })
    }

    /// Whether a version that is newer than the cutoff holds the file.
    fn is_needed(&self, path: &str, cutoff_ms: i64) -> bool {
        self.active.contains(path) || self.removed_ms.get(path).is_some_and(|&at| at >= cutoff_ms)
    }
}

/// The latest removal of a file counts.
fn note(removed_ms: &mut HashMap<String, i64>, path: String, at: i64) {
    let known = removed_ms.entry(path).or_insert(at);
    *known = at.max(*known);
}

/// Files that commits before the cutoff have removed, as far as they are there still.
async fn find_in_log(table: &Table, store: &Arc<dyn ObjectStore>, cutoff_ms: i64) -> Result<Vec<ObjectMeta>> {
    let mut known = Known::load(table).await?;
    // A checkpoint forgets what was removed before the retention; the entries before it remember, as long as they are there.
    let entries = list(store, Some("_delta_log")).await?;
    let versions = entries.iter().filter_map(|entry| {
        let version = version_of(entry)?;
        (entry.last_modified.timestamp_millis() <= cutoff_ms.saturating_add(COMMIT_DELAY_MS))
            .then_some(version)
    });
    let versions: Vec<u64> = versions.collect();
    let reads = versions.into_iter().map(|version| read_removals(table, version));
    let mut reads = futures::stream::iter(reads).buffer_unordered(CONCURRENT_CALLS);
    while let Some(removals) = reads.try_next().await? {
        let removals = removals.into_iter().flatten();
        removals.for_each(|removal| note(&mut known.removed_ms, removal.path, removal.at_ms));
    }
    let expired: HashSet<&str> = known
        .removed_ms
        .keys()
        .map(String::as_str)
        .filter(|path| !known.is_needed(path, cutoff_ms))
        .collect();
    let folders: BTreeSet<&str> =
        expired.iter().filter_map(|path| path.rsplit_once('/')).map(|(f, _)| f).collect();
    let mut found = Vec::new();
    for folder in folders {
        let files = list(store, Some(folder)).await?;
        found.extend(files.into_iter().filter(|file| expired.contains(file.location.as_ref())));
    }
    Ok(found)
}

/// A file that a commit has removed.
struct Removal {
    path: String,
    bytes: u64,
    at_ms: i64,
}

/// Removed files of one commit; `None` when its entry was cleaned away meanwhile.
async fn read_removals(table: &Table, version: u64) -> Result<Option<Vec<Removal>>> {
    let Some(actions) = table.actions(version).await? else { return Ok(None) };
    let removals = actions.into_iter().filter_map(|action| match action {
        Action::Remove(remove) => Some(Removal {
            bytes: remove.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            at_ms: remove.deletion_timestamp.unwrap_or(0),
            path: remove.path,
        }),
        _ => None,
    });
    Ok(Some(removals.collect()))
}

/// Files of the table's folder that are old enough and that no version needs. The folder is listed before the state is read, so that a file which
/// is committed in between counts as active.
async fn find_in_folder(
    table: &Table,
    store: &Arc<dyn ObjectStore>,
    cutoff_ms: i64,
) -> Result<Vec<ObjectMeta>> {
    let mut files = list(store, None).await?;
    let known = Known::load(table).await?;
    files.retain(|file| {
        is_data(&file.location)
            && file.last_modified.timestamp_millis() < cutoff_ms
            && !known.is_needed(file.location.as_ref(), cutoff_ms)
    });
    Ok(files)
}

/// Whether a path is one under which we put rows. What else may lie in the folder is not ours to remove.
fn is_data(path: &Path) -> bool {
    let mut parts = path.parts();
    let first = parts.next();
    let begins = |with: &str| first.as_ref().is_some_and(|part| part.as_ref().starts_with(with));
    let is_ours = begins(&format!("{PERIOD}=")) || (begins("part-") && parts.next().is_none());
    is_ours && path.filename().is_some_and(|name| name.ends_with(".parquet"))
}

async fn list(store: &Arc<dyn ObjectStore>, folder: Option<&str>) -> Result<Vec<ObjectMeta>> {
    let prefix = folder.map(Path::from);
    let list = || async {
        let files = store.list(prefix.as_ref()).try_collect::<Vec<_>>().await;
        files.map_err(|error| store_error("listing the table's folder", error))
    };
    retried(list).await
}
