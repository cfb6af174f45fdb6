//! Dead letters looked at: which match a filter, what became of each, and their records.
//!
//! A selection keeps some hundred bytes for each letter in memory and reads the records, which may be large, piece by piece. A letter is *resolved* once its
//! coordinates stand in its feed's table, else it is *dead*.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use async_trait::async_trait;
use domain::ports::{LetterSelection, Letters};
use domain::replay::{Landed, LetterEntry, LetterFilter, LetterStatus, Place, PlaceRange, StoredLetter};
use domain::{DeadLetter, Error, ErrorKind, Feed, Result, civil};

use crate::coordinates::{Coordinates, PlaceColumns};
use crate::duplicates::KeptHashes;
use crate::lake::Lake;
use crate::log::ActiveFile;
use crate::replay::{self, FeedState, Pipelines};
use crate::scan::{Scan, scan_file};
use crate::table::Table;

/// The columns that a selection is made by, in the table's order.
const INDEX: [&str; 10] = [
    "_topic",
    "_log",
    "_partition",
    "_offset",
    "error_class",
    "feed",
    "tenant",
    "pipeline",
    "attempt",
    "_ingested_at",
];

/// Rows whose records are decoded at a time: a record may have ten megabytes.
const RECORD_ROWS: usize = 64;

#[async_trait]
impl Letters for Lake {
    async fn select(&self, filter: &LetterFilter) -> Result<Arc<dyn LetterSelection>> {
        let table = Arc::clone(self.dead_letters()?);
        let log = table.snapshot().await?;
        let wanted = Arc::new(Wanted::of(filter));
        let store = table.log_store().object_store(None);
        let (mut files, mut found) = (Vec::new(), Vec::new());
        for file in log.files().values().filter(|file| wanted.may_stand_in(file)) {
            let (at, wanted) = (files.len(), Arc::clone(&wanted));
            let visit = move |gathered: &mut Gathered, rows: &RecordBatch| {
                gathered.take(&wanted, at, rows)?;
                Ok(true)
            };
            let scan = Scan { columns: &INDEX, from_row: 0, batch_rows: 16_384 };
            found.extend(scan_file::<Gathered, _>(&store, file, scan, visit).await?.found);
            files.push(Arc::clone(file));
        }
        let known = log.files().keys().cloned().collect();
        Ok(Arc::new(Selection::of(self, table, known, files, newest(found)).await?))
    }
}

/// A filter, ready to be asked.
#[derive(Debug)]
struct Wanted {
    filter: LetterFilter,
    places: Option<Coordinates>,
}

impl Wanted {
    fn of(filter: &LetterFilter) -> Self {
        let places = filter.places.as_ref().map(|ranges| ranges.iter().cloned().collect());
        Self { filter: filter.clone(), places }
    }

    /// Whether a file's statistics allow that it holds letters that match, or other attempts of them. All attempts of a letter agree in these columns.
    fn may_stand_in(&self, file: &ActiveFile) -> bool {
        let stats: serde_json::Value =
            file.stats.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let bound = |which: &str, column: &str| stats[which][column].as_str();
        let instant = |which: &str| bound(which, "_ingested_at").and_then(civil::parse_instant);
        let within = |name: &str| {
            bound("minValues", "feed").is_none_or(|least| least <= name)
                && bound("maxValues", "feed").is_none_or(|most| most >= name)
        };
        let LetterFilter { feeds, since, until, .. } = &self.filter;
        self.places.as_ref().is_none_or(|places| places.may_stand_in(file))
            && (feeds.is_empty() || feeds.iter().any(|feed| within(feed.name())))
            // Bounds of instants are cut to milliseconds.
            && since.is_none_or(|since| instant("maxValues").is_none_or(|most| most.saturating_add(1_000) >= since))
            && until.is_none_or(|until| instant("minValues").is_none_or(|least| least < until))
    }
}

/// An attempt of a letter, where it is stored.
#[derive(Debug, Clone)]
struct Found {
    place: Place,
    feed: Feed,
    attempt: i32,
    ingested_at: civil::Micros,
    is_of_class: bool,
    pipeline: Arc<str>,
    file: usize,
    row: usize,
}

/// What was found in a file.
#[derive(Debug, Default)]
struct Gathered {
    found: Vec<Found>,
    rows: usize,
    /// Texts that are shared by many rows.
    texts: HashSet<Arc<str>>,
}

impl Gathered {
    fn take(&mut self, wanted: &Wanted, file: usize, rows: &RecordBatch) -> Result<()> {
        let text = |name| texts(rows, name);
        let (classes, feeds, tenants) = (text("error_class")?, text("feed")?, text("tenant")?);
        let (pipelines, attempts, instants) =
            (text("pipeline")?, attempts(rows)?, instants(rows, "_ingested_at")?);
        let filter = &wanted.filter;
        let is_wanted = |row: usize| {
            let at = instants.value(row);
            filter.since.is_none_or(|since| at >= since)
                && filter.until.is_none_or(|until| at < until)
                && filter
                    .tenant
                    .as_ref()
                    .is_none_or(|tenant| tenants.is_valid(row) && tenants.value(row) == tenant)
        };
        let places = match &wanted.places {
            Some(asked) => asked.in_rows(rows)?,
            None => self.all(rows)?,
        };
        for (row, place) in places.into_iter().filter(|(row, _)| is_wanted(*row)) {
            // A feed that this release does not know has no table that a letter could go to.
            let Ok(feed) = Feed::from_name(feeds.value(row)) else { continue };
            if !filter.feeds.is_empty() && !filter.feeds.contains(&feed) {
                continue;
            }
            let pipeline = self.shared(pipelines.value(row));
            self.found.push(Found {
                place,
                feed,
                attempt: attempts.value(row),
                ingested_at: instants.value(row),
                is_of_class: filter.class.as_deref().is_none_or(|class| classes.value(row) == class),
                pipeline,
                file,
                row: self.rows + row,
            });
        }
        self.rows += rows.num_rows();
        Ok(())
    }

    fn all(&mut self, rows: &RecordBatch) -> Result<Vec<(usize, Place)>> {
        let columns = PlaceColumns::of(rows)?;
        let place = |row: usize| {
            let (topic, log, partition, offset) = columns.at(row);
            (row, Place { topic: self.shared(topic), log, partition, offset })
        };
        Ok((0..rows.num_rows()).map(place).collect())
    }

    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&new));
        new
    }
}

/// The newest attempt of each letter, if it is of the class, in the order in which they are stored.
fn newest(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_unstable_by(|a, b| (&a.place, b.attempt).cmp(&(&b.place, a.attempt)));
    found.dedup_by(|older, newer| older.place == newer.place);
    found.retain(|letter| letter.is_of_class);
    found.sort_unstable_by_key(|letter| (letter.feed, letter.file, letter.row));
    found
}

/// See the module.
#[derive(Debug)]
struct Selection {
    /// The table of letters, with its files when they were selected.
    letters: Arc<Table>,
    known_letters: HashSet<String>,
    /// The files that hold selected letters, and file and row of each entry.
    files: Vec<Arc<ActiveFile>>,
    stored: Vec<(usize, usize)>,
    entries: Vec<LetterEntry>,
    pipelines: Pipelines,
    feeds: BTreeMap<Feed, FeedState>,
}

impl Selection {
    async fn of(
        lake: &Lake,
        letters: Arc<Table>,
        known_letters: HashSet<String>,
        files: Vec<Arc<ActiveFile>>,
        found: Vec<Found>,
    ) -> Result<Self> {
        let (mut pipelines, mut feeds) = (Pipelines::new(), BTreeMap::new());
        let (mut entries, mut stored) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
        for of_feed in found.chunk_by(|a, b| a.feed == b.feed) {
            let feed = of_feed[0].feed;
            let table = Arc::clone(lake.feed(feed)?);
            let log = match table.snapshot().await {
                Ok(log) => Some(log),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            let asked: Coordinates = of_feed.iter().map(|letter| PlaceRange::from(&letter.place)).collect();
            let asked = Arc::new(asked);
            let standing = match &log {
                Some(log) => asked.in_files(&table, log.files().values()).await?,
                None => HashSet::new(),
            };
            let mut bounds = HashMap::new();
            for letter in of_feed {
                let Place { topic, log: number, partition, offset } = &letter.place;
                let partition = (Arc::clone(topic), *number, *partition);
                let first_ahead = *bounds.entry(partition).or_insert_with_key(|partition| {
                    pipelines.insert(partition.clone(), Arc::clone(&letter.pipeline));
                    log.as_ref().map_or(Some(0), |log| replay::first_ahead(log, &letter.pipeline, partition))
                });
                let is_standing = standing.contains(&letter.place);
                entries.push(LetterEntry {
                    place: letter.place.clone(),
                    feed,
                    attempt: letter.attempt,
                    ingested_at: letter.ingested_at,
                    status: if is_standing { LetterStatus::Resolved } else { LetterStatus::Dead },
                    is_ahead: !is_standing && first_ahead.is_some_and(|first| *offset >= first),
                });
                stored.push((letter.file, letter.row));
            }
            let looked_at = log.map(|log| log.files().keys().cloned().collect()).unwrap_or_default();
            feeds.insert(feed, FeedState { table, looked_at, standing, kept: KeptHashes::default() });
        }
        Ok(Self { letters, known_letters, files, stored, entries, pipelines, feeds })
    }

    /// Reads some letters of one file, in the order of their rows, until they would take more than `max_bytes`; the first is read in any case.
    async fn read_of_file(&self, which: &[usize], max_bytes: usize) -> Result<Records> {
        let store = self.letters.log_store().object_store(None);
        let (file, from_row) = self.stored[which[0]];
        let wanted: Vec<(usize, LetterEntry)> =
            which.iter().map(|&at| (self.stored[at].1 - from_row, self.entries[at].clone())).collect();
        let columns: Vec<&str> = self.letters.definition().columns.iter().map(|column| column.name).collect();
        let visit = move |records: &mut Records, rows: &RecordBatch| {
            let begin = records.rows;
            records.rows += rows.num_rows();
            while let Some((row, entry)) = wanted.get(records.letters.len()) {
                if *row >= records.rows {
                    return Ok(true);
                }
                let letter = stored_letter(rows, row - begin, entry)?;
                let bytes = letter.raw_value.as_ref().map_or(0, Vec::len)
                    + letter.raw_key.as_ref().map_or(0, Vec::len);
                if !records.letters.is_empty() && records.bytes + bytes > max_bytes {
                    return Ok(false);
                }
                records.bytes += bytes;
                records.letters.push(letter);
            }
            Ok(false)
        };
        let scan = Scan { columns: &columns, from_row, batch_rows: RECORD_ROWS };
        scan_file::<Records, _>(&store, &self.files[file], scan, visit).await
    }
}

#[derive(Debug, Default)]
struct Records {
    letters: Vec<StoredLetter>,
    bytes: usize,
    rows: usize,
}

#[async_trait]
impl LetterSelection for Selection {
    fn entries(&self) -> &[LetterEntry] {
        &self.entries
    }

    async fn read(&self, which: &[usize], max_bytes: usize) -> Result<Vec<StoredLetter>> {
        let (mut letters, mut bytes) = (Vec::new(), 0);
        for of_file in which.chunk_by(|a, b| self.stored[*a].0 == self.stored[*b].0) {
            if bytes >= max_bytes && !letters.is_empty() {
                break;
            }
            let read = self.read_of_file(of_file, max_bytes.saturating_sub(bytes)).await?;
            let is_whole = read.letters.len() == of_file.len();
            bytes += read.bytes;
            letters.extend(read.letters);
            if !is_whole {
                break;
            }
        }
        Ok(letters)
    }

    async fn land(&self, feed: Feed, rows: Vec<(String, RecordBatch)>) -> Result<Landed> {
        let none = || Error::internal(format!("no letter of feed {} was selected", feed.name()));
        let state = self.feeds.get(&feed).ok_or_else(none)?;
        replay::land(feed, state, rows, &self.pipelines).await
    }

    async fn fail(&self, letters: Vec<DeadLetter>) -> Result<u64> {
        if letters.is_empty() {
            return Ok(0);
        }
        replay::fail(&self.letters, letters, &self.known_letters).await
    }
}

fn stored_letter(rows: &RecordBatch, row: usize, entry: &LetterEntry) -> Result<StoredLetter> {
    let text = |name: &str| -> Result<Option<String>> {
        let column = texts(rows, name)?;
        Ok(column.is_valid(row).then(|| column.value(row).to_owned()))
    };
    let bytes = |name: &str| -> Result<Option<Vec<u8>>> {
        let column = column(rows, name)?.as_binary_opt::<i32>().ok_or_else(|| wrong_type(name))?;
        Ok(column.is_valid(row).then(|| column.value(row).to_vec()))
    };
    let timestamps = instants(rows, "_timestamp")?;
    Ok(StoredLetter {
        place: entry.place.clone(),
        feed: entry.feed,
        attempt: entry.attempt,
        ingested_at: entry.ingested_at,
        raw_key: bytes("raw_key")?,
        raw_value: bytes("raw_value")?,
        headers: text("headers")?,
        timestamp: timestamps.is_valid(row).then(|| timestamps.value(row)),
        error_class: text("error_class")?.unwrap_or_default(),
        error_message: text("error_message")?.unwrap_or_default(),
        field: text("field")?,
        value: text("value")?,
        expected: text("expected")?.unwrap_or_default(),
        tenant: text("tenant")?,
        store: text("store")?,
        pipeline: text("pipeline")?.unwrap_or_default(),
    })
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a Arc<dyn Array>> {
    rows.column_by_name(name).ok_or_else(|| Error::internal(format!("a file of letters lacks {name}")))
}

fn wrong_type(name: &str) -> Error {
    Error::internal(format!("{name} is of another type in a file of letters"))
}

fn texts<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a arrow_array::StringArray> {
    column(rows, name)?.as_string_opt().ok_or_else(|| wrong_type(name))
}

fn attempts(rows: &RecordBatch) -> Result<&arrow_array::Int32Array> {
    column(rows, "attempt")?.as_primitive_opt::<Int32Type>().ok_or_else(|| wrong_type("attempt"))
}

fn instants<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a arrow_array::TimestampMicrosecondArray> {
    column(rows, name)?.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| wrong_type(name))
}
