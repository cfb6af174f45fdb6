//! The daily marts while ingest and refresh are killed, sales come late, weather is corrected, a store's record comes last, and compaction and vacuum
//! run: at the end they equal marts that are made from nothing.
//!
//! `KILLS` and `SEED` choose how many kills and which.
#![expect(clippy::print_stdout, reason = "a kill test says what it did, for the record")]

use std::time::{Duration, Instant};

use domain::Feed;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tests::server::Server;
use tests::setting;
use tests::verify::rows_that_all_readers_agree_on;
use tests::world::{PATIENCE, World};

const STORES: u32 = 6;
/// One of these has its record only at the end.
const LAST: u32 = STORES - 1;

fn store(number: u32) -> (Feed, Value) {
    let zone = ["Europe/Berlin", "America/New_York", "Asia/Tokyo"][number as usize % 3];
    let record = json!({"tenant": "t", "store": format!("s{number}"), "valid_from": "2020-01-01", "time_zone": zone, "currency": "EUR",
        "location": format!("l{}", number % 2), "region": "DE-BE"});
    (Feed::Stores, record)
}

/// Sales of a day in March 2026; one in twenty lies a month back.
fn sales(dice: &mut StdRng, next: &mut u64, day: u32) -> Vec<(Feed, Value)> {
    let count = dice.random_range(100..300);
    let sale = |dice: &mut StdRng, number: u64| {
        let month = if dice.random_range(0..20) == 0 { 2 } else { 3 };
        let at = format!(
            "2026-{month:02}-{day:02}T{:02}:{:02}:00Z",
            dice.random_range(0..24),
            dice.random_range(0..60)
        );
        let quantity: i64 = dice.random_range(-1..8);
        json!({"tenant": "t", "store": format!("s{}", dice.random_range(0..STORES)), "transaction_id": format!("r{number}"), "line": 1,
            "sku": format!("a{}", dice.random_range(0..20)), "quantity": quantity, "unit_price": "1.25", "currency": "EUR",
            "kind": if quantity < 0 { "return" } else { "sale" }, "occurred_at": at})
    };
    (0..count)
        .map(|_| {
            *next += 1;
            (Feed::Sales, sale(dice, *next))
        })
        .collect()
}

fn weather(dice: &mut StdRng, day: u32) -> Vec<(Feed, Value)> {
    let seen = |place: u32| {
        json!({"location": format!("l{place}"), "observed_for": format!("2026-03-{day:02}"), "kind": "observed", "temp_min_c": 0,
            "temp_max_c": dice.random_range(1..30), "precipitation_mm": 0})
    };
    (0..2).map(seen).map(|record| (Feed::Weather, record)).collect()
}

fn corrected(dice: &mut StdRng, mut records: Vec<(Feed, Value)>) -> Vec<(Feed, Value)> {
    for (_, record) in &mut records {
        record["temp_max_c"] = dice.random_range(31..40).into();
        record["issued_at"] = format!("2026-05-{:02}T00:00:00Z", dice.random_range(1..28)).into();
    }
    records
}

/// Both marts, row by row.
fn marts(world: &World) -> Vec<String> {
    [
        "SELECT * FROM marts.item_days ORDER BY store, sku, date",
        "SELECT * FROM marts.store_days ORDER BY store, date",
    ]
    .iter()
    .flat_map(|sql| world.sql(sql).lines().map(ToOwned::to_owned).collect::<Vec<_>>())
    .collect()
}

/// Takes in all there is and refreshes, undisturbed; what was done to each mart.
fn refreshed(world: &World) -> Vec<Value> {
    let _ = world.run(&["ingest", "--until-end"]).expect_success();
    let said = world.run(&["marts", "refresh", "--output", "json"]).expect_success().stdout;
    serde_json::from_str(&said).expect("a list")
}

#[test]
fn killed_and_late_and_corrected_the_marts_equal_those_made_from_nothing() {
    let (kills, seed) = (setting("KILLS", 6), setting("SEED", 7));
    let mut dice = StdRng::seed_from_u64(seed);
    let mut world = World::on_s3();
    world.set("INTELLICARTEL__INGEST__FLUSH_MS", "200");
    world.send(&(0..LAST).map(store).collect::<Vec<_>>());
    let (mut next, mut day, mut killed) = (0, 0, [0_u64; 2]);
    world.send(&sales(&mut dice, &mut next, 1));
    let made = refreshed(&world);
    assert!(made.iter().all(|mart| mart["rebuilt_because"] == "it was not made before"), "{made:?}");
    while killed.iter().sum::<u64>() < kills {
        day = day % 28 + 1;
        let seen = weather(&mut dice, day);
        world.send(&sales(&mut dice, &mut next, day));
        world.send(&seen);
        let mut ingest = world.start(&["ingest"]);
        let beside = match dice.random_range(0..4) {
            0 => {
                world.send(&corrected(&mut dice, seen));
                None
            }
            1 => Some(world.start(&["lake", "compact", "curated.sales"])),
            2 => Some(world.start(&["lake", "compact", "marts.item_days"])),
            _ => Some(world.start(&["lake", "vacuum", "marts.store_days", "--full", "--apply"])),
        };
        let mut refresh = world.start(&["marts", "refresh"]);
        // Some refreshes are let to their end, so that those that follow have a part to do; others are killed anywhere up to it.
        let begun = Instant::now();
        let lives = [dice.random_range(100..1_500), dice.random_range(300..2_500)].map(Duration::from_millis);
        let is_spared = dice.random_range(0..3) == 0;
        while refresh.is_running() && (is_spared || begun.elapsed() < lives[0]) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if refresh.is_running() {
            refresh.kill();
            killed[1] += 1;
        }
        std::thread::sleep(lives[1].saturating_sub(begun.elapsed()));
        if ingest.is_running() {
            ingest.kill();
            killed[0] += 1;
        }
        if let Some(beside) = beside {
            let _ = beside.finish(PATIENCE).expect_success();
        }
    }
    // The last store's record comes behind all its sales.
    world.send(&[store(LAST)]);
    let made = refreshed(&world);
    assert!(
        made.iter().all(|mart| mart["rebuilt_because"].is_null() && mart["whole_stores"] == 1),
        "{made:?}"
    );
    let kept = marts(&world);
    let rebuilt = world.run(&["marts", "rebuild"]).expect_success().stdout;
    assert_eq!(kept, marts(&world), "seed {seed}");
    let units = "SELECT sum(units - returned_units) FROM";
    let sold = world.sql("SELECT sum(quantity), count(*) FROM curated.sales");
    assert_eq!(sold, format!("{},{next}", world.sql(&format!("{units} marts.item_days"))));
    assert_eq!(
        world.sql(&format!("{units} marts.store_days")),
        world.sql(&format!("{units} marts.item_days"))
    );
    let rows = rows_that_all_readers_agree_on(&world, &["marts.store_days", "marts.item_days"]);
    println!(
        "seed {seed}: {next} sales, ingest killed {} times, refresh {} times; {rows:?}; {rebuilt}",
        killed[0], killed[1]
    );
}

#[test]
fn a_server_keeps_the_marts_and_shows_what_was_sold_today() {
    let mut world = World::on_folder();
    world.set("INTELLICARTEL__MARTS__REFRESH_MS", "200");
    world.set("INTELLICARTEL__INGEST__FLUSH_MS", "100");
    let now = chrono::Utc::now().to_rfc3339();
    let sale = json!({"tenant": "t", "store": "s", "transaction_id": "1", "line": 1, "sku": "a", "quantity": 3, "unit_price": "1.5",
        "currency": "GBP", "kind": "sale", "occurred_at": now});
    world.send(&[(Feed::Sales, sale)]);
    let _ = world.run(&["marts", "refresh"]).expect_failure(&["there is no folder lake.root"]);
    let server = Server::start_as(&world, &["serve", "--roles", "api,ingest,marts"]);
    let begun = Instant::now();
    let waiting = json!([{ "tenant": "t", "store": "s", "sales": 1 }]);
    loop {
        let said: Value =
            serde_json::from_str(&world.run(&["status", "--output", "json"]).stdout).expect("JSON");
        if said["daily_marts"]["waiting_stores"] == waiting {
            assert!(said["to_do"].to_string().contains("1 sales of t/s wait for its record"), "{said:#}");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "no sale waits: {said:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
    world.open_stores(&[("t", "s"), ("u", "s")]);
    let ask = |who: &str, sql: &str| {
        server.sql(who, &json!({ "sql": sql })).expect_success()["data"]["rows"].clone()
    };
    while ask("t", "SELECT count(*) AS n FROM marts.daily_demand WHERE units = 3") != json!([{ "n": 1 }]) {
        assert!(begun.elapsed() < PATIENCE, "the marts are not refreshed");
        std::thread::sleep(Duration::from_millis(100));
    }
    let live = "SELECT store, units, revenue, sale_lines FROM marts.sales_live";
    assert_eq!(ask("t", live), json!([{ "store": "s", "units": 3.0, "revenue": 4.5, "sale_lines": 1 }]));
    assert_eq!(ask("u", live), json!([{ "store": "s", "units": 0.0, "revenue": 0.0, "sale_lines": 0 }]));
    assert_eq!(ask("u", "SELECT count(*) AS n FROM marts.daily_demand"), json!([{ "n": 0 }]));
}
