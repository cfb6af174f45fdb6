//! From sales and stock through Kafka to what is to be ordered: on the command line, in SQL and over HTTP.

use domain::Feed;
use serde_json::{Value, json};
use tests::server::Server;
use tests::world::World;

const RECOMMENDATIONS: &str = "/api/v1/forecast/recommendations";
const RISKS: &str = "/api/v1/forecast/risks";
const FIRST_DAY: i32 = 739_000;
const DAYS: i32 = 98;

fn at(number: i32) -> String {
    let day = chrono::NaiveDate::from_num_days_from_ce_opt(FIRST_DAY + number).expect("a day");
    format!("{day}T12:00:00Z")
}

fn sale(tenant: &str, sku: &str, number: i32, quantity: i32) -> (Feed, Value) {
    let sale = json!({
        "tenant": tenant, "store": "london", "transaction_id": format!("{sku}{number}"), "line": 1, "sku": sku, "quantity": quantity,
        "unit_price": "5", "currency": "GBP", "kind": "sale", "occurred_at": at(number),
    });
    (Feed::Sales, sale)
}

/// Fourteen weeks of three articles, of which two are known by cost, price and stock.
fn shop() -> World {
    let world = World::on_folder();
    let mut records = Vec::new();
    for number in 0..DAYS {
        records.push(sale("gift-uk", "mug", number, 8 + number % 5));
        records.push(sale("gift-uk", "bowl", number, 3 + number % 3));
        records.push(sale("gift-uk", "lamp", number, 2));
    }
    records.push(sale("rival", "theirs", DAYS - 1, 1));
    let product = |sku: &str, unit_cost: Option<&str>, list_price: &str| {
        let mut product = json!({"tenant": "gift-uk", "sku": sku, "valid_from": "2020-01-01", "name": sku, "list_price": list_price,
            "currency": "GBP", "lead_time_days": 5});
        if let Some(cost) = unit_cost {
            product["unit_cost"] = cost.into();
        }
        (Feed::Products, product)
    };
    records.extend([
        product("mug", Some("2"), "5"),
        product("bowl", Some("4"), "9"),
        product("lamp", None, "20"),
    ]);
    let stock = |sku: &str, on_hand: i32, pack_size: i32| {
        (
            Feed::Inventory,
            json!({"tenant": "gift-uk", "store": "london", "sku": sku, "as_of": at(DAYS - 1), "on_hand": on_hand, "pack_size": pack_size}),
        )
    };
    records.extend([stock("mug", 12, 6), stock("bowl", 2_000, 1), stock("lamp", 5, 1)]);
    let price = json!({"tenant": "gift-uk", "sku": "mug", "competitor": "corner", "price": "4.5", "currency": "GBP", "observed_at": at(DAYS - 2)});
    records.push((Feed::Prices, price));
    world.send(&records);
    world.open_stores(&[("gift-uk", "london"), ("rival", "london")]);
    let _ =
        world.run(&["ingest", "--feeds", "sales,inventory,products,prices", "--until-end"]).expect_success();
    world
}

fn recommend(world: &World, arguments: &[&str]) -> Value {
    let arguments = [&["forecast", "recommend", "--output", "json"], arguments].concat();
    let text = world.run(&arguments).expect_success().stdout;
    let runs: Vec<Value> = serde_json::from_str(&text).expect("a list of summaries");
    let [run] = runs.as_slice() else { panic!("{runs:?}") };
    run.clone()
}

#[test]
fn what_runs_low_is_ordered_and_what_is_decided_stands_once() {
    let world = shop();
    let _ = world.run(&["forecast", "run", "--quick"]).expect_success();
    let server = Server::start(&world);
    let tenant = [("x-intellicartel-tenant", "gift-uk")];
    let get = |path: &str| server.get(path, &tenant);
    assert_eq!(get(RECOMMENDATIONS).expect_success()["data"], json!([]), "nothing was decided yet");

    // Of all businesses, the one that has a stock.
    let run = recommend(&world, &[]);
    let counts = ["articles", "order", "enough", "needs_data", "rows_written", "rows_replaced"]
        .map(|name| run[name].clone());
    assert_eq!(json!(counts), json!([3, 1, 1, 1, 3, 0]), "{run}");
    let again = recommend(&world, &["--tenant", "gift-uk"]);
    assert_eq!((&again["rows_replaced"], &again["decision_version"]), (&json!(3), &run["decision_version"]));
    assert_eq!(world.sql("SELECT count(*), count(DISTINCT sku) FROM marts.recommendations"), "3,3");

    let found = get(RECOMMENDATIONS).expect_success();
    let skus: Vec<_> = found["data"].as_array().expect("a list").iter().map(|row| &row["sku"]).collect();
    assert_eq!(skus, ["mug", "bowl", "lamp"], "{found}");
    let mug = &found["data"][0];
    assert_eq!(
        (&mug["status"], &mug["rank"], &mug["lead_time_days"]),
        (&json!("order"), &json!(1), &json!(5))
    );
    let quantity = mug["order_quantity"].as_f64().expect("a number");
    // Ten a day are sold: seven days behind the receipt, in packs of six.
    assert!(quantity % 6.0 == 0.0 && (54.0..=114.0).contains(&quantity), "{mug}");
    assert_eq!(mug["order_cost"], json!({"amount": format!("{:.4}", 2.0 * quantity), "currency": "GBP"}));
    assert!(mug["stock_out_before"].as_f64().expect("a number") > 0.9, "{mug}");
    assert!(mug["reason"].as_str().expect("a text").starts_with("12 in stock and 0 on order"), "{mug}");
    let lamp = &found["data"][2];
    assert_eq!((&lamp["status"], &lamp["order_quantity"]), (&json!("needs_data"), &Value::Null));
    assert!(lamp["reason"].as_str().expect("a text").contains("unit_cost"), "{lamp}");
    let stored = world.sql("SELECT order_quantity, order_cost, model_version = (SELECT max(model_version) FROM marts.forecasts WHERE tenant = 'gift-uk') \
                            FROM marts.recommendations WHERE sku = 'mug'");
    assert_eq!(stored, format!("{quantity:.3},{:.4},true", 2.0 * quantity));

    let risks = get(&format!("{RISKS}?level=critical")).expect_success();
    let named: Vec<_> =
        risks["data"].as_array().expect("a list").iter().map(|row| (&row["risk"], &row["sku"])).collect();
    assert!(
        named.contains(&(&json!("stock_out"), &json!("mug")))
            && named.contains(&(&json!("overstock"), &json!("bowl"))),
        "{risks}"
    );
    let undercut = get(&format!("{RISKS}?risk=price_undercut")).expect_success();
    assert_eq!((&undercut["data"][0]["score"], &undercut["pagination"]["total"]), (&json!(0.4), &json!(1)));
    // A business sees its own alone.
    let other = server.get(RECOMMENDATIONS, &[("x-intellicartel-tenant", "rival")]).expect_success();
    assert_eq!(other["data"], json!([]));
    let _ = get(&format!("{RECOMMENDATIONS}?status=maybe&page=0")).expect_refusal(
        400,
        "INVALID_REQUEST",
        &["over_budget", "page"],
    );
    let _ = get(&format!("{RISKS}?risk=fire&level=5")).expect_refusal(
        400,
        "INVALID_REQUEST",
        &["price_undercut", "critical"],
    );

    // A budget is kept, and what was decided with it is what is served then.
    let bought = recommend(&world, &["--tenant", "gift-uk", "--budget", "50 GBP"]);
    assert_eq!((&bought["order"], &bought["over_budget"]), (&json!(0), &json!(1)), "{bought}");
    let mug = get(&format!("{RECOMMENDATIONS}?sku=mug")).expect_success()["data"][0].clone();
    let cost: f64 = mug["order_cost"]["amount"].as_str().expect("an amount").parse().expect("a number");
    assert!(mug["status"] == "over_budget" && cost > 36.0 && cost <= 50.0, "{mug}");
    // What is sold by now is gone from the stock.
    world.send(&[sale("gift-uk", "bowl", DAYS, 1_990)]);
    let _ =
        world.run(&["ingest", "--feeds", "sales,inventory,products,prices", "--until-end"]).expect_success();
    let _ = recommend(&world, &["--tenant", "gift-uk"]);
    let bowl = get(&format!("{RECOMMENDATIONS}?sku=bowl")).expect_success()["data"][0].clone();
    assert_eq!((&bowl["on_hand"], &bowl["status"]), (&json!(10.0), &json!("order")), "{bowl}");
    let shock = get(&format!("{RISKS}?sku=bowl&risk=demand_shock")).expect_success();
    assert_eq!(shock["data"][0]["score"], 1.0, "{shock}");
}

#[test]
fn orders_follow_what_planners_expect() {
    let world = shop();
    let _ = world.run(&["forecast", "run", "--quick"]).expect_success();
    let quantity = || {
        let _ = recommend(&world, &["--tenant", "gift-uk"]);
        let newest = "SELECT last_value(order_quantity ORDER BY created_at) FROM marts.recommendations WHERE sku = 'mug'";
        world.sql(newest).parse::<f64>().expect("a quantity")
    };
    let before = quantity();
    let days = world.sql("SELECT forecast_date FROM marts.served_forecasts WHERE tenant = 'gift-uk' AND sku = 'mug' ORDER BY 1 LIMIT 14");
    let say = |units: &str, more: &[&str]| {
        let days: Vec<String> = days.lines().map(|day| format!("--day={day}={units}")).collect();
        let mug =
            ["forecast", "override", "--tenant=gift-uk", "--store=london", "--author=Ada", "--reason=a fair"];
        let days = days.iter().map(String::as_str);
        world.run(&mug.into_iter().chain(days).chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let said = say("40", &["--sku=mug"]).expect_success().stdout;
    assert!(said.contains("40"), "{said}");
    let after = quantity();
    assert!(after > 3.0 * before, "{before} {after}");
    let server = Server::start(&world);
    let tenant = [("x-intellicartel-tenant", "gift-uk")];
    let served = server.get("/api/v1/forecast/predictions?sku=mug", &tenant).expect_success();
    assert_eq!(
        served["data"][0]["override"],
        json!({"units": 40.0, "author": "Ada", "reason": "a fair"}),
        "{served}"
    );
    assert_eq!(served["data"][20]["override"], Value::Null);

    let _ = say("model", &["--sku=mug"]).expect_success();
    assert_eq!(quantity(), before, "the model is followed again");
    let refused = |units: &str, more: &[&str], status: i32, words: &[&str]| {
        assert_eq!(say(units, more).expect_failure(words).status.code(), Some(status));
    };
    refused("-1", &["--sku=mug"], 2, &["--day", "0 units or more"]);
    refused("many", &["--sku=mug"], 2, &["2011-12-24=model"]);
    refused(
        "4",
        &["--sku=mug", "--day=2020-01-01=4"],
        2,
        &["2020-01-01 is not forecast", days.lines().next().expect("a day")],
    );
    refused(
        "4",
        &["--sku=mug", &format!("--day={}=5", days.lines().next().expect("a day"))],
        2,
        &["is given twice"],
    );
    refused("4", &["--sku=unknown"], 1, &["`unknown`"]);
    assert_eq!(quantity(), before, "what was refused has changed nothing");
}

#[test]
fn what_is_missing_is_named() {
    let world = World::on_folder();
    world.send(&[sale("gift-uk", "mug", 0, 1)]);
    world.open_stores(&[("gift-uk", "london")]);
    let _ = world.run(&["ingest", "--feeds", "sales", "--until-end"]).expect_success();
    let _ = world.run(&["forecast", "recommend"]).expect_failure(&["no business has a stock", "inventory"]);
    let _ = world
        .run(&["forecast", "recommend", "--tenant", "gift-uk"])
        .expect_failure(&["gift-uk", "`inventory`"]);
    let _ = world
        .run(&["forecast", "recommend", "--tenant", "nobody"])
        .expect_failure(&["nobody", "`inventory`"]);
    let usage = |arguments: &[&str], words: &[&str]| {
        let refused = world.run(&[&["forecast", "recommend"], arguments].concat()).expect_failure(words);
        assert_eq!(refused.status.code(), Some(2));
    };
    usage(&["--budget", "500", "--tenant", "gift-uk"], &["--budget", "500 GBP"]);
    usage(&["--budget", "500 GBP"], &["--tenant"]);
    usage(&["--budget", "5.00001 GBP", "--tenant", "gift-uk"], &["5.00001"]);
    usage(&["--budget=-5 GBP", "--tenant", "gift-uk"], &["--budget", "500 GBP"]);
    usage(&["--review-days", "0"], &["--review-days"]);
    usage(&["--holding-rate", "-1"], &["--holding-rate", "0 or more"]);
    usage(&["--order-cost", "NaN"], &["--order-cost", "0 or more"]);
}
