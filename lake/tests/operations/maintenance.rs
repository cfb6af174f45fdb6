//! Maintenance by itself: files stay few, rows stay what they are, and one of several maintainers works, whoever that is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use domain::Feed;
use domain::civil::{self, Micros};
use domain::ports::{Append, Batch, RegisterLog};
use domain::position::{PartitionRange, TopicState};
use lake::Lake;
use lake::maintenance::{Clock, Maintainer, MaintenanceOptions, Turn, status};
use lake::operations::checkpoint::last_checkpoint;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::{append, parquet_files, state, table, whole_rows};
use crate::support::*;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A clock that begins now, and goes on when it is told to.
#[derive(Clone)]
struct Time(Arc<AtomicI64>);

impl Time {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(civil::now())))
    }

    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }

    fn now(&self) -> Micros {
        self.0.load(Ordering::Relaxed)
    }

    fn clock(&self) -> Clock {
        let time = self.clone();
        Clock::new(move || time.now())
    }

    fn maintainer(&self, lake: &Arc<Lake>) -> Maintainer {
        Maintainer::new(Arc::clone(lake), MaintenanceOptions::default(), self.clock())
    }
}

/// A look that must go well; it is repeated while there is more to do at once.
async fn turned(maintainer: &Maintainer) -> Turn {
    let mut sum = Turn::default();
    for _ in 0..50 {
        let turn = maintainer.turn().await.expect("the store answers");
        assert_eq!(turn.failures, Vec::<String>::new());
        sum.leads = turn.leads;
        sum.files_before += turn.files_before;
        sum.rows += turn.rows;
        sum.checkpoints += turn.checkpoints;
        sum.vacuumed_files += turn.vacuumed_files;
        if !turn.is_busy {
            return sum;
        }
    }
    panic!("maintenance never ends: {sum:?}");
}

async fn sales_status(lake: &Lake) -> status::TableStatus {
    let status = status::status(lake).await.expect("a status");
    status.tables.into_iter().find(|table| table.name == SALES).expect("the sales")
}

/// A month's sales, one file a commit.
fn of_one_month(partition: i32, offset: i64) -> serde_json::Value {
    let mut sale = sale(partition, offset);
    sale["occurred_at"] = "2010-01-05T10:00:00Z".into();
    sale
}

async fn append_to_one_month(lake: &Lake, batches: i64, each: i64) {
    for _ in 0..batches {
        let from = positions(lake, 1).await.get(&0).copied();
        let draft = Draft::new(1).records(of_one_month).range(0, from, from.unwrap_or(0) + each);
        must_commit(lake, &draft.stage(lake).await).await;
    }
}

#[tokio::test]
async fn few_files_wait_and_many_are_joined_at_once() {
    let (folder, time) = (folder(), Time::new());
    let lake = lake_with_log(folder.path()).await;
    let maintainer = time.maintainer(&lake);
    append_to_one_month(&lake, 4, 5).await;
    assert_eq!(turned(&maintainer).await.files_before, 4, "a table that was never looked at");
    append_to_one_month(&lake, 64, 2).await;
    assert_eq!(turned(&maintainer).await.files_before, 0, "they wait");
    assert_eq!(sales_status(&lake).await.waiting_files, 64);
    append_to_one_month(&lake, 1, 2).await;
    assert_eq!(turned(&maintainer).await.files_before, 65, "the larger file stays as it is");
    assert_eq!(state(&lake, SALES).await.files().len(), 2);

    append_to_one_month(&lake, 5, 2).await;
    assert_eq!(turned(&maintainer).await.files_before, 0);
    time.pass(10 * MINUTE);
    assert_eq!(turned(&maintainer).await.files_before, 5, "ten minutes have passed");
    append_to_one_month(&lake, 3, 2).await;
    time.pass(11 * MINUTE);
    assert_eq!(turned(&maintainer).await.files_before, 0, "three are too few while the period is open");
    let position = positions(&lake, 1).await[&0];
    assert_eq!(coordinates(&lake, SALES).await, range(0, 0..position));
    assert_eq!(sales_status(&lake).await.record.failure, None);
}

#[tokio::test]
async fn a_closed_period_is_joined_once_more_and_then_left_alone() {
    let (folder, time) = (folder(), Time::new());
    let lake = lake_with_log(folder.path()).await;
    let maintainer = time.maintainer(&lake);
    append(&lake, 3, 30).await;
    let before = state(&lake, SALES).await;
    turned(&maintainer).await;
    assert_eq!(state(&lake, SALES).await.files().len(), 9, "a file came within the hour");
    time.pass(HOUR + MINUTE);
    assert_eq!(turned(&maintainer).await.files_before, 9);
    let after = state(&lake, SALES).await;
    assert_eq!(after.files().len(), 3, "a file for each month");
    assert_eq!(whole_rows(&lake, SALES, &after), whole_rows(&lake, SALES, &before));
    for _ in 0..3 {
        time.pass(2 * HOUR);
        assert_eq!(turned(&maintainer).await.files_before, 0);
    }
    append(&lake, 1, 30).await;
    assert_eq!(turned(&maintainer).await.files_before, 6, "late data");
    assert_eq!(coordinates(&lake, SALES).await, range(0, 0..120));
}

#[tokio::test]
async fn whoever_follows_goes_on_where_the_other_stood() {
    let (folder, time) = (folder(), Time::new());
    let lake = lake_with_log(folder.path()).await;
    let (first, second) = (time.maintainer(&lake), time.maintainer(&open(folder.path()).await));
    append_to_one_month(&lake, 4, 5).await;
    assert!(turned(&first).await.leads);
    assert_eq!(turned(&second).await, Turn::default(), "it waits for the lease");
    append_to_one_month(&lake, 4, 1).await;
    time.pass(5 * MINUTE);
    // The first says nothing for longer than its lease.
    let followed = turned(&second).await;
    assert!(followed.leads && followed.files_before == 0, "it knows of the last pass: {followed:?}");
    assert!(!turned(&first).await.leads);
    time.pass(5 * MINUTE);
    assert_eq!(turned(&second).await.files_before, 4);
    assert!(!turned(&first).await.leads);
    let seen = status::status(&lake).await.expect("a status");
    assert!(seen.leader().is_some_and(|leader| leader.process.contains("process")), "{:?}", seen.lease);
}

#[tokio::test]
async fn removed_files_go_a_day_later_and_the_log_is_read_once() {
    let (folder, time) = (folder(), Time::new());
    let lake = lake_with_log(folder.path()).await;
    let maintainer = time.maintainer(&lake);
    append_to_one_month(&lake, 4, 5).await;
    let first_version = version(&lake, SALES).await;
    turned(&maintainer).await;
    let files = parquet_files(&lake, SALES);
    assert_eq!(files.len(), 5, "four that were removed are kept");
    for _ in 0..24 {
        time.pass(HOUR - 1);
        assert_eq!(turned(&maintainer).await.vacuumed_files, 0);
    }
    assert_eq!(
        sales_status(&lake).await.record.vacuumed_to,
        first_version + 1,
        "the commit that removed them"
    );
    time.pass(HOUR);
    assert_eq!(turned(&maintainer).await.vacuumed_files, 4);
    assert_eq!(parquet_files(&lake, SALES), state(&lake, SALES).await.files().keys().cloned().collect());
    let record = sales_status(&lake).await.record;
    assert_eq!(record.vacuumed_to, version(&lake, SALES).await + 1);
    assert_eq!(record.vacuumed_at, Some(time.now()));

    // Entries that were cleaned away unread: listing finds what they removed.
    append_to_one_month(&lake, 4, 7).await;
    turned(&maintainer).await;
    let removed = version(&lake, SALES).await;
    append_to_one_month(&lake, 1, 1).await;
    lake::operations::checkpoint::checkpoint(&table(&lake, SALES)).await.expect("a checkpoint");
    (0..=removed).for_each(|version| std::fs::remove_file(entry(&lake, SALES, version)).expect("an entry"));
    time.pass(DAY + HOUR);
    // The checkpoint remembers them still: its own clock is the system's, and for that they went just now.
    let swept_at = sales_status(&lake).await.record.swept_at;
    turned(&maintainer).await;
    let record = sales_status(&lake).await.record;
    assert_ne!(record.swept_at, swept_at, "the folder was listed");
    assert_eq!(
        record.vacuumed_to,
        version(&lake, SALES).await,
        "the month is closed by now, and was joined once more"
    );
    let active = state(&lake, SALES).await.files().len();
    assert_eq!((active, parquet_files(&lake, SALES).len()), (1, 1 + 2));
    let position = positions(&lake, 1).await[&0];
    assert_eq!(coordinates(&*open(folder.path()).await, SALES).await, range(0, 0..position));
}

#[tokio::test]
async fn a_table_without_periods_is_open_for_ever_and_its_files_go_too() {
    const STORES: &str = "curated.stores";
    let (folder, time) = (folder(), Time::new());
    let lake = open(folder.path()).await;
    let (pipeline, identity) = (pipeline(), identity("a"));
    let request = RegisterLog {
        feed: Feed::Stores,
        pipeline: &pipeline,
        topic: TOPIC,
        identity: &identity,
        known: &TopicState::default(),
        positions: &[],
    };
    assert_eq!(lake.register_log(request).await.expect("a log"), 1);
    let maintainer = time.maintainer(&lake);
    for offset in 0..6 {
        let mut rows = Feed::Stores.builder();
        let record = serde_json::json!({
            "tenant": "gift-uk", "store": format!("s{offset}"), "valid_from": "2010-01-01",
            "time_zone": "Europe/London", "currency": "GBP",
        });
        let pushed = rows.push(Some(record.to_string().as_bytes()), &metadata(1, 0, offset), civil::now());
        pushed.expect("a good record");
        let batch = Batch {
            id: uuid::Uuid::new_v4(),
            feed: Feed::Stores,
            pipeline: pipeline.clone(),
            topic: TOPIC.to_owned(),
            log: 1,
            ranges: vec![PartitionRange {
                partition: 0,
                from: (offset > 0).then_some(offset),
                to: offset + 1,
            }],
            dead_letters: Vec::new(),
            files: lake.stage(Feed::Stores, rows.finish()).await.expect("a file"),
            marks: None,
            max_age: Duration::from_secs(3_600),
        };
        must_commit(&lake, &batch).await;
        if offset == 3 {
            assert_eq!(turned(&maintainer).await.files_before, 4);
        }
    }
    time.pass(2 * HOUR);
    assert_eq!(turned(&maintainer).await.files_before, 0, "no period that would be closed");
    let log = state(&lake, STORES).await;
    assert_eq!((log.files().len(), log.small_files()), (3, 3));
    time.pass(DAY);
    assert_eq!(turned(&maintainer).await.vacuumed_files, 4);
    assert_eq!(coordinates(&*open(folder.path()).await, STORES).await, range(0, 0..6));
    let files = std::fs::read_dir(table_folder(&lake, STORES)).expect("the folder").count();
    assert_eq!(files, 3 + 1, "the active files, and the log");
}

#[tokio::test]
async fn checkpoints_that_nobody_made_are_made() {
    let (folder, time) = (folder(), Time::new());
    let lake = lake_with_log(folder.path()).await;
    append_to_one_month(&lake, 3, 1).await;
    // A process of its own, which knows of no commit that was made elsewhere.
    let other = open(folder.path()).await;
    let maintainer = time.maintainer(&other);
    assert_eq!(turned(&maintainer).await.checkpoints, 0);
    time.pass(5 * MINUTE);
    assert!(turned(&maintainer).await.checkpoints > 0);
    let sales = table(&other, SALES);
    let last = last_checkpoint(&sales).await.expect("it is read").expect("there is one");
    assert_eq!(last.version, version(&lake, SALES).await);
    assert_eq!(sales_status(&lake).await.record.checkpointed_at, Some(time.now()));
    time.pass(5 * MINUTE);
    assert_eq!(turned(&maintainer).await.checkpoints, 0, "nothing came since");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_that_both_believe_to_lead_change_no_row() {
    let (folder, time) = (folder(), Time::new());
    let appender = lake_with_log(folder.path()).await;
    // Each has a lake and a clock of its own; the second is always ahead by more than a lease.
    let ahead = time.clone();
    let fast = Clock::new(move || ahead.now() + 3_600_000_000);
    let options = MaintenanceOptions { lease: Duration::ZERO, ..MaintenanceOptions::default() };
    let maintainers = [
        Maintainer::new(open(folder.path()).await, options, time.clock()),
        Maintainer::new(open(folder.path()).await, options, fast),
    ];
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let working = maintainers.map(|maintainer| {
        let (stopped, time) = (stopped.clone(), time.clone());
        tokio::spawn(async move {
            let mut rewritten = 0;
            while !*stopped.borrow() {
                let turn = maintainer.turn().await.expect("the store answers");
                assert_eq!(turn.failures, Vec::<String>::new());
                rewritten += turn.files_before;
                time.pass(10 * MINUTE);
            }
            rewritten
        })
    });
    append(&appender, 60, 9).await;
    stop.send(true).expect("they listen");
    let mut rewritten = 0;
    for work in working {
        rewritten += work.await.expect("every look went well");
    }
    assert!(rewritten > 0);
    assert_eq!(coordinates(&*open(folder.path()).await, SALES).await, range(0, 0..540));
    assert_eq!(positions(&appender, 1).await, [(0, 540)].into());
}

#[tokio::test]
async fn it_runs_until_the_shutdown_and_gives_the_lease_back() {
    let (folder, time) = (folder(), Time::new());
    let lake = lake_with_log(folder.path()).await;
    append_to_one_month(&lake, 4, 1).await;
    let shutdown = tokio_util::sync::CancellationToken::new();
    let maintainer = Arc::new(time.maintainer(&lake));
    let running = tokio::spawn({
        let (maintainer, shutdown) = (Arc::clone(&maintainer), shutdown.clone());
        async move {
            let end = shutdown.clone();
            maintainer
                .run(shutdown, |turn| {
                    assert!(turn.as_ref().is_ok_and(|turn| turn.leads) && !end.is_cancelled())
                })
                .await;
        }
    });
    let joined = async {
        while state(&lake, SALES).await.files().len() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), joined).await.expect("joined within a minute");
    shutdown.cancel();
    running.await.expect("it ended well");
    assert!(turned(&time.maintainer(&lake)).await.leads, "nobody has to wait for the lease's end");
}

/// What may happen to a table.
#[derive(Debug, Clone)]
enum Step {
    Append { partition: i32, records: i64, months: bool },
    Look { maintainer: usize },
    Pass { seconds: i64 },
    Restart { maintainer: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3, 1_i64..30, any::<bool>())
            .prop_map(|(partition, records, months)| Step::Append { partition, records, months }),
        3 => (0_usize..2).prop_map(|maintainer| Step::Look { maintainer }),
        2 => prop_oneof![Just(30), Just(601), Just(3_700), Just(90_000)].prop_map(|seconds| Step::Pass { seconds }),
        1 => (0_usize..2).prop_map(|maintainer| Step::Restart { maintainer }),
    ]
}

async fn live(steps: &[Step]) {
    let (folder, time) = (folder(), Time::new());
    let lake = lake_with_log(folder.path()).await;
    let mut maintainers = [time.maintainer(&lake), time.maintainer(&open(folder.path()).await)];
    for step in steps {
        match *step {
            Step::Append { partition, records, months } => {
                let from = positions(&lake, 1).await.get(&partition).copied();
                let draft = Draft::new(1).range(partition, from, from.unwrap_or(0) + records);
                let draft = if months { draft } else { draft.records(of_one_month) };
                must_commit(&lake, &draft.stage(&lake).await).await;
            }
            Step::Look { maintainer } => {
                let before = state(&lake, SALES).await;
                let turn = turned(&maintainers[maintainer]).await;
                let after = state(&lake, SALES).await;
                assert_eq!(whole_rows(&lake, SALES, &after), whole_rows(&lake, SALES, &before), "{turn:?}");
                if turn.leads {
                    let waiting = sales_status(&lake).await.waiting_files;
                    assert!(waiting <= 64, "{waiting} files wait: {turn:?}");
                    // At most three files a level, of three levels here, in each of three months, beside those that wait.
                    assert!(after.files().len() <= 64 + 3 * 3 * 5, "{} files", after.files().len());
                }
            }
            Step::Pass { seconds } => time.pass(seconds),
            Step::Restart { maintainer } => {
                maintainers[maintainer] = time.maintainer(&open(folder.path()).await);
            }
        }
    }
    // The other may hold the lease; once that is over, nothing is left to do.
    time.pass(2 * HOUR);
    turned(&maintainers[0]).await;
    let again = open(folder.path()).await;
    let stored = positions(&again, 1).await;
    let expected: Vec<_> = stored.iter().flat_map(|(partition, next)| range(*partition, 0..*next)).collect();
    assert_eq!(coordinates(&again, SALES).await, expected);
    assert!(state(&again, SALES).await.files().len() <= 3, "a file for each month");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16,
        rng_seed: RngSeed::Fixed(17),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn adds_and_passes_neither_lose_nor_double_a_row(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(live(&steps));
    }
}
