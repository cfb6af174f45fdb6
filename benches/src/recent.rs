//! What it costs to know sales that were sent twice: a start that reads the recent rows of a large table, and the marking of each record.

use std::time::{Duration, Instant};

use domain::duplicates::{RecentRows, hashes_of, mark_rows};
use domain::feeds::RecordMetadata;
use domain::ids::Pipeline;
use domain::ports::{Append as _, Batch};
use domain::position::PartitionRange;
use domain::{Feed, civil};
use lake::{Lake, LakeOptions, StoreSettings};

use crate::setting;

/// Rows of one file.
const BATCH_ROWS: i64 = 250_000;

/// The default of `ingest.duplicate_index_bytes`.
const INDEX_BYTES: usize = 128 << 20;

pub(crate) fn run() {
    let batches = setting("BATCHES", 20) as i64;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(batches));
}

async fn measure(batches: i64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().to_string_lossy().into_owned();
    let settings = StoreSettings { root, ..StoreSettings::default() };
    let lake = Lake::open(&settings, LakeOptions::Write).await.expect("a lake");
    let mut recent = RecentRows::within(INDEX_BYTES);
    let (mut decoding, mut marking) = (Duration::ZERO, Duration::ZERO);
    for batch in 0..batches {
        let begun = Instant::now();
        let mut rows = decoded(batch * BATCH_ROWS..(batch + 1) * BATCH_ROWS);
        decoding += begun.elapsed();
        let begun = Instant::now();
        let hashes = hashes_of(&rows).expect("hashes");
        mark_rows(&mut rows, &recent.marks(&hashes)).expect("marks");
        recent.extend(hashes);
        marking += begun.elapsed();
        let files = lake.stage(Feed::Sales, rows).await.expect("files");
        lake.commit(&batch_of(batch, files)).await.expect("a commit");
    }
    let rows = (batches * BATCH_ROWS) as f64;
    let begun = Instant::now();
    let read = lake.follow(Feed::Sales, RecentRows::within(INDEX_BYTES)).await.expect("recent rows");
    let start = begun.elapsed();
    println!("\n## Sent twice: a table of {rows} sales in a folder\n");
    println!("| | |\n|---|---|");
    println!("| a start reads {} recent rows | {:.2} s |", read.len(), start.as_secs_f64());
    println!("| they take | {:.0} MiB |", read.bytes() as f64 / f64::from(1 << 20));
    println!("| decoding and hashing a record | {:.0} ns |", decoding.as_nanos() as f64 / rows);
    println!("| marking it | {:.0} ns |", marking.as_nanos() as f64 / rows);
}

fn decoded(numbers: std::ops::Range<i64>) -> Vec<(String, arrow::array::RecordBatch)> {
    let (mut rows, now) = (Feed::Sales.builder(), civil::now());
    for number in numbers {
        let value = format!(
            r#"{{"tenant":"bench","store":"s{}","transaction_id":"t{number}","line":1,"sku":"sku-{}","product_name":"a product with a name of usual length","quantity":"{}","unit_price":"12.75","currency":"GBP","kind":"sale","channel":"till","customer":"c{}","occurred_at":"2026-01-10T12:00:00Z"}}"#,
            number % 20,
            number % 4_000,
            1 + number % 5,
            number % 50_000,
        );
        let metadata = RecordMetadata {
            topic: "bench",
            log: 1,
            partition: 0,
            offset: number,
            timestamp: Some(now),
            ingested_at: now,
            history: false,
        };
        rows.push(Some(value.as_bytes()), &metadata, now).expect("a good record");
    }
    rows.finish()
}

fn batch_of(number: i64, files: Vec<domain::ports::StagedFile>) -> Batch {
    Batch {
        id: uuid::Uuid::new_v4(),
        feed: Feed::Sales,
        pipeline: Pipeline::new("bench").expect("a name"),
        topic: "bench".to_owned(),
        log: 1,
        ranges: vec![PartitionRange {
            partition: 0,
            from: (number > 0).then_some(number * BATCH_ROWS),
            to: (number + 1) * BATCH_ROWS,
        }],
        dead_letters: Vec::new(),
        files,
        marks: None,
        max_age: Duration::from_secs(3_600),
    }
}
