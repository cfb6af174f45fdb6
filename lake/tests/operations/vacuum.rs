//! Vacuum: what a version within the retention needs stays, the rest goes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use domain::civil;
use lake::Lake;
use lake::operations::checkpoint::checkpoint;
use lake::operations::vacuum::{VacuumMode, VacuumOptions, VacuumReport, vacuum};
use serde_json::Value;

use super::{append, compacted, parquet_files, state, table};
use crate::support::*;

const MODES: [VacuumMode; 2] = [VacuumMode::Lite, VacuumMode::Full];
const A_DAY_AND_MORE: Duration = Duration::from_hours(25);

async fn run(lake: &Lake, options: VacuumOptions) -> VacuumReport {
    vacuum(&table(lake, SALES), &options).await.expect("vacuum")
}

/// With the table's own retention.
async fn applied(lake: &Lake, mode: VacuumMode) -> VacuumReport {
    run(lake, VacuumOptions { mode, apply: true, ..VacuumOptions::default() }).await
}

/// As if every retention had passed.
fn at_once(mode: VacuumMode, apply: bool) -> VacuumOptions {
    VacuumOptions { mode, apply, unsafe_retention: Some(Duration::ZERO) }
}

fn age(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).expect("the file is there");
    file.set_modified(SystemTime::now() - A_DAY_AND_MORE).expect("its time can be set");
}

/// Lets the removals of a log entry have happened more than a day ago.
fn age_removals(lake: &Lake, version: u64) {
    let path = entry(lake, SALES, version);
    let text = std::fs::read_to_string(&path).expect("the entry");
    let lines = text.lines().map(|line| {
        let mut action: Value = serde_json::from_str(line).expect("an action");
        if let Some(at) = action.pointer_mut("/remove/deletionTimestamp") {
            *at = (civil::now() / 1_000 - A_DAY_AND_MORE.as_millis() as i64).into();
        }
        action.to_string()
    });
    let lines: Vec<_> = lines.collect();
    std::fs::write(&path, lines.join("\n")).expect("the entry is written");
    age(&path);
}

#[tokio::test]
async fn within_the_retention_nothing_goes_and_older_versions_are_read() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    append(&lake, 4, 30).await;
    let pinned = state(&lake, SALES).await;
    let files = parquet_files(&lake, SALES);
    compacted(&lake, SALES).await;
    // Old files were written long ago; what counts is when they were removed. A checkpoint knows that too.
    for with_checkpoint in [false, true] {
        if with_checkpoint {
            checkpoint(&table(&lake, SALES)).await.expect("a checkpoint");
        }
        files.iter().for_each(|path| age(&table_folder(&lake, SALES).join(path)));
        for mode in MODES {
            let report = applied(&*open(folder.path()).await, mode).await;
            assert_eq!((report.files, report.retention), (0, Duration::from_hours(24)), "{mode:?}");
        }
    }
    assert_eq!(coordinates_at(&lake, SALES, &pinned), range(0, 0..120));
    let again = table(&*open(folder.path()).await, SALES).snapshot_at(pinned.version()).await;
    assert_eq!(coordinates_at(&lake, SALES, &again.expect("an earlier state")), range(0, 0..120));
}

#[tokio::test]
async fn removed_files_go_after_it_and_a_dry_run_takes_nothing() {
    for mode in MODES {
        let folder = folder();
        let lake = lake_with_log(folder.path()).await;
        append(&lake, 4, 30).await;
        let old = state(&lake, SALES).await;
        let bytes: u64 = old.files().values().map(|file| file.size_bytes).sum();
        compacted(&lake, SALES).await;
        let before = parquet_files(&lake, SALES);
        // What was removed in this very millisecond is not yet older than no time at all.
        tokio::time::sleep(Duration::from_millis(3)).await;

        let dry = run(&lake, at_once(mode, false)).await;
        assert_eq!((dry.files, dry.bytes, dry.applied), (12, bytes, false), "{mode:?}");
        assert_eq!(parquet_files(&lake, SALES), before, "a dry run takes nothing");
        let wet = run(&lake, at_once(mode, true)).await;
        assert_eq!((wet.files, wet.bytes, wet.applied), (12, bytes, true), "{mode:?}");
        let active: BTreeSet<String> = state(&lake, SALES).await.files().keys().cloned().collect();
        assert_eq!(parquet_files(&lake, SALES), active, "{mode:?}");
        assert_eq!(run(&lake, at_once(mode, true)).await.files, 0, "they are gone already");
        assert_eq!(coordinates(&*open(folder.path()).await, SALES).await, range(0, 0..120));
        append(&lake, 1, 30).await;
        assert_eq!(coordinates(&lake, SALES).await, range(0, 0..150));
    }
}

#[tokio::test]
async fn lite_finds_what_a_checkpoint_has_forgotten() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    append(&lake, 2, 30).await;
    let (first, old) = (version(&lake, SALES).await + 1, parquet_files(&lake, SALES));
    let last = compacted(&lake, SALES).await.version.expect("a commit");
    (first..=last).for_each(|version| age_removals(&lake, version));
    let lake = open(folder.path()).await;
    let written = checkpoint(&table(&lake, SALES)).await.expect("a checkpoint");
    assert_eq!(written.version, last);
    append(&lake, 1, 30).await;
    assert_eq!(applied(&lake, VacuumMode::Lite).await.files, old.len());
    assert!(parquet_files(&lake, SALES).is_disjoint(&old));
    assert_eq!(coordinates(&lake, SALES).await, range(0, 0..90));
}

#[tokio::test]
async fn full_finds_files_that_no_commit_named_once_they_are_a_day_old() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    append(&lake, 2, 30).await;
    let root = table_folder(&lake, SALES);
    let orphans = Draft::new(1).range(0, 60, 90).stage(&lake).await.files;
    assert_eq!(orphans.len(), 3);
    assert_eq!(
        applied(&lake, VacuumMode::Full).await.files,
        0,
        "a batch on its way has the files of its own"
    );

    // What is active, what is not ours and the log stay, however old they are.
    let log = state(&lake, SALES).await;
    log.files().keys().for_each(|path| age(&root.join(path)));
    let others = ["notes.txt", "_delta_log/left.parquet", "period=2010-01/notes.txt", "other/part.parquet"];
    for other in others {
        std::fs::create_dir_all(root.join(other).parent().expect("a folder")).expect("a folder");
        std::fs::write(root.join(other), "not ours").expect("written");
        age(&root.join(other));
    }
    (0..=log.version()).for_each(|version| age(&entry(&lake, SALES, version)));
    orphans[..2].iter().for_each(|file| age(&root.join(&file.path)));
    assert_eq!(applied(&lake, VacuumMode::Lite).await.files, 0, "the log does not know them");
    let report = applied(&lake, VacuumMode::Full).await;
    let bytes: u64 = orphans[..2].iter().map(|file| file.size_bytes).sum();
    assert_eq!((report.files, report.bytes), (2, bytes));
    assert!(root.join(&orphans[2].path).exists(), "the young one stays");
    assert!(others.iter().all(|other| root.join(other).exists()));
    assert_eq!(coordinates(&*open(folder.path()).await, SALES).await, range(0, 0..60));
}
