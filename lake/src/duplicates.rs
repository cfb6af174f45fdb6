//! The rows of a table by their hashes, for marking those that were sent twice: the newest ones, and those that came since a version.
//!
//! Two columns of a file are read, and of a file that others have added each process reads them once: files never change. Which rows are held to be
//! new is decided by the commit that added them; a compaction adds none.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use domain::civil::{self, Micros};
use domain::duplicates::{HASHES, Mark, RecentRows, RowHash, hashes_of, marks_of, with_marks};
use domain::ports::Marks;
use domain::{Error, ErrorKind, Feed, Result};
use futures::{StreamExt, TryStreamExt};

use crate::lake::Lake;
use crate::log::{ActiveFile, Log};
use crate::scan::{Scan, scan_file};
use crate::table::Table;

/// Files that are read at once; the hashes of a large one take some 16 MB.
const READERS: usize = 4;

/// Rows that are decoded at a time; a row is two numbers here.
const BATCH_ROWS: usize = 65_536;

/// So many rows of others a commit looks through; after more, marks are made anew.
const MOST_OTHERS: usize = 1 << 20;

/// When a sale was made, as its table names it.
const OCCURRED_AT: &str = "occurred_at";

const MICROS_OF_A_MILLISECOND: Micros = 1_000;

/// Brings `rows` up to the newest version of a table, from what came since then, or anew from the newest files where that cannot be told any more.
pub(crate) async fn follow(table: &Table, rows: RecentRows) -> Result<RecentRows> {
    let log = table.snapshot().await?;
    let most = rows.capacity();
    let followed = match added(&log, rows.as_of(), most).await? {
        Some(files) => match extended(table, rows, files).await {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            followed => Some(followed?),
        },
        None => None,
    };
    let mut followed = match followed {
        Some(followed) => followed,
        None => extended(table, RecentRows::of_most(most), newest(&log, most)).await?,
    };
    followed.reached(log.version());
    Ok(followed)
}

async fn extended(table: &Table, mut rows: RecentRows, files: Vec<Arc<ActiveFile>>) -> Result<RecentRows> {
    let read = files.into_iter().map(|file| hashes(table, file, |_| true));
    let mut read = futures::stream::iter(read).buffered(READERS);
    while let Some(hashes) = read.try_next().await? {
        let extend = move || {
            rows.extend(hashes);
            rows
        };
        let joined = tokio::task::spawn_blocking(extend).await;
        rows = joined.map_err(|error| Error::internal(format!("indexing rows: {error}")))?;
    }
    Ok(rows)
}

/// The hashes of those rows of a file that are wanted.
async fn hashes(
    table: &Table,
    file: Arc<ActiveFile>,
    is_wanted: impl Fn(&RowHash) -> bool + Send + 'static,
) -> Result<Vec<RowHash>> {
    let store = table.log_store().object_store(None);
    let visit = move |hashes: &mut Vec<RowHash>, rows: &RecordBatch| {
        hashes.extend(RowHash::of_rows(rows)?.into_iter().filter(&is_wanted));
        Ok(true)
    };
    let scan = Scan { columns: &HASHES, from_row: 0, batch_rows: BATCH_ROWS };
    scan_file(&store, &file, scan, visit).await
}

/// The files that brought the rows which came after a version, the oldest first; none when that cannot be told, or they have more than `most` rows.
async fn added(log: &Log, after: Option<u64>, most: usize) -> Result<Option<Vec<Arc<ActiveFile>>>> {
    let Some(after) = after else { return Ok(None) };
    let Some(files) = log.added_since(after).await? else { return Ok(None) };
    Ok((rows_in(&files) <= most as u64).then_some(files))
}

fn rows_in(files: &[Arc<ActiveFile>]) -> u64 {
    files.iter().filter_map(|file| file.rows()).sum()
}

/// The files of a state that hold its newest rows, `most` at least if there are so many, the oldest first. Rows of a file that was rewritten are as new as the
/// newest of them.
fn newest(log: &Log, most: usize) -> Vec<Arc<ActiveFile>> {
    let mut files: Vec<(Micros, &Arc<ActiveFile>)> =
        log.files().values().map(|file| (bounds(file, "_ingested_at").1, file)).collect();
    // Of the files of one moment, the names tell the order.
    files.sort_by(|(a, one), (b, other)| (a, name(one)).cmp(&(b, name(other))));
    let mut rows = 0;
    let mut newest: Vec<Arc<ActiveFile>> = files
        .into_iter()
        .rev()
        .take_while(|(_, file)| {
            let is_wanted = rows < most as u64;
            rows += file.rows().unwrap_or(0);
            is_wanted
        })
        .map(|(_, file)| Arc::clone(file))
        .collect();
    newest.reverse();
    newest
}

/// A file's name without its folder, which tells the period.
fn name(file: &ActiveFile) -> &str {
    file.path.rsplit('/').next().unwrap_or(&file.path)
}

/// The least and greatest instant of a column of a file, as far as statistics tell.
fn bounds(file: &ActiveFile, column: &str) -> (Micros, Micros) {
    let stats: serde_json::Value =
        file.stats.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let bound = |which: &str| stats[which][column].as_str().and_then(civil::parse_instant);
    (bound("minValues").unwrap_or(Micros::MIN), bound("maxValues").unwrap_or(Micros::MAX))
}

/// What the newest rows of a table reach back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// How many they are.
    pub rows: u64,
    /// When the first of them were taken in, to the millisecond; none when there are no rows.
    pub ingested_since: Option<Micros>,
    /// The least instant at which one of them was sold.
    pub occurred_since: Option<Micros>,
}

impl Lake {
    /// What the newest `most` rows of a feed whose duplicates are told reach back to: an ingest that remembers so many knows their twins.
    ///
    /// # Errors
    /// Those of reaching the store.
    pub async fn span_of_newest(&self, feed: Feed, most: usize) -> Result<Span> {
        Ok(Span::of(&self.feed(feed)?.snapshot().await?, most))
    }
}

impl Span {
    /// That of the newest `most` rows of a state, by the statistics of its files.
    fn of(log: &Log, most: usize) -> Self {
        let files = newest(log, most);
        let least =
            |column| files.iter().map(|file| bounds(file, column).0).min().filter(|at| *at > Micros::MIN);
        Self {
            rows: rows_in(&files).min(most as u64),
            ingested_since: least("_ingested_at"),
            occurred_since: least(OCCURRED_AT),
        }
    }
}

/// The rows that others have added since a batch was marked.
#[derive(Debug)]
pub(crate) struct Others<'a> {
    table: &'a Table,
    marks: &'a Marks,
    /// The state up to which they were read.
    as_of: u64,
    pub(crate) rows: Vec<RowHash>,
}

impl<'a> Others<'a> {
    pub(crate) fn of(table: &'a Table, marks: &'a Marks) -> Self {
        Self { table, marks, as_of: marks.as_of, rows: Vec::new() }
    }

    /// Why the marks may not be true on a state.
    pub(crate) async fn contradict(&mut self, log: &Log) -> Result<Option<String>> {
        let since = format!("the table's version {}, with which its rows were compared", self.marks.as_of);
        let Some(files) = added(log, Some(self.as_of), MOST_OTHERS).await? else {
            return Ok(Some(format!("too much was added since {since}")));
        };
        let mut new = Vec::new();
        for file in files {
            match hashes(self.table, file, |_| true).await {
                Ok(hashes) => new.extend(hashes),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Ok(Some(format!("what was added since {since}, cannot be read any more")));
                }
                Err(error) => return Err(error),
            }
        }
        self.as_of = log.version();
        let keys: HashSet<u64> = new.iter().map(|row| row.key).collect();
        self.rows.extend(new);
        let meets = !keys.is_empty() && self.marks.rows.iter().any(|row| keys.contains(&row.key));
        Ok(meets.then(|| format!("another process has added a record with one of its keys since {since}")))
    }
}

/// Hashes of small files, from one piece of a replay to the next: each piece adds such a file, which all that follow would read again.
#[derive(Debug, Default)]
pub(crate) struct KeptHashes(Mutex<HashMap<String, Arc<Vec<RowHash>>>>);

impl KeptHashes {
    const MOST_ROWS_OF_A_FILE: u64 = 1 << 12;

    /// With the rows of a file, some 64 MB at most.
    const MOST_FILES: usize = 1 << 10;

    fn of(&self, file: &ActiveFile) -> Option<Arc<Vec<RowHash>>> {
        self.0.lock().ok()?.get(&file.path).cloned()
    }

    fn keep(&self, file: &ActiveFile, hashes: Vec<RowHash>) -> Arc<Vec<RowHash>> {
        let hashes = Arc::new(hashes);
        if let Ok(mut kept) = self.0.lock()
            && kept.len() < Self::MOST_FILES
        {
            kept.insert(file.path.clone(), Arc::clone(&hashes));
        }
        hashes
    }
}

/// The twins that records may have in a table, looked for in the files of their periods that reach over their instants: records with the same content
/// are of the same instant.
#[derive(Debug)]
pub(crate) struct Twins<'a> {
    kept: &'a KeptHashes,
    /// When the records of each period were sold, ascending.
    periods: HashMap<String, Vec<Micros>>,
    keys: Arc<HashSet<u64>>,
    read: HashSet<String>,
    found: HashSet<RowHash>,
}

impl<'a> Twins<'a> {
    pub(crate) fn of(rows: &[(String, RecordBatch)], kept: &'a KeptHashes) -> Result<Self> {
        let mut periods: HashMap<String, Vec<Micros>> = HashMap::new();
        for (period, batch) in rows {
            let instants = batch.column_by_name(OCCURRED_AT);
            let instants = instants.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
            let instants = instants.ok_or_else(|| Error::internal("rows do not say when they were sold"))?;
            periods.entry(period.clone()).or_default().extend(instants.values());
        }
        periods.values_mut().for_each(|instants| instants.sort_unstable());
        Ok(Self {
            kept,
            periods,
            keys: Arc::new(hashes_of(rows)?.iter().map(|row| row.key).collect()),
            read: HashSet::new(),
            found: HashSet::new(),
        })
    }

    /// Whether a file may hold one of the twins, by its period and statistics.
    fn may_be_in(&self, file: &ActiveFile) -> bool {
        self.periods.get(&file.period).is_some_and(|instants| {
            let (first, last) = bounds(file, OCCURRED_AT);
            let from = instants.partition_point(|instant| *instant < first);
            // Statistics tell the last instant by its millisecond alone.
            instants.get(from).is_some_and(|instant| *instant <= last.saturating_add(MICROS_OF_A_MILLISECOND))
        })
    }

    async fn wanted_in(&self, table: &Table, file: Arc<ActiveFile>) -> Result<Vec<RowHash>> {
        let keys = Arc::clone(&self.keys);
        let is_wanted = move |row: &RowHash| keys.contains(&row.key);
        if file.rows().is_none_or(|rows| rows > KeptHashes::MOST_ROWS_OF_A_FILE) {
            return hashes(table, file, is_wanted).await;
        }
        let all = match self.kept.of(&file) {
            Some(kept) => kept,
            None => self.kept.keep(&file, hashes(table, Arc::clone(&file), |_| true).await?),
        };
        Ok(all.iter().filter(|row| is_wanted(row)).copied().collect())
    }

    /// The marks of rows on a state, one behind the other: by the rows that stand there, and by each other.
    pub(crate) async fn marks(
        &mut self,
        table: &Table,
        log: &Log,
        rows: &[(String, RecordBatch)],
    ) -> Result<Vec<Mark>> {
        let new = log.files().values().filter(|file| !self.read.contains(&file.path) && self.may_be_in(file));
        let new: Vec<Arc<ActiveFile>> = new.cloned().collect();
        let read = new.iter().cloned().map(|file| self.wanted_in(table, file));
        let found: Vec<Vec<RowHash>> = futures::stream::iter(read).buffered(READERS).try_collect().await?;
        self.found.extend(found.into_iter().flatten());
        self.read.extend(new.into_iter().map(|file| file.path.clone()));
        let mut standing = RecentRows::of_most(self.found.len());
        standing.extend(self.found.iter().copied());
        Ok(standing.marks(&hashes_of(rows)?))
    }
}

/// Rows with their marks, of which not all are kept: where one goes that others are twins of, the next of these takes its mark over.
pub(crate) fn marked_without(rows: &RecordBatch, keep: &[bool]) -> Result<RecordBatch> {
    let (hashes, mut marks) = (RowHash::of_rows(rows)?, marks_of(rows)?);
    let mut gone = HashMap::new();
    for (at, hash) in hashes.into_iter().enumerate() {
        if !keep[at] {
            gone.entry(hash).or_insert(marks[at]);
        } else if let Some(mark) = gone.remove(&hash) {
            marks[at] = mark;
        }
    }
    with_marks(rows, &marks)
}
