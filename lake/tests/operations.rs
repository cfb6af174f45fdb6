//! Upkeep as an operator and his readers meet it: files come and go, rows and positions stay.

#[path = "operations/compact.rs"]
mod compact;
#[path = "operations/history.rs"]
mod history;
#[path = "operations/maintenance.rs"]
mod maintenance;
mod support;
#[path = "operations/vacuum.rs"]
mod vacuum;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::row::{RowConverter, SortField};
use lake::log::Log;
use lake::operations::compact::{CompactOptions, CompactReport, compact};
use lake::{Lake, Table};
use support::*;

fn table(lake: &Lake, name: &str) -> Arc<Table> {
    Arc::clone(lake.table(name).expect("a table"))
}

async fn state(lake: &Lake, name: &str) -> Log {
    table(lake, name).snapshot().await.expect("a state")
}

/// Commits `batches` batches of `each` records to partition 0, from its position on.
async fn append(lake: &Lake, batches: i64, each: i64) {
    for _ in 0..batches {
        let from = positions(lake, 1).await.get(&0).copied();
        let to = from.unwrap_or(0) + each;
        must_commit(lake, &Draft::new(1).range(0, from, to).stage(lake).await).await;
    }
}

/// Compacts, and expects that nobody interfered.
async fn compacted(lake: &Lake, name: &str) -> CompactReport {
    let report = compact(&table(lake, name), &CompactOptions::default()).await.expect("compaction");
    assert_eq!(report.given_up, None);
    report
}

/// Every physical row of a state whole, in an order of its own: equal lists mean equal multisets of rows.
fn whole_rows(lake: &Lake, name: &str, log: &Log) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for batch in rows_at(lake, name, log) {
        let fields = batch.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        let rows = RowConverter::new(fields).expect("comparable columns").convert_columns(batch.columns());
        found.extend(rows.expect("rows").iter().map(|row| row.as_ref().to_vec()));
    }
    found.sort_unstable();
    found
}

/// Parquet files in a table's folder, checkpoints left out, as paths below it.
fn parquet_files(lake: &Lake, name: &str) -> BTreeSet<String> {
    let folder = table_folder(lake, name);
    let mut found = BTreeSet::new();
    for period in
        std::fs::read_dir(&folder).expect("the table's folder").map(|entry| entry.expect("an entry"))
    {
        let period_name = period.file_name().into_string().expect("a text");
        if !period_name.starts_with("period=") {
            continue;
        }
        for file in std::fs::read_dir(period.path()).expect("a period's folder") {
            let file_name = file.expect("an entry").file_name().into_string().expect("a text");
            found.insert(format!("{period_name}/{file_name}"));
        }
    }
    found
}
