//! Dead letters first: a process that died between the letters and the rows, and decoders that judge a record differently.

use arrow_array::cast::AsArray;

use super::aged;
use crate::support::*;

/// Ranges of log 1 without the given offsets.
fn without(mut all: Vec<Coordinates>, dead: &[(i32, i64)]) -> Vec<Coordinates> {
    all.retain(|(_, partition, offset)| !dead.contains(&(*partition, *offset)));
    all
}

#[tokio::test]
async fn a_record_that_died_stays_dead_for_a_decoder_that_would_take_it() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let old_decoder = Draft::new(1).range(0, None, 10).range(1, None, 10).bad([(0, 3), (0, 7)]);
    die_after_letters(&lake, &old_decoder.stage(&lake).await).await;
    assert_eq!(coordinates(&lake, LETTERS).await, [range(0, 3..4), range(0, 7..8)].concat());
    assert!(positions(&lake, 1).await.is_empty(), "only the table's position counts");

    let next = open(folder.path()).await;
    let new_decoder = Draft::new(1).range(0, None, 10).range(1, None, 10);
    must_commit(&next, &new_decoder.stage(&next).await).await;
    let expected = without([range(0, 0..10), range(1, 0..10)].concat(), &[(0, 3), (0, 7)]);
    assert_eq!(coordinates(&next, SALES).await, expected);
    assert_eq!(coordinates(&next, LETTERS).await, [range(0, 3..4), range(0, 7..8)].concat());
    assert_eq!(positions(&next, 1).await, [(0, 10), (1, 10)].into());
}

#[tokio::test]
async fn letters_other_than_those_listed_join_them() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let old_decoder = Draft::new(1).range(0, None, 10).bad([(0, 3), (0, 7)]);
    die_after_letters(&lake, &old_decoder.stage(&lake).await).await;
    let new_decoder = Draft::new(1).range(0, None, 10).range(1, None, 10).bad([(0, 7), (0, 8), (1, 3)]);
    must_commit(&lake, &new_decoder.stage(&lake).await).await;
    let dead = [(0, 3), (0, 7), (0, 8), (1, 3)];
    assert_eq!(coordinates(&lake, SALES).await, without([range(0, 0..10), range(1, 0..10)].concat(), &dead));
    assert_eq!(coordinates(&lake, LETTERS).await, dead.map(|(partition, offset)| (1, partition, offset)));
}

#[tokio::test]
async fn dying_again_lists_no_letter_twice() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    for bad in [vec![(0, 3)], vec![(0, 3), (0, 4)], vec![(0, 4), (0, 9)]] {
        die_after_letters(&lake, &Draft::new(1).range(0, None, 10).bad(bad).stage(&lake).await).await;
    }
    must_commit(&lake, &Draft::new(1).range(0, None, 10).bad([(0, 3), (0, 9)]).stage(&lake).await).await;
    let dead = [(0, 3), (0, 4), (0, 9)];
    assert_eq!(coordinates(&lake, LETTERS).await, dead.map(|(partition, offset)| (1, partition, offset)));
    assert_eq!(coordinates(&lake, SALES).await, without(range(0, 0..10), &dead));
}

#[tokio::test]
async fn letters_count_in_whatever_batches_their_range_is_read_again() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    die_after_letters(&lake, &Draft::new(1).range(0, None, 10).bad([(0, 3), (0, 7)]).stage(&lake).await)
        .await;
    for draft in [
        Draft::new(1).range(0, None, 5),
        Draft::new(1).range(0, 5, 7).bad([(0, 6)]),
        Draft::new(1).range(0, 7, 12).bad([(0, 11)]),
        Draft::new(1).range(0, 12, 20),
    ] {
        must_commit(&lake, &draft.stage(&lake).await).await;
    }
    let dead = [(0, 3), (0, 6), (0, 7), (0, 11)];
    assert_eq!(coordinates(&lake, SALES).await, without(range(0, 0..20), &dead));
    assert_eq!(coordinates(&lake, LETTERS).await, dead.map(|(partition, offset)| (1, partition, offset)));
}

#[tokio::test]
async fn a_range_whose_records_all_died_leaves_no_row_and_no_file() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let all_bad = Draft::new(1).range(0, None, 6).bad((0..6).map(|offset| (0, offset)));
    die_after_letters(&lake, &all_bad.stage(&lake).await).await;
    must_commit(&lake, &Draft::new(1).range(0, None, 6).stage(&lake).await).await;
    let state = lake.table(SALES).expect("a table").snapshot().await.expect("a state");
    assert!(state.files().is_empty(), "{:?}", state.files());
    assert_eq!(positions(&lake, 1).await, [(0, 6)].into());
    assert_eq!(coordinates(&lake, LETTERS).await, range(0, 0..6));
}

#[tokio::test]
async fn letters_of_one_log_say_nothing_of_the_next() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    die_after_letters(&lake, &Draft::new(1).range(0, None, 10).bad([(0, 3)]).stage(&lake).await).await;
    let known = topic_state(&lake).await;
    assert_eq!(try_register(&lake, "b", &known, &[]).await.expect("the second log"), 2);
    must_commit(&lake, &Draft::new(2).range(0, None, 10).stage(&lake).await).await;
    let expected: Vec<_> = (0..10).map(|offset| (2, 0, offset)).collect();
    assert_eq!(coordinates(&lake, SALES).await, expected);
}

#[tokio::test]
async fn files_without_the_dead_count_their_rows_anew() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    die_after_letters(&lake, &Draft::new(1).range(0, None, 12).bad([(0, 0), (0, 11)]).stage(&lake).await)
        .await;
    must_commit(&lake, &Draft::new(1).range(0, None, 12).stage(&lake).await).await;
    let state = lake.table(SALES).expect("a table").snapshot().await.expect("a state");
    let (mut rows, mut offsets) = (0, Vec::new());
    for file in state.files().values() {
        let stats = file.stats.as_deref().expect("statistics");
        let stats: serde_json::Value = serde_json::from_str(stats).expect("JSON");
        rows += stats["numRecords"].as_u64().expect("a number");
        offsets.extend([&stats["minValues"], &stats["maxValues"]].map(|of| of["_offset"].as_i64()));
    }
    assert_eq!(rows, 10);
    assert_eq!((offsets.iter().min(), offsets.iter().max()), (Some(&Some(1)), Some(&Some(10))));
}

#[tokio::test]
async fn an_old_batch_is_dropped_though_some_of_its_records_died_already() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    die_after_letters(&lake, &Draft::new(1).range(0, None, 10).bad([(0, 3)]).stage(&lake).await).await;
    for draft in [Draft::new(1).range(0, None, 10), Draft::new(1).range(0, None, 10).bad([(0, 3)])] {
        must_drop(&lake, &aged(draft.stage(&lake).await, 61)).await;
    }
    assert_eq!(coordinates(&lake, SALES).await, []);
}

#[tokio::test]
async fn a_letter_keeps_the_record_and_says_what_was_wrong() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let batch = Draft::new(1).range(0, None, 3).bad([(0, 1)]).stage(&lake).await;
    must_commit(&lake, &batch).await;
    let state = lake.table(LETTERS).expect("a table").snapshot().await.expect("a state");
    let rows = rows_at(&lake, LETTERS, &state);
    assert_eq!(rows.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>(), 1);
    let text = |name: &str| {
        let column = rows[0].column_by_name(name).expect("a column");
        column.as_string::<i32>().value(0).to_owned()
    };
    let payload = rows[0].column_by_name("raw_value").expect("a column").as_binary::<i32>().value(0);
    assert_eq!(Some(payload), batch.dead_letters[0].raw_value.as_deref());
    assert_eq!(
        (text("error_class"), text("field"), text("_topic")),
        ("wrong_type".into(), "quantity".into(), TOPIC.into())
    );
    assert_eq!(
        (text("tenant"), text("store"), text("pipeline")),
        ("gift-uk".into(), "store-0".into(), "main".into())
    );
}
