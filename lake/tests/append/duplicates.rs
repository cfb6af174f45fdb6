//! Records that were sent twice: each counts once, whoever commits its twins, and wherever they stand.

use arrow_array::cast::AsArray;
use domain::Feed;
use domain::duplicates::{Mark, RecentRows, RowHash, marks_of};
use domain::ports::{Append, Batch, CommitOutcome};
use lake::Lake;
use lake::operations::compact::{CompactOptions, compact};
use serde_json::Value;

use super::replay::{land, land_as, select};
use crate::support::*;

const MOST: usize = 1_000;

/// The same record at the same offset of every partition.
fn twin(_: i32, offset: i64) -> Value {
    sale(0, offset)
}

/// Every record twice in its partition, one behind the other.
fn paired(partition: i32, offset: i64) -> Value {
    sale(partition, offset / 2)
}

async fn follow(lake: &Lake, recent: RecentRows) -> RecentRows {
    lake.follow(FEED, recent).await.expect("the table can be read")
}

async fn rebuilt(lake: &Lake) -> RecentRows {
    follow(lake, RecentRows::of_most(MOST)).await
}

/// Commits a marked batch that must be taken, and adds its rows and those of others to the recent ones, as an ingest does.
async fn commit_marked(lake: &Lake, batch: &Batch, recent: &mut RecentRows) -> Option<usize> {
    let CommitOutcome::Committed { version, others, .. } = commit(lake, batch).await else {
        panic!("the batch was dropped")
    };
    let others = others?;
    let count = others.len();
    recent.extend(others.into_iter().chain(batch.marks.clone().expect("marks").rows));
    recent.reached(version);
    Some(count)
}

/// Coordinates of the rows with a mark.
async fn marked(lake: &Lake, mark: Mark) -> Vec<Coordinates> {
    let log = lake.table(SALES).expect("a table").snapshot().await.expect("a state");
    let mut found = Vec::new();
    for rows in rows_at(lake, SALES, &log) {
        let column = |name: &str| rows.column_by_name(name).expect("a column").clone();
        let (logs, partitions, offsets) = (column("_log"), column("_partition"), column("_offset"));
        let marks = marks_of(&rows).expect("marks");
        for at in (0..rows.num_rows()).filter(|at| marks[*at] == mark) {
            found.push((
                logs.as_primitive::<arrow_array::types::Int64Type>().value(at),
                partitions.as_primitive::<arrow_array::types::Int32Type>().value(at),
                offsets.as_primitive::<arrow_array::types::Int64Type>().value(at),
            ));
        }
    }
    found.sort_unstable();
    found
}

/// The hashes of all rows of the table.
async fn hashes(lake: &Lake) -> Vec<RowHash> {
    let log = lake.table(SALES).expect("a table").snapshot().await.expect("a state");
    let rows = rows_at(lake, SALES, &log);
    rows.iter().flat_map(|rows| RowHash::of_rows(rows).expect("hashes")).collect()
}

#[tokio::test]
async fn twins_are_marked_in_a_batch_behind_it_and_after_a_start() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let mut recent = rebuilt(&lake).await;
    let batch = Draft::new(1).records(paired).range(0, None, 10).stage_marked(&lake, &recent).await;
    assert_eq!(commit_marked(&lake, &batch, &mut recent).await, Some(0));
    let odd: Vec<_> = range(0, 0..10).into_iter().filter(|(_, _, offset)| offset % 2 == 1).collect();
    assert_eq!(marked(&lake, Mark::Duplicate).await, odd);

    // In another partition, by the rows that are remembered and by those that the next process reads.
    let batch = Draft::new(1).records(twin).range(1, None, 3).stage_marked(&lake, &recent).await;
    commit_marked(&lake, &batch, &mut recent).await;
    let next = open(folder.path()).await;
    let batch = Draft::new(1).records(twin).range(1, 3, 7).stage_marked(&next, &rebuilt(&next).await).await;
    must_commit(&next, &batch).await;
    // The first partition holds the records 0 to 4.
    assert_eq!(marked(&lake, Mark::Duplicate).await, [odd, range(1, 0..5)].concat());
    assert_eq!(marked(&lake, Mark::Conflict).await, []);
}

#[tokio::test]
async fn a_batch_is_dropped_once_another_process_has_added_one_of_its_keys() {
    let folder = folder();
    let (lake, other) = (lake_with_log(folder.path()).await, open(folder.path()).await);
    let recent = rebuilt(&lake).await;
    let draft = Draft::new(1).records(twin).range(0, None, 10);
    let stale = draft.stage_marked(&lake, &recent).await;
    let theirs = Draft::new(1).records(twin).range(1, None, 4);
    must_commit(&other, &theirs.stage_marked(&other, &rebuilt(&other).await).await).await;
    let reason = must_drop(&lake, &stale).await;
    assert!(reason.contains("another process has added"), "{reason}");
    assert!(!positions(&lake, 1).await.contains_key(&0), "the batch is dropped whole");

    let recent = follow(&lake, recent).await;
    must_commit(&lake, &draft.stage_marked(&lake, &recent).await).await;
    assert_eq!(coordinates(&lake, SALES).await, [range(0, 0..10), range(1, 0..4)].concat());
    assert_eq!(marked(&lake, Mark::Duplicate).await, range(0, 0..4));
}

#[tokio::test]
async fn rows_of_others_are_told_and_what_is_only_rewritten_is_not_new() {
    let folder = folder();
    let (lake, other) = (lake_with_log(folder.path()).await, open(folder.path()).await);
    let mut recent = rebuilt(&lake).await;
    let mut commit_next = async |from: Option<i64>, to: i64| {
        let batch = Draft::new(1).range(0, from, to).stage_marked(&lake, &recent).await;
        let theirs = Draft::new(1).range(1, from, to);
        must_commit(&other, &theirs.stage_marked(&other, &rebuilt(&other).await).await).await;
        let table = other.table(SALES).expect("a table");
        compact(table, &CompactOptions::default()).await.expect("it is compacted");
        let others = commit_marked(&lake, &batch, &mut recent).await;
        assert_eq!(others, Some(usize::try_from(to - from.unwrap_or(0)).expect("small")));
    };
    commit_next(None, 10).await;
    commit_next(Some(10), 15).await;
    // What was remembered step by step is what a start reads, and what a table that nobody looked at for long gives.
    let (read, all) = (rebuilt(&*open(folder.path()).await).await, hashes(&lake).await);
    assert_eq!((recent.len(), read.len(), all.len()), (30, 30, 30));
    assert!(all.iter().all(|row| recent.mark(*row) == Mark::Duplicate && read.mark(*row) == Mark::Duplicate));
    assert_eq!(marked(&lake, Mark::Duplicate).await, []);
}

#[tokio::test]
async fn recent_rows_are_read_anew_where_the_log_does_not_tell_what_came() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let recent = rebuilt(&lake).await;
    let stale = Draft::new(1).range(1, None, 5).stage_marked(&lake, &recent).await;
    let first = must_commit(&lake, &Draft::new(1).range(0, None, 10).stage(&lake).await).await;
    must_commit(&lake, &Draft::new(1).range(0, 10, 20).stage(&lake).await).await;
    assert_eq!(version(&lake, SALES).await, first + 1);
    std::fs::remove_file(entry(&lake, SALES, first)).expect("an entry");
    let reason = must_drop(&lake, &stale).await;
    assert!(reason.contains("too much was added"), "{reason}");
    let recent = follow(&lake, recent).await;
    assert_eq!((recent.len(), recent.as_of()), (20, Some(first + 1)));
}

#[tokio::test]
async fn of_more_rows_than_fit_the_newest_are_read() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    for from in [0, 10, 20] {
        let draft = Draft::new(1).range(0, (from > 0).then_some(from), from + 10);
        must_commit(&lake, &draft.stage(&lake).await).await;
    }
    let recent = follow(&lake, RecentRows::of_most(12)).await;
    assert_eq!(recent.len(), 12);
    let newest = Draft::new(1).range(0, 20, 30).stage_marked(&lake, &recent).await.marks.expect("marks").rows;
    assert!(newest.iter().all(|row| recent.mark(*row) == Mark::Duplicate));
    let span = lake.span_of_newest(Feed::Sales, 12).await.expect("a span");
    assert_eq!(span.rows, 12);
    assert!(span.ingested_since.is_some() && span.occurred_since.is_some());
}

#[tokio::test]
async fn where_the_first_of_twins_is_dead_the_next_counts() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let bad = Draft::new(1).records(paired).range(0, None, 10).bad([(0, 2), (0, 4), (0, 5)]);
    die_after_letters(&lake, &bad.stage(&lake).await).await;
    let next = open(folder.path()).await;
    let mut recent = rebuilt(&next).await;
    let batch = Draft::new(1).records(paired).range(0, None, 10).stage_marked(&next, &recent).await;
    assert_eq!(commit_marked(&next, &batch, &mut recent).await, None, "what stands there must be read");
    assert_eq!(marked(&next, Mark::Duplicate).await, [(1, 0, 1), (1, 0, 7), (1, 0, 9)]);
    assert_eq!(follow(&next, recent).await.len(), 7);
}

#[tokio::test]
async fn letters_that_were_sent_twice_count_once_when_they_are_replayed() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    // The twin of offset 1 is a letter too, those of 2 and 3 are rows.
    let draft = Draft::new(1).records(twin).range(0, None, 5).range(1, None, 5);
    let bad = draft.bad([(0, 1), (1, 1), (1, 2), (0, 3)]);
    must_commit(&lake, &bad.stage_marked(&lake, &rebuilt(&lake).await).await).await;
    let before = [(1, 1, 0), (1, 1, 4)];
    assert_eq!(marked(&lake, Mark::Duplicate).await, before);

    assert_eq!(land_as(&*select(&lake, &[]).await, twin).await.expect("it lands").rows, 4);
    let after = [range(0, 3..4), range(1, 0..3), range(1, 4..5)].concat();
    assert_eq!(marked(&lake, Mark::Duplicate).await, after, "five records, each sent twice");
}

#[tokio::test]
async fn a_replay_drops_a_batch_that_was_marked_before_it() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let bad = Draft::new(1).range(0, None, 5).bad([(0, 1)]);
    must_commit(&lake, &bad.stage_marked(&lake, &rebuilt(&lake).await).await).await;
    let recent = rebuilt(&lake).await;
    let draft = Draft::new(1).records(twin).range(1, None, 3);
    let stale = draft.stage_marked(&lake, &recent).await;
    land(&*select(&lake, &[]).await).await.expect("it lands");
    must_drop(&lake, &stale).await;
    must_commit(&lake, &draft.stage_marked(&lake, &follow(&lake, recent).await).await).await;
    assert_eq!(marked(&lake, Mark::Duplicate).await, range(1, 0..3));
}
