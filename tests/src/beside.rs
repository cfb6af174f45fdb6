//! What runs beside an ingest that is killed: processes that compact its tables, and a reader that looks whether rows and positions agree.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use domain::ErrorKind;
use lake::{Lake, LakeOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::process::Finished;
use crate::stream::bad_before;
use crate::world::{PATIENCE, World};

/// Compacts both tables in processes of their own, again and again while ingest is killed; every third process is killed too.
#[derive(Debug)]
pub struct Compactor {
    stop: Arc<AtomicBool>,
    files: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<Compacted>,
}

/// What the processes that were left to their end have said; it prints as a report.
#[derive(Debug, Default)]
pub struct Compacted {
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
    /// Starts compacting.
    #[must_use]
    pub fn start(world: &Arc<World>, seed: u64) -> Self {
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
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Whether it has ended by itself, which is a failure that [`Self::end`] tells.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends it.
    ///
    /// # Panics
    /// When a compaction that was left to its end has failed.
    #[must_use]
    pub fn end(self) -> Compacted {
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

/// Reads the table again and again while ingest is killed: rows and positions of one version must always agree.
#[derive(Debug)]
pub struct Reader {
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Reader {
    /// Starts as soon as there is a lake.
    #[must_use]
    pub fn start(world: &Arc<World>) -> Self {
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

    /// Ends it; gives the number of reads.
    ///
    /// # Panics
    /// When one was not consistent.
    #[must_use]
    pub fn end(self) -> u64 {
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
