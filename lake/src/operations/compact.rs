//! Compaction: small files of a period become one file, ordered by the table's clustering columns. No row changes.
//!
//! Each group of files is read, ordered, written and committed by itself, so that a long run gives its work away piece by piece, and memory is
//! bounded by a group. The commit removes the files and adds the new one without `dataChange`, and moves the transaction `rewrite/{table}`. It is
//! made only on a state where all the files are active still and nobody has rewritten files since they were chosen: of two processes that
//! rewrite the same files, one wins, and the other gives up.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::compute::{SortColumn, concat, interleave_record_batch, lexsort_to_indices};
use arrow_array::{Array, RecordBatch, new_null_array};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use deltalake::kernel::Action;
use deltalake::protocol::DeltaOperation;
use domain::ports::StagedFile;
use domain::{Error, ErrorKind, Result};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use uuid::Uuid;

use crate::append::{MAX_BATCH_AGE, add, remove, too_old};
use crate::commit::{Decision, Outcome, Plan, Proposal};
use crate::log::{ActiveFile, Log, MAX_ROWS, TARGET_BYTES};
use crate::maintenance::Clock;
use crate::read::read_file;
use crate::stage::write_files;
use crate::table::Table;
use crate::tables::PERIOD;

/// Files that are read at once.
const CONCURRENT_READS: usize = 4;

/// What is compacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactOptions {
    /// Only this period, `YYYY-MM`; absent: all.
    pub period: Option<String>,
    /// Size that a file may reach, in bytes. Files below half of it are small, unless they have very many rows.
    pub target_bytes: u64,
    /// Fewer small files than this are left alone; two at least.
    pub min_files: usize,
    /// Rows of a group may take so many bytes in memory; ordering holds them twice. A group ends before it would hold more.
    pub memory_bytes: usize,
}

impl Default for CompactOptions {
    fn default() -> Self {
        Self { period: None, target_bytes: TARGET_BYTES, min_files: 2, memory_bytes: 512 << 20 }
    }
}

/// What a compaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Files that were replaced; none: there was nothing to do, or it was given up at once.
    pub files_before: usize,
    /// Files that replaced them.
    pub files_after: usize,
    /// Size of the files that were replaced.
    pub bytes_before: u64,
    /// Size of those that replaced them.
    pub bytes_after: u64,
    /// Rows in them, before and after.
    pub rows: u64,
    /// The version of the last commit.
    pub version: Option<u64>,
    /// Why the rest was given up: another process was rewriting the same table.
    pub given_up: Option<String>,
}

/// Compacts the small files that stand in the newest version; files that come while it runs are left to the next run.
///
/// # Errors
/// [`ErrorKind::Invalid`] for options that make no sense; those of reaching the store. What was committed before stands.
pub async fn compact(table: &Arc<Table>, options: &CompactOptions) -> Result<CompactReport> {
    check(options)?;
    let first = table.snapshot().await?;
    let groups = groups(&first, options);
    let mut rewrite = Rewrite::begin(table, &first, options, Clock::default());
    for files in groups {
        if rewrite.join(files).await? == Joined::GivenUp {
            break;
        }
    }
    Ok(rewrite.report)
}

/// What became of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    /// One file stands in its place, or in the place of as much of it as memory may hold.
    Committed,
    /// Memory holds too few of its files at once; nothing was done.
    TooWide,
    /// Another process has rewritten files; so may have every group that was chosen on the same state.
    GivenUp,
}

/// Joins groups of files that were chosen on one state, each in a commit of its own.
pub(crate) struct Rewrite<'a> {
    table: &'a Arc<Table>,
    options: &'a CompactOptions,
    clock: Clock,
    /// The value of the transaction `rewrite/{table}`, as the last of our own commits left it.
    seen: Option<i64>,
    pub(crate) report: CompactReport,
}

impl<'a> Rewrite<'a> {
    /// `first` is the state on which the groups are chosen; `clock` tells when files are removed.
    pub(crate) fn begin(
        table: &'a Arc<Table>,
        first: &Log,
        options: &'a CompactOptions,
        clock: Clock,
    ) -> Self {
        let seen = first.transaction(&rewrite_id(table));
        Self { table, options, clock, seen, report: CompactReport::default() }
    }

    pub(crate) async fn join(&mut self, files: Vec<Arc<ActiveFile>>) -> Result<Joined> {
        let planned_on = self.table.snapshot().await?.version();
        let staged = CompactPlan::stage(self.table, files, self.options, self.seen, planned_on).await?;
        let Some(mut plan) = staged else { return Ok(Joined::TooWide) };
        plan.clock = self.clock.clone();
        match self.table.commit(&Uuid::new_v4().to_string(), &mut plan).await? {
            Outcome::Committed(version) => {
                plan.add_to(&mut self.report, version);
                self.seen = Some(plan.rewrite_version());
                Ok(Joined::Committed)
            }
            Outcome::Dropped(reason) => {
                plan.discard().await;
                self.report.given_up = Some(reason);
                Ok(Joined::GivenUp)
            }
        }
    }
}

fn check(options: &CompactOptions) -> Result<()> {
    if let Some(period) = &options.period {
        let is_month = chrono::NaiveDate::parse_from_str(&format!("{period}-01"), "%Y-%m-%d").is_ok();
        if !is_month || period.len() != "YYYY-MM".len() {
            return Err(Error::invalid(format!("the period `{period}` is not a month: write it as YYYY-MM")));
        }
    }
    if options.target_bytes == 0 {
        return Err(Error::invalid("the target size of a file is 0 bytes: give a size above 0"));
    }
    Ok(())
}

/// The application id that whoever removes files moves.
pub(crate) fn rewrite_id(table: &Table) -> String {
    format!("rewrite/{}", table.definition().qualified_name())
}

/// Groups of small files, each of one period and as much as one file may hold, oldest files first.
pub(crate) fn groups(log: &Log, options: &CompactOptions) -> Vec<Vec<Arc<ActiveFile>>> {
    let mut periods: BTreeMap<&str, Vec<&Arc<ActiveFile>>> = BTreeMap::new();
    for file in log.files().values() {
        let is_wanted = options.period.as_ref().is_none_or(|period| *period == file.period);
        if is_wanted && file.is_small(options.target_bytes) {
            periods.entry(&file.period).or_default().push(file);
        }
    }
    let mut groups = Vec::new();
    for mut files in periods.into_values() {
        files.sort_by_key(|file| (file.modified_ms, file.path.clone()));
        let (mut group, mut bytes, mut rows) = (Vec::new(), 0, 0);
        for file in files {
            let more_rows = file.rows().unwrap_or(0);
            if bytes + file.size_bytes > options.target_bytes || rows + more_rows > MAX_ROWS {
                groups.push(std::mem::take(&mut group));
                (bytes, rows) = (0, 0);
            }
            group.push(Arc::clone(file));
            bytes += file.size_bytes;
            rows += more_rows;
        }
        groups.push(group);
    }
    groups.retain(|group| group.len() >= options.min_files.max(2));
    groups
}

/// Files to be replaced by others that hold the same rows.
struct CompactPlan<'a> {
    table: &'a Arc<Table>,
    files: Vec<Arc<ActiveFile>>,
    staged: Vec<StagedFile>,
    target_bytes: u64,
    /// The value of the transaction `rewrite/{table}` when the files were chosen.
    seen: Option<i64>,
    planned_on: u64,
    /// Whether it was dropped because others have rewritten files.
    lost: bool,
    /// Tells when the files are removed.
    clock: Clock,
}

impl<'a> CompactPlan<'a> {
    /// Reads, orders and writes a group; `None` when memory holds too few of its files at once.
    async fn stage(
        table: &'a Arc<Table>,
        mut files: Vec<Arc<ActiveFile>>,
        options: &CompactOptions,
        seen: Option<i64>,
        planned_on: u64,
    ) -> Result<Option<Self>> {
        let read = read_group(table, &files, options.memory_bytes).await?;
        if read.files < options.min_files.max(2) {
            return Ok(None);
        }
        files.truncate(read.files);
        let (rows, period) = (read.rows, files[0].period.clone());
        let store = table.log_store().object_store(None);
        let staged = if rows == 0 {
            Vec::new()
        } else {
            let ordered = in_order(table, read.batches).await?;
            write_files(&store, table.definition(), vec![(period, ordered)]).await?
        };
        let written: u64 = staged.iter().map(|file| file.rows).sum();
        if written != rows {
            return Err(Error::internal(format!(
                "{}: compaction read {rows} rows and wrote {written}; nothing was committed",
                table.definition().qualified_name()
            )));
        }
        let target_bytes = options.target_bytes;
        let clock = Clock::default();
        Ok(Some(Self { table, files, staged, target_bytes, seen, planned_on, lost: false, clock }))
    }

    fn rewrite_version(&self) -> i64 {
        i64::try_from(self.planned_on).unwrap_or(i64::MAX)
    }

    fn add_to(&self, report: &mut CompactReport, version: u64) {
        report.files_before += self.files.len();
        report.files_after += self.staged.len();
        report.bytes_before += self.files.iter().map(|file| file.size_bytes).sum::<u64>();
        report.bytes_after += self.staged.iter().map(|file| file.size_bytes).sum::<u64>();
        report.rows += self.staged.iter().map(|file| file.rows).sum::<u64>();
        report.version = Some(version);
    }

    /// Removes the files of a plan that lost. All its creates aimed at versions that others hold by then, so none of them can land any more. Files
    /// of a plan that ended otherwise are left to vacuum: a create of it may be on its way still.
    async fn discard(&self) {
        let store = self.table.log_store().object_store(None);
        for file in self.staged.iter().filter(|_| self.lost) {
            if let Err(error) = store.delete(&Path::from(file.path.as_str())).await {
                tracing::debug!(path = file.path, %error, "a file that is not needed is left to vacuum");
            }
        }
    }
}

#[async_trait]
impl Plan for CompactPlan<'_> {
    async fn decide(&mut self, log: &Log) -> Result<Decision> {
        let name = self.table.definition().qualified_name();
        let id = rewrite_id(self.table);
        let is_gone = |file: &Arc<ActiveFile>| !log.files().contains_key(&file.path);
        if log.transaction(&id) != self.seen || self.files.iter().any(is_gone) {
            self.lost = true;
            return Ok(Decision::Drop(format!("another process has rewritten files of {name} meanwhile")));
        }
        if let Some(reason) = too_old(&self.staged, MAX_BATCH_AGE) {
            return Ok(Decision::Drop(reason));
        }
        let at = self.clock.now();
        let removes = self.files.iter().map(|file| remove(file, false, at));
        let adds = self.staged.iter().map(|file| Action::Add(add(file, false)));
        Ok(Decision::Commit(Box::new(Proposal {
            actions: removes.chain(adds).collect(),
            transactions: vec![(id, self.rewrite_version())],
            operation: DeltaOperation::Optimize {
                predicate: self
                    .files
                    .first()
                    .map(|file| &file.period)
                    .filter(|period| !period.is_empty())
                    .map(|period| format!("{PERIOD} = '{period}'")),
                target_size: i64::try_from(self.target_bytes).unwrap_or(i64::MAX),
            },
        })))
    }
}

/// The rows of the first files of a group, as many as memory may hold.
#[derive(Default)]
struct ReadGroup {
    files: usize,
    rows: u64,
    batches: Vec<RecordBatch>,
}

async fn read_group(table: &Table, files: &[Arc<ActiveFile>], memory_bytes: usize) -> Result<ReadGroup> {
    let store = table.log_store().object_store(None);
    let schema = domain::table::arrow_schema(&table.definition().columns);
    let reads = files.iter().cloned().map(|file| read_whole(&store, file, &schema));
    // A list of its own: a lazy one would borrow each file for a lifetime that no spawned task can name.
    let reads: Vec<_> = reads.collect();
    let mut reads = futures::stream::iter(reads).buffered(CONCURRENT_READS);
    let (mut read, mut memory) = (ReadGroup::default(), 0);
    while let Some(batches) = reads.try_next().await? {
        memory += batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        if memory > memory_bytes && read.files > 0 {
            break;
        }
        read.files += 1;
        read.rows += batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
        read.batches.extend(batches);
    }
    Ok(read)
}

/// All rows of a file under the table's schema.
async fn read_whole(
    store: &Arc<dyn object_store::ObjectStore>,
    file: Arc<ActiveFile>,
    schema: &SchemaRef,
) -> Result<Vec<RecordBatch>> {
    let batches = read_file(store, &file, &[]).await?;
    let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
    if file.rows().is_some_and(|stated| stated != rows) {
        return Err(Error::internal(format!(
            "{} holds {rows} rows, but the log states another number; nothing was committed",
            file.path
        )));
    }
    batches.iter().map(|batch| under(schema, batch, &file.path)).collect()
}

/// A batch with the columns of `schema`. A column that the file lacks is null; one that the schema lacks would be lost and is refused.
fn under(schema: &SchemaRef, batch: &RecordBatch, path: &str) -> Result<RecordBatch> {
    let own = batch.schema();
    if let Some(unknown) = own.fields().iter().find(|field| schema.index_of(field.name()).is_err()) {
        return Err(Error::new(
            ErrorKind::Incompatible,
            format!(
                "{path} has a column `{}` that this release does not know: use the release that wrote it",
                unknown.name()
            ),
        ));
    }
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name()).cloned();
        column.unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).map_err(|error| {
        Error::internal(format!("{path} does not fit the table: {error}")).with_source(error)
    })
}

/// The rows as one batch, ordered by the table's clustering columns, off the async threads.
async fn in_order(table: &Table, batches: Vec<RecordBatch>) -> Result<RecordBatch> {
    let keys = table.definition().clustering;
    let failed = |error: &dyn std::fmt::Display| Error::internal(format!("rows cannot be ordered: {error}"));
    tokio::task::spawn_blocking(move || order(&batches, keys))
        .await
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))
}

fn order(batches: &[RecordBatch], keys: &[&str]) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let key = |name: &&str| {
        let parts = batches.iter().map(|batch| {
            let index = batch.schema().index_of(name)?;
            Ok(batch.column(index).as_ref())
        });
        let parts = parts.collect::<Result<Vec<&dyn Array>, arrow_schema::ArrowError>>()?;
        Ok(SortColumn { values: concat(&parts)?, options: None })
    };
    let keys = keys.iter().map(key).collect::<Result<Vec<_>, arrow_schema::ArrowError>>()?;
    let order = lexsort_to_indices(&keys, None)?;
    drop(keys);
    // Where each row of the concatenation stands: batch, and row within.
    let places: Vec<(usize, usize)> = batches
        .iter()
        .enumerate()
        .flat_map(|(at, batch)| (0..batch.num_rows()).map(move |row| (at, row)))
        .collect();
    let places: Vec<_> = order.values().iter().map(|&row| places[row as usize]).collect();
    interleave_record_batch(&batches.iter().collect::<Vec<_>>(), &places)
}
