//! Compaction: fewer files, the same rows, whoever else commits.

use std::time::Duration;

use arrow_array::cast::AsArray;
use domain::ErrorKind;
use lake::LakeOptions;
use lake::operations::compact::{CompactOptions, compact};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::Value;

use super::{append, compacted, parquet_files, state, table, whole_rows};
use crate::support::*;

#[tokio::test]
async fn small_files_of_a_period_become_one_and_no_row_changes() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    append(&lake, 5, 30).await;
    let before = state(&lake, SALES).await;
    assert_eq!(before.files().len(), 15, "three months a batch");

    let report = compacted(&lake, SALES).await;
    let after = state(&lake, SALES).await;
    assert_eq!((report.files_before, report.files_after, report.rows), (15, 3, 150));
    assert_eq!(report.version, Some(after.version()));
    assert_eq!(after.version(), before.version() + 3, "a commit for each period");
    let bytes = |log: &lake::log::Log| log.files().values().map(|file| file.size_bytes).sum::<u64>();
    assert_eq!((report.bytes_before, report.bytes_after), (bytes(&before), bytes(&after)));
    assert_eq!(whole_rows(&lake, SALES, &after), whole_rows(&lake, SALES, &before));
    assert_eq!(positions(&lake, 1).await, [(0, 150)].into());
    assert_eq!(after.transaction("rewrite/curated.sales"), Some(before.version() as i64 + 2));

    // Another process sees the same, and goes on from there.
    let other = open(folder.path()).await;
    assert_eq!(coordinates(&other, SALES).await, range(0, 0..150));
    assert_eq!(compacted(&other, SALES).await, Default::default(), "nothing to do");
    append(&other, 1, 30).await;
    assert_eq!(coordinates(&lake, SALES).await, range(0, 0..180));
}

#[tokio::test]
async fn the_new_file_is_clustered_and_the_log_says_that_no_data_changed() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    append(&lake, 4, 60).await;
    let version = compacted(&lake, SALES).await.version.expect("a commit");
    let log = state(&lake, SALES).await;
    for rows in rows_at(&lake, SALES, &log) {
        let text = |name: &str| rows.column_by_name(name).expect("a column").as_string::<i32>().clone();
        let (stores, skus) = (text("store"), text("sku"));
        let keys: Vec<_> = (0..rows.num_rows()).map(|row| (stores.value(row), skus.value(row))).collect();
        assert!(keys.is_sorted(), "{keys:?}");
    }
    let entry = std::fs::read_to_string(entry(&lake, SALES, version)).expect("the entry");
    let actions: Vec<Value> =
        entry.lines().map(|line| serde_json::from_str(line).expect("an action")).collect();
    let of = |name: &str| actions.iter().filter_map(|action| action.get(name)).collect::<Vec<_>>();
    assert_eq!((of("remove").len(), of("add").len(), of("txn").len()), (4, 1, 1));
    for action in of("remove").into_iter().chain(of("add")) {
        assert_eq!(action["dataChange"], false, "{action}");
        assert!(action["partitionValues"]["period"].is_string(), "{action}");
        assert!(action["size"].as_i64() > Some(0), "{action}");
    }
    for remove in of("remove") {
        assert!(
            remove["deletionTimestamp"].as_i64() > Some(0) && remove["extendedFileMetadata"] == true,
            "{remove}"
        );
    }
    assert_eq!(of("commitInfo")[0]["operation"], "OPTIMIZE");
}

#[tokio::test]
async fn only_the_files_that_were_asked_for_are_touched() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    append(&lake, 3, 30).await;
    let sales = table(&lake, SALES);
    let count = |log: &lake::log::Log, period: &str| {
        log.files().values().filter(|file| file.period == period).count()
    };
    let few = CompactOptions { min_files: 4, ..CompactOptions::default() };
    assert_eq!(compact(&sales, &few).await.expect("nothing to do"), Default::default());
    // A file that is half as large as it may become is not small.
    let largest =
        state(&lake, SALES).await.files().values().map(|file| file.size_bytes).min().expect("files");
    let tiny = CompactOptions { target_bytes: largest * 2, ..CompactOptions::default() };
    assert_eq!(compact(&sales, &tiny).await.expect("nothing to do"), Default::default());

    let february = CompactOptions { period: Some("2010-02".to_owned()), ..CompactOptions::default() };
    let report = compact(&sales, &february).await.expect("compaction");
    assert_eq!((report.files_before, report.files_after, report.rows), (3, 1, 30));
    let log = state(&lake, SALES).await;
    assert_eq!((count(&log, "2010-01"), count(&log, "2010-02"), count(&log, "2010-03")), (3, 1, 3));
    assert_eq!(coordinates(&lake, SALES).await, range(0, 0..90));

    for wrong in ["2010-13", "2010-1", "2010", "x' OR '1'='1"] {
        let options = CompactOptions { period: Some(wrong.to_owned()), ..CompactOptions::default() };
        let error = compact(&sales, &options).await.expect_err(wrong);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("YYYY-MM"), "{error}");
    }
}

#[tokio::test]
async fn dead_letters_are_compacted_and_still_known() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    for batch in 0..4 {
        let (from, to) = ((batch > 0).then_some(batch * 10), batch * 10 + 10);
        must_commit(&lake, &Draft::new(1).range(0, from, to).bad([(0, to - 5)]).stage(&lake).await).await;
    }
    let dead: Vec<_> = [5, 15, 25, 35].map(|offset| (1, 0, offset)).into();
    die_after_letters(&lake, &Draft::new(1).range(0, 40, 50).bad([(0, 45)]).stage(&lake).await).await;
    assert_eq!(compacted(&lake, LETTERS).await.rows, 5);
    assert_eq!(state(&lake, LETTERS).await.files().len(), 1);
    // The record is good by now, but it is listed as dead, in a file that compaction wrote.
    must_commit(&lake, &Draft::new(1).range(0, 40, 50).stage(&lake).await).await;
    assert_eq!(coordinates(&lake, LETTERS).await, [dead, vec![(1, 0, 45)]].concat());
    assert_eq!(coordinates(&lake, SALES).await.len(), 45);
}

#[tokio::test]
async fn of_two_that_rewrite_the_same_files_one_wins_and_the_other_leaves_nothing_behind() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    append(&lake, 3, 30).await;
    let before = state(&lake, SALES).await;
    let old_files = parquet_files(&lake, SALES);
    // A folder in the place of the next entry holds both up until both have written their file.
    let obstacle = entry(&lake, SALES, before.version() + 1);
    std::fs::create_dir(&obstacle).expect("the next entry is free");
    let compactors = [open(folder.path()).await, open(folder.path()).await].map(|lake| {
        tokio::spawn(async move { compact(&table(&lake, SALES), &CompactOptions::default()).await })
    });
    let both_wrote = async {
        while parquet_files(&lake, SALES).len() < old_files.len() + 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), both_wrote).await.expect("two files within a minute");
    std::fs::remove_dir(&obstacle).expect("the obstacle is still in its place");

    let mut given_up = 0;
    for compactor in compactors {
        let report = compactor.await.expect("no panic").expect("the store answers");
        match report.given_up {
            Some(reason) => {
                assert!(reason.contains("curated.sales"), "{reason}");
                assert_eq!(report.version, None, "it lost at its first commit");
                given_up += 1;
            }
            None => assert_eq!((report.files_before, report.files_after), (9, 3)),
        }
    }
    assert_eq!(given_up, 1);
    let after = state(&lake, SALES).await;
    assert_eq!(whole_rows(&lake, SALES, &after), whole_rows(&lake, SALES, &before));
    let active = after.files().keys().cloned().collect();
    assert_eq!(parquet_files(&lake, SALES), &old_files | &active);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_compactors_beside_an_appender_change_no_row() {
    let folder = folder();
    let appender = lake_with_log(folder.path()).await;
    let lakes = [open(folder.path()).await, open(folder.path()).await];
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let compactors = lakes.map(|lake| {
        let stopped = stopped.clone();
        tokio::spawn(async move {
            let (mut rewritten, mut given_up) = (0, 0);
            while !*stopped.borrow() {
                let report =
                    compact(&table(&lake, SALES), &CompactOptions::default()).await.expect("it answers");
                rewritten += report.files_before;
                given_up += usize::from(report.given_up.is_some());
                // Rows and position of one version agree at any time.
                let log = state(&lake, SALES).await;
                let position = log.transaction("main/retail.sales.v1/1/0").unwrap_or(0);
                assert_eq!(
                    coordinates_at(&lake, SALES, &log),
                    range(0, 0..position),
                    "version {}",
                    log.version()
                );
            }
            (rewritten, given_up)
        })
    });
    append(&appender, 60, 9).await;
    stop.send(true).expect("compactors listen");
    let mut rewritten = 0;
    for compactor in compactors {
        rewritten += compactor.await.expect("every version was whole").0;
    }
    assert!(rewritten > 0, "no file was compacted beside the appends");
    assert_eq!(coordinates(&appender, SALES).await, range(0, 0..540));
    compacted(&appender, SALES).await;
    assert_eq!(coordinates(&*open(folder.path()).await, SALES).await, range(0, 0..540));
}

#[tokio::test]
async fn upkeep_creates_no_lake() {
    let folder = folder();
    let error = lake::Lake::open(&settings(folder.path()), LakeOptions::Upkeep).await.expect_err("no lake");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("lake.root"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the root").count(), 0);
    let lake = lake_with_log(folder.path()).await;
    append(&lake, 2, 30).await;
    let upkeep =
        lake::Lake::open(&settings(folder.path()), LakeOptions::Upkeep).await.expect("the lake opens");
    assert_eq!(compacted(&upkeep, SALES).await.files_before, 6);
    assert_eq!(coordinates(&lake, SALES).await, range(0, 0..60));
}

/// A step of a table's life.
#[derive(Debug, Clone)]
enum Step {
    Append { partition: i32, records: i64, bad: bool },
    Compact { target_bytes: u64, min_files: usize, letters: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3, 1_i64..40, any::<bool>())
            .prop_map(|(partition, records, bad)| Step::Append { partition, records, bad }),
        1 => (1_u64..60_000, 0_usize..5, any::<bool>())
            .prop_map(|(target_bytes, min_files, letters)| Step::Compact { target_bytes, min_files, letters }),
    ]
}

async fn live(steps: &[Step]) {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    for step in steps {
        match *step {
            Step::Append { partition, records, bad } => {
                let from = positions(&lake, 1).await.get(&partition).copied();
                let to = from.unwrap_or(0) + records;
                let draft = Draft::new(1).range(partition, from, to).bad(bad.then_some((partition, to - 1)));
                must_commit(&lake, &draft.stage(&lake).await).await;
            }
            Step::Compact { target_bytes, min_files, letters } => {
                let name = if letters { LETTERS } else { SALES };
                let before = state(&lake, name).await;
                let options = CompactOptions { target_bytes, min_files, ..CompactOptions::default() };
                let report = compact(&table(&lake, name), &options).await.expect("compaction");
                let after = state(&lake, name).await;
                assert_eq!(whole_rows(&lake, name, &after), whole_rows(&lake, name, &before), "{report:?}");
                assert_eq!(
                    after.files().len() + report.files_before,
                    before.files().len() + report.files_after
                );
            }
        }
    }
    let again = open(folder.path()).await;
    let rows = coordinates(&again, SALES).await.len() + coordinates(&again, LETTERS).await.len();
    assert_eq!(rows as i64, positions(&again, 1).await.values().sum::<i64>());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        rng_seed: RngSeed::Fixed(11),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn compaction_never_changes_the_multiset_of_rows(steps in prop::collection::vec(step(), 1..14)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(live(&steps));
    }
}
