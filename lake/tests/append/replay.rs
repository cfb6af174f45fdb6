//! Replays of dead letters: each lands once with its own coordinates, whatever an ingest or another replay commits beside it.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::fields::{Reject, RejectClass};
use domain::ports::{LetterSelection, Letters};
use domain::replay::{Landed, LetterFilter, LetterStatus, PlaceRange};
use domain::{Result, civil};
use futures::future::join_all;
use lake::Lake;

use crate::support::*;

/// Selects all letters, or some.
pub(crate) async fn select(lake: &Lake, places: &[&str]) -> Arc<dyn LetterSelection> {
    let ranges = places.iter().map(|text| format!("{TOPIC}/{text}").parse().expect("a range"));
    let ranges: Vec<PlaceRange> = ranges.collect();
    let filter = LetterFilter { places: (!ranges.is_empty()).then_some(ranges), ..LetterFilter::default() };
    lake.select(&filter).await.expect("letters are selected")
}

/// Status of each letter, and whether it is ahead of the position.
pub(crate) async fn seen(lake: &Lake) -> Vec<(Coordinates, LetterStatus, bool)> {
    let selection = select(lake, &[]).await;
    let entries = selection.entries().iter();
    let mut seen: Vec<_> =
        entries.map(|e| ((e.place.log, e.place.partition, e.place.offset), e.status, e.is_ahead)).collect();
    seen.sort_unstable_by_key(|(place, ..)| *place);
    seen
}

/// Lands mended records of everything in a selection, dead or not: what stands in the table by then must be found by the commit.
pub(crate) async fn land(selection: &dyn LetterSelection) -> Result<Landed> {
    land_as(selection, sale).await
}

/// As [`land`], mended to other records.
pub(crate) async fn land_as(
    selection: &dyn LetterSelection,
    record: fn(i32, i64) -> serde_json::Value,
) -> Result<Landed> {
    let mut rows = FEED.builder();
    for entry in selection.entries() {
        let place = &entry.place;
        let payload = record(place.partition, place.offset).to_string().into_bytes();
        let metadata = metadata(place.log, place.partition, place.offset);
        rows.push(Some(&payload), &metadata, civil::now()).expect("it is mended");
    }
    if rows.rows() == 0 {
        return Ok(Landed::default());
    }
    selection.land(FEED, rows.finish()).await
}

fn landed(rows: u64, standing: u64, ahead: u64) -> Landed {
    Landed { rows, standing, ahead }
}

async fn lake_with_letters(folder: &std::path::Path) -> Arc<Lake> {
    let lake = lake_with_log(folder).await;
    let draft = Draft::new(1).range(0, None, 20).range(1, None, 20).bad([(0, 3), (0, 7), (1, 5)]);
    must_commit(&lake, &draft.stage(&lake).await).await;
    lake
}

#[tokio::test]
async fn a_replayed_record_stands_once_under_its_own_coordinates() {
    let folder = folder();
    let lake = lake_with_letters(folder.path()).await;
    let some = select(&lake, &["1/0/0-5"]).await;
    assert_eq!(land(&*some).await.expect("it lands"), landed(1, 0, 0));
    let all = select(&lake, &[]).await;
    let status: Vec<_> = all.entries().iter().map(|entry| entry.status).collect();
    assert_eq!(status.iter().filter(|status| **status == LetterStatus::Resolved).count(), 1);
    assert_eq!(land(&*all).await.expect("it lands"), landed(2, 1, 0));
    // A selection that is older than what stands now is looked at anew.
    for stale in [&some, &all] {
        let count = stale.entries().len() as u64;
        assert_eq!(land(&**stale).await.expect("nothing to do"), landed(0, count, 0));
    }
    let lake = open(folder.path()).await;
    assert_eq!(coordinates(&lake, SALES).await, [range(0, 0..20), range(1, 0..20)].concat());
    assert_eq!(coordinates(&lake, LETTERS).await, [(1, 0, 3), (1, 0, 7), (1, 1, 5)]);
    assert_eq!(positions(&lake, 1).await, [(0, 20), (1, 20)].into());
    assert!(seen(&lake).await.iter().all(|(_, status, ahead)| *status == LetterStatus::Resolved && !ahead));
}

#[tokio::test]
async fn a_replay_writes_its_version_and_repeats_the_positions_that_it_touches() {
    let folder = folder();
    let lake = lake_with_letters(folder.path()).await;
    let read = version(&lake, SALES).await;
    land(&*select(&lake, &["1/1/5"]).await).await.expect("it lands");
    let entry = std::fs::read_to_string(entry(&lake, SALES, read + 1)).expect("the entry");
    let transactions: BTreeSet<String> = entry
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .filter(|action| action["txn"].is_object())
        .map(|action| {
            format!("{}={}", action["txn"]["appId"].as_str().expect("an id"), action["txn"]["version"])
        })
        .collect();
    assert_eq!(transactions, [format!("main/{TOPIC}/1/1=20"), format!("replay/{SALES}={read}")].into());
}

#[tokio::test]
async fn what_an_ingest_may_have_in_hand_is_left_to_it() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    // A process with a newer decoder has prepared a batch, and settles it before an older one lists a letter and dies.
    let newer = Draft::new(1).range(0, None, 10).stage(&lake).await;
    die_after_letters(&lake, &Draft::new(1).range(0, None, 10).bad([(0, 3)]).stage(&lake).await).await;
    assert_eq!(seen(&lake).await, [((1, 0, 3), LetterStatus::Dead, true)]);
    let selection = select(&lake, &[]).await;
    assert_eq!(land(&*selection).await.expect("nothing to do"), landed(0, 0, 1));
    must_commit(&lake, &newer).await;
    // Now the position has passed it: the record stayed dead for the ingest, and may be replayed, once.
    assert_eq!(land(&*selection).await.expect("it lands"), landed(1, 0, 0));
    assert_eq!(land(&*select(&lake, &[]).await).await.expect("nothing to do"), landed(0, 1, 0));
    assert_eq!(coordinates(&lake, SALES).await, range(0, 0..10));
}

#[tokio::test]
async fn letters_of_a_replaced_log_are_replayed_though_it_was_not_read_to_their_end() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let old = Draft::new(1).range(0, None, 10).bad([(0, 3)]).stage(&lake).await;
    die_after_letters(&lake, &old).await;
    let known = topic_state(&lake).await;
    assert_eq!(try_register(&lake, "a", &known, &[(0, 0)]).await.expect("accepted anew"), 2);
    assert_eq!(seen(&lake).await, [((1, 0, 3), LetterStatus::Dead, false)]);
    assert_eq!(land(&*select(&lake, &[]).await).await.expect("it lands"), landed(1, 0, 0));
    // The owner of the old log may still be there, but commits nothing any more.
    must_drop(&lake, &old).await;
    // The same records read again under the new number are others: a letter and rows of their own.
    must_commit(&lake, &Draft::new(2).range(0, 0, 10).bad([(0, 3)]).stage(&lake).await).await;
    let expected: Vec<_> = (0..10).filter(|offset| *offset != 3).map(|offset| (2, 0, offset)).collect();
    assert_eq!(coordinates(&lake, SALES).await, [vec![(1, 0, 3)], expected].concat());
    assert_eq!(
        seen(&lake).await,
        [((1, 0, 3), LetterStatus::Resolved, false), ((2, 0, 3), LetterStatus::Dead, false)]
    );
}

#[tokio::test]
async fn an_attempt_that_failed_is_counted_once_and_keeps_the_record() {
    let folder = folder();
    let lake = lake_with_letters(folder.path()).await;
    let fail = async |selection: &dyn LetterSelection| {
        let which: Vec<usize> = (0..selection.entries().len()).collect();
        let letters = selection.read(&which, usize::MAX).await.expect("they are read");
        let again = letters.into_iter().map(|letter| {
            letter.failed_again(Reject::field(
                RejectClass::OutOfRange,
                "kind",
                Some("S"),
                "`sale` or `return`",
            ))
        });
        selection.fail(again.collect()).await.expect("they are written")
    };
    let first = select(&lake, &[]).await;
    let before = first.read(&[0, 1, 2], usize::MAX).await.expect("they are read");
    assert_eq!(fail(&*first).await, 3);
    // Another process that selected the same letters tried them at the same time.
    assert_eq!(fail(&*first).await, 0);
    assert_eq!(fail(&*select(&lake, &["1/0/3"]).await).await, 1);
    let now = select(&lake, &[]).await;
    let mut attempts: Vec<_> = now
        .entries()
        .iter()
        .map(|entry| (entry.place.partition, entry.place.offset, entry.attempt))
        .collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [(0, 3, 3), (0, 7, 2), (1, 5, 2)]);
    let after = now.read(&[0, 1, 2], usize::MAX).await.expect("they are read");
    for letter in after {
        let known = before.iter().find(|known| known.place == letter.place).expect("the same letters");
        assert_eq!((letter.error_class.as_str(), letter.field.as_deref()), ("out_of_range", Some("kind")));
        assert_eq!(
            (&letter.raw_value, letter.ingested_at, &letter.tenant, letter.timestamp),
            (&known.raw_value, known.ingested_at, &known.tenant, known.timestamp)
        );
    }
    let of_class = |class: &str| LetterFilter { class: Some(class.to_owned()), ..LetterFilter::default() };
    assert_eq!(lake.select(&of_class("wrong_type")).await.expect("letters").entries().len(), 0);
    assert_eq!(lake.select(&of_class("out_of_range")).await.expect("letters").entries().len(), 3);
}

#[tokio::test]
async fn letters_are_read_in_pieces_that_fit() {
    let folder = folder();
    let lake = lake_with_letters(folder.path()).await;
    let selection = select(&lake, &[]).await;
    let one = selection.read(&[0, 1, 2], 1).await.expect("the first");
    assert_eq!(one.len(), 1, "one is read however large it is");
    let bytes = one[0].raw_value.as_ref().map_or(0, Vec::len);
    assert_eq!(selection.read(&[0, 1, 2], 2 * bytes + 10).await.expect("two").len(), 2);
    let two = selection.read(&[0, 2], usize::MAX).await.expect("both");
    assert_eq!(
        two.iter().map(|letter| &letter.place).collect::<Vec<_>>(),
        [&selection.entries()[0].place, &selection.entries()[2].place]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_replays_at_once_each_record_is_landed_by_one() {
    let folder = folder();
    let lakes = [lake_with_letters(folder.path()).await, open(folder.path()).await];
    let mut racers = Vec::new();
    for racer in 0..8 {
        let selection = select(&lakes[racer % 2], &[]).await;
        racers.push(tokio::spawn(async move { land(&*selection).await.expect("the store answers") }));
    }
    let ends: Vec<Landed> = join_all(racers).await.into_iter().map(|end| end.expect("no panic")).collect();
    assert_eq!(ends.iter().map(|end| end.rows).sum::<u64>(), 3, "{ends:?}");
    assert_eq!(coordinates(&lakes[0], SALES).await, [range(0, 0..20), range(1, 0..20)].concat());
}
