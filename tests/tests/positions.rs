//! Where a feed may begin and go on (rules 1, 2 and 5): the table decides, and what contradicts it stops the feed with both values and the way on.

use std::time::Duration;

use tests::process::Process;
use tests::stream::{self, Stream};
use tests::verify::Report;
use tests::world::{PATIENCE, World};

/// Sends the stream's records of partition 0 from `from` up to `to`.
fn send(world: &World, from: i64, to: i64) {
    let producer = world.producer();
    for offset in from..to {
        let value = stream::value(0, offset);
        producer.send_raw(&world.topic(), Some(0), None, Some(&value), false).expect("the client takes it");
    }
    producer.finish().expect("all is acknowledged");
}

fn world_with_records(count: i64) -> World {
    let world = World::on_folder();
    world.create_topic(1);
    send(&world, 0, count);
    world.ingest_to_the_end();
    world
}

#[test]
fn a_second_run_finds_nothing_to_do_and_a_later_record_goes_on_where_it_stopped() {
    let world = world_with_records(100);
    let again = world.ingest_to_the_end();
    assert!(again.stderr.contains("0 rows and 0 dead letters in 0 commits"), "{}", again.stderr);
    send(&world, 100, 120);
    world.ingest_to_the_end();
    Report::of(&world).expect_stream(&[120]);
}

#[test]
fn a_shutdown_commits_what_is_buffered_or_drops_it_whole() {
    let mut world = World::on_folder();
    // Nothing is flushed by time while it runs, so that all that is there at the end was buffered at the signal.
    world.set("INTELLICARTEL__INGEST__FLUSH_MS", "600000");
    world.create_topic(1);
    send(&world, 0, 500);
    let ingest = world.start(&["ingest", "--feeds", "sales"]);
    std::thread::sleep(Duration::from_secs(4));
    ingest.signal("TERM");
    let ended = ingest.finish(PATIENCE).expect_success();
    assert!(ended.stderr.contains("in 1 commits"), "{}", ended.stderr);
    Report::of(&world).expect_stream(&[500]);
}

#[test]
fn a_topic_recreated_while_ingest_is_down_stops_the_feed_until_it_is_accepted() {
    let world = world_with_records(50);
    world.delete_topic();
    recreate(&world);
    send(&world, 0, 80);
    let ingest = ["ingest", "--feeds", "sales", "--until-end"];
    let _ = world.run(&ingest).expect_failure(&["is now log", "accept-log", &world.topic()]);
    let _ = world.run(&["ingest", "accept-log", &world.topic(), "--from", "earliest"]).expect_success();
    world.ingest_to_the_end();
    let report = Report::of(&world);
    report.expect_exact();
    for (log, count) in [("1/0", 50), ("2/0", 80)] {
        let partition = &report.json()["partitions"][log];
        let found = (partition["rows"].as_i64(), partition["letters"].as_i64());
        assert_eq!(found, (Some(count - stream::bad_before(count)), Some(stream::bad_before(count))));
    }
}

#[test]
fn a_topic_recreated_while_ingest_runs_stops_the_feed_and_nothing_of_it_is_stored() {
    let world = world_with_records(50);
    let mut ingest = world.start(&["ingest", "--feeds", "sales"]);
    std::thread::sleep(Duration::from_secs(2));
    assert!(ingest.is_running(), "{}", ingest.log());
    world.delete_topic();
    recreate(&world);
    send(&world, 0, 80);
    let _ = ingest.finish(PATIENCE).expect_failure(&["accept-log", &world.topic()]);
    Report::of(&world).expect_stream(&[50]);
}

/// Creates the topic again; a cluster may need a moment to forget the one before.
fn recreate(world: &World) {
    std::thread::sleep(Duration::from_secs(1));
    world.create_topic(1);
}

#[test]
fn a_position_beyond_the_end_and_one_below_the_start_stop_the_feed_with_both_values() {
    let world = world_with_records(50);
    // Another log of the same name with fewer records, accepted at an offset that it does not hold.
    let beyond = ["ingest", "accept-log", &world.topic(), "--from", "51"];
    let _ = world.run(&beyond).expect_failure(&["51", "0 to 50"]);
    world.set_position(60);
    let ingest = ["ingest", "--feeds", "sales", "--until-end"];
    let _ = world.run(&ingest).expect_failure(&["position is 60", "ends at 50", "accept-log"]);
    world.set_position(10);
    world.delete_records_before(30);
    let _ = world.run(&ingest).expect_failure(&["position is 10", "begins at 30", "accept-log"]);
    let accept = ["ingest", "accept-log", &world.topic(), "--partition", "0", "--from", "earliest"];
    let _ = world.run(&accept).expect_success();
    world.ingest_to_the_end();
    Report::of(&world).expect_exact();
}

#[test]
fn a_mistyped_pipeline_is_refused_before_anything_is_read_twice() {
    let mut world = world_with_records(50);
    world.set("INTELLICARTEL__INGEST__PIPELINE", "mian");
    let ingest = ["ingest", "--feeds", "sales", "--until-end"];
    let _ = world.run(&ingest).expect_failure(&["ingest.pipeline is `mian`", "under pipeline main"]);
    Report::of(&world).expect_stream(&[50]);
}

#[test]
fn two_processes_with_one_pipeline_leave_each_record_once_and_one_says_so() {
    let world = World::on_folder();
    world.create_topic(4);
    let stream = Stream::start(&world, 4, 4_000);
    let mut both =
        [world.start(&["ingest", "--feeds", "sales"]), world.start(&["ingest", "--feeds", "sales"])];
    world.await_positions(&mut both[0], |positions| positions.values().sum::<i64>() >= 20_000);
    let said = both
        .iter()
        .any(|process| process.log().contains("another process runs ingest with the same pipeline"));
    let logs = both.each_ref().map(Process::log);
    for process in both {
        process.signal("TERM");
        let _ = process.finish(PATIENCE).expect_success();
    }
    let acknowledged = stream.end();
    world.ingest_to_the_end();
    Report::of(&world).expect_stream(&acknowledged);
    assert!(said, "neither process said a word: {logs:#?}");
}
