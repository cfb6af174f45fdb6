//! Dead letters that are mended and replayed: each lands once, with its own coordinates, whatever is killed and whatever ingest does beside it.
#![expect(clippy::print_stdout, reason = "a kill test says what it did, for the record")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::ports::Letters;
use domain::replay::{LetterFilter, LetterStatus};
use lake::Lake;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tests::process::Finished;
use tests::proxy::Proxy;
use tests::world::{PATIENCE, World};
use tests::{service, setting};

const LETTERS: i64 = 500;
const PARTITIONS: i32 = 2;

/// Changes that mend [`faulty`]'s records.
const MAP: &str = r#"
[feeds.sales]
quantity = { field = "qty" }
kind     = { values = { "S" = "sale" } }
currency = { constant = "GBP" }
"#;

/// A record that no feed takes: a till sent `qty` for `quantity` and `S` for `sale`, and left out the currency.
fn faulty(nth: i64) -> Value {
    json!({
        "tenant": "shop", "store": "s1", "transaction_id": format!("r-{nth}"), "line": 1, "sku": "A", "qty": format!("{nth}.250"),
        "unit_price": "2.00", "kind": "S", "occurred_at": format!("2026-0{}-10T12:00:00Z", 1 + nth % 3), "till": 7,
    })
}

fn good(nth: i64) -> Value {
    let mut record = faulty(nth);
    record["quantity"] = json!("1");
    record["kind"] = json!("sale");
    record["currency"] = json!("GBP");
    record["tenant"] = json!("other");
    record.as_object_mut().expect("an object").remove("qty");
    record
}

/// A world whose topic holds the faulty records with good ones between them, all ingested. Every second record tells of the past.
fn world_with_letters(world: World) -> World {
    world.create_topic(PARTITIONS);
    let producer = world.producer();
    for nth in 0..LETTERS {
        let partition = i32::try_from(nth % i64::from(PARTITIONS)).expect("small");
        for record in [good(nth), faulty(nth)] {
            let value = record.to_string().into_bytes();
            let sent =
                producer.send_raw(&world.topic(), Some(partition), Some(b"k"), Some(&value), nth % 4 < 2);
            sent.expect("the client takes it");
        }
    }
    producer.finish().expect("all is acknowledged");
    world.ingest_to_the_end();
    world
}

fn json_of(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {}", finished.stdout))
}

fn listed(world: &World, arguments: &[&str]) -> usize {
    let list = [&["dlq", "list", "--output", "json", "--limit", "100000"], arguments].concat();
    json_of(&world.run(&list).expect_success()).as_array().expect("a list").len()
}

/// Rows of the mended records: how many, how many places, how many of them are letters', and the exact sum of their quantities.
fn mended(world: &World) -> String {
    world.sql(
        "SELECT count(*), count(DISTINCT s._log || '/' || s._partition || '/' || s._offset), count(l._offset), sum(s.quantity) FROM curated.sales s \
         LEFT JOIN (SELECT DISTINCT _topic, _log, _partition, _offset FROM raw.dead_letters) l \
         ON s._topic = l._topic AND s._log = l._log AND s._partition = l._partition AND s._offset = l._offset \
         WHERE s.tenant = 'shop'",
    )
}

fn all_mended() -> String {
    let sum = LETTERS * (LETTERS - 1) / 2 + LETTERS / 4;
    format!("{LETTERS},{LETTERS},{LETTERS},{sum}.000")
}

/// Letters whose record stands in the sales' table.
fn resolved(world: &World, lake: &Lake) -> usize {
    let selection = world.block_on(lake.select(&LetterFilter::default())).expect("letters are selected");
    selection.entries().iter().filter(|entry| entry.status == LetterStatus::Resolved).count()
}

/// Runs a replay again and again, and kills it each time once it has landed some more letters; at last lets it run to its end.
fn replay_under_fire(world: &World, arguments: &[&str], dice: &mut StdRng) -> Finished {
    let in_pieces_of =
        |letters| [&["dlq", "replay", "--piece", letters, "--output", "json"], arguments].concat();
    let (lake, mut cut_off) = (world.lake(), Vec::new());
    for _ in 0..setting("REPLAY_KILLS", 5) {
        let wanted = resolved(world, &lake) + dice.random_range(0..90);
        let mut replay = world.start(&in_pieces_of("10"));
        let begun = Instant::now();
        while replay.is_running() && resolved(world, &lake) < wanted {
            assert!(begun.elapsed() < PATIENCE, "{}", replay.log());
            std::thread::sleep(Duration::from_millis(dice.random_range(1..12)));
        }
        if replay.is_running() {
            replay.kill();
            cut_off.push(resolved(world, &lake));
        }
    }
    println!("killed when so many letters were resolved: {cut_off:?}");
    assert!(cut_off.iter().any(|letters| *letters > 0), "no replay was cut off in its middle");
    world.run(&in_pieces_of("64"))
}

/// Good records that come while letters are replayed.
struct Beside {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Beside {
    fn start(world: &World) -> Self {
        let (producer, topic, stop) = (world.producer(), world.topic(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut nth = 0;
            while !stopped.load(Ordering::Relaxed) {
                for partition in 0..PARTITIONS {
                    let mut record = good(nth);
                    record["tenant"] = json!("beside");
                    record["transaction_id"] = json!(format!("b-{partition}-{nth}"));
                    record["occurred_at"] = json!(format!("2026-0{}-11T12:00:00Z", 1 + nth % 3));
                    let value = record.to_string().into_bytes();
                    let sent = producer.send_raw(&topic, Some(partition), None, Some(&value), false);
                    sent.expect("the client takes it");
                }
                nth += 1;
                std::thread::sleep(Duration::from_millis(4));
            }
            producer.finish().expect("all is acknowledged")
        });
        Self { stop, thread }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the producer ended well")
    }
}

fn replayed_by_map(world: World, is_spoilt: bool) {
    let mut dice = StdRng::seed_from_u64(setting("SEED", 7));
    let mut world = world_with_letters(world);
    let map = world.path("mend.toml");
    std::fs::write(&map, MAP).expect("the map is written");
    let map = map.to_str().expect("a path of text");
    // Of 1,000 requests 60 are spoilt: answers that are lost leave the outcome of a commit unknown.
    let proxy =
        is_spoilt.then(|| Proxy::start(&service("INTELLICARTEL__S3__ENDPOINT"), setting("SEED", 7), 60));
    if let Some(proxy) = &proxy {
        world.set("INTELLICARTEL__S3__ENDPOINT", &proxy.endpoint());
    }
    let beside = Beside::start(&world);
    let mut ingest = world.start(&["ingest", "--feeds", "sales"]);
    let ended = replay_under_fire(&world, &["--map", map], &mut dice).expect_success();
    assert_eq!(json_of(&ended)["refused"], 0, "{}", ended.stdout);
    assert!(ingest.is_running(), "{}", ingest.log());
    assert!(
        is_spoilt || !ingest.log().contains("dropped"),
        "a replay is no rival of ingest: {}",
        ingest.log()
    );
    ingest.signal("TERM");
    let _ = ingest.finish(PATIENCE).expect_success();
    let sent = beside.end();
    world.ingest_to_the_end();
    assert_eq!(mended(&world), all_mended());
    assert_eq!(world.sql("SELECT count(*) FROM curated.sales WHERE tenant = 'beside'"), sent.to_string());
    assert_eq!(world.sql("SELECT count(*) FROM curated.sales WHERE tenant = 'other'"), LETTERS.to_string());
    assert_eq!((listed(&world, &["--status", "resolved"]), listed(&world, &["--status", "dead"])), (500, 0));
    let told = world.run(&["status", "--output", "json"]).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let sales = &told["feeds"][0];
    assert_eq!((&sales["dead_letters"], &sales["unresolved_24h"]), (&500.into(), &0.into()), "{sales:#}");
    assert!(!told["to_do"].to_string().contains("dlq"), "what is resolved needs no hand: {told:#}");
    let again = world.run(&["dlq", "replay", "--map", map]).expect_success();
    assert!(again.stdout.starts_with("0 landed in 0 commits, 0 refused again"), "{}", again.stdout);
}

#[test]
fn letters_mended_by_a_map_land_once_though_the_replay_is_killed_beside_a_running_ingest() {
    replayed_by_map(World::on_folder(), false);
}

#[test]
fn letters_mended_by_a_map_land_once_on_s3_behind_a_spoiling_proxy() {
    replayed_by_map(World::on_s3(), true);
}

#[test]
fn letters_edited_by_hand_land_once_and_the_others_stay_dead_with_one_attempt_more() {
    let mut dice = StdRng::seed_from_u64(setting("SEED", 7) + 1);
    let world = world_with_letters(World::on_folder());
    let file = world.path("letters.jsonl");
    let name = file.to_str().expect("a path of text");
    let said = world.run(&["dlq", "export", "--file", name, "--class", "missing_field"]).expect_success();
    assert!(said.stderr.contains("500 dead letters"), "{}", said.stderr);
    let _ = world.run(&["dlq", "export", "--file", name]).expect_failure(&["is there already"]);

    // An editor mends all but a few, and adds one that was never a letter.
    let text = std::fs::read_to_string(&file).expect("the file");
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut line: Value = serde_json::from_str(line).expect("JSON lines");
        assert!(line["error"].as_str().is_some_and(|error| error.starts_with("missing_field in `quantity`")));
        let record = line["value"].as_object_mut().expect("the record");
        let quantity = record.remove("qty").expect("the field at fault");
        if quantity != "7.250" && quantity != "8.250" {
            record.insert("quantity".to_owned(), quantity);
        }
        record.insert("kind".to_owned(), json!("sale"));
        record.insert("currency".to_owned(), json!("GBP"));
        lines.push(line.to_string());
    }
    lines.push(json!({"record": format!("{}/1/0/0", world.topic()), "value": {}}).to_string());
    std::fs::write(&file, lines.join("\n")).expect("the file is written");

    let versions = || world.sql("SELECT count(*) FROM raw.dead_letters") + &world.sales_version().to_string();
    let before = versions();
    let dry = world.run(&["dlq", "replay", "--edit", name, "--dry-run"]);
    assert_eq!(dry.status.code(), Some(3), "{}{}", dry.stdout, dry.stderr);
    for words in [
        "498 would land, 2 would be refused again",
        "2 missing_field in `quantity`",
        "first that would land:",
        "/1/0/0",
    ] {
        assert!(dry.stdout.contains(words), "`{words}` is not in: {}", dry.stdout);
    }
    assert_eq!(versions(), before, "a dry run writes nothing");

    let ended = replay_under_fire(&world, &["--edit", name], &mut dice);
    assert_eq!(ended.status.code(), Some(3), "{}", ended.stderr);
    let report = json_of(&ended);
    // The last run finds what the killed ones have landed among the unmatched, with the record that never was a letter, and lands the others.
    let number = |name: &str| report[name].as_u64().expect("a number");
    assert_eq!((number("refused"), number("landed") + number("unmatched")), (2, 499), "{report}");
    let sum = LETTERS * (LETTERS - 1) / 2 + LETTERS / 4 - 16;
    assert_eq!(mended(&world), format!("498,498,498,{sum}.500"));
    assert_eq!((listed(&world, &["--status", "resolved"]), listed(&world, &["--status", "dead"])), (498, 2));
    assert_eq!(listed(&world, &["--status", "dead", "--class", "missing_field", "--tenant", "shop"]), 2);
    // Each run that came so far as to try them has added one attempt; the last is counted in any case.
    let attempts = world.sql("SELECT count(*) - count(DISTINCT attempt) FROM raw.dead_letters WHERE _offset = 7 AND _partition = 1");
    assert_eq!(attempts, "0");
    let most: u64 = world.sql("SELECT max(attempt) FROM raw.dead_letters").parse().expect("a number");
    assert!((2..=2 + setting("REPLAY_KILLS", 5)).contains(&most), "{most}");
}

#[test]
fn filters_choose_letters_alike_and_a_limit_comes_behind_the_status() {
    let world = world_with_letters(World::on_folder());
    let map = world.path("mend.toml");
    std::fs::write(&map, MAP).expect("the map is written");
    let map = map.to_str().expect("a path of text");
    let range = format!("{}/1/1/0-99", world.topic());
    assert_eq!(listed(&world, &[&range]), 50);
    let ended = world.run(&["dlq", "replay", "--map", map, &range]).expect_success();
    assert!(ended.stdout.starts_with("50 landed in 1 commits"), "{}", ended.stdout);
    // The newest letters of the list are dead, so that a limit before the status would find none that is resolved.
    let limited = world.run(&["dlq", "list", "--status", "resolved", "--limit", "7", "--output", "json"]);
    assert_eq!(json_of(&limited.expect_success()).as_array().map(Vec::len), Some(7));
    assert_eq!(listed(&world, &["--status", "dead"]), 450);

    // Nothing matches, so nothing is tried: the letters keep their attempt.
    for filter in [
        &["--class", "out_of_range"][..],
        &["--tenant", "other"],
        &["--since", "2999-01-01"],
        &["--until", "2020-01-01"],
        &[&format!("{}/2/0/1", world.topic())],
    ] {
        assert_eq!(listed(&world, filter), 0, "{filter:?}");
        let said = world.run(&[&["dlq", "replay"], filter].concat()).expect_success().stdout;
        assert!(said.starts_with("0 landed in 0 commits, 0 refused again"), "{filter:?}: {said}");
    }
    // As they are, the rest is refused once more, for the same reason, and what is resolved is not touched.
    let ended = world.run(&["dlq", "replay", "--feed", "sales", "--since", "2020-01-01"]);
    assert_eq!(ended.status.code(), Some(3));
    assert!(ended.stdout.contains("450 missing_field in `quantity`"), "{}", ended.stdout);
    let attempts =
        world.sql("SELECT attempt, count(*) FROM raw.dead_letters GROUP BY attempt ORDER BY attempt");
    assert_eq!(attempts, "1,500\n2,450");
    assert_eq!(listed(&world, &[]), 500, "a letter is listed once, by its newest attempt");
    for (arguments, words) in [
        (&["--map", map, "--edit", "x"][..], "--edit"),
        (&["--map", "nowhere.toml"], "nowhere.toml"),
        (&["p/1/0"], "TOPIC/LOG/PARTITION/OFFSET"),
    ] {
        let said = world.run(&[&["dlq", "replay"], arguments].concat()).expect_failure(&[words]);
        assert_eq!(said.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_replayed_row_keeps_what_kafka_and_its_headers_said_and_a_log_read_again_leaves_it_alone() {
    let world = world_with_letters(World::on_folder());
    let map = world.path("mend.toml");
    std::fs::write(&map, MAP).expect("the map is written");
    let map = map.to_str().expect("a path of text");
    let _ = world.run(&["dlq", "replay", "--map", map]).expect_success();
    let differing = world.sql(
        "SELECT count(*) FROM curated.sales s JOIN raw.dead_letters l ON s._topic = l._topic AND s._log = l._log AND s._partition = l._partition \
         AND s._offset = l._offset WHERE s._timestamp <> l._timestamp OR s._ingested_at <= l._ingested_at",
    );
    assert_eq!(differing, "0");
    let history = "SELECT count(*) FROM curated.sales WHERE tenant = 'shop' AND _known_at = occurred_at";
    assert_eq!(world.sql(history), "250");
    assert_eq!(
        world.sql("SELECT DISTINCT _extra FROM curated.sales WHERE tenant = 'shop'"),
        r#""{""till"":7}""#
    );

    // Read again from the earliest: the log has a new number, so that the good records stand under both and count once. The bad ones are letters of the
    // new number, and what was replayed stands once, under the old one, unless someone replays the new letters too.
    let _ = world.run(&["ingest", "accept-log", &world.topic(), "--from", "earliest"]).expect_success();
    world.ingest_to_the_end();
    for (table, rows) in [("raw.sales", "1000"), ("curated.sales", "500")] {
        assert_eq!(
            world.sql(&format!("SELECT count(*) FROM {table} WHERE tenant = 'other'")),
            rows,
            "{table}"
        );
    }
    assert_eq!(mended(&world), all_mended());
    assert_eq!(
        (listed(&world, &["--status", "resolved"]), listed(&world, &["--status", "dead"])),
        (500, 500)
    );
    let logs: BTreeSet<String> =
        world.sql("SELECT DISTINCT _log FROM raw.dead_letters").lines().map(str::to_owned).collect();
    assert_eq!(logs, ["1".to_owned(), "2".to_owned()].into());
}

#[test]
fn letters_above_the_budget_are_told_and_those_without_a_tenant_may_stop_the_feed() {
    let mut world = World::on_folder();
    world.create_topic(1);
    let producer = world.producer();
    for nth in 0..200 {
        let value = if nth % 2 == 0 { good(nth) } else { faulty(nth) }.to_string().into_bytes();
        producer.send_raw(&world.topic(), Some(0), None, Some(&value), false).expect("it is taken");
    }
    producer.finish().expect("all is acknowledged");
    let said = world.ingest_to_the_end().stderr;
    for words in ["ingest.error_budget", "tenant=\"shop\"", "100.0 %", "missing_field in `quantity`"] {
        assert!(said.contains(words), "`{words}` is not in: {said}");
    }
    assert!(!said.contains("tenant=\"other\""), "{said}");

    world.set("INTELLICARTEL__INGEST__PAUSE_ON_INVALID_TENANT", "true");
    let producer = world.producer();
    for _ in 0..150 {
        producer.send_raw(&world.topic(), Some(0), None, Some(b"rubbish"), false).expect("it is taken");
    }
    producer.finish().expect("all is acknowledged");
    let stop = ["ingest", "--feeds", "sales", "--until-end"];
    let _ = world.run(&stop).expect_failure(&[
        "no valid tenant",
        "malformed_json",
        "pause_on_invalid_tenant=false",
    ]);
    // What was read is committed, so that the next start goes on behind it.
    world.ingest_to_the_end();
    assert_eq!(world.sql("SELECT count(*) FROM raw.dead_letters"), "250");
}
