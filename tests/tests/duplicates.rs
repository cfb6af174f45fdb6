//! Promise 2: a sale that was sent twice counts once, and never not at all, wherever its twin went, and whatever is killed, stopped or dropped. Every record
//! that Kafka acknowledged is a row all the same.
#![expect(clippy::print_stdout, reason = "a kill test says what it did, for the record")]

use std::time::Duration;

use ingest::produce::RecordProducer;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tests::proxy::Proxy;
use tests::verify::Report;
use tests::world::{PATIENCE, World};
use tests::{service, setting};

const PARTITIONS: i64 = 4;
const SALES: i64 = 20_000;
/// Of so many sales one is sent again at once, one at once to another partition, and two much later.
const TWIN_EVERY: i64 = 400;
/// Sales that are sent again with another quantity: nobody can say which one is right, so both count.
const CORRECTED: i64 = 10;
const SPOILT_PER_MILLE: u32 = 60;

/// What was sent.
struct Sender {
    producer: RecordProducer,
    topic: String,
    records: i64,
}

impl Sender {
    fn new(world: &World) -> Self {
        Self { producer: world.producer(), topic: world.topic(), records: 0 }
    }

    fn send(&mut self, nth: i64, thousandths: i64, partition: i64) {
        let quantity = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
        let record = json!({
            "tenant": "shop", "store": format!("s{}", nth % 3), "transaction_id": format!("r-{nth}"), "line": 1, "sku": "A",
            "quantity": quantity, "unit_price": "2.00", "currency": "GBP", "kind": "sale",
            "occurred_at": format!("2026-0{}-10T12:00:00Z", 1 + nth % 3),
        });
        let (value, partition) =
            (record.to_string().into_bytes(), i32::try_from(partition % PARTITIONS).expect("small"));
        let sent = self.producer.send_raw(&self.topic, Some(partition), Some(b"k"), Some(&value), false);
        sent.expect("the client takes it");
        self.records += 1;
    }

    /// Sends sales, and some of them again.
    fn send_all(&mut self, sales: std::ops::Range<i64>) {
        for nth in sales {
            self.send(nth, thousandths(nth), nth);
            match nth % TWIN_EVERY {
                1 => self.send(nth, thousandths(nth), nth),
                2 => self.send(nth, thousandths(nth), nth + 1),
                _ => {}
            }
        }
    }

    /// Sends some of the sales again that were sent long before.
    fn send_late_twins(&mut self, sales: std::ops::Range<i64>) {
        for nth in sales {
            match nth % TWIN_EVERY {
                3 => self.send(nth, thousandths(nth), nth),
                4 => self.send(nth, thousandths(nth), nth + 1),
                _ => {}
            }
        }
    }

    fn finish(self) -> i64 {
        self.producer.finish().expect("all is acknowledged");
        self.records
    }
}

fn thousandths(nth: i64) -> i64 {
    1_000 + nth % 7 * 250
}

#[test]
fn sent_twice_on_a_folder_every_sale_counts_once() {
    sent_twice(World::on_folder());
}

#[test]
fn sent_twice_on_s3_behind_a_spoiling_proxy_every_sale_counts_once() {
    let mut world = World::on_s3();
    let proxy = Proxy::start(&service("INTELLICARTEL__S3__ENDPOINT"), setting("SEED", 7), SPOILT_PER_MILLE);
    world.set("INTELLICARTEL__S3__ENDPOINT", &proxy.endpoint());
    sent_twice(world);
}

fn sent_twice(mut world: World) {
    let (kills, seed) = (setting("KILLS", 6), setting("SEED", 7));
    let mut dice = StdRng::seed_from_u64(seed);
    world.set("INTELLICARTEL__INGEST__FLUSH_MS", "50");
    // Small batches, so that twins lie in one, in two that follow each other, and far apart.
    world.set("INTELLICARTEL__INGEST__FLUSH_BYTES", "200000");
    world.create_topic(i32::try_from(PARTITIONS).expect("small"));
    let mut sender = Sender::new(&world);
    sender.send_all(0..SALES / 2);
    for _ in 0..kills {
        let mut ingest = world.start(&["ingest", "--feeds", "sales"]);
        std::thread::sleep(Duration::from_millis(dice.random_range(100..2_500)));
        assert!(ingest.is_running(), "ingest ended by itself: {}", ingest.log());
        ingest.kill();
    }
    world.ingest_to_the_end();
    compact(&world);

    // One process sleeps while another takes its place; what it has in hand when it wakes is dropped.
    let sleeper = world.start(&["ingest", "--feeds", "sales"]);
    sender.send_late_twins(0..SALES / 4);
    std::thread::sleep(Duration::from_millis(1_000));
    sleeper.signal("STOP");
    let mut other = world.start(&["ingest", "--feeds", "sales"]);
    sender.send_all(SALES / 2..SALES);
    std::thread::sleep(Duration::from_millis(3_000));
    other.kill();
    sleeper.signal("CONT");
    sender.send_late_twins(SALES / 4..SALES);
    for nth in 0..CORRECTED {
        sender.send(nth, 9_000, nth);
    }
    let sent = sender.finish();
    std::thread::sleep(Duration::from_millis(500));
    sleeper.signal("TERM");
    let said = sleeper.finish(PATIENCE).expect_success().stderr;
    world.ingest_to_the_end();
    expect_each_once(&world, sent);
    compact(&world);
    expect_each_once(&world, sent);
    println!(
        "seed {seed}, {kills} kills: {sent} records of {} sales; the process that slept {}",
        SALES + CORRECTED,
        if said.contains("a batch was dropped") { "dropped a batch" } else { "had nothing in hand" }
    );
}

fn compact(world: &World) {
    let _ = world.run(&["lake", "compact", "curated.sales"]).expect_success();
}

/// Every record is a row, every sale counts once: through SQL, for a tenant, for Python, and in what `status` tells.
fn expect_each_once(world: &World, sent: i64) {
    let counted = SALES + CORRECTED;
    let thousandths = (0..SALES).map(thousandths).sum::<i64>() + CORRECTED * 9_000;
    let quantity = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    let totals = "SELECT count(*), sum(quantity) FROM";
    assert_eq!(world.sql(&format!("{totals} curated.sales")), format!("{counted},{quantity}"));
    assert_eq!(world.sql("SELECT count(*) FROM raw.sales"), sent.to_string());
    assert_eq!(
        world.sql(&format!("{totals} raw.sales WHERE NOT _duplicate")),
        format!("{counted},{quantity}")
    );
    let of_tenant = ["sql", "SELECT count(*) FROM curated.sales", "--as", "shop", "--output", "csv"];
    let answer = world.run(&of_tenant).expect_success().stdout;
    assert_eq!(answer.lines().nth(1), Some(counted.to_string().as_str()));

    let report = Report::of(world);
    report.expect_exact();
    assert_eq!((report.number("rows"), report.number("counted_rows")), (sent, counted));
    assert_eq!(report.text("counted_quantity"), quantity);

    let status: Value =
        serde_json::from_str(&world.run(&["status", "--output", "json"]).stdout).expect("JSON");
    let told = &status["duplicates"];
    let sum = |mark: &str| -> i64 {
        let stores = told["stores"].as_array().expect("stores");
        stores.iter().map(|store| store[mark].as_i64().expect("a number")).sum()
    };
    assert_eq!((sum("duplicates"), sum("conflicts")), (sent - counted, CORRECTED), "{told}");
    assert_eq!(told["known_rows"], sent, "{told}");
}
