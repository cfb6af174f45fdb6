//! HTTP over a lake: questions in SQL and forecasts for a business, refusals in the envelope, and what operators ask a process for.

use std::time::Duration;

use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tests::server::{SQL, Server};
use tests::world::{PATIENCE, World};

const PREDICTIONS: &str = "/api/v1/forecast/predictions";

fn sale(tenant: &str, number: i64, sku: &str, quantity: i64, at: &str) -> Value {
    json!({
        "tenant": tenant, "store": "london", "transaction_id": format!("t{number}"), "line": 1, "sku": sku, "quantity": quantity,
        "product_name": if sku == "A" { json!("=Mug") } else { Value::Null },
        "unit_price": "1.25", "currency": "GBP", "kind": if quantity < 0 { "return" } else { "sale" }, "occurred_at": at,
    })
}

/// A lake with the sales of two businesses.
fn lake(of_first: &[Value]) -> World {
    let world = World::on_folder();
    world.create_topic(1);
    let producer = world.producer();
    let rival = sale("rival", 1, "theirs", 500, "2026-03-01T10:00:00Z");
    for record in of_first.iter().chain([&rival]) {
        let value = record.to_string().into_bytes();
        producer.send_raw(&world.topic(), Some(0), None, Some(&value), false).expect("it is sent");
    }
    producer.finish().expect("all is acknowledged");
    world.ingest_to_the_end();
    world
}

fn three_sales() -> World {
    lake(&[
        sale("gift-uk", 1, "A", 3, "2026-01-05T10:00:00Z"),
        sale("gift-uk", 2, "B", 4, "2026-02-05T10:00:00Z"),
        sale("gift-uk", 3, "-5", -1, "2026-02-06T10:00:00.5Z"),
    ])
}

#[test]
fn a_business_asks_in_sql_and_reads_json_csv_or_arrow() {
    let world = three_sales();
    let server = Server::start(&world);
    let question =
        json!({ "sql": "SELECT sku, quantity, product_name FROM curated.sales ORDER BY occurred_at" });
    let body = server.sql("gift-uk", &question).expect_success();
    let column =
        |name: &str, of: &str| json!({ "name": name, "type": of, "nullable": name == "product_name" });
    let columns =
        [column("sku", "Utf8"), column("quantity", "Decimal128(18, 3)"), column("product_name", "Utf8")];
    assert_eq!(body["data"]["columns"], json!(columns), "{body}");
    let rows = json!([
        { "sku": "A", "quantity": 3.0, "product_name": "=Mug" },
        { "sku": "B", "quantity": 4.0, "product_name": null },
        { "sku": "-5", "quantity": -1.0, "product_name": null },
    ]);
    assert_eq!(body["data"]["rows"], rows);
    // The newest sale is the caller's, not the rival's.
    let version = world.sales_version();
    let as_of =
        json!({ "tables": { "curated.sales": version }, "newest_occurred_at": "2026-02-06T10:00:00.500Z" });
    assert_eq!(body["meta"]["as_of"], as_of);
    assert_eq!((&body["meta"]["truncated"], &body["meta"]["limit"]), (&Value::Null, &Value::Null));

    let tenant = ("x-intellicartel-tenant", "gift-uk");
    let csv = server.post(SQL, &[tenant, ("accept", "text/csv")], &question);
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    assert_eq!(csv.text(), "sku,quantity,product_name\nA,3.000,'=Mug\nB,4.000,\n-5,-1.000,\n");
    assert_eq!(serde_json::from_str::<Value>(&csv.headers["x-intellicartel-as-of"]).expect("JSON"), as_of);
    assert!(!csv.headers.contains_key("x-intellicartel-truncated"));

    let accept = ("accept", "image/png, application/vnd.apache.arrow.stream;q=0.9, */*;q=0.1");
    let cut = json!({ "sql": question["sql"], "limit": 2 });
    let arrow = server.post(SQL, &[tenant, accept], &cut);
    assert_eq!(arrow.headers["x-intellicartel-truncated"], "max_rows: 2 rows");
    let batches = StreamReader::try_new(arrow.body.as_ref(), None).expect("an Arrow stream");
    assert_eq!(batches.schema().field(1).data_type().to_string(), "Decimal128(18, 3)");
    assert_eq!(batches.map(|batch| batch.expect("a batch").num_rows()).sum::<usize>(), 2);
    let cut = server.sql("gift-uk", &cut).expect_success();
    assert_eq!(
        (&cut["meta"]["truncated"], &cut["meta"]["limit"]),
        (&json!(true), &json!("max_rows: 2 rows"))
    );

    let empty = json!({ "sql": "SELECT sku FROM curated.sales WHERE sku = 'x'" });
    let none = server.post(SQL, &[tenant, ("accept", "text/csv")], &empty);
    assert_eq!((none.status, none.text().as_str()), (200, "sku\n"));
    assert_eq!(server.sql("gift-uk", &empty).expect_success()["data"]["rows"], json!([]));
    let earlier = json!({ "sql": "SELECT count(*) AS n FROM as_of('curated.sales', 0)" });
    let earlier = server.sql("gift-uk", &earlier).expect_success();
    assert_eq!(
        (&earlier["data"]["rows"], &earlier["meta"]["as_of"]["newest_occurred_at"]),
        (&json!([{ "n": 0 }]), &Value::Null)
    );
    let rival = server.sql("rival", &json!({ "sql": "SELECT sum(quantity) AS n FROM curated.sales" }));
    assert_eq!(rival.expect_success()["data"]["rows"], json!([{ "n": 500.0 }]));
}

#[test]
fn what_cannot_be_answered_is_refused_in_the_envelope() {
    let world = three_sales();
    let server = Server::start(&world);
    let question = json!({ "sql": "SELECT 1" });
    let tenant = ("x-intellicartel-tenant", "gift-uk");
    let json_type = ("content-type", "application/json");
    let refused = |headers: &[(&str, &str)], body: &str, status, code, words: &[&str]| {
        server
            .send(Method::POST, SQL, headers, Bytes::from(body.to_owned()))
            .expect_refusal(status, code, words)
    };
    // Whose question it is comes first.
    let _ = refused(&[json_type], "not json", 400, "TENANT_REQUIRED", &["X-Intellicartel-Tenant"]);
    let _ = refused(&[json_type, tenant, tenant], "{}", 400, "TENANT_REQUIRED", &["once"]);
    let _ =
        refused(&[json_type, ("x-intellicartel-tenant", " a/b")], "{}", 400, "TENANT_REQUIRED", &["`a/b`"]);
    let _ = server.get(PREDICTIONS, &[]).expect_refusal(400, "TENANT_REQUIRED", &["X-Intellicartel-Tenant"]);

    let _ = refused(&[tenant], "{}", 415, "UNSUPPORTED_MEDIA_TYPE", &["application/json"]);
    let _ = refused(&[tenant, json_type], "not json", 400, "INVALID_REQUEST", &[r#"{"sql": "#]);
    let _ = refused(&[tenant, json_type], "{}", 422, "INVALID_REQUEST", &["missing field `sql`"]);
    let _ =
        refused(&[tenant, json_type], r#"{"sql":"SELECT 1","limt":1}"#, 422, "INVALID_REQUEST", &["`limt`"]);
    let _ = refused(&[tenant, json_type], &"x".repeat(600 << 10), 413, "PAYLOAD_TOO_LARGE", &[]);
    let long = json!({ "sql": format!("SELECT '{}'", "x".repeat(300 << 10)) }).to_string();
    let _ = refused(&[tenant, json_type], &long, 400, "INVALID_REQUEST", &["longer than 262144 bytes"]);
    let details = refused(
        &[tenant, json_type],
        r#"{"sql":"SELECT 1","limit":0}"#,
        400,
        "INVALID_REQUEST",
        &["limit: 0 rows"],
    );
    assert!(details["fields"]["limit"].is_string(), "{details}");
    let png = [tenant, json_type, ("accept", "image/png")];
    let _ = refused(&png, &question.to_string(), 406, "NOT_ACCEPTABLE", &["text/csv"]);

    let sql = |text: &str| server.sql("gift-uk", &json!({ "sql": text }));
    let _ = sql("SELEC 1").expect_refusal(400, "INVALID_REQUEST", &["SELEC"]);
    let _ = sql("DROP TABLE curated.sales").expect_refusal(400, "INVALID_REQUEST", &["DDL"]);
    let _ = sql("SELECT * FROM raw.dead_letters").expect_refusal(400, "INVALID_REQUEST", &["raw"]);
    let _ = sql("SELECT CAST(sku AS INT) FROM curated.sales").expect_refusal(
        400,
        "INVALID_REQUEST",
        &["Cannot cast"],
    );
    let _ = sql("SELECT count(*) FROM as_of('curated.sales', 99)").expect_refusal(404, "NOT_FOUND", &["99"]);

    let _ = server.get("/nowhere", &[]).expect_refusal(404, "NOT_FOUND", &["/nowhere"]);
    let _ = server.get(SQL, &[tenant]).expect_refusal(405, "METHOD_NOT_ALLOWED", &["GET"]);
}

/// Ten weeks of two articles, and a third that was sold once.
fn ten_weeks() -> World {
    let day = |number: i64| {
        chrono::NaiveDate::from_num_days_from_ce_opt(739_000 + i32::try_from(number).expect("few"))
    };
    let at = |number: i64| format!("{}T12:00:00Z", day(number).expect("a day"));
    let mut sales = Vec::new();
    for number in 0..70 {
        sales.push(sale("gift-uk", 2 * number, "A", 1 + number % 7, &at(number)));
        sales.push(sale("gift-uk", 2 * number + 1, "B", 5 + number % 3, &at(number)));
    }
    sales.push(sale("gift-uk", 1_000, "C'D", 2, &at(69)));
    lake(&sales)
}

#[test]
fn forecasts_are_served_day_by_day_from_the_newest_run() {
    let world = ten_weeks();
    let server = Server::start(&world);
    let tenant = [("x-intellicartel-tenant", "gift-uk")];
    let get = |query: &str| server.get(&format!("{PREDICTIONS}{query}"), &tenant);
    let _ = get("").expect_refusal(404, "FORECAST_NOT_FOUND", &["forecast run"]);
    // An older run of another horizon, then the one that is served.
    world.open_stores(&[("gift-uk", "london"), ("rival", "london")]);
    let _ = world.run(&["forecast", "run", "--horizon", "40"]).expect_success();
    let _ = world.run(&["forecast", "run"]).expect_success();

    let mut served = Vec::new();
    for page in 1..=4 {
        let body = get(&format!("?per_page=25&page={page}")).expect_success();
        let pages = json!({ "page": page, "per_page": 25, "total": 84, "total_pages": 4 });
        assert_eq!(body["pagination"], pages);
        assert_eq!(body["meta"]["as_of"]["tables"]["marts.forecasts"], 4, "{body}");
        served.extend(body["data"].as_array().expect("a list").clone());
    }
    let beyond = get("?per_page=25&page=5").expect_success();
    assert_eq!((&beyond["data"], &beyond["pagination"]["total"]), (&json!([]), &json!(84)));
    // Each row of the run once, with the figures that SQL gives.
    let run = served[0]["model_version"].as_str().expect("a version");
    let stored = world.run(&["sql", "--output", "json", &format!(
        "SELECT sku, forecast_date, mean, q100, q900, coverage_80, backtest_wape, naive_wape, backtest_n, product_name, fallback \
         FROM marts.forecasts WHERE tenant = 'gift-uk' AND level = 'sku' AND model_version = '{run}' ORDER BY sku, forecast_date",
    )]);
    let stored: Vec<Value> = serde_json::from_str(&stored.expect_success().stdout).expect("rows");
    assert_eq!((stored.len(), served.len()), (84, 84));
    for (stored, served) in stored.iter().zip(&served) {
        for (column, field) in [
            ("sku", &served["sku"]),
            ("forecast_date", &served["forecast_date"]),
            ("mean", &served["mean"]),
            ("q100", &served["lower_bound"]),
            ("q900", &served["upper_bound"]),
            ("coverage_80", &served["confidence_score"]),
            ("coverage_80", &served["backtest"]["coverage_80"]),
            ("backtest_wape", &served["backtest"]["wape"]),
            ("naive_wape", &served["backtest"]["naive_wape"]),
            ("backtest_n", &served["backtest"]["n"]),
            ("product_name", &served["product_name"]),
            ("fallback", &served["fallback"]),
        ] {
            assert_eq!(&stored[column], field, "{column} of {served}");
        }
        let rounded = served["mean"].as_f64().expect("a number").round();
        assert_eq!(served["predicted_demand"].as_f64(), Some(rounded));
        assert_eq!(
            (&served["unit"], &served["level"], &served["store"]),
            (&json!("units"), &json!(80), &json!("london"))
        );
        let read = &served["lake_versions"];
        assert_eq!(
            (&read["curated.sales"], &read["marts.item_days"]),
            (&json!(world.sales_version()), &json!(1))
        );
    }
    // An article that was sold once says that nobody knows how good this is.
    let new = get("?sku=C%27D").expect_success();
    assert_eq!(new["pagination"]["total"], 28);
    let first = &new["data"][0];
    assert!(first["note"].as_str().is_some_and(|note| note.contains("too short")), "{first}");
    assert_eq!(first["confidence_score"], Value::Null);
    assert_eq!(served[0]["note"], Value::Null);

    let (from, to) = (served[2]["forecast_date"].as_str(), served[4]["forecast_date"].as_str());
    let days = get(&format!(
        "?sku=A&store=london&from={}&to={}&level=95",
        from.expect("a date"),
        to.expect("a date")
    ));
    let days = days.expect_success();
    let dates: Vec<_> =
        days["data"].as_array().expect("a list").iter().map(|day| &day["forecast_date"]).collect();
    assert_eq!(
        dates,
        [&served[2]["forecast_date"], &served[3]["forecast_date"], &served[4]["forecast_date"]]
    );
    // Only the coverage of the 80 % interval is measured, and nothing is claimed for another.
    assert_eq!((&days["data"][0]["level"], &days["data"][0]["confidence_score"]), (&json!(95), &Value::Null));
    assert_eq!(get("?sku=nothing").expect_success()["pagination"]["total"], 0);
    let none = server.get(PREDICTIONS, &[("x-intellicartel-tenant", "nobody")]);
    let _ = none.expect_refusal(404, "FORECAST_NOT_FOUND", &["this business"]);
    let rival = server.get(PREDICTIONS, &[("x-intellicartel-tenant", "rival")]).expect_success();
    assert_eq!((&rival["pagination"]["total"], &rival["data"][0]["sku"]), (&json!(28), &json!("theirs")));

    // The store and the business have forecasts of their own, whose means are sums of those above.
    for subject in ["store", "business"] {
        let whole = get(&format!("?subject={subject}")).expect_success();
        assert_eq!(whole["pagination"]["total"], 28);
        let day = &whole["data"][6];
        assert_eq!((&day["subject"], &day["sku"]), (&json!(subject), &Value::Null));
        let of_skus = served.iter().filter(|row| row["forecast_date"] == day["forecast_date"]);
        let sum: f64 = of_skus.map(|row| row["mean"].as_f64().expect("a number")).sum();
        assert!((sum - day["mean"].as_f64().expect("a number")).abs() < 1e-9, "{day}");
        assert!(day["total"]["mean"].as_f64() > day["mean"].as_f64(), "{day}");
    }
    assert_eq!(get("?subject=category").expect_success()["pagination"]["total"], 0);

    let faults = get("?product_id=7&from=2026-13-01&level=81&page=0&per_page=1001&subject=shelf");
    let details = faults.expect_refusal(
        400,
        "INVALID_REQUEST",
        &["2011-12-24", "20, 40, 60, 80 or 95", "sku, category, store, business"],
    );
    let fields: Vec<_> = details["fields"].as_object().expect("fields").keys().collect();
    assert_eq!(fields, ["from", "level", "page", "per_page", "product_id", "subject"]);
    let _ = get("?from=2026-02-02&to=2026-02-01").expect_refusal(400, "INVALID_REQUEST", &["after `to`"]);
    let _ = get("?skuu=A").expect_refusal(400, "INVALID_REQUEST", &["`skuu`", "`sku`"]);
}

#[test]
fn forecasts_are_held_against_what_came_since() {
    let world = ten_weeks();
    world.open_stores(&[("gift-uk", "london"), ("rival", "london")]);
    let _ = world.run(&["forecast", "run"]).expect_success();
    let server = Server::start(&world);
    let tenant = [("x-intellicartel-tenant", "gift-uk")];
    let get = |query: &str| server.get(&format!("/api/v1/forecast/accuracy{query}"), &tenant);
    assert_eq!(get("").expect_success()["data"], json!([]), "no day that was forecast has come");
    let forecast = server.get(&format!("{PREDICTIONS}?sku=A&per_page=1"), &tenant).expect_success();
    let forecast = &forecast["data"][0];
    let date = forecast["forecast_date"].as_str().expect("a date");
    let producer = world.producer();
    let sale = sale("gift-uk", 2_000, "A", 5, &format!("{date}T12:00:00Z")).to_string().into_bytes();
    producer.send_raw(&world.topic(), Some(0), None, Some(&sale), false).expect("it is sent");
    producer.finish().expect("all is acknowledged");
    world.ingest_to_the_end();
    let _ = world.run(&["marts", "refresh"]).expect_success();

    let found = get("?sku=A&store=london").expect_success();
    let row = &found["data"][0];
    assert_eq!(
        (&found["pagination"]["total"], &row["days"], &row["units"]),
        (&json!(1), &json!(1), &json!(5.0))
    );
    assert_eq!((&row["origin"], &row["model_version"]), (&forecast["origin"], &forecast["model_version"]));
    let mean = forecast["mean"].as_f64().expect("a number");
    assert!((row["wape"].as_f64().expect("measured") - (mean - 5.0).abs() / 5.0).abs() < 1e-9, "{row}");
    let added = row["naive_wape"].as_f64().expect("measured") - row["wape"].as_f64().expect("measured");
    assert!((row["value_added"].as_f64().expect("measured") - added).abs() < 1e-9, "{row}");
    assert_eq!(get("").expect_success()["pagination"]["total"], 3, "articles that sold nothing came, too");
    let whole = get("?subject=business").expect_success();
    assert_eq!((&whole["data"][0]["units"], &whole["data"][0]["store"]), (&json!(5.0), &Value::Null));
    assert_eq!(get(&format!("?from={date}")).expect_success()["data"], json!([]));
    let none = server.get("/api/v1/forecast/accuracy", &[("x-intellicartel-tenant", "nobody")]);
    assert_eq!(none.expect_success()["data"], json!([]));
    let _ = get("?subject=shelf&page=x").expect_refusal(400, "INVALID_REQUEST", &["subject", "page"]);
    let _ = get("?from=2026-02-02&to=2026-02-01").expect_refusal(400, "INVALID_REQUEST", &["after `to`"]);
    let _ = get("?level=80").expect_refusal(400, "INVALID_REQUEST", &["`level`"]);
}

#[test]
fn a_client_that_leaves_stops_its_query_and_a_shutdown_lets_others_end() {
    let world = three_sales();
    let server = Server::start(&world);
    let endless = json!({ "sql": "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000000) b" });
    // More than may be answered at once: each leaves, and none holds a place.
    for _ in 0..12 {
        server.ask_and_leave("gift-uk", &endless);
    }
    // Well before the time-out would have ended them.
    server.await_idle(Duration::from_secs(25));
    let answered = server.sql("gift-uk", &json!({ "sql": "SELECT count(*) AS n FROM curated.sales" }));
    assert_eq!(answered.expect_success()["data"]["rows"], json!([{ "n": 3 }]));

    let slow = json!({ "sql": "SELECT count(*) AS n FROM generate_series(1, 100) a, generate_series(1, 2000000) b" });
    let (answer, said) = server.ask_across_shutdown("gift-uk", &slow);
    assert_eq!(answer.expect_success()["data"]["rows"], json!([{ "n": 200_000_000 }]));
    let _ = said.expect_success();
}

#[test]
fn an_ingest_tells_its_lag_and_answers_no_questions() {
    let world = three_sales();
    let server = Server::start_as(&world, &["ingest", "--feeds", "sales"]);
    let lag = r#"intellicartel_ingest_lag_records{feed="sales",partition="0"} 0"#;
    let begun = std::time::Instant::now();
    while !server.get("/metrics", &[]).text().contains(lag) {
        assert!(begun.elapsed() < PATIENCE, "{}", server.get("/metrics", &[]).text());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(server.get("/readyz", &[]).expect_success()["data"]["status"], "ready");
    let _ = server.sql("gift-uk", &json!({ "sql": "SELECT 1" })).expect_refusal(404, "NOT_FOUND", &[SQL]);
    let said = server.end().expect_success().stderr;
    assert!(said.contains("0 rows and 0 dead letters"), "{said}");
    let refused = world.run(&["ingest", "--listen", "0.0.0.0:8080"]);
    let _ = refused.expect_failure(&["--listen", "0.0.0.0:8080", "127.0.0.1:PORT"]);
}

#[test]
fn operators_see_whether_it_lives_and_only_the_loopback_is_served() {
    let mut world = three_sales();
    let server = Server::start(&world);
    assert_eq!(server.get("/livez", &[]).expect_success()["data"]["status"], "live");
    assert_eq!(server.get("/readyz?verbose", &[]).expect_success()["data"]["checks"]["lake"], "ok");
    assert_eq!(server.get("/version", &[]).expect_success()["data"]["name"], "intellicartel");
    let own = server.get("/livez", &[("x-request-id", "my-own-id-1")]).expect_success();
    assert_eq!(own["meta"]["request_id"], "my-own-id-1");
    let metrics = server.get("/metrics", &[]).text();
    assert!(metrics.contains(r#"intellicartel_http_requests_total{route="/livez""#), "{metrics}");

    let log = server.log();
    assert!(
        log.contains("my-own-id-1") && log.contains("path=\"/livez\"") && log.contains("status=200"),
        "{log}"
    );

    let taken = server.address().to_owned();
    let refused = world.start_with(&["serve"], &[("INTELLICARTEL__HTTP__LISTEN", &taken)]);
    let _ = refused.finish(PATIENCE).expect_failure(&["http.listen", &taken]);
    let _ = server.end().expect_success();
    let server = Server::start_as(&world, &["--log-format", "json", "serve", "--roles", "api"]);
    let _ = server.get("/livez", &[("x-request-id", "another-id-2")]).expect_success();
    let log = server.log();
    let line = log.lines().find(|line| line.contains("another-id-2")).expect("a line of the request");
    let line: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(
        (&line["span"]["id"], &line["fields"]["status"]),
        (&json!("another-id-2"), &json!(200)),
        "{line}"
    );
    let _ = server.end().expect_success();

    world.set("INTELLICARTEL__HTTP__LISTEN", "0.0.0.0:8080");
    let _ = world.run(&["serve"]).expect_failure(&["http.listen", "127.0.0.1"]);
}
