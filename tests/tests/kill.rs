//! Promise 1: whatever is killed, and when, every record that Kafka acknowledged stands exactly once, a row or a dead letter. Beside the stream another
//! process compacts the tables, and is killed as well.
//!
//! `KILLS` and `SEED` choose how many and which; a seeded ten run in CI, `make kill-test` runs a hundred.
#![expect(clippy::print_stdout, reason = "a kill test says what it did, for the record")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::ErrorKind;
use lake::{Lake, LakeOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::process::Finished;
use tests::proxy::Proxy;
use tests::stream::{Stream, bad_before};
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
    while compactor.files() == 0 && !compactor.thread.is_finished() {
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

/// Compacts both tables in processes of their own, again and again while ingest is killed; every third process is killed too.
struct Compactor {
    stop: Arc<AtomicBool>,
    files: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<Compacted>,
}

/// What the processes that were left to their end have said.
#[derive(Default)]
struct Compacted {
    runs: u64,
    files: u64,
    given_up: u64,
    killed: u64,
    /// Those that were there.
    tables: BTreeSet<&'static str>,
}

impl std::fmt::Display for Compacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { runs, files, given_up, killed, tables: _ } = self;
        write!(f, "{runs} compactions of {files} files ({given_up} given up, {killed} killed)")
    }
}

impl Compactor {
    fn start(world: &Arc<World>, seed: u64) -> Self {
        let (stop, files) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, world) = (Arc::clone(&stop), Arc::clone(&files), Arc::clone(world));
        let thread = std::thread::spawn(move || {
            let mut dice = StdRng::seed_from_u64(seed);
            let mut compacted = Compacted::default();
            for turn in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let table = if turn % 4 == 3 { "raw.dead_letters" } else { "curated.sales" };
                let mut process = world.start(&["lake", "compact", table, "--output", "json"]);
                if turn % 3 == 1 {
                    std::thread::sleep(Duration::from_millis(dice.random_range(50..4_000)));
                    process.kill();
                    compacted.killed += 1;
                } else {
                    compacted.note(table, process.finish(PATIENCE));
                    counted.store(compacted.files, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(200));
            }
            compacted
        });
        Self { stop, files, thread }
    }

    /// Files that were compacted up to now.
    fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    fn end(self) -> Compacted {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("every compaction ended well")
    }
}

impl Compacted {
    fn note(&mut self, table: &'static str, finished: Finished) {
        // Until the first ingest lives for long enough there is no lake, or not every table.
        if !finished.status.success() && finished.stderr.contains("lake.root") && !self.tables.contains(table)
        {
            return;
        }
        self.tables.insert(table);
        let said = finished.expect_success().stdout;
        let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        self.runs += 1;
        self.files += report["files_before"].as_u64().expect("a number");
        self.given_up += u64::from(!report["given_up"].is_null());
    }
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

/// Reads the table again and again while ingest is killed: rows and positions of one version must always agree.
struct Reader {
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Reader {
    fn start(world: &Arc<World>) -> Self {
        let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, world) = (Arc::clone(&stop), Arc::clone(&reads), Arc::clone(world));
        let thread = std::thread::spawn(move || {
            let Some(lake) = opened(&world, &stopped) else { return };
            let table = lake.table("curated.sales").expect("a table of ours");
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
                let log = match world.block_on(table.snapshot()) {
                    Ok(log) => log,
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => panic!("the table could not be read: {error}"),
                };
                let rows: i64 = log.files().values().map(|file| rows_of(file.stats.as_deref())).sum();
                let topic = format!("/{}/", world.topic());
                let is_position = |id: &str| id.contains(&topic) && !id.starts_with("log/");
                let positions = log.transactions().iter().filter(|(id, _)| is_position(id));
                let expected: i64 = positions.map(|(_, position)| position - bad_before(*position)).sum();
                assert_eq!(rows, expected, "version {} holds half a commit", log.version());
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, reads, thread }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("every read was consistent");
        self.reads.load(Ordering::Relaxed)
    }
}

/// The lake, once the first ingest has created it.
fn opened(world: &World, stopped: &AtomicBool) -> Option<Arc<Lake>> {
    while !stopped.load(Ordering::Relaxed) {
        match world.try_lake(LakeOptions::Read) {
            Ok(lake) => return Some(lake),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => panic!("the lake could not be opened: {error}"),
        }
    }
    None
}

fn rows_of(stats: Option<&str>) -> i64 {
    let stats: serde_json::Value =
        serde_json::from_str(stats.expect("our files have statistics")).expect("JSON");
    stats["numRecords"].as_i64().expect("a number of rows")
}
