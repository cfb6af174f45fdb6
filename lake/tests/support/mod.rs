//! A lake in a folder, the batches that an ingest would hand to it, and what stands in its files afterwards.
//!
//! Rows are read from the Parquet files of the active list, not through SQL, so that a physical row too many or too few shows itself.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use domain::duplicates::{self, RecentRows};
use domain::feeds::RecordMetadata;
use domain::ids::Pipeline;
use domain::ports::{Append, Batch, CommitOutcome, Marks, RegisterLog};
use domain::position::{LogIdentity, PartitionRange, TopicState};
use domain::{DeadLetter, Error, Feed, civil};
use lake::log::Log;
use lake::{Lake, LakeOptions, StoreSettings};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const FEED: Feed = Feed::Sales;
pub(crate) const TOPIC: &str = "retail.sales.v1";
pub(crate) const SALES: &str = "curated.sales";
pub(crate) const LETTERS: &str = "raw.dead_letters";

/// Log, partition and offset of a physical row.
pub(crate) type Coordinates = (i64, i32, i64);

pub(crate) fn pipeline() -> Pipeline {
    Pipeline::new("main").expect("a valid name")
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

pub(crate) fn settings(folder: &Path) -> StoreSettings {
    let root = folder.to_str().expect("a path of text").to_owned();
    StoreSettings { root, ..StoreSettings::default() }
}

/// Opens the lake in a folder, as another process would.
pub(crate) async fn open(folder: &Path) -> Arc<Lake> {
    Lake::open(&settings(folder), LakeOptions::Write).await.expect("the lake opens")
}

/// Why a lake does not open.
pub(crate) async fn refusal(folder: &Path) -> Error {
    Lake::open(&settings(folder), LakeOptions::Write).await.expect_err("the lake must be refused")
}

pub(crate) fn identity(topic_id: &str) -> LogIdentity {
    LogIdentity { cluster_id: "MkU3OEVBNTcwNTJENDM2Qg".to_owned(), topic_id: topic_id.to_owned() }
}

pub(crate) async fn topic_state(lake: &Lake) -> TopicState {
    lake.topic_state(FEED, &pipeline(), TOPIC).await.expect("the topic's state")
}

/// Next offset by partition, in the log with this number.
pub(crate) async fn positions(lake: &Lake, log: i64) -> BTreeMap<i32, i64> {
    let stored = topic_state(lake).await.next_offsets;
    stored.into_iter().filter(|((number, _), _)| *number == log).map(|((_, p), next)| (p, next)).collect()
}

pub(crate) async fn try_register(
    lake: &Lake,
    topic_id: &str,
    known: &TopicState,
    positions: &[(i32, i64)],
) -> domain::Result<i64> {
    let (pipeline, identity) = (pipeline(), identity(topic_id));
    let request =
        RegisterLog { feed: FEED, pipeline: &pipeline, topic: TOPIC, identity: &identity, known, positions };
    lake.register_log(request).await
}

/// A lake whose topic has one log, number 1, without positions.
pub(crate) async fn lake_with_log(folder: &Path) -> Arc<Lake> {
    let lake = open(folder).await;
    let number = try_register(&lake, "a", &TopicState::default(), &[]).await.expect("the first log");
    assert_eq!(number, 1);
    lake
}

/// The record at a partition's offset: two stores, five articles, three months, all told by the coordinates.
pub(crate) fn sale(partition: i32, offset: i64) -> Value {
    json!({
        "tenant": "gift-uk",
        "store": format!("store-{}", partition % 2),
        "transaction_id": format!("{partition}-{offset}"),
        "line": 1,
        "sku": format!("sku-{}", offset % 5),
        "quantity": offset % 7 + 1,
        "unit_price": "1.25",
        "currency": "GBP",
        "kind": "sale",
        "occurred_at": format!("2010-0{}-{:02}T10:00:00Z", offset % 3 + 1, offset % 28 + 1),
    })
}

/// A batch in the making: its ranges, and which of the records in them are bad.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    log: i64,
    record: fn(i32, i64) -> Value,
    ranges: Vec<PartitionRange>,
    bad: BTreeSet<(i32, i64)>,
}

impl Draft {
    pub(crate) fn new(log: i64) -> Self {
        Self { log, record: sale, ranges: Vec::new(), bad: BTreeSet::new() }
    }

    /// Other records than [`sale`]'s.
    pub(crate) fn records(mut self, record: fn(i32, i64) -> Value) -> Self {
        self.record = record;
        self
    }

    pub(crate) fn range(mut self, partition: i32, from: impl Into<Option<i64>>, to: i64) -> Self {
        self.ranges.push(PartitionRange { partition, from: from.into(), to });
        self
    }

    pub(crate) fn bad(mut self, coordinates: impl IntoIterator<Item = (i32, i64)>) -> Self {
        self.bad.extend(coordinates);
        self
    }

    /// Decodes the records of the ranges and stages the good ones, unmarked. A range without a beginning begins at 0.
    pub(crate) async fn stage(&self, lake: &Lake) -> Batch {
        let (rows, dead_letters) = self.decode();
        self.batch(lake, rows, dead_letters, None).await
    }

    /// As [`Self::stage`], marked by the recent rows.
    pub(crate) async fn stage_marked(&self, lake: &Lake, recent: &RecentRows) -> Batch {
        let (mut rows, dead_letters) = self.decode();
        let hashes = duplicates::hashes_of(&rows).expect("the rows have hashes");
        duplicates::mark_rows(&mut rows, &recent.marks(&hashes)).expect("the rows can be marked");
        let marks = Marks { as_of: recent.as_of().expect("they were read"), rows: hashes };
        self.batch(lake, rows, dead_letters, Some(marks)).await
    }

    fn decode(&self) -> (Vec<(String, RecordBatch)>, Vec<DeadLetter>) {
        let mut rows = FEED.builder();
        let mut dead_letters = Vec::new();
        for range in &self.ranges {
            for offset in range.from.unwrap_or(0)..range.to {
                let mut record = (self.record)(range.partition, offset);
                if self.bad.contains(&(range.partition, offset)) {
                    record["quantity"] = json!("twelve");
                }
                let payload = record.to_string().into_bytes();
                let metadata = metadata(self.log, range.partition, offset);
                if let Err(reject) = rows.push(Some(&payload), &metadata, civil::now()) {
                    dead_letters.push(letter(payload, &metadata, reject));
                }
            }
        }
        (rows.finish(), dead_letters)
    }

    async fn batch(
        &self,
        lake: &Lake,
        rows: Vec<(String, RecordBatch)>,
        dead_letters: Vec<DeadLetter>,
        marks: Option<Marks>,
    ) -> Batch {
        let files = lake.stage(FEED, rows).await.expect("the files are written");
        Batch {
            id: Uuid::new_v4(),
            feed: FEED,
            pipeline: pipeline(),
            topic: TOPIC.to_owned(),
            log: self.log,
            ranges: self.ranges.clone(),
            dead_letters,
            files,
            marks,
            max_age: Duration::from_secs(3_600),
        }
    }
}

pub(crate) fn metadata(log: i64, partition: i32, offset: i64) -> RecordMetadata<'static> {
    RecordMetadata {
        topic: TOPIC,
        log,
        partition,
        offset,
        timestamp: Some(civil::EARLIEST + offset),
        ingested_at: civil::now(),
        history: false,
    }
}

fn letter(payload: Vec<u8>, metadata: &RecordMetadata<'_>, reject: domain::fields::Reject) -> DeadLetter {
    let (tenant, store) = domain::dead_letter::owner(Some(&payload));
    DeadLetter {
        raw_key: None,
        raw_value: Some(payload),
        headers: None,
        topic: metadata.topic.to_owned(),
        log: metadata.log,
        partition: metadata.partition,
        offset: metadata.offset,
        timestamp: metadata.timestamp,
        feed: FEED,
        reject,
        tenant,
        store,
        pipeline: pipeline().to_string(),
        attempt: 1,
        ingested_at: metadata.ingested_at,
    }
}

pub(crate) async fn commit(lake: &Lake, batch: &Batch) -> CommitOutcome {
    lake.commit(batch).await.expect("the store answers")
}

/// Commits a batch that must be taken, and gives the table's version.
pub(crate) async fn must_commit(lake: &Lake, batch: &Batch) -> u64 {
    match commit(lake, batch).await {
        CommitOutcome::Committed { version, .. } => version,
        CommitOutcome::Dropped { reason } => panic!("the batch was dropped: {reason}"),
    }
}

/// Commits a batch that must be dropped, and gives the reason.
pub(crate) async fn must_drop(lake: &Lake, batch: &Batch) -> String {
    match commit(lake, batch).await {
        CommitOutcome::Dropped { reason } => reason,
        CommitOutcome::Committed { version, .. } => panic!("the batch was committed as version {version}"),
    }
}

/// A table's folder.
pub(crate) fn table_folder(lake: &Lake, table: &str) -> PathBuf {
    let root = lake.store().folder().expect("a lake in a folder");
    root.join(lake.table(table).expect("a table").definition().path())
}

/// The path of a log entry.
pub(crate) fn entry(lake: &Lake, table: &str, version: u64) -> PathBuf {
    table_folder(lake, table).join(format!("_delta_log/{version:020}.json"))
}

/// The physical rows of a table's state.
pub(crate) fn rows_at(lake: &Lake, table: &str, log: &Log) -> Vec<RecordBatch> {
    let folder = table_folder(lake, table);
    let read = |path: &String| {
        let file = std::fs::File::open(folder.join(path)).expect("an active file exists");
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("Parquet");
        reader.map(|rows| rows.expect("rows")).collect::<Vec<_>>()
    };
    log.files().keys().flat_map(read).collect()
}

/// Coordinates of the physical rows of a table's state, in order; a row that stands twice is there twice.
pub(crate) fn coordinates_at(lake: &Lake, table: &str, log: &Log) -> Vec<Coordinates> {
    let mut found = Vec::new();
    for rows in rows_at(lake, table, log) {
        let column = |name: &str| Arc::clone(rows.column_by_name(name).expect("a column"));
        let (logs, partitions, offsets) = (column("_log"), column("_partition"), column("_offset"));
        let (logs, offsets) = (logs.as_primitive::<Int64Type>(), offsets.as_primitive::<Int64Type>());
        let partitions = partitions.as_primitive::<Int32Type>();
        found
            .extend((0..rows.num_rows()).map(|at| (logs.value(at), partitions.value(at), offsets.value(at))));
    }
    found.sort_unstable();
    found
}

/// Coordinates of a table's physical rows at its newest version.
pub(crate) async fn coordinates(lake: &Lake, table: &str) -> Vec<Coordinates> {
    let log = lake.table(table).expect("a table").snapshot().await.expect("a state");
    coordinates_at(lake, table, &log)
}

pub(crate) async fn version(lake: &Lake, table: &str) -> u64 {
    lake.table(table).expect("a table").snapshot().await.expect("a state").version()
}

/// Coordinates of whole ranges of log 1.
pub(crate) fn range(partition: i32, offsets: std::ops::Range<i64>) -> Vec<Coordinates> {
    offsets.map(|offset| (1, partition, offset)).collect()
}

/// A process that commits the letters of a batch and dies before the table's commit.
///
/// A folder in the place of the next log entry keeps the table's commit from being made. The dying process has a runtime of its own, which waits at
/// its end for the writes that are under way, so that none of them lands later.
pub(crate) async fn die_after_letters(lake: &Arc<Lake>, batch: &Batch) {
    let obstacle = entry(lake, SALES, version(lake, SALES).await + 1);
    std::fs::create_dir(&obstacle).expect("the next entry is free");
    let before = version(lake, LETTERS).await;
    let die = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let letters_stand = async {
                while version(lake, LETTERS).await == before {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                outcome = lake.commit(batch) => panic!("the commit ended before the letters stood: {outcome:?}"),
                () = letters_stand => {}
                () = tokio::time::sleep(Duration::from_secs(30)) => panic!("no letters in 30 s"),
            }
        });
    };
    std::thread::scope(|threads| threads.spawn(die).join()).expect("the process dies as planned");
    std::fs::remove_dir(&obstacle).expect("the obstacle is still in its place");
}
