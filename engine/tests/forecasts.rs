//! What forecasts are made of, and what they are held against.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{Days, NaiveDate};
use domain::forecast::{
    Backtest, DayForecast, Effects, ForecastDay, ForecastRun, SeriesForecast, Subject, Total,
};
use domain::planning::Override;
use domain::ports::{ForecastSink as _, ModelRegistry as _, OverrideSink as _, Tables as _};
use domain::registry::{ModelAction, ModelEvent};
use domain::{Feed, Principal, civil};
use engine::series::SeriesReader;
use serde_json::{Value, json};
use support::world::{World, event, sale, store};

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

fn product(sku: &str, category: &str, valid_from: &str) -> Value {
    json!({"tenant": "t", "sku": sku, "name": sku, "category": category, "valid_from": valid_from})
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_say_of_days_to_come_what_the_mart_says_of_days_that_came() {
    let mut world = World::new().await;
    let mut berlin = store("t", "berlin", "Europe/Berlin", "DE-BE", "l", "EUR");
    berlin["closed_on"] = "2014-01-12".into();
    world.send(Feed::Stores, &[berlin, store("u", "berlin", "Europe/Berlin", "DE", "l", "EUR")]).await;
    let sales = [("t", "2014-01-01"), ("t", "2014-01-06"), ("u", "2014-01-01")];
    let sales: Vec<_> = (0..)
        .zip(sales)
        .map(|(id, (tenant, day))| sale(id, tenant, "berlin", "a", 1, "1", &format!("{day}T10:00:00Z")))
        .collect();
    world.send(Feed::Sales, &sales).await;
    let products = [product("a", "garden", "2014-01-02"), product("a", "home", "2014-01-01")];
    world.send(Feed::Products, &products).await;
    world
        .send(
            Feed::Events,
            &[
                event(None, "New Year", "holiday", "DE", "2014-01-01", "2014-01-01"),
                event(Some("t"), "Stocktaking", "closure", "store/berlin", "2014-01-05", "2014-01-08"),
                event(Some("u"), "Sale of the other", "promotion", "DE-BE", "2014-01-01", "2014-01-09"),
                event(Some("t"), "Sale", "promotion", "DE", "2014-01-03", "2014-01-09"),
                event(None, "Winter", "school_holiday", "DE-BE", "2014-01-10", "2014-01-20"),
                event(None, "Of a far day", "holiday", "DE", "2014-01-30", "2014-01-30"),
            ],
        )
        .await;
    world.refresh().await;
    let reader = SeriesReader::new(&world.engine, Arc::clone(&world.feeder.lake) as _);
    let set = reader.daily_series(&Principal::tenant("t").expect("a name"), 7).await.expect("series");
    let [series] = set.series.as_slice() else { panic!("{set:?}") };
    assert_eq!((series.category.as_deref(), series.units.len()), (Some("garden"), 6));
    let plan = &set.plans[&("t".to_owned(), "berlin".to_owned())];
    assert_eq!((set.plans.len(), plan.start, plan.days.len()), (1, day("2014-01-01"), 6 + 7));
    let shown = |date: NaiveDate| {
        let day = plan.on(date);
        format!("{date},{},{},{},{}", day.is_closed, day.is_holiday, day.is_school_holiday, day.is_promotion)
    };
    let came: Vec<String> = (0..6).map(|at| shown(plan.start + Days::new(at))).collect();
    let mart = "SELECT date, is_closed, holiday IS NOT NULL, is_school_holiday, is_promotion FROM marts.store_days WHERE tenant = 't' ORDER BY date";
    assert_eq!(world.ask(mart).await, came.join(";"));
    let to_come: Vec<String> = (6..13).map(|at| shown(plan.start + Days::new(at))).collect();
    assert_eq!(
        to_come,
        [
            "2014-01-07,true,false,false,true",
            "2014-01-08,true,false,false,true",
            "2014-01-09,false,false,false,true",
            "2014-01-10,false,false,true,false",
            "2014-01-11,false,false,true,false",
            "2014-01-12,true,false,true,false",
            "2014-01-13,true,false,true,false",
        ]
    );
    for table in ["curated.stores", "curated.events", "curated.products", "curated.sales", "marts.item_days"]
    {
        assert!(set.lake_versions.contains_key(table), "{:?}", set.lake_versions);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_in_stock_and_has_not_sold_is_a_series_without_a_day() {
    let mut world = World::new().await;
    world.send(Feed::Stores, &[store("t", "s", "Europe/Berlin", "DE", "l", "EUR")]).await;
    let sales =
        ["2014-01-01", "2014-03-01"].map(|day| sale(1, "t", "s", "m", 3, "1", &format!("{day}T10:00:00Z")));
    world.send(Feed::Sales, &sales).await;
    let stock = |sku: &str, day: &str, on_hand: i64| json!({"tenant": "t", "store": "s", "sku": sku, "as_of": format!("{day}T06:00:00Z"), "on_hand": on_hand});
    let records = [
        stock("m", "2014-01-01", 9),
        stock("always there", "2014-01-05", 9),
        stock("b new", "2014-02-20", 0),
        stock("b new", "2014-02-21", 5),
        stock("gone again", "2014-02-20", 7),
        stock("gone again", "2014-02-25", 0),
        stock("long not sold", "2014-02-01", 7),
        stock("to come", "2014-03-09", 7),
    ];
    world.send(Feed::Inventory, &records).await;
    world.refresh().await;
    let reader = SeriesReader::new(&world.engine, Arc::clone(&world.feeder.lake) as _);
    let set = reader.daily_series(&Principal::tenant("t").expect("a name"), 7).await.expect("series");
    let [new, sold] = set.series.as_slice() else { panic!("{set:?}") };
    assert_eq!((new.key.sku.as_str(), new.start, new.units.len()), ("b new", day("2014-03-02"), 0));
    assert_eq!((sold.key.sku.as_str(), sold.units.len()), ("m", 60));
    assert!(set.lake_versions.contains_key("curated.inventory"), "{:?}", set.lake_versions);
    let other = reader.daily_series(&Principal::tenant("u").expect("a name"), 7).await.expect("series");
    assert_eq!(other.series, []);
}

/// Forecasts of the days from 11 January on: two units a day, between one and three.
fn forecast(subject: Subject, days: u64) -> SeriesForecast {
    let origin = day("2014-01-10");
    let of_day = |ahead| DayForecast {
        date: origin + Days::new(ahead),
        mean: 2.0,
        quantiles: [0.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0, 9.0],
        effects: Effects::default(),
        total: Total::default(),
    };
    SeriesForecast {
        tenant: "t".to_owned(),
        subject,
        product_name: None,
        origin,
        days: (1..=days).map(of_day).collect(),
        backtest: Backtest::default(),
        fallback: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forecasts_of_every_level_are_held_against_what_came() {
    let mut world = World::new().await;
    let stores = ["s", "z", "old"].map(|name| store("t", name, "Europe/Berlin", "DE", "l", "EUR"));
    world.send(Feed::Stores, &stores).await;
    let products = [
        product("a", "home", "2014-01-01"),
        product("b", "home", "2014-01-01"),
        product("c", "garden", "2014-01-01"),
    ];
    world.send(Feed::Products, &products).await;
    let sales = [
        // The week before, of which the naive forecast is made: on the 4th and the 5th.
        ("s", "a", 1, "2014-01-04"),
        ("s", "b", 3, "2014-01-04"),
        ("s", "a", -5, "2014-01-05"),
        ("z", "a", 1, "2014-01-10"),
        // What came: store `s` is known up to the 12th, `z` up to the 11th.
        ("s", "a", 2, "2014-01-11"),
        ("s", "b", 2, "2014-01-11"),
        ("s", "c", 5, "2014-01-12"),
        ("z", "a", 1, "2014-01-11"),
        // It was given up long before, and holds nothing back.
        ("old", "a", 1, "2013-11-01"),
    ];
    let sales: Vec<_> = (0..)
        .zip(sales)
        .map(|(id, (store, sku, units, day))| {
            sale(id, "t", store, sku, units, "1", &format!("{day}T10:00:00Z"))
        })
        .collect();
    world.send(Feed::Sales, &sales).await;
    world.refresh().await;
    let (s, home) = (|| "s".to_owned(), "home".to_owned());
    let run = ForecastRun {
        model_version: "1".repeat(64),
        lake_versions: BTreeMap::new(),
        created_at: civil::now(),
        forecasts: vec![
            forecast(Subject::Sku { store: s(), sku: "a".to_owned() }, 3),
            forecast(Subject::Category { store: s(), category: home }, 3),
            forecast(Subject::Store { store: s() }, 3),
            forecast(Subject::Business, 3),
        ],
    };
    world.feeder.lake.write_forecasts(run).await.expect("it is written");
    let accuracy = "SELECT level, days, units, forecast_units, wape, naive_wape, value_added, bias, coverage_80, coverage_95 \
                    FROM marts.forecast_accuracy ORDER BY level";
    assert_eq!(
        world.ask(accuracy).await,
        // Of the business one day is known: five units, two were forecast, and there were four a week before. Of the category, four units and none.
        "business,1,5.0,2.0,0.6,0.2,-0.4,-0.6,0.0,1.0;\
         category,2,4.0,4.0,1.0,0.0,-1.0,0.0,0.0,1.0;\
         sku,2,2.0,4.0,1.0,0.5,-0.5,1.0,0.5,1.0;\
         store,2,9.0,4.0,0.5555555555555556,0.5555555555555556,0.0,-0.5555555555555556,0.0,1.0"
    );
    let of_one_store =
        support::rows(&world.engine, "t/z", "SELECT count(*) FROM marts.forecast_accuracy").await;
    assert_eq!(of_one_store, "0", "nobody sees another store's, nor the whole");

    // Of the business one day has come; what was forecast of it counts once its model was promoted.
    let reader = SeriesReader::new(&world.engine, Arc::clone(&world.feeder.lake) as _);
    assert_eq!(reader.forecast_days("t").await.expect("days"), []);
    serve(&world, 1, "t", "1").await;
    let (date, origin) = (day("2014-01-11"), day("2014-01-10"));
    let came = ForecastDay { date, origin, mean: 2.0, units: 5.0 };
    assert_eq!(reader.forecast_days("t").await.expect("days"), [came]);
    // A newer origin counts more, whenever it was promoted; one of the day itself knew it.
    for (number, digit, origin) in [(2, "2", "2014-01-09"), (3, "3", "2014-01-11")] {
        let mut whole = forecast(Subject::Business, 2);
        whole.origin = day(origin);
        whole.days.iter_mut().zip(1..).for_each(|(made, ahead)| {
            (made.date, made.mean) = (whole.origin + Days::new(ahead), 7.0);
        });
        let run = ForecastRun {
            model_version: digit.repeat(64),
            lake_versions: BTreeMap::new(),
            created_at: civil::now(),
            forecasts: vec![whole],
        };
        world.feeder.lake.write_forecasts(run).await.expect("it is written");
        serve(&world, number, "t", digit).await;
    }
    let before = ForecastDay { date: day("2014-01-10"), origin: day("2014-01-09"), mean: 7.0, units: 1.0 };
    assert_eq!(reader.forecast_days("t").await.expect("days"), [before, came]);
    assert_eq!(reader.forecast_days("u").await.expect("days"), []);
}

/// Says that a version, told by its digit, is served.
async fn serve(world: &World, number: i64, tenant: &str, digit: &str) {
    let event = ModelEvent {
        number,
        tenant: tenant.to_owned(),
        at: 7,
        action: ModelAction::Promoted,
        model_version: digit.repeat(64),
        served_version: Some(digit.repeat(64)),
        reason: "the last".to_owned(),
        parent: None,
        origin: Some(day("2014-01-10")),
        backtest: Backtest { wape: Some(0.5), ..Backtest::default() },
    };
    world.feeder.lake.add_model_event(&event).await.expect("it is added");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standing_is_what_holds_by_the_last_known_day() {
    let mut world = World::new().await;
    world.send(Feed::Stores, &[store("t", "s", "Europe/Berlin", "DE", "l", "EUR")]).await;
    let sold = [
        ("a", 3, "2014-01-09T10:00:00Z"),
        ("a", -1, "2014-01-10T10:00:00Z"),
        ("a", 5, "2014-01-10T08:00:00Z"),
    ];
    let sales: Vec<_> =
        (0..).zip(sold).map(|(id, (sku, units, at))| sale(id, "t", "s", sku, units, "1", at)).collect();
    world.send(Feed::Sales, &sales).await;
    let stock = |store: &str, sku: &str, as_of: &str, on_hand: i64, more: Value| {
        let mut record =
            json!({"tenant": "t", "store": store, "sku": sku, "as_of": as_of, "on_hand": on_hand});
        record.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        record
    };
    let records = [
        stock("s", "a", "2014-01-08T06:00:00Z", 99, json!({"lead_time_days": 4, "pack_size": "2.5"})),
        stock("s", "a", "2014-01-10T09:00:00Z", 20, json!({"on_order": 7})),
        stock("s", "b", "2014-01-10T09:00:00Z", -3, json!({})),
    ];
    world.send(Feed::Inventory, &records).await;
    let offer = |valid_from: &str, more: Value| {
        let mut record = product("a", "home", valid_from);
        record.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        record
    };
    let products = [
        offer(
            "2014-01-01",
            json!({"unit_cost": "2.5", "list_price": "4", "currency": "EUR", "lead_time_days": 9, "min_order": 10}),
        ),
        offer("2014-01-05", json!({"list_price": "5", "currency": "EUR", "shelf_life_days": 30})),
        offer("2014-03-01", json!({"list_price": "6", "currency": "EUR"})),
    ];
    world.send(Feed::Products, &products).await;
    let price = |competitor: &str, price: &str, currency: &str, observed_at: &str| json!({"tenant": "t", "sku": "a", "competitor": competitor, "price": price, "currency": currency, "observed_at": observed_at});
    let prices = [
        price("one", "4.5", "EUR", "2014-01-09T00:00:00Z"),
        price("two", "4", "EUR", "2014-01-08T00:00:00Z"),
        price("two", "4.8", "EUR", "2014-01-09T00:00:00Z"),
        price("three", "1", "USD", "2014-01-09T00:00:00Z"),
        price("four", "2", "EUR", "2013-12-01T00:00:00Z"),
    ];
    world.send(Feed::Prices, &prices).await;
    world.refresh().await;
    let run = |digit: &str, origin: &str, at: i64| {
        let sku = |sku: &str| Subject::Sku { store: "s".to_owned(), sku: sku.to_owned() };
        let mut forecasts =
            [forecast(sku("a"), 3), forecast(sku("unknown"), 3), forecast(Subject::Business, 3)];
        forecasts.iter_mut().for_each(|forecast| forecast.origin = day(origin));
        let (model_version, forecasts) = (digit.repeat(64), forecasts.to_vec());
        ForecastRun { model_version, lake_versions: BTreeMap::new(), created_at: at, forecasts }
    };
    for run in [run("1", "2014-01-10", 1), run("2", "2014-01-10", 2), run("3", "2014-01-03", 3)] {
        world.feeder.lake.write_forecasts(run).await.expect("it is written");
    }
    // The last one is not served, nor is that of another business.
    serve(&world, 1, "t", "1").await;
    serve(&world, 2, "t", "2").await;
    serve(&world, 3, "u", "3").await;

    let reader = SeriesReader::new(&world.engine, Arc::clone(&world.feeder.lake) as _);
    let newest = BTreeMap::new();
    let standing =
        reader.standing(&Principal::tenant("t").expect("a name"), &newest).await.expect("a standing");
    let [a, b] = standing.items.as_slice() else { panic!("{standing:?}") };
    // Of the stock the newest record, and what was sold behind its instant alone; of terms the newest that tells them.
    assert_eq!((a.on_hand, a.on_order, a.sold_since, b.on_hand, b.on_order), (20.0, 7.0, -1.0, -3.0, 0.0));
    assert_eq!(
        (a.lead_time_days, a.pack_size, a.min_order, a.shelf_life_days),
        (Some(4), Some(2_500), Some(10_000), Some(30))
    );
    assert_eq!((a.unit_cost, a.price, a.currency.as_deref()), (Some(25_000), Some(50_000), Some("EUR")));
    let rival = a.rival.as_ref().expect("a price");
    assert_eq!((rival.competitor.as_str(), rival.price), ("one", 45_000));
    assert_eq!((b.unit_cost, &b.rival, b.lead_time_days), (None, &None, None));
    let [stored] = standing.forecasts.as_slice() else { panic!("{standing:?}") };
    assert_eq!(
        (stored.sku.as_str(), stored.model_version.as_str(), stored.days.len()),
        ("a", "2".repeat(64).as_str(), 3)
    );
    let of_view = "SELECT count(*), min(model_version) = max(model_version), min(origin) FROM marts.served_forecasts WHERE sku = 'a'";
    assert_eq!(support::rows(&world.engine, "t", of_view).await, "3,true,2014-01-10");
    assert_eq!(support::rows(&world.engine, "u", of_view).await, "0,,");
    let explained = "SELECT count(*), count(DISTINCT effect), sum(units) FROM explain_forecast('a', 's')";
    for (who, expected) in [("t", "21,7,0.0"), ("operator", "21,7,0.0"), ("t/other", "0,0,"), ("u", "0,0,")] {
        assert_eq!(support::rows(&world.engine, who, explained).await, expected, "{who}");
    }
    assert_eq!(stored.days[0], (2.0, [0.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0, 9.0]));
    for table in [
        "curated.inventory",
        "curated.prices",
        "curated.products",
        "curated.sales",
        "marts.forecast_overrides",
        "marts.forecasts",
        "ops.model_versions",
    ] {
        assert!(standing.lake_versions.contains_key(table), "{:?}", standing.lake_versions);
    }
    // A planner's last word on a day moves its whole distribution, until the model is to be followed again.
    let word = |date: &str, units: Option<f64>, at: i64| Override {
        tenant: "t".to_owned(),
        store: "s".to_owned(),
        sku: "a".to_owned(),
        forecast_date: day(date),
        units,
        author: "Ada".to_owned(),
        reason: "it's a fair".to_owned(),
        at,
        model_version: "2".repeat(64),
        origin: day("2014-01-10"),
        mean: 2.0,
    };
    let words = [
        word("2014-01-11", Some(7.0), 1),
        word("2014-01-11", Some(10.0), 2),
        word("2014-01-12", Some(9.0), 1),
        word("2014-01-12", None, 2),
    ];
    world.feeder.lake.add_overrides(&words).await.expect("they are added");
    let tenant = Principal::tenant("t").expect("a name");
    let moved = reader.standing(&tenant, &newest).await.expect("a standing").forecasts.remove(0);
    assert_eq!(moved.days[0], (10.0, [0.0, 5.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 15.0, 45.0]));
    assert_eq!(moved.days[1..], stored.days[1..]);
    let shown = "SELECT forecast_date, mean, override_units, override_author, override_reason FROM marts.served_forecasts WHERE sku = 'a' ORDER BY 1";
    let shown = support::rows(&world.engine, "t/s", shown).await;
    assert_eq!(shown, "2014-01-11,2.0,10.0,Ada,it's a fair;2014-01-12,2.0,,,;2014-01-13,2.0,,,");
    let served = reader.served_days(&tenant, "s", "a").await.expect("days");
    assert_eq!((served.len(), served[0].date, served[0].mean), (3, day("2014-01-11"), 2.0));
    assert_eq!(
        reader.served_days(&Principal::tenant("u").expect("a name"), "s", "a").await.expect("days"),
        []
    );
    // The day comes, with three units: the model was nearer.
    let value =
        "SELECT forecast_date, author, override_units, mean, units, value_added FROM marts.override_value";
    assert_eq!(support::rows(&world.engine, "t", value).await, "");
    world.send(Feed::Sales, &[sale(9, "t", "s", "a", 3, "1", "2014-01-11T10:00:00Z")]).await;
    world.refresh().await;
    assert_eq!(support::rows(&world.engine, "t", value).await, "2014-01-11,Ada,10.0,2.0,3.0,-6.0");

    // A table that is named is read as it was.
    let earlier = BTreeMap::from([("curated.products".to_owned(), 0)]);
    let before =
        reader.standing(&Principal::tenant("t").expect("a name"), &earlier).await.expect("a standing");
    assert_eq!((before.items[0].unit_cost, before.items[0].on_hand), (None, 20.0));
    assert_eq!(before.lake_versions["curated.products"], 0);
    let other = reader.standing(&Principal::tenant("u").expect("a name"), &newest).await.expect("a standing");
    assert_eq!((other.items.len(), other.forecasts.len()), (0, 0));
}
