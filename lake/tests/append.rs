//! The commit protocol as an ingest meets it: every record of a log becomes one row or one dead letter, whoever commits, however often.

#[path = "append/duplicates.rs"]
mod duplicates;
#[path = "append/interleaving.rs"]
mod interleaving;
#[path = "append/letters.rs"]
mod letters;
#[path = "append/replay.rs"]
mod replay;
mod support;

use std::sync::Arc;
use std::task::Poll;

use domain::ErrorKind;
use domain::ports::{Append, Batch, CommitOutcome, RegisterLog};
use domain::position::TopicState;
use futures::future::join_all;
use lake::Lake;
use support::*;

/// Moves the time at which a batch's files were written back.
fn aged(mut batch: Batch, minutes: i64) -> Batch {
    batch.files.iter_mut().for_each(|file| file.written_at -= minutes * 60_000_000);
    batch
}

#[tokio::test]
async fn the_first_log_is_number_one_and_the_newest_is_the_current_one() {
    let folder = folder();
    let lake = open(folder.path()).await;
    let unknown = topic_state(&lake).await;
    assert_eq!((unknown.logs.as_slice(), unknown.next_offsets.len()), (&[][..], 0));

    assert_eq!(try_register(&lake, "a", &unknown, &[]).await.expect("the first log"), 1);
    let first = topic_state(&lake).await;
    assert_eq!(first.current("main").map(|log| (log.number, log.identity.clone())), Some((1, identity("a"))));
    assert!(first.next_offsets.is_empty(), "a log begins without positions: {first:?}");
    assert!(first.current("other").is_none());

    assert_eq!(try_register(&lake, "b", &first, &[(0, 40), (3, 7)]).await.expect("the second log"), 2);
    let second = topic_state(&*open(folder.path()).await).await;
    assert_eq!(
        second.current("main").map(|log| (log.number, log.identity.clone())),
        Some((2, identity("b")))
    );
    assert_eq!(second.logs.iter().map(|log| log.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(second.next_offsets, [((2, 0), 40), ((2, 3), 7)].into());
    assert_eq!(second.table_id, unknown.table_id, "a table is known by its id");
    let other = support::folder();
    assert_ne!(topic_state(&*open(other.path()).await).await.table_id, unknown.table_id);
}

#[tokio::test]
async fn a_log_registered_again_gets_the_next_number_and_its_own_positions() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    must_commit(&lake, &Draft::new(1).range(0, None, 10).stage(&lake).await).await;
    let known = topic_state(&lake).await;
    assert_eq!(try_register(&lake, "a", &known, &[(0, 5)]).await.expect("accepted anew"), 2);
    let state = topic_state(&lake).await;
    assert_eq!(state.current("main").map(|log| log.number), Some(2));
    assert_eq!(state.next_offsets, [((1, 0), 10), ((2, 0), 5)].into());
}

#[tokio::test]
async fn a_registration_on_a_stale_view_is_refused_and_changes_nothing() {
    let folder = folder();
    let (lake, other) = (lake_with_log(folder.path()).await, open(folder.path()).await);
    let before = (topic_state(&lake).await, version(&lake, SALES).await);
    for registrar in [&lake, &other] {
        let error = try_register(registrar, "b", &TopicState::default(), &[(0, 5)]).await.expect_err("stale");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains(TOPIC), "{error}");
    }
    // Another pipeline's view is stale too: all logs of a topic share one sequence of numbers.
    let (pipeline, identity) = (domain::ids::Pipeline::new("second").expect("a name"), identity("a"));
    let (known, positions) = (TopicState::default(), [(0, 5)]);
    let request = RegisterLog {
        feed: FEED,
        pipeline: &pipeline,
        topic: TOPIC,
        identity: &identity,
        known: &known,
        positions: &positions,
    };
    assert_eq!(other.register_log(request).await.expect_err("stale").kind(), ErrorKind::Conflict);
    assert_eq!((topic_state(&lake).await, version(&lake, SALES).await), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_processes_that_register_at_once_one_wins() {
    let folder = folder();
    let lakes = join_all((0..4).map(|_| open(folder.path()))).await;
    let register = |(at, lake): (usize, Arc<Lake>)| {
        tokio::spawn(
            async move { try_register(&lake, &format!("topic-{at}"), &TopicState::default(), &[]).await },
        )
    };
    let ends = join_all(lakes.iter().cloned().enumerate().map(register)).await;
    let ends: Vec<_> = ends.into_iter().map(|end| end.expect("no panic")).collect();
    assert_eq!(ends.iter().filter(|end| matches!(end, Ok(1))).count(), 1, "{ends:?}");
    let lost = ends.iter().filter_map(|end| end.as_ref().err()).map(domain::Error::kind);
    assert_eq!(lost.collect::<Vec<_>>(), [ErrorKind::Conflict; 3]);
    assert_eq!(topic_state(&lakes[0]).await.logs.len(), 1);
}

#[tokio::test]
async fn a_batch_that_begins_at_the_position_is_committed_once() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let first = Draft::new(1).range(0, None, 10).bad([(0, 4)]).stage(&lake).await;
    let at = must_commit(&lake, &first).await;
    assert_eq!(version(&lake, SALES).await, at);
    let second = Draft::new(1).range(0, 10, 25).range(2, None, 5).stage(&lake).await;
    must_commit(&lake, &second).await;

    let expected: Vec<_> = [range(0, 0..4), range(0, 5..25), range(2, 0..5)].concat();
    assert_eq!(positions(&lake, 1).await, [(0, 25), (2, 5)].into());
    for batch in [&first, &second] {
        let reason = must_drop(&lake, batch).await;
        assert!(reason.contains(TOPIC) && reason.contains("25"), "{reason}");
    }
    // Another process knows nothing of what this one did, and decides the same.
    let other = open(folder.path()).await;
    must_drop(&other, &second).await;
    for lake in [&lake, &other] {
        assert_eq!(coordinates(lake, SALES).await, expected);
        assert_eq!(coordinates(lake, LETTERS).await, range(0, 4..5));
        assert_eq!(positions(lake, 1).await, [(0, 25), (2, 5)].into());
    }
}

#[tokio::test]
async fn a_range_without_records_moves_the_position() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    must_commit(&lake, &Draft::new(1).range(0, None, 10).stage(&lake).await).await;
    // Markers of transactions and compacted-away offsets: nothing to write, yet consumed.
    let mut markers = Draft::new(1).range(0, 10, 14).stage(&lake).await;
    markers.files.clear();
    must_commit(&lake, &markers).await;
    assert_eq!(positions(&lake, 1).await, [(0, 14)].into());
    assert_eq!(coordinates(&lake, SALES).await, range(0, 0..10));
}

#[tokio::test]
async fn a_batch_that_begins_elsewhere_changes_nothing() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    must_commit(&lake, &Draft::new(1).range(0, None, 10).range(1, None, 10).stage(&lake).await).await;
    let cases = [
        ("below", Draft::new(1).range(0, 5, 20)),
        ("above", Draft::new(1).range(0, 11, 20)),
        ("none, though one is stored", Draft::new(1).range(0, None, 20)),
        ("one, though none is stored", Draft::new(1).range(7, 0, 20)),
        ("one of two differs", Draft::new(1).range(0, 10, 20).range(1, 9, 20)),
        ("a log without positions", Draft::new(2).range(0, 10, 20)),
    ];
    let before = (version(&lake, SALES).await, version(&lake, LETTERS).await);
    for (case, draft) in cases {
        // With and without dead letters: the letters come first, and must not be left behind.
        for draft in [draft.clone().bad([(0, 15), (7, 15)]), draft] {
            must_drop(&lake, &draft.stage(&lake).await).await;
            assert_eq!((version(&lake, SALES).await, version(&lake, LETTERS).await), before, "{case}");
        }
    }
    assert_eq!(positions(&lake, 1).await, [(0, 10), (1, 10)].into());
    assert_eq!(coordinates(&lake, SALES).await, [range(0, 0..10), range(1, 0..10)].concat());
    assert_eq!(coordinates(&lake, LETTERS).await, []);
    // What was dropped does not stand in the way of the right batch.
    must_commit(&lake, &Draft::new(1).range(0, 10, 20).range(1, 10, 20).stage(&lake).await).await;
    assert_eq!(coordinates(&lake, SALES).await, [range(0, 0..20), range(1, 0..20)].concat());
}

#[tokio::test]
async fn pipelines_and_topics_have_positions_of_their_own() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    must_commit(&lake, &Draft::new(1).range(0, None, 10).stage(&lake).await).await;
    let mut other = Draft::new(1).range(0, None, 3).stage(&lake).await;
    other.topic = "retail.sales.v1.copy".to_owned();
    must_commit(&lake, &other).await;
    let mut other = Draft::new(1).range(0, None, 4).stage(&lake).await;
    other.pipeline = domain::ids::Pipeline::new("second").expect("a name");
    must_commit(&lake, &other).await;
    assert_eq!(positions(&lake, 1).await, [(0, 10)].into());
    let second = lake.topic_state(FEED, &other.pipeline, TOPIC).await.expect("a state");
    assert_eq!(second.next_offsets, [((1, 0), 4)].into());
    assert_eq!(second.logs, topic_state(&lake).await.logs, "logs are shown whoever registered them");
}

#[tokio::test]
async fn a_batch_older_than_an_hour_is_dropped() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    for draft in [Draft::new(1).range(0, None, 10), Draft::new(1).range(0, None, 10).bad([(0, 3)])] {
        let reason = must_drop(&lake, &aged(draft.stage(&lake).await, 61)).await;
        assert!(reason.contains("3660 s"), "{reason}");
        // The oldest file counts, not the newest.
        let mut batch = draft.stage(&lake).await;
        batch.files[0].written_at -= 61 * 60_000_000;
        must_drop(&lake, &batch).await;
    }
    assert_eq!((coordinates(&lake, SALES).await, coordinates(&lake, LETTERS).await), (vec![], vec![]));
    assert!(positions(&lake, 1).await.is_empty());
    must_commit(&lake, &aged(Draft::new(1).range(0, None, 10).stage(&lake).await, 59)).await;
    assert_eq!(coordinates(&lake, SALES).await, range(0, 0..10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_processes_that_race_for_a_range_one_wins() {
    let folder = folder();
    let lakes = [lake_with_log(folder.path()).await, open(folder.path()).await];
    let mut from = None;
    for round in 0..4_i64 {
        let (begin, to) = (from.unwrap_or(0), (round + 1) * 10);
        let draft = Draft::new(1).range(0, from, to).bad([(0, begin + 2)]);
        let mut racers = Vec::new();
        for racer in 0..12 {
            let lake = Arc::clone(&lakes[racer % 2]);
            let batch = draft.stage(&lake).await;
            racers.push(tokio::spawn(async move { commit(&lake, &batch).await }));
        }
        let ends = join_all(racers).await;
        let won = ends.iter().filter(|end| matches!(end, Ok(CommitOutcome::Committed { .. }))).count();
        let lost = ends.iter().filter(|end| matches!(end, Ok(CommitOutcome::Dropped { .. }))).count();
        assert_eq!((won, lost), (1, 11), "round {round}: {ends:?}");
        from = Some(to);
    }
    let (dead, good): (Vec<_>, Vec<_>) =
        range(0, 0..40).into_iter().partition(|(_, _, offset)| offset % 10 == 2);
    for lake in &lakes {
        assert_eq!(coordinates(lake, SALES).await, good);
        assert_eq!(coordinates(lake, LETTERS).await, dead);
        assert_eq!(positions(lake, 1).await, [(0, 40)].into());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_with_partitions_of_their_own_all_commit() {
    const BATCHES: i64 = 6;
    let folder = folder();
    let lakes = [lake_with_log(folder.path()).await, open(folder.path()).await];
    let owner = |partition: i32| {
        let lake = Arc::clone(&lakes[partition as usize % 2]);
        tokio::spawn(async move {
            let mut from = None;
            for to in (1..=BATCHES).map(|batch| batch * 5) {
                let draft = Draft::new(1).range(partition, from, to).bad([(partition, to - 1)]);
                must_commit(&lake, &draft.stage(&lake).await).await;
                from = Some(to);
            }
        })
    };
    for end in join_all((0..6).map(owner)).await {
        end.expect("every batch of an owner is committed");
    }
    let all = (0..6).flat_map(|partition| range(partition, 0..BATCHES * 5));
    let (dead, good): (Vec<_>, Vec<_>) = all.partition(|(_, _, offset)| offset % 5 == 4);
    let lake = open(folder.path()).await;
    assert_eq!(coordinates(&lake, SALES).await, good);
    assert_eq!(coordinates(&lake, LETTERS).await, dead);
    assert_eq!(positions(&lake, 1).await, (0..6).map(|partition| (partition, BATCHES * 5)).collect());
}

#[tokio::test]
async fn cancelled_commits_stand_whole_or_not_at_all() {
    const RECORDS: i64 = 12;
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    // A commit is cancelled a little later each time, wherever it is by then.
    for polls in 0..40_i32 {
        let from = positions(&lake, 1).await.get(&0).copied();
        let to = from.unwrap_or(0) + RECORDS;
        let batch = Draft::new(1).range(0, from, to).bad([(0, to - 1)]).stage(&lake).await;
        let (mut attempt, mut left) = (std::pin::pin!(lake.commit(&batch)), polls);
        std::future::poll_fn(|context| {
            let ended = attempt.as_mut().poll(context).is_ready() || left == 0;
            left -= 1;
            if ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    // Files written by the last cancelled attempt may still land: a commit of our own settles what comes before it.
    let settled = loop {
        let from = positions(&lake, 1).await.get(&0).copied();
        let to = from.unwrap_or(0) + RECORDS;
        let batch = Draft::new(1).range(0, from, to).bad([(0, to - 1)]).stage(&lake).await;
        if matches!(commit(&lake, &batch).await, CommitOutcome::Committed { .. }) {
            break to;
        }
    };
    let (dead, good): (Vec<_>, Vec<_>) =
        range(0, 0..settled).into_iter().partition(|(_, _, offset)| offset % RECORDS == RECORDS - 1);
    let lake = open(folder.path()).await;
    assert_eq!(coordinates(&lake, SALES).await, good);
    assert_eq!(coordinates(&lake, LETTERS).await, dead);
}
