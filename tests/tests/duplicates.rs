//! Promise 2: a sale that was sent twice counts once, in the mart too, and never not at all: wherever its twin went, whatever is killed, stopped or dropped, and
//! whoever reads its partition by then. Every record that Kafka acknowledged is a row all the same.
#![expect(clippy::print_stdout, reason = "a kill test says what it did, for the record")]

use std::ops::Range;
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
/// The partition that is added while the topic is read.
const ADDED: i64 = PARTITIONS;
/// Of so many sales one is sent again at once, one at once to another partition, two much later, and one to the partition that was added.
const TWIN_EVERY: i64 = 500;
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
        let (value, partition) = (record.to_string().into_bytes(), i32::try_from(partition).expect("small"));
        let sent = self.producer.send_raw(&self.topic, Some(partition), Some(b"k"), Some(&value), false);
        sent.expect("the client takes it");
        self.records += 1;
    }

    /// Sends sales, and some of them again.
    fn send_all(&mut self, sales: Range<i64>) {
        for nth in sales {
            self.send(nth, thousandths(nth), nth % PARTITIONS);
            match nth % TWIN_EVERY {
                1 => self.send(nth, thousandths(nth), nth % PARTITIONS),
                2 => self.send(nth, thousandths(nth), (nth + 1) % PARTITIONS),
                _ => {}
            }
        }
    }

    /// Sends some of the sales again that were sent long before.
    fn send_late_twins(&mut self, sales: Range<i64>) {
        for nth in sales {
            match nth % TWIN_EVERY {
                3 => self.send(nth, thousandths(nth), nth % PARTITIONS),
                4 => self.send(nth, thousandths(nth), (nth + 1) % PARTITIONS),
                _ => {}
            }
        }
    }

    /// Gives the topic another partition, to which some sales are sent again.
    fn add_a_partition(&mut self, world: &World, sales: Range<i64>) {
        world.grow_topic(usize::try_from(ADDED).expect("small") + 1);
        // A client that asks for the partitions anew.
        self.producer = world.producer();
        for nth in sales.filter(|nth| nth % TWIN_EVERY == 5) {
            self.send(nth, thousandths(nth), ADDED);
        }
    }

    /// How many records were sent, all of which are acknowledged.
    fn sent(&self) -> i64 {
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
    world.open_stores(&[("shop", "s0"), ("shop", "s1"), ("shop", "s2")]);
    let mut sender = Sender::new(&world);
    let [first, second, third] = [0..SALES / 3, SALES / 3..SALES * 2 / 3, SALES * 2 / 3..SALES];
    sender.send_all(first.clone());
    for _ in 0..kills {
        let mut ingest = world.start(&["ingest", "--feeds", "sales"]);
        std::thread::sleep(Duration::from_millis(dice.random_range(100..2_500)));
        assert!(ingest.is_running(), "ingest ended by itself: {}", ingest.log());
        ingest.kill();
    }
    world.ingest_to_the_end();
    compact(&world);
    refresh(&world);
    let dropped = while_one_sleeps(&world, &mut sender, first.clone(), second.clone());
    in_a_group(&world, &mut sender, second, third);
    for nth in 0..CORRECTED {
        sender.send(nth, 9_000, nth % PARTITIONS);
    }
    let sent = sender.sent();
    world.ingest_to_the_end();
    refresh(&world);
    expect_each_once(&world, sent);
    compact(&world);
    expect_each_once(&world, sent);
    println!(
        "seed {seed}, {kills} kills: {sent} records of {} sales; the process that slept {}",
        SALES + CORRECTED,
        if dropped { "dropped a batch" } else { "had nothing in hand" }
    );
}

/// One process sleeps while another takes its place; what it has in hand when it wakes is dropped. Gives whether it had something.
fn while_one_sleeps(world: &World, sender: &mut Sender, known: Range<i64>, new: Range<i64>) -> bool {
    let sleeper = world.start(&["ingest", "--feeds", "sales"]);
    sender.send_late_twins(known.start..known.end / 2);
    sender.send_all(new);
    std::thread::sleep(Duration::from_millis(1_000));
    sleeper.signal("STOP");
    let mut other = world.start(&["ingest", "--feeds", "sales"]);
    std::thread::sleep(Duration::from_millis(3_000));
    other.kill();
    sleeper.signal("CONT");
    sender.send_late_twins(known.end / 2..known.end);
    let _ = sender.sent();
    std::thread::sleep(Duration::from_millis(500));
    sleeper.signal("TERM");
    sleeper.finish(PATIENCE).expect_success().stderr.contains("a batch was dropped")
}

/// Processes of one group come and go while sales are sent again, to a partition that is added in the middle too.
fn in_a_group(world: &World, sender: &mut Sender, known: Range<i64>, new: Range<i64>) {
    let group = [("INTELLICARTEL__INGEST__GROUP", world.prefix.as_str())];
    let join = || world.start_with(&["ingest", "--feeds", "sales"], &group);
    let (mut first, mut second) = (join(), join());
    let half = new.start.midpoint(new.end);
    sender.send_all(new.start..half);
    sender.send_late_twins(known.clone());
    let _ = sender.sent();
    sender.add_a_partition(world, 0..half);
    let third = join();
    sender.send_all(half..new.end);
    first.kill();
    world.await_positions(&mut second, |positions| {
        positions.get(&(ADDED as i32)).is_some_and(|next| *next > 0)
    });
    sender.send_late_twins(new);
    let _ = sender.sent();
    for member in [second, third] {
        member.signal("TERM");
        let _ = member.finish(PATIENCE).expect_success();
    }
}

fn refresh(world: &World) {
    let _ = world.run(&["marts", "refresh"]).expect_success();
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

    let in_mart = "SELECT sum(units - returned_units), sum(sale_lines) FROM marts.item_days";
    assert_eq!(world.sql(in_mart), format!("{quantity},{counted}"));

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
