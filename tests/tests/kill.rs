//! Promise 1: whatever is killed, and when, every record that Kafka acknowledged stands exactly once, a row or a dead letter. Beside the stream another
//! process compacts the tables, and is killed as well.
//!
//! `KILLS` and `SEED` choose how many and which; a seeded ten run in CI, `make kill-test` runs a hundred.
#![expect(clippy::print_stdout, reason = "a kill test says what it did, for the record")]

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::beside::{Compactor, Reader};
use tests::proxy::Proxy;
use tests::stream::Stream;
use tests::verify::Report;
use tests::world::{PATIENCE, World};
use tests::{service, setting};

const PARTITIONS: i32 = 4;
const PER_SECOND: u32 = 4_000;
/// Of 1,000 requests to S3, so many are spoilt.
const SPOILT_PER_MILLE: u32 = 60;

#[test]
fn killed_on_a_folder_every_record_stands_once() {
    kill(World::on_folder(), None);
}

#[test]
fn killed_on_s3_behind_a_spoiling_proxy_every_record_stands_once() {
    let mut world = World::on_s3();
    let proxy = Proxy::start(&service("INTELLICARTEL__S3__ENDPOINT"), setting("SEED", 7), SPOILT_PER_MILLE);
    world.set("INTELLICARTEL__S3__ENDPOINT", &proxy.endpoint());
    kill(world, Some(proxy));
}

/// A store that takes connections and never answers.
#[test]
fn told_to_end_while_it_starts_it_ends_well() {
    let mut world = World::on_s3();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    world.set("INTELLICARTEL__S3__ENDPOINT", &format!("http://{address}"));
    silent.set_nonblocking(true).expect("a listener that can be asked");
    let mut ingest = world.start(&["ingest", "--feeds", "sales"]);
    let _held = loop {
        match silent.accept() {
            Ok(connection) => break connection,
            Err(_) => assert!(ingest.is_running(), "{}", ingest.log()),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    ingest.signal("TERM");
    let ended = ingest.finish(PATIENCE).expect_success();
    assert!(ended.stderr.contains("told to end before anything was read"), "{}", ended.stderr);
}

fn kill(world: World, proxy: Option<Proxy>) {
    let (kills, seed) = (setting("KILLS", 10), setting("SEED", 7));
    let mut dice = StdRng::seed_from_u64(seed);
    world.create_topic(PARTITIONS);
    let stream = Stream::start(&world, PARTITIONS, PER_SECOND);
    let world = Arc::new(world);
    let reader = Reader::start(&world);
    let compactor = Compactor::start(&world, seed);
    for _ in 0..kills {
        let mut ingest = world.start(&["ingest", "--feeds", "sales"]);
        let begun = Instant::now();
        // A start is worth killing before it has read anything, and so is an ingest in full run.
        let life = Duration::from_millis(dice.random_range(100..4_000));
        while begun.elapsed() < life {
            assert!(ingest.is_running(), "ingest ended by itself: {}", ingest.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        ingest.kill();
    }
    // On S3 a start takes long, and few of those that were killed got to commit: the last one lives until files were compacted beside it.
    let mut ingest = world.start(&["ingest", "--feeds", "sales"]);
    let begun = Instant::now();
    while compactor.files() == 0 && !compactor.is_over() {
        assert!(begun.elapsed() < PATIENCE, "nothing was compacted: {}", ingest.log());
        assert!(ingest.is_running(), "ingest ended by itself: {}", ingest.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    ingest.kill();
    let acknowledged = stream.end();
    let compacted = compactor.end();
    let restarted = Instant::now();
    world.ingest_to_the_end();
    let caught_up = restarted.elapsed();
    let reads = reader.end();
    let report = Report::of(&world);
    println!(
        "seed {seed}, {kills} kills on {}: {} rows, {} dead letters of {} records; caught up {caught_up:.1?} after the last kill; {reads} consistent reads and {compacted} beside it; {}",
        if proxy.is_some() { "S3" } else { "a folder" },
        report.number("rows"),
        report.number("letters"),
        acknowledged.iter().sum::<i64>(),
        proxy.map_or_else(String::new, |proxy| proxy.counts()),
    );
    report.expect_stream(&acknowledged);
    assert!(reads > 0, "the reader saw nothing");
}

/// A process that sleeps for longer than its batches may live, and wakes after another has taken its place and vacuum its files.
#[test]
fn stopped_and_woken_every_record_stands_once() {
    let (stops, seed) = (setting("KILLS", 10).div_ceil(3), setting("SEED", 7));
    let mut dice = StdRng::seed_from_u64(seed);
    let mut world = World::on_folder();
    world.set("INTELLICARTEL__INGEST__BATCH_SECONDS", "2");
    world.set("INTELLICARTEL__INGEST__FLUSH_MS", "50");
    world.create_topic(PARTITIONS);
    let stream = Stream::start(&world, PARTITIONS, PER_SECOND);
    let mut sleeper = world.start(&["ingest", "--feeds", "sales"]);
    let mut swept = 0;
    for _ in 0..stops {
        std::thread::sleep(Duration::from_millis(dice.random_range(500..1_500)));
        sleeper.signal("STOP");
        let mut other = world.start(&["ingest", "--feeds", "sales"]);
        std::thread::sleep(Duration::from_millis(3_000));
        assert!(other.is_running(), "{}", other.log());
        other.kill();
        swept += world.sweep_unreferenced_files();
        sleeper.signal("CONT");
        std::thread::sleep(Duration::from_millis(500));
        assert!(sleeper.is_running(), "{}", sleeper.log());
    }
    sleeper.signal("TERM");
    let said = sleeper.finish(PATIENCE).expect_success().stderr;
    let acknowledged = stream.end();
    world.ingest_to_the_end();
    let report = Report::of(&world);
    println!(
        "seed {seed}, {stops} stops: {} rows, {} dead letters of {} records; {swept} files swept",
        report.number("rows"),
        report.number("letters"),
        acknowledged.iter().sum::<i64>(),
    );
    report.expect_stream(&acknowledged);
    assert!(said.contains("a batch was dropped"), "the sleeper noticed nothing: {said}");
}
