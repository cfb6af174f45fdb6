//! Washington's bikeshare with its weather through Kafka, and weather that is forecast: what a forecast is made of, and what it would be in other weather.

use domain::Feed;
use serde_json::{Value, json};
use tests::server::Server;
use tests::world::World;

const EXPLAIN: &str = "/api/v1/forecast/explain";
const WHAT_IF: &str = "/api/v1/forecast/what-if";
const TENANT: [(&str, &str); 1] = [("x-intellicartel-tenant", "bikeshare")];
/// Days whose weather is forecast: warm and dry ones, and cold and wet ones between them.
const FORESEEN: u32 = 6;

fn bikeshare() -> World {
    let world = World::on_folder();
    let demo = |name: &str| format!("{}/../demo/{name}", env!("CARGO_MANIFEST_DIR"));
    let (file, map) = (demo("hourly_bikesharing.csv.gz"), demo("bikeshare.toml"));
    let _produced = world.run(&["produce", "--file", &file, "--map", &map]).expect_success();
    let (file, map) = (demo("assigned/stores.csv"), demo("stores.toml"));
    let _produced = world.run(&["produce", "--file", &file, "--map", &map]).expect_success();
    let forecasts: Vec<(Feed, Value)> = (1..=FORESEEN)
        .map(|day| {
            let (low, high, rain) = if day % 2 == 1 { (20, 30, 0) } else { (12, 16, 30) };
            let record = json!({"location": "washington-dc", "observed_for": format!("2019-09-{day:02}"), "kind": "forecast",
                "issued_at": "2019-08-31T18:00:00Z", "temp_min_c": low, "temp_max_c": high, "precipitation_mm": rain});
            (Feed::Weather, record)
        })
        .collect();
    world.send(&forecasts);
    let _ingested = world.run(&["ingest", "--feeds", "sales,weather,stores", "--until-end"]).expect_success();
    let made = world.run(&["forecast", "run", "--quick", "--tenant", "bikeshare", "--output", "json"]);
    eprintln!("{}", made.expect_success().stdout);
    world
}

fn day(date: &str, change: &Value) -> Value {
    let mut day = change.clone();
    day["date"] = date.into();
    day
}

#[test]
fn rain_lowers_and_warmth_raises_trips_in_the_explanation_and_in_what_would_be() {
    let world = bikeshare();
    let parts = ["base", "trend", "season", "promotion", "events", "weather", "adjustment"];
    let sum = parts.map(|part| format!("effect_{part}")).join(" + ");
    let apart = format!("SELECT count(*) FROM marts.forecasts WHERE abs({sum} - mean) > 1e-6 * (1 + mean)");
    assert_eq!(world.sql(&apart), "0");

    let server = Server::start(&world);
    let explained = server.get(&format!("{EXPLAIN}?sku=trip"), &TENANT).expect_success();
    let days = explained["data"].as_array().expect("a list");
    assert_eq!((days.len(), &explained["pagination"]["total"]), (28, &json!(28)));
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    for (at, day) in (1..).zip(days) {
        let (mean, weather) = (number(&day["mean"]), number(&day["effects"]["weather"]));
        let sum: f64 = parts.iter().map(|part| number(&day["effects"][*part])).sum();
        assert!((sum - mean).abs() < 1e-6 * mean, "{day}");
        let expected = match at {
            1..=FORESEEN if at % 2 == 1 => 0.005..0.3,
            1..=FORESEEN => -1.5..-0.2,
            _ => -0.02..0.02,
        };
        assert!(expected.contains(&(weather / mean)), "{at}: {day}");
    }

    let ask = |days: Value| {
        let body = json!({"store": "washington-dc", "sku": "trip", "days": days});
        server.post(WHAT_IF, &TENANT, &body)
    };
    let wet = json!({"precipitation_mm": 30, "temp_mean_c": 26});
    let warm = json!({"precipitation_mm": 0, "temp_mean_c": 26});
    let answer = ask(json!([day("2019-09-01", &wet), day("2019-09-02", &warm), day("2019-09-20", &wet)]))
        .expect_success();
    let answer = &answer["data"];
    assert_eq!(
        (&answer["origin"], &answer["model_version"]),
        (&json!("2019-08-31"), &days[0]["model_version"])
    );
    for (at, (answered, explained)) in (1..).zip(answer["days"].as_array().expect("days").iter().zip(days)) {
        assert_eq!(answered["planned"]["mean"], explained["mean"], "as it is planned, it is what is served");
        let difference = number(&answered["difference"]) / number(&explained["mean"]);
        let expected = match at {
            1 | 20 => -0.8..-0.2,
            2 => 0.2..3.0,
            _ => -0.02..0.02,
        };
        assert!(expected.contains(&difference), "{at}: {answered}");
    }
    what_cannot_be_asked_is_refused(&world, &server);
}

fn what_cannot_be_asked_is_refused(world: &World, server: &Server) {
    let rain = json!([{"date": "2019-09-01", "precipitation_mm": 3}]);
    let of = |store: &str, sku: &str| json!({"store": store, "sku": sku, "days": rain});
    let on = |day: Value| json!({"store": "washington-dc", "sku": "trip", "days": [day]});
    let other = [("x-intellicartel-tenant", "gift-uk")];
    let asked = |tenant, body: &Value| server.post(WHAT_IF, tenant, body);
    let _ = asked(&other, &of("washington-dc", "trip")).expect_refusal(404, "NOT_FOUND", &["forecast run"]);
    let _ = asked(&TENANT, &of("washington-dc", "nothing")).expect_refusal(404, "NOT_FOUND", &["`nothing`"]);
    let _ = asked(&TENANT, &of("elsewhere", "trip")).expect_refusal(404, "NOT_FOUND", &["`elsewhere`"]);
    for (body, status, expected) in [
        (json!({"store": "washington-dc", "sku": "trip", "days": []}), 400, "days"),
        (on(json!({"date": "2019-08-31", "precipitation_mm": 3})), 400, "2019-09-28"),
        (on(json!({"date": "2019-09-01"})), 400, "nothing is to be otherwise"),
        (on(json!({"date": "2019-09-01", "promotion": true})), 400, "knows nothing of promotion"),
        (on(json!({"date": "2019-09-01", "precipitation_mm": -3})), 400, "0 to 2000"),
        (on(json!({"date": "2019-09-01", "temp_mean_c": 99})), 400, "-90 to 60"),
        (on(json!({"date": "yesterday", "temp_mean_c": 9})), 422, "date"),
        (on(json!({"date": "2019-09-01", "snow": 9})), 422, "snow"),
        (json!("rain"), 422, "\"days\""),
    ] {
        let _ = asked(&TENANT, &body).expect_refusal(status, "INVALID_REQUEST", &[expected]);
    }
    let refused = server.get(&format!("{EXPLAIN}?from=tomorrow"), &TENANT);
    let details = refused.expect_refusal(400, "INVALID_REQUEST", &["tomorrow"]);
    assert!(details["fields"]["from"].is_string(), "{details}");

    let what_if = [
        "forecast",
        "what-if",
        "--tenant",
        "bikeshare",
        "--store",
        "washington-dc",
        "--sku",
        "trip",
        "--day",
    ];
    let of_day = |day: &'static str| world.run(&[&what_if[..], &[day]].concat());
    let table = of_day("2019-09-02:precipitation_mm=0,temp_mean_c=26").expect_success().stdout;
    assert!(table.contains("2019-09-28") && table.contains("as it would be: +"), "{table}");
    for (day, expected) in [
        ("2019-09-02", "a day and a change"),
        ("soon:closed=yes", "`soon`"),
        ("2019-09-02:closed=maybe", "neither yes nor no"),
        ("2019-09-02:precipitation_mm=-1", "0 to 2000"),
        ("2019-09-02:snow=1", "`snow`"),
        ("2019-10-02:closed=yes", "not forecast"),
    ] {
        let refused = of_day(day).expect_failure(&[expected]);
        assert_eq!(refused.status.code(), Some(2), "{day}");
    }
}
