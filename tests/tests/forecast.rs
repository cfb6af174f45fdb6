//! The whole Online Retail II file through Kafka into a folder, and forecasts of every article from it: their shape, their measured quality, and that a
//! run made again leaves the same rows.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use domain::forecast::{Backtest, DayForecast, Effects, ForecastRun, SeriesForecast, Subject, Total};
use domain::ports::{ForecastSink as _, ModelRegistry as _};
use domain::registry::{ModelAction, ModelEvent};
use serde_json::{Value, json};
use tests::verify::Report;
use tests::world::{PATIENCE, World};

const HORIZON: u64 = 28;
/// Bytes that a limited process may map: somewhat more than it does where nothing limits it.
const ADDRESS_SPACE: u64 = 3 << 30;

fn forecast(world: &World, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["forecast", "run", "--quick", "--output", "json"], arguments].concat();
    let text = world.run(&arguments).expect_success().stdout;
    serde_json::from_str(&text).expect("a list of summaries")
}

fn number(summary: &Value, name: &str) -> u64 {
    summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {summary}"))
}

#[test]
fn every_article_gets_a_calibrated_forecast_that_stands_once() {
    let mut world = World::on_folder();
    world.set("INTELLICARTEL__INGEST__FLUSH_MS", "1000");
    let refused = world.run(&["forecast", "run"]).expect_failure(&[
        "marts.item_days holds no sales",
        "ingest",
        "stores",
    ]);
    assert_eq!(refused.status.code(), Some(1));

    let file = format!("{}/../demo/online_retail.csv.xz", env!("CARGO_MANIFEST_DIR"));
    let map = format!("{}/../demo/online_retail_ii.toml", env!("CARGO_MANIFEST_DIR"));
    let _produced = world.run(&["produce", "sales", "--file", &file, "--map", &map]).expect_success();
    let stores = ["assigned/stores.csv", "stores.toml"]
        .map(|name| format!("{}/../demo/{name}", env!("CARGO_MANIFEST_DIR")));
    let _produced = world.run(&["produce", "--file", &stores[0], "--map", &stores[1]]).expect_success();
    let _ingested = world.run(&["ingest", "--until-end"]).expect_success();

    let made = forecast(&world, &[]);
    assert_eq!(made.len(), 1, "one business, one model: {made:?}");
    let made = &made[0];
    eprintln!("{made:#}");
    let tenant = made["tenant"].as_str().expect("a name");
    let version = made["model_version"].as_str().expect("a version");

    // Every article that was ever sold or returned, in each store, has a forecast of each day of the horizon.
    let articles = world.sql("SELECT count(*) FROM (SELECT DISTINCT tenant, store, sku FROM curated.sales)");
    let series: u64 = articles.parse().expect("a number");
    assert_eq!((series, number(made, "series")), (5_131, series));
    // So have the store and the business.
    assert_eq!(number(made, "sums"), 2);
    let rows = (series + 2) * HORIZON;
    assert_eq!((number(made, "rows_written"), number(made, "rows_replaced")), (rows, 0));
    let keys = "count(*), count(DISTINCT sku), count(DISTINCT forecast_date), count(DISTINCT model_version), min(origin), \
                max(origin), min(forecast_date), max(forecast_date), min(tenant), count(DISTINCT level)";
    let shape = world.sql(&format!("SELECT {keys} FROM marts.forecasts"));
    let last_day = world.sql("SELECT CAST(max(occurred_at) AS DATE) FROM curated.sales");
    assert_eq!(last_day, "2011-12-09");
    assert_eq!(
        shape,
        format!("{rows},{series},{HORIZON},1,{last_day},{last_day},2011-12-10,2012-01-06,{tenant},3")
    );
    assert_eq!(made["last_origin"], "2011-12-09");

    // Quantiles neither cross nor lie below 0, and no figure is out of all proportion.
    let crossing = "q025 < 0 OR q100 < q025 OR q200 < q100 OR q300 < q200 OR q400 < q300 OR q500 < q400 OR q600 < q500 OR q700 < q600 \
                    OR q800 < q700 OR q900 < q800 OR q975 < q900 OR mean < 0 OR isnan(mean) OR isnan(q975) OR total_q900 < total_q500 OR total_q975 < total_q900 \
                    OR total_q500 < 0 OR isnan(total_q975)";
    assert_eq!(world.sql(&format!("SELECT count(*) FROM marts.forecasts WHERE {crossing}")), "0");
    let beyond = world.sql(
        "WITH days AS (SELECT sku, CAST(occurred_at AS DATE) AS day, CAST(sum(quantity) AS DOUBLE) AS units FROM curated.sales GROUP BY sku, day), \
         most AS (SELECT sku, greatest(max(units), 0) AS units FROM days GROUP BY sku) \
         SELECT count(*) FROM marts.forecasts f JOIN most m ON f.sku = m.sku WHERE f.q975 > 2 * m.units OR f.mean > 2 * m.units",
    );
    assert_eq!(beyond, "0");

    let (model, sparse) = (number(made, "model"), number(made, "sparse"));
    assert_eq!(model + sparse, series);
    assert!(model > 2_000, "{made}");
    let with_reasons =
        "SELECT count(DISTINCT sku) FROM marts.forecasts WHERE level = 'sku' AND fallback IS NOT NULL";
    assert_eq!(world.sql(with_reasons), sparse.to_string());

    // Means of articles sum to those of the store and of the business, and totals are what days sum to.
    let sums = "SELECT forecast_date, sum(mean) FILTER (WHERE level = 'sku') AS of_skus, sum(mean) FILTER (WHERE level = 'store') AS of_store, \
                sum(mean) FILTER (WHERE level = 'business') AS of_business FROM marts.forecasts GROUP BY forecast_date";
    let apart = format!(
        "SELECT count(*) FROM ({sums}) WHERE abs(of_skus - of_business) > 1e-6 OR abs(of_store - of_business) > 1e-6"
    );
    assert_eq!(world.sql(&apart), "0");
    let totals = "WITH days AS (SELECT level, store, sku, sum(mean) AS mean, max(total_mean) AS total FROM marts.forecasts GROUP BY level, store, sku) \
                  SELECT count(*) FROM days WHERE abs(mean - total) > 1e-6 * (1 + total)";
    assert_eq!(world.sql(totals), "0");

    // What was measured on the last four weeks: articles are forecast better than by the last week again, and intervals hold about what they say. Days
    // without sales, which are most, lie on the lower bound and count as inside, so that the share of all days is above 80 %.
    let measured = |name: &str| made[name].as_f64().unwrap_or_else(|| panic!("{name} in {made}"));
    assert!(measured("wape") < 0.9 * measured("naive_wape"), "{made}");
    assert!((0.75..0.97).contains(&measured("coverage_80")), "{made}");
    assert_eq!(number(made, "backtest_n") % HORIZON, 0);
    let of_business = "SELECT DISTINCT backtest_n, coverage_80 = 0 OR backtest_wape IS NULL FROM marts.forecasts WHERE level = 'business'";
    assert_eq!(world.sql(of_business), format!("{HORIZON},false"));
    let unmeasured =
        "backtest_n = 0 AND (coverage_80 IS NOT NULL OR backtest_wape IS NOT NULL OR naive_wape IS NOT NULL)";
    assert_eq!(world.sql(&format!("SELECT count(*) FROM marts.forecasts WHERE {unmeasured}")), "0");

    // Another reader sees the same table: deltalake and DuckDB, from Python.
    let report = Report::of(&world);
    let sum = world.sql("SELECT sum(CAST(mean AS DECIMAL(30, 9))) FROM marts.forecasts");
    assert_eq!(report.json()["forecasts"], json!([rows.to_string(), sum]));
    assert_eq!(report.json()["periods"]["marts/forecasts"], json!(["2011-12"]));
    assert_eq!(
        (&report.json()["versions"]["marts/forecasts"], &report.json()["history"]["marts/forecasts"]),
        (&json!(1), &json!(2))
    );

    // The manifest lies where the version says, and names what was read.
    let manifest = Path::new(&world.root).join(made["manifest"].as_str().expect("a name"));
    let manifest: Value =
        serde_json::from_str(&std::fs::read_to_string(manifest).expect("a manifest")).expect("JSON");
    assert_eq!(manifest["model_version"], version);
    let read = |table: &str| manifest["identity"]["lake_versions"][table].as_u64().expect("a version");
    assert_eq!(
        world.sql(&format!("SELECT count(*) FROM curated.\"sales@{}\"", read("curated.sales"))),
        "1067371"
    );
    let lines =
        format!("SELECT sum(sale_lines + return_lines) FROM marts.\"item_days@{}\"", read("marts.item_days"));
    assert_eq!(world.sql(&lines), "1067371");

    // The same run again, asked for by name: the same version, the same figures, and no row more.
    // Summed as decimals: a sum of floats depends on its order.
    let sum = |column: &str| format!("sum(CAST({column} AS DECIMAL(30, 9)))");
    let figures = ["mean", "q025", "q500", "q975", "coverage_80"].map(sum).join(", ");
    let figures = &format!("SELECT {figures}, count(fallback) FROM marts.forecasts");
    let before = world.sql(figures);
    // Whatever else the machine has to do meanwhile, and with less memory to be had.
    let mut neighbour =
        Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("a busy neighbour");
    let again = world.start(&["forecast", "run", "--quick", "--output", "json", "--tenant", tenant]);
    let (pid, limit) = (again.id().to_string(), format!("--as={ADDRESS_SPACE}"));
    let limited = Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("prlimit runs");
    assert!(limited.success());
    let again = again.finish(PATIENCE).expect_success().stdout;
    let again: Vec<Value> = serde_json::from_str(&again).expect("a list of summaries");
    let again = &again[0];
    neighbour.kill().expect("it is stopped");
    let _ = neighbour.wait();
    assert_eq!(again["model_version"], version);
    assert_eq!((number(again, "rows_written"), number(again, "rows_replaced")), (rows, rows));
    assert_eq!(world.sql("SELECT count(*) FROM marts.forecasts"), rows.to_string());
    assert_eq!(world.sql(figures), before);
    let _none = world.run(&["forecast", "run", "--tenant", "nobody"]).expect_failure(&["`nobody`"]);
}

/// A line of a receipt; each has a number of its own.
fn line(number: i64, tenant: &str, sku: &str, name: Option<&str>, quantity: i64, at: &str) -> Vec<u8> {
    let kind = if quantity < 0 { "return" } else { "sale" };
    let record = json!({
        "tenant": tenant, "store": "s", "transaction_id": "1", "line": number, "sku": sku, "product_name": name, "quantity": quantity,
        "unit_price": "1", "currency": "GBP", "kind": kind, "occurred_at": at,
    });
    record.to_string().into_bytes()
}

/// Of two versions with horizons of four weeks and of one, of which the second is served.
fn operators_say_what_is_served(world: &World, tenant: &str, [first, second]: [&str; 2]) {
    let served = |rows: u64, version: &str| {
        let sql = "SELECT count(*), min(model_version) FROM marts.served_forecasts WHERE tenant = 'o''neil'";
        assert_eq!(world.sql(sql), format!("{rows},{version}"));
    };
    served(4 * 7, second);
    let list = || {
        let listed =
            world.run(&["models", "list", "--tenant", tenant, "--output", "json"]).expect_success().stdout;
        let listed: Vec<Value> = serde_json::from_str(&listed).expect("a list");
        listed.iter().map(|row| [row["model_version"].clone(), row["status"].clone()]).collect::<Vec<_>>()
    };
    assert_eq!(list(), [[json!(second), json!("served")], [json!(first), json!("served before")]]);

    let changed =
        world.run(&["models", "rollback", "--tenant", tenant, "--reason", "too short"]).expect_success();
    assert!(changed.stdout.contains(&first[..12]), "{}", changed.stdout);
    served(4 * HORIZON, first);
    assert_eq!(list(), [[json!(second), json!("rolled back")], [json!(first), json!("served")]]);
    // A run that makes it again leaves that as it is, and says why.
    let made = &forecast(world, &["--tenant", tenant, "--horizon", "7"])[0];
    assert_eq!((made["model_version"].as_str(), &made["is_served"]), (Some(second), &json!(false)));
    assert!(made["reason"].as_str().is_some_and(|reason| reason.contains("too short")), "{made}");
    served(4 * HORIZON, first);
    let _none = world.run(&["models", "rollback", "--tenant", tenant]).expect_failure(&["first"]);

    let _changed = world.run(&["models", "promote", &second[..12]]).expect_success();
    served(4 * 7, second);
    let shown = world.run(&["models", "show", second, "--output", "json"]).expect_success().stdout;
    let shown: Value = serde_json::from_str(&shown).expect("an object");
    let actions: Vec<_> =
        shown["events"].as_array().expect("events").iter().map(|event| &event["action"]).collect();
    assert_eq!(actions, ["promoted", "rolled_back", "promoted"]);
    assert_eq!((&shown["parent"], &shown["configuration"]["horizon_days"]), (&json!(first), &json!(7)));
    for (arguments, expected) in [
        (["models", "promote", "0f"], "8 digits"),
        (["models", "show", "000000000000"], "models list"),
        (["models", "rollback", "--tenant=nobody"], "nobody"),
        (["models", "list", "--tenant=nobody"], "nobody"),
    ] {
        let _refused = world.run(&arguments).expect_failure(&[expected]);
    }
}

#[test]
fn businesses_get_models_of_their_own_sales() {
    let world = World::on_folder();
    world.create_topic(1);
    let producer = world.producer();
    let (first, second) = ("gift-uk", "o'neil");
    for value in [
        // It is the next day already in UTC.
        line(1, second, "A", Some("Old"), 4, "2026-01-09T23:30:00-01:00"),
        line(2, second, "A", Some("New"), 2, "2026-01-11T12:00:00Z"),
        line(3, second, "A", None, -3, "2026-01-11T13:00:00Z"),
        line(4, second, "B", None, 1, "2026-01-13T00:00:00Z"),
        line(5, first, "A", Some("Mug"), 7, "2026-01-20T12:00:00Z"),
    ] {
        producer.send_raw(&world.topic(), Some(0), None, Some(&value), false).expect("it is sent");
    }
    producer.finish().expect("all is acknowledged");
    world.ingest_to_the_end();
    world.open_stores(&[(first, "s"), (second, "s")]);

    let made = forecast(&world, &[]);
    let of = |name: &str| made.iter().map(|summary| summary[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("tenant"), [first, second]);
    assert_eq!(of("series"), [1, 2]);
    assert_eq!(of("last_origin"), ["2026-01-20", "2026-01-13"]);
    assert_ne!(made[0]["model_version"], made[1]["model_version"]);
    // Nothing could be measured in so few days, and nothing is claimed.
    assert_eq!((of("coverage_80"), of("backtest_n")), (vec![Value::Null; 2], vec![json!(0); 2]));
    // The article of `second` has the days 4, -1, 0 and 0, and its newest name.
    let rows = "SELECT tenant, sku, product_name, count(*), min(mean), max(mean), max(q975), min(forecast_date) FROM marts.forecasts \
                WHERE level = 'sku' GROUP BY tenant, sku, product_name ORDER BY tenant, sku";
    let expected = "gift-uk,A,Mug,28,7.0,7.0,14.0,2026-01-21\no'neil,A,New,28,0.75,0.75,8.0,2026-01-14\no'neil,B,,28,1.0,1.0,2.0,2026-01-14";
    assert_eq!(world.sql(rows), expected);

    // One business again: its model is the same, and the other's rows are left alone.
    let created = "SELECT tenant, min(created_at) FROM marts.forecasts GROUP BY tenant ORDER BY tenant";
    let before = world.sql(created);
    let again = forecast(&world, &["--tenant", second]);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0]["model_version"], made[1]["model_version"]);
    assert_eq!(
        (number(&again[0], "rows_written"), number(&again[0], "rows_replaced")),
        (4 * HORIZON, 4 * HORIZON)
    );
    assert_eq!(world.sql(rows), expected);
    let after = world.sql(created);
    assert_eq!(before.lines().next(), after.lines().next());
    assert_ne!(before, after);

    // Another horizon is another model, beside the first, and is served from now on.
    let other = forecast(&world, &["--tenant", second, "--horizon", "7"]);
    let versions = [&again[0], &other[0]].map(|made| made["model_version"].as_str().expect("a version"));
    assert_ne!(versions[0], versions[1]);
    assert_eq!((&other[0]["parent"], &other[0]["is_served"]), (&again[0]["model_version"], &json!(true)));
    let of_second = "SELECT count(*) FROM marts.forecasts WHERE tenant = 'o''neil'";
    assert_eq!(world.sql(of_second), (4 * HORIZON + 4 * 7).to_string());
    operators_say_what_is_served(&world, second, versions);

    // No day that was forecast has come yet. Then two have, with 9 and -1 units of an article of which 7 were expected each day.
    let accuracy = "SELECT level, sku, origin, days, units, forecast_units, round(wape, 9), round(naive_wape, 9), round(bias, 9), coverage_80, coverage_95 \
                    FROM marts.forecast_accuracy WHERE tenant = 'gift-uk' ORDER BY level";
    assert_eq!(world.sql(accuracy), "");
    let producer = world.producer();
    for value in [
        line(6, first, "A", Some("Mug"), 9, "2026-01-21T12:00:00Z"),
        line(7, first, "A", Some("Mug"), -1, "2026-01-22T12:00:00Z"),
    ] {
        producer.send_raw(&world.topic(), Some(0), None, Some(&value), false).expect("it is sent");
    }
    producer.finish().expect("all is acknowledged");
    world.ingest_to_the_end();
    let _ = world.run(&["marts", "refresh"]).expect_success();
    // Errors of 2 and 8 in 10 units; a week before there were no sales, so that the naive forecast was 0. The interval is 7 to 14: one day has nothing to tell a spread by.
    let expected = ["business,", "sku,A", "store,"].map(|subject| {
        let (level, sku) = subject.split_once(',').expect("two words");
        format!("{level},{sku},2026-01-20,2,8.0,14.0,1.0,1.0,0.75,0.5,0.5")
    });
    assert_eq!(world.sql(accuracy), expected.join("\n"));
}

#[test]
fn sales_that_drift_from_what_was_forecast_are_told_and_searched_for() {
    const FIRST: u64 = 112;
    const DAYS: u64 = 130;
    let world = World::on_folder();
    world.create_topic(1);
    let producer = world.producer();
    let start: chrono::NaiveDate = "2026-01-01".parse().expect("a date");
    let at = |day: u64| start + chrono::Days::new(day);
    for day in 0..DAYS {
        // A fifth more from the hundredth and fifteenth day on.
        let usual = 100 + (day as i64 * 7) % 11;
        let units = if day >= FIRST + 3 { usual * 6 / 5 } else { usual };
        let value = line(day as i64, "gift-uk", "A", Some("Mug"), units, &format!("{}T12:00:00Z", at(day)));
        producer.send_raw(&world.topic(), Some(0), None, Some(&value), false).expect("it is sent");
    }
    producer.finish().expect("all is acknowledged");
    world.ingest_to_the_end();
    world.open_stores(&[("gift-uk", "s")]);
    let first = &forecast(&world, &[])[0];
    assert!(first["drift"].as_str().is_some_and(|drift| drift.starts_with("not watched yet: 0")), "{first}");

    // Two models as they were made once: of 72 days, and of those since.
    let lake = world.lake();
    for (number, digit, origin, days) in [(2, "a", 39, 72), (3, "b", FIRST - 1, 28)] {
        let of_day = |ahead| DayForecast {
            date: at(origin + ahead),
            mean: 105.0,
            quantiles: [105.0; 11],
            total: Total::default(),
            effects: Effects::default(),
        };
        let whole = SeriesForecast {
            tenant: "gift-uk".to_owned(),
            subject: Subject::Business,
            product_name: None,
            origin: at(origin),
            days: (1..=days).map(of_day).collect(),
            backtest: Backtest::default(),
            fallback: None,
        };
        let run = ForecastRun {
            model_version: digit.repeat(64),
            lake_versions: BTreeMap::new(),
            created_at: number,
            forecasts: vec![whole],
        };
        let event = ModelEvent {
            number,
            tenant: "gift-uk".to_owned(),
            at: number,
            action: ModelAction::Promoted,
            model_version: digit.repeat(64),
            served_version: Some(digit.repeat(64)),
            reason: "as it was".to_owned(),
            parent: None,
            origin: Some(at(origin)),
            backtest: Backtest::default(),
        };
        world.block_on(async {
            lake.write_forecasts(run).await.expect("it is written");
            lake.add_model_event(&event).await.expect("it is added");
        });
    }
    let told = &forecast(&world, &[])[0];
    let drift = told["drift"].as_str().expect("a text");
    assert!(drift.contains("% above what was forecast since 2026-04-2"), "{drift}");
}
