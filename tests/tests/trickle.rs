//! A trickle: a commit a second over eight partitions, for hours by a clock that is wound by hand, into a real log of real small files in a folder.
//! Whatever the number of commits, files, log and checkpoints stay as they were after the first few hundred.
//!
//! CI runs 800 commits and counts; `make trickle` runs three hours, 10,800 commits, and prints how long planning takes at commit 2,000 and at the end.
//!
//! The clock begins two days ago. So a checkpoint holds none of the removed files that it must remember for a day, which would grow for a
//! day and then stay; `HOURS_AGO=3` shows their part.
#![expect(clippy::print_stdout, reason = "it says what it measured, for the record")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use domain::feeds::RecordMetadata;
use domain::ids::Pipeline;
use domain::ports::{Append, Batch, CommitOutcome, RegisterLog};
use domain::position::{LogIdentity, PartitionRange, TopicState};
use domain::{DeadLetter, Feed, Principal, civil};
use engine::{Engine, EngineParts, EngineSettings, Limits, ObjectStoreUrl, Output, write_output};
use lake::catalog::LakeCatalog;
use lake::maintenance::{Clock, Maintainer, MaintenanceOptions};
use lake::operations::checkpoint::last_checkpoint;
use lake::{Lake, LakeOptions, StoreSettings, Table};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::setting;

const TOPIC: &str = "trickle.sales.v1";
const PARTITIONS: i32 = 8;
/// Of a table that is maintained: those that may wait, those of the commits between two looks, and three a level.
const MOST_SMALL_FILES: usize = 64 + 5 + 30;
const MOST_TAIL: u64 = 100;
/// Where the first figures are taken.
const FIRST_LOOK: u64 = 2_000;
/// Commits before a look over which its figures are averaged: files and checkpoints go up and down with the tiers.
const WINDOW: u64 = 1_000;

/// Explained, it is planned whole and not answered: what is read then grows with the rows.
const QUESTION: &str = "EXPLAIN SELECT sku, sum(quantity) AS units FROM curated.sales WHERE store = 's1' AND _offset >= 100 GROUP BY sku";

/// Figures of one window.
#[derive(Debug, Default)]
struct Window {
    planning_ms: Vec<f64>,
    /// Files that were active after each commit.
    files: Vec<f64>,
    /// Files in each checkpoint, and its size.
    checkpoint_files: Vec<f64>,
    checkpoint_bytes: Vec<f64>,
}

impl Window {
    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len().max(1) as f64
    }

    /// The size of a checkpoint of as many files as there are on average, by a line through those that were made. Files come and go by the tiers, and
    /// checkpoints every hundred commits: a mean of few would say at which point of the tiers they happened to be made.
    fn checkpoint(&self) -> f64 {
        let (files, bytes) = (Self::mean(&self.checkpoint_files), Self::mean(&self.checkpoint_bytes));
        let points = self.checkpoint_files.iter().zip(&self.checkpoint_bytes);
        let (along, across) = points.fold((0.0, 0.0), |(along, across), (x, y)| {
            (along + (x - files) * (y - bytes), across + (x - files) * (x - files))
        });
        bytes + along / across * (Self::mean(&self.files) - files)
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (planning, files) = (Self::mean(&self.planning_ms), Self::mean(&self.files));
        let most = self.checkpoint_bytes.iter().copied().fold(0.0, f64::max) / 1e3;
        let mean = self.checkpoint() / 1e3;
        write!(
            f,
            "planning {planning:.2} ms, {files:.1} files, their checkpoint {mean:.1} KB (at most {most:.1} KB)"
        )
    }
}

struct Trickle {
    lake: Arc<Lake>,
    engine: Engine,
    now: Arc<AtomicI64>,
    dice: StdRng,
    next: BTreeMap<i32, i64>,
    rows: u64,
    letters: u64,
    log: i64,
}

fn pipeline() -> Pipeline {
    Pipeline::new("main").expect("a name")
}

impl Trickle {
    async fn begin(root: &std::path::Path, begins_at: i64) -> Self {
        let root = root.to_str().expect("a path of text").to_owned();
        let settings = StoreSettings { root, ..StoreSettings::default() };
        let lake = Lake::open(&settings, LakeOptions::Write).await.expect("the lake opens");
        let identity = LogIdentity { cluster_id: "c".to_owned(), topic_id: "t".to_owned() };
        let request = RegisterLog {
            feed: Feed::Sales,
            pipeline: &pipeline(),
            topic: TOPIC,
            identity: &identity,
            known: &TopicState::default(),
            positions: &[],
        };
        let log = lake.register_log(request).await.expect("a log");
        let (url, store) = lake.store().bucket();
        let parts = EngineParts {
            catalog: Arc::new(LakeCatalog::new(Arc::clone(&lake))),
            models: Arc::new(models::analysis::SeriesAnalysis),
            snapshots: Arc::clone(&lake) as _,
            store: (ObjectStoreUrl::parse(url.as_str()).expect("a URL"), store),
        };
        Self {
            engine: Engine::new(parts, EngineSettings::default()).expect("an engine"),
            lake,
            now: Arc::new(AtomicI64::new(begins_at)),
            dice: StdRng::seed_from_u64(setting("SEED", 7)),
            next: BTreeMap::new(),
            rows: 0,
            letters: 0,
            log,
        }
    }

    fn clock(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Clock::new(move || now.load(Ordering::Relaxed))
    }

    fn sales(&self) -> Arc<Table> {
        Arc::clone(self.lake.table("curated.sales").expect("ours"))
    }

    /// A second passes, and what came in it is committed.
    async fn commit(&mut self) {
        let now = self.now.fetch_add(1_000_000, Ordering::Relaxed) + 1_000_000;
        let mut builder = Feed::Sales.builder();
        let (mut ranges, mut dead_letters) = (Vec::new(), Vec::new());
        for partition in 0..PARTITIONS {
            let from = self.next.get(&partition).copied();
            let to = from.unwrap_or(0) + self.dice.random_range(1..6);
            for offset in from.unwrap_or(0)..to {
                let quantity = if self.dice.random_ratio(1, 500) { "many" } else { "2" };
                let record = format!(
                    r#"{{"tenant":"trickle","store":"s{}","transaction_id":"{partition}-{offset}","line":1,"sku":"sku-{}","quantity":"{quantity}","unit_price":"1.25","currency":"GBP","kind":"sale","occurred_at":"{}"}}"#,
                    partition % 3,
                    offset % 50,
                    civil::format_instant(now)
                );
                let metadata = RecordMetadata {
                    topic: TOPIC,
                    log: self.log,
                    partition,
                    offset,
                    timestamp: Some(now),
                    ingested_at: now,
                    history: false,
                };
                match builder.push(Some(record.as_bytes()), &metadata, now) {
                    Ok(()) => self.rows += 1,
                    Err(reject) => {
                        self.letters += 1;
                        dead_letters.push(DeadLetter {
                            raw_key: None,
                            raw_value: Some(record.into_bytes()),
                            headers: None,
                            topic: TOPIC.to_owned(),
                            log: self.log,
                            partition,
                            offset,
                            timestamp: Some(now),
                            feed: Feed::Sales,
                            attempt: 1,
                            reject,
                            tenant: None,
                            store: None,
                            pipeline: "main".to_owned(),
                            ingested_at: now,
                        });
                    }
                }
            }
            ranges.push(PartitionRange { partition, from, to });
            self.next.insert(partition, to);
        }
        let files = self.lake.stage(Feed::Sales, builder.finish()).await.expect("files");
        let batch = Batch {
            id: uuid::Uuid::new_v4(),
            feed: Feed::Sales,
            pipeline: pipeline(),
            topic: TOPIC.to_owned(),
            log: self.log,
            ranges,
            dead_letters,
            files,
            marks: None,
            max_age: Duration::from_secs(3_600),
        };
        let outcome = Append::commit(self.lake.as_ref(), &batch).await.expect("the store answers");
        assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
    }

    /// How long the log is behind its last checkpoint. A checkpoint that is under way has its second, as it has where commits come a second apart.
    async fn tail(&self) -> u64 {
        let (sales, begun) = (self.sales(), Instant::now());
        let version = sales.newest_version().await.expect("a version");
        loop {
            let last = last_checkpoint(&sales).await.expect("it is read").map_or(0, |last| last.version);
            let tail = version - last;
            if tail < MOST_TAIL || begun.elapsed() > Duration::from_secs(30) {
                return tail;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Takes note of the newest checkpoint, if it is newer than `known`.
    async fn note_checkpoint(&self, known: &mut u64, window: &mut Window) {
        let last = last_checkpoint(&self.sales()).await.expect("it is read");
        let Some(last) = last.filter(|last| last.version > *known) else { return };
        *known = last.version;
        let root = self.lake.store().folder().expect("a folder");
        let name = format!("lake/curated/sales/_delta_log/{:020}.checkpoint.parquet", last.version);
        window.checkpoint_bytes.push(std::fs::metadata(root.join(name)).expect("it is there").len() as f64);
        let state = self.sales().snapshot_at(last.version).await.expect("it can be read");
        window.checkpoint_files.push(state.files().len() as f64);
    }

    /// The median of some plans, in milliseconds.
    async fn planning_ms(&self) -> f64 {
        let session = self.engine.session(Principal::Operator);
        let mut times = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            let answer = session.query(QUESTION, Limits::default()).await.expect("a plan");
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            write_output(answer, Output::Csv, &mut std::io::sink()).await.expect("an answer");
        }
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }

    async fn ask(&self, sql: &str) -> String {
        let answer = self.engine.session(Principal::Operator).query(sql, Limits::default()).await;
        let mut text = Vec::new();
        write_output(answer.expect("a plan"), Output::Csv, &mut text).await.expect("an answer");
        String::from_utf8(text).expect("text").lines().skip(1).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_log_and_checkpoints_stay_small_however_long_it_trickles() {
    let commits = setting("COMMITS", 800);
    let hours_ago = i64::try_from(setting("HOURS_AGO", 48)).expect("some hours");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut trickle = Trickle::begin(folder.path(), civil::now() - hours_ago * 3_600_000_000).await;
    let maintainer =
        Maintainer::new(Arc::clone(&trickle.lake), MaintenanceOptions::default(), trickle.clock());
    let begun = Instant::now();
    let (mut most_files, mut most_small, mut most_tail) = (0, 0, 0);
    let (mut rewritten, mut joined, mut vacuumed) = (0, 0, 0);
    let (mut first, mut last) = (Window::default(), Window::default());
    let mut known_checkpoint = 0;
    for commit in 1..=commits {
        trickle.commit().await;
        if commit % 5 == 0 {
            let turn = maintainer.turn().await.expect("the store answers");
            assert_eq!((turn.leads, turn.failures), (true, Vec::new()));
            rewritten += turn.rows;
            joined += turn.files_before;
            vacuumed += turn.vacuumed_files;
        }
        most_tail = most_tail.max(trickle.tail().await);
        let log = trickle.sales().snapshot().await.expect("a state");
        most_files = most_files.max(log.files().len());
        most_small = most_small.max(log.small_files());
        let windows = [(FIRST_LOOK, &mut first), (commits, &mut last)];
        for (_, window) in
            windows.into_iter().filter(|(end, _)| (end.saturating_sub(WINDOW)..=*end).contains(&commit))
        {
            window.files.push(log.files().len() as f64);
            if commit % 25 == 0 && commits > FIRST_LOOK {
                window.planning_ms.push(trickle.planning_ms().await);
            }
            trickle.note_checkpoint(&mut known_checkpoint, window).await;
        }
    }
    let took = begun.elapsed();
    println!(
        "{commits} commits, {} rows, {} dead letters in {took:.1?}; at most {most_files} files ({most_small} small), {most_tail} commits behind a checkpoint; \
         {joined} files joined, each row written {:.2} times more, {vacuumed} files vacuumed",
        trickle.rows,
        trickle.letters,
        rewritten as f64 / trickle.rows as f64
    );
    if commits > FIRST_LOOK {
        println!("around commit {FIRST_LOOK}: {first}\naround commit {commits}: {last}");
    }
    let cold = Instant::now();
    let root = folder.path().to_string_lossy().into_owned();
    let settings = StoreSettings { root, ..StoreSettings::default() };
    let again = Lake::open(&settings, LakeOptions::Read).await.expect("it opens");
    let log = again.table("curated.sales").expect("ours").snapshot().await.expect("a state");
    println!("a process that begins reads version {} in {:.1?}", log.version(), cold.elapsed());

    assert!(most_small <= MOST_SMALL_FILES, "{most_small} small files");
    assert!(most_tail <= MOST_TAIL, "{most_tail} commits behind the last checkpoint");
    assert!(last.checkpoint_bytes.len() >= 4, "{last:?}");
    let rows = (trickle.rows, trickle.ask("SELECT count(*) FROM curated.sales").await);
    assert_eq!(rows.0.to_string(), rows.1);
    let distinct = "SELECT count(*) FROM (SELECT DISTINCT _partition, _offset FROM curated.sales)";
    assert_eq!(trickle.ask(distinct).await, rows.1);
    assert_eq!(trickle.ask("SELECT count(*) FROM raw.dead_letters").await, trickle.letters.to_string());
    if commits > FIRST_LOOK && hours_ago >= 48 {
        let grown = last.checkpoint() / first.checkpoint();
        let slower = Window::mean(&last.planning_ms) / Window::mean(&first.planning_ms);
        println!("checkpoints are {grown:.2} times as large, planning takes {slower:.2} times as long");
        assert!(grown <= 1.2, "checkpoints grow");
    }
}
