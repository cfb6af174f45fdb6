//! A long log: the checkpoint that a start reads from holds rows, positions and logs alike.

use std::time::Duration;

use domain::ErrorKind;

use super::{session, totals, totals_of};
use crate::support::*;

const COMMITS: i64 = 120;

#[tokio::test]
async fn a_start_from_a_checkpoint_finds_rows_positions_and_logs() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    // One partition is touched at the very beginning only: its position must not depend on recent entries.
    must_commit(&lake, &Draft::new(1).range(9, None, 4).stage(&lake).await).await;
    for batch in 0..COMMITS {
        let from = (batch > 0).then_some(batch * 2);
        must_commit(&lake, &Draft::new(1).range(0, from, batch * 2 + 2).stage(&lake).await).await;
    }
    let log = table_folder(&lake, SALES).join("_delta_log");
    let written = async {
        while !log.join("_last_checkpoint").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), written).await.expect("a checkpoint within 30 s");
    let names = || {
        let entries = std::fs::read_dir(&log).expect("the log");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a text"))
    };
    let checkpoints: Vec<_> = names().filter(|name| name.contains(".checkpoint.")).collect();
    // It is made in the background, of whatever version is the newest by then.
    assert_eq!(checkpoints.len(), 1, "{checkpoints:?}");
    assert!(checkpoints[0].as_str() >= "00000000000000000100", "{checkpoints:?}");
    let newest = version(&lake, SALES).await;
    assert_eq!(newest, COMMITS as u64 + 2);
    assert_eq!(
        names().filter(|name| name.ends_with(".json")).count() as u64,
        newest + 1,
        "none is expired yet"
    );

    let expected = [range(0, 0..COMMITS * 2), range(9, 0..4)].concat();
    let is_whole = async || {
        let lake = open(folder.path()).await;
        assert_eq!(version(&lake, SALES).await, newest);
        assert_eq!(positions(&lake, 1).await, [(0, COMMITS * 2), (9, 4)].into());
        assert_eq!(topic_state(&lake).await.current("main").map(|log| log.number), Some(1));
        assert_eq!(coordinates(&lake, SALES).await, expected);
        let all = (0..COMMITS * 2).chain(0..4);
        assert_eq!(totals(&session(&lake), "sales").await, totals_of(all));
        lake
    };
    let reopened = is_whole().await;
    for at in [2, 50, 99, 100, 101] {
        let state = reopened.table(SALES).expect("a table").snapshot_at(at).await.expect("an earlier state");
        let rows = (at as i64 - 2) * 2;
        assert_eq!(coordinates_at(&lake, SALES, &state).len() as i64, rows + 4, "version {at}");
        assert_eq!(state.transaction("main/retail.sales.v1/1/0"), (rows > 0).then_some(rows), "version {at}");
    }

    // Entries behind the checkpoint go in time; a start does not need them, and says which versions it can no longer read.
    for gone in 0..100 {
        std::fs::remove_file(entry(&lake, SALES, gone)).expect("an entry");
    }
    let reopened = is_whole().await;
    let error = reopened.table(SALES).expect("a table").snapshot_at(50).await.expect_err("expired");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    // Old and new processes go on from there.
    let to = COMMITS * 2 + 2;
    must_commit(&reopened, &Draft::new(1).range(0, to - 2, to).range(9, 4, 6).stage(&reopened).await).await;
    must_commit(&lake, &Draft::new(1).range(0, to, to + 2).stage(&lake).await).await;
    for lake in [&lake, &reopened] {
        assert_eq!(positions(lake, 1).await, [(0, to + 2), (9, 6)].into());
        assert_eq!(coordinates(lake, SALES).await, [range(0, 0..to + 2), range(9, 0..6)].concat());
    }
}

#[tokio::test]
async fn the_log_of_the_letters_is_checkpointed_too() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    for batch in 0..100 {
        let from = (batch > 0).then_some(batch * 2);
        let draft = Draft::new(1).range(0, from, batch * 2 + 2).bad([(0, batch * 2)]);
        must_commit(&lake, &draft.stage(&lake).await).await;
    }
    let log = table_folder(&lake, LETTERS).join("_delta_log");
    let written = async {
        while !log.join("_last_checkpoint").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), written).await.expect("a checkpoint within 30 s");
    let dead: Vec<_> = (0..100).map(|batch| (1, 0, batch * 2)).collect();
    assert_eq!(coordinates(&*open(folder.path()).await, LETTERS).await, dead);
}
