//! The daily marts: what a day shows, what a change rewrites, and that a mart always equals one that is made from nothing.

mod support;

use std::sync::Arc;

use domain::marts::{DaySet, Mart};
use domain::ports::{Replace as _, Replacement};
use domain::{ErrorKind, Feed};
use lake::operations::compact::{CompactOptions, compact};
use lake::operations::history::history;
use serde_json::{Value, json};
use support::refused;
use support::world::{World, event, marts, sale, store};

impl World {
    /// Every row of both marts.
    async fn all(&self) -> [String; 2] {
        let items = "SELECT * FROM marts.item_days ORDER BY tenant, store, sku, date";
        let stores = "SELECT * FROM marts.store_days ORDER BY tenant, store, date";
        [self.ask(items).await, self.ask(stores).await]
    }

    /// Fails unless the marts equal those that are made from nothing.
    async fn expect_true(&self, when: &str) {
        let kept = self.all().await;
        self.marts.rebuild().await.expect("rebuilt");
        let made = self.all().await;
        for (kept, made) in kept.iter().zip(&made) {
            let (kept, made): (Vec<&str>, Vec<&str>) = (kept.split(';').collect(), made.split(';').collect());
            let differs = kept.iter().zip(&made).find(|(kept, made)| kept != made);
            assert!(differs.is_none() && kept.len() == made.len(), "{when}: {differs:#?}");
        }
    }
}

fn weather(location: &str, day: &str, kind: &str, most: i64, issued_at: &str) -> Value {
    json!({"location": location, "observed_for": day, "kind": kind, "temp_min_c": 0, "temp_max_c": most, "precipitation_mm": 1.5,
        "issued_at": issued_at})
}

fn signal(tenant: Option<&str>, key: &str, starts_on: &str, ends_on: &str, value: f64) -> Value {
    let mut signal =
        json!({"source": "trend", "key": key, "starts_on": starts_on, "ends_on": ends_on, "value": value});
    if let Some(tenant) = tenant {
        signal["tenant"] = tenant.into();
    }
    signal
}

#[tokio::test(flavor = "multi_thread")]
async fn a_business_day_is_the_stores_own_across_the_change_of_clocks() {
    let mut world = World::new().await;
    world.send(Feed::Stores, &[store("t", "berlin", "Europe/Berlin", "DE-BE", "l", "EUR")]).await;
    // 26 October 2014 has 25 hours in Berlin: it ends at 23:00 UTC, and began at 22:00 UTC.
    let at = [
        "2014-10-25T21:59:59Z",
        "2014-10-25T22:00:00Z",
        "2014-10-26T00:30:00Z",
        "2014-10-26T01:30:00Z",
        "2014-10-26T22:59:59Z",
        "2014-10-26T23:00:00Z",
    ];
    let sales: Vec<_> = (0..).zip(at).map(|(id, at)| sale(id, "t", "berlin", "a", 1, "2", at)).collect();
    world.send(Feed::Sales, &sales).await;
    world.refresh().await;
    let days = world.ask("SELECT date, units, revenue, price FROM marts.daily_demand ORDER BY date").await;
    assert_eq!(
        days,
        "2014-10-25,1.000,2.0000000,2.0000;2014-10-26,4.000,8.0000000,2.0000;2014-10-27,1.000,2.0000000,2.0000"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_shows_what_was_sold_apart_from_what_came_back_and_never_adds_currencies() {
    let mut world = World::new().await;
    world.send(Feed::Stores, &[store("t", "s", "Europe/Berlin", "DE-BE", "l", "EUR")]).await;
    let mut foreign = sale(4, "t", "s", "a", 7, "100", "2014-01-01T11:00:00Z");
    foreign["currency"] = "GBP".into();
    let mut promoted = sale(3, "t", "s", "a", 1, "0.5", "2014-01-01T10:30:00Z");
    (promoted["promotion"], promoted["discount"]) = ("half".into(), "0.25".into());
    world
        .send(
            Feed::Sales,
            &[
                sale(1, "t", "s", "a", 3, "1.005", "2014-01-01T10:00:00Z"),
                sale(2, "t", "s", "a", -2, "1", "2014-01-03T10:00:00Z"),
                promoted,
                foreign,
            ],
        )
        .await;
    world.send(Feed::Inventory, &[
        json!({"tenant": "t", "store": "s", "sku": "a", "as_of": "2014-01-01T08:00:00Z", "on_hand": 0}),
        json!({"tenant": "t", "store": "s", "sku": "a", "as_of": "2014-01-01T20:00:00Z", "on_hand": 5}),
        json!({"tenant": "t", "store": "s", "sku": "b", "as_of": "2014-01-01T20:00:00Z", "on_hand": 9}),
    ]).await;
    world.refresh().await;
    let demand = "SELECT date, units, returned_units, revenue, refunds, discounts, sale_lines, return_lines, other_currency_lines, price, is_promoted, \
                  on_hand, is_stocked_out FROM marts.daily_demand ORDER BY sku, date";
    assert_eq!(
        world.ask(demand).await,
        "2014-01-01,11.000,0.000,3.5150000,0.0000000,0.2500,3,0,1,0.8788,true,5.000,true;\
         2014-01-02,0.000,0.000,0.0000000,0.0000000,0.0000,0,0,0,,false,,;\
         2014-01-03,0.000,2.000,0.0000000,2.0000000,0.0000,0,1,0,,false,,"
    );
    let versioned = refused(&world.engine, "t", "SELECT * FROM as_of('marts.daily_demand', 1)").await;
    assert!(versioned.to_string().contains("a view and has no versions"), "{versioned}");
    // What was stated of an article that never sold stands in the mart, and makes no demand.
    assert_eq!(
        world.ask("SELECT sku, units, on_hand FROM marts.item_days WHERE sku = 'b'").await,
        "b,0.000,9.000"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_shows_what_it_was_like_where_the_store_is() {
    let mut world = World::new().await;
    let mut berlin = store("t", "berlin", "Europe/Berlin", "DE-BE", "l", "EUR");
    berlin["closed_on"] = "2014-01-05".into();
    world.send(Feed::Stores, &[berlin, store("u", "berlin", "Europe/Berlin", "DEU", "m", "EUR")]).await;
    let sales = [("t", "2014-01-01"), ("t", "2014-01-06"), ("u", "2014-01-01")];
    let sales: Vec<_> = (0..)
        .zip(sales)
        .map(|(id, (tenant, day))| sale(id, tenant, "berlin", "a", 1, "1", &format!("{day}T10:00:00Z")))
        .collect();
    world.send(Feed::Sales, &sales).await;
    world
        .send(
            Feed::Events,
            &[
                event(None, "New Year", "holiday", "DE", "2014-01-01", "2014-01-01"),
                event(Some("t"), "Stocktaking", "closure", "store/berlin", "2014-01-02", "2014-01-03"),
                event(Some("u"), "Sale of the other", "promotion", "DE-BE", "2014-01-01", "2014-01-09"),
                event(None, "Storm", "closure", "DE-BE", "2014-01-04", "2014-01-04"),
            ],
        )
        .await;
    world
        .send(
            Feed::Weather,
            &[
                weather("l", "2014-01-01", "observed", 4, "2014-01-02T00:00:00Z"),
                weather("l", "2014-01-01", "observed", 6, "2014-01-03T00:00:00Z"),
                weather("l", "2014-01-01", "forecast", 9, "2014-01-01T06:00:00Z"),
                weather("l", "2014-01-02", "forecast", 7, "2014-01-01T00:00:00Z"),
                weather("l", "2014-01-02", "forecast", 8, "2014-01-01T12:00:00Z"),
            ],
        )
        .await;
    world
        .send(
            Feed::Signals,
            &[
                signal(None, "DE-BE", "2014-01-01", "2014-01-05", 1.0),
                signal(None, "DE-BE", "2014-01-02", "2014-01-03", 2.0),
                signal(Some("t"), "DE-BE", "2014-01-03", "2014-01-03", 3.0),
                signal(Some("t"), "store/berlin", "2014-01-04", "2014-01-04", 4.0),
                signal(Some("u"), "DE-BE", "2014-01-01", "2014-01-09", 9.0),
            ],
        )
        .await;
    world.refresh().await;
    let days = "SELECT date, is_closed, holiday, is_promotion, weather_kind, temp_max_c, signals, events IS NOT NULL \
                FROM marts.store_days WHERE tenant = 't' ORDER BY date";
    assert_eq!(
        world.ask(days).await,
        "2014-01-01,false,New Year,false,observed,6.0,\"{\"\"trend\"\":1.0}\",true;\
         2014-01-02,true,,false,forecast,8.0,\"{\"\"trend\"\":2.0}\",true;\
         2014-01-03,true,,false,,,\"{\"\"trend\"\":3.0}\",true;\
         2014-01-04,false,,false,,,\"{\"\"trend\"\":4.0}\",true;\
         2014-01-05,true,,false,,,\"{\"\"trend\"\":1.0}\",false;\
         2014-01-06,true,,false,,,,false"
    );
    assert_eq!(
        world.ask("SELECT holiday, events, signals FROM marts.store_days WHERE tenant = 'u'").await,
        ",,"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rivals_price_holds_until_its_next_and_posts_count_on_their_day() {
    let mut world = World::new().await;
    world.send(Feed::Stores, &[store("t", "s", "America/New_York", "US-NY", "New York", "EUR")]).await;
    let sales: Vec<_> =
        (1..=5).map(|day| sale(day, "t", "s", "a", 1, "1", &format!("2014-01-0{day}T15:00:00Z"))).collect();
    world.send(Feed::Sales, &sales).await;
    let price = |competitor: &str, at: &str, price: &str, currency: &str| json!({"tenant": "t", "sku": "a", "competitor": competitor, "observed_at": at, "price": price, "currency": currency});
    world
        .send(
            Feed::Prices,
            &[
                // 03:00 UTC is still the day before in New York.
                price("x", "2014-01-03T03:00:00Z", "9", "EUR"),
                price("x", "2014-01-04T12:00:00Z", "7", "EUR"),
                price("y", "2014-01-03T12:00:00Z", "8", "EUR"),
                price("z", "2014-01-01T12:00:00Z", "1", "USD"),
            ],
        )
        .await;
    let post = |id: &str, topic: &str, at: &str, score: f64| json!({"source": "p", "post_id": id, "topic": topic, "text": "t", "posted_at": at, "score": score});
    world
        .send(
            Feed::Sentiment,
            &[
                post("1", "a", "2014-01-02T04:00:00Z", 0.5),
                post("2", "a", "2014-01-01T12:00:00Z", -0.25),
                post("3", "New York", "2014-01-02T12:00:00Z", 0.75),
            ],
        )
        .await;
    world.refresh().await;
    let demand = "SELECT date, rival_price, sku_sentiment, sku_posts, place_sentiment, place_posts FROM marts.daily_demand ORDER BY date";
    assert_eq!(
        world.ask(demand).await,
        "2014-01-01,,0.125,2,,0;2014-01-02,9.0000,,0,0.75,1;2014-01-03,8.0000,,0,,0;2014-01-04,7.0000,,0,,0;2014-01-05,7.0000,,0,,0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_sale_rewrites_its_day_alone_and_the_commit_shows_it() {
    let mut world = World::new().await;
    world
        .send(
            Feed::Stores,
            &[
                store("t", "s", "Europe/Berlin", "DE", "l", "EUR"),
                store("t", "r", "Europe/Berlin", "DE", "l", "EUR"),
            ],
        )
        .await;
    let sales: Vec<_> = (1..=28)
        .flat_map(|day| {
            let at = format!("2014-02-{day:02}T10:00:00Z");
            [sale(day, "t", "s", "a", 1, "1", &at), sale(day, "t", "r", "a", 1, "1", &at)]
        })
        .collect();
    world.send(Feed::Sales, &sales).await;
    world.refresh().await;
    world.send(Feed::Sales, &[sale(99, "t", "s", "a", 5, "1", "2014-02-10T11:00:00Z")]).await;
    for done in world.refresh().await {
        assert_eq!(
            (done.store_days, done.whole_stores, done.rows, done.replaced_rows, done.kept_rows),
            (1, 0, 1, 1, 55),
            "{done:?}"
        );
        let table = world.feeder.lake.table(&done.mart.qualified_name()).expect("a table");
        let newest = &history(table, 1).await.expect("a history")[0];
        assert_eq!(
            (newest.files_added, newest.files_removed, newest.rows_added),
            (2, 1, Some(56)),
            "{newest:?}"
        );
    }
    assert_eq!(
        world
            .ask("SELECT units FROM marts.daily_demand WHERE store = 's' AND date = DATE '2014-02-10'")
            .await,
        "6.000"
    );
    // Nothing new, nothing done.
    assert!(world.refresh().await.iter().all(|done| done.version.is_none()));
    world.expect_true("after a late sale").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_wait_for_the_record_of_their_store() {
    let mut world = World::new().await;
    world.send(Feed::Sales, &[sale(1, "t", "s", "a", 1, "1", "2014-01-01T23:30:00Z")]).await;
    world.refresh().await;
    assert_eq!(world.all().await, ["", ""]);
    world.send(Feed::Stores, &[store("t", "s", "Europe/Berlin", "DE", "l", "EUR")]).await;
    world.refresh().await;
    assert_eq!(world.ask("SELECT date, units FROM marts.store_days").await, "2014-01-02,1.000");
    // The store was elsewhere all the time.
    let mut moved = store("t", "s", "Europe/London", "GB", "m", "EUR");
    moved["issued_at"] = domain::civil::format_instant(domain::civil::now() + 3_600_000_000).into();
    world.send(Feed::Stores, &[moved]).await;
    world.refresh().await;
    assert_eq!(world.ask("SELECT date, units FROM marts.store_days").await, "2014-01-01,1.000");
    assert_eq!(world.ask("SELECT date, units FROM marts.item_days").await, "2014-01-01,1.000");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_refreshes_beside_another_ends_well_and_who_comes_late_changes_nothing() {
    let mut world = World::new().await;
    world.send(Feed::Stores, &[store("t", "s", "Europe/Berlin", "DE", "l", "EUR")]).await;
    world.refresh().await;
    let lake = Arc::clone(&world.feeder.lake);
    let first = lake.mart_state(Mart::ItemDays).await.expect("a state");
    let other = marts(&world.engine, &lake);
    for day in 1..=9 {
        let sales = [sale(day, "t", "s", "a", 1, "1", &format!("2014-01-0{day}T10:00:00Z"))];
        world.send(Feed::Sales, &sales).await;
        let (one, two) = tokio::join!(world.marts.refresh(), other.refresh());
        assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    }
    // Whoever began on the first state, and was slow, would bring back what it saw.
    let (seen, sources) = (first.sources.clone(), first.sources);
    let late =
        Replacement { mart: Mart::ItemDays, seen, sources, days: DaySet::Everything, files: Vec::new() };
    let refused = lake.replace_days(late).await.expect_err("it comes too late");
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    assert!(refused.to_string().contains("another process was first"), "{refused}");
    assert_eq!(world.ask("SELECT count(*), sum(units) FROM marts.item_days").await, "9,9.000");
    world.expect_true("after races").await;
}

/// A small generator of numbers: the same seed gives the same run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).expect("small")]
    }

    /// A day of some fifty around two changes of clocks.
    fn day(&mut self) -> String {
        let day = self.below(50);
        if day < 25 { format!("2014-03-{:02}", day + 7) } else { format!("2014-04-{:02}", day - 24) }
    }

    fn instant(&mut self) -> String {
        format!("{}T{:02}:{:02}:00Z", self.day(), self.below(24), self.below(60))
    }

    fn range(&mut self) -> (String, String) {
        let (one, two) = (self.day(), self.day());
        if one < two { (one, two) } else { (two, one) }
    }
}

const STORES: [(&str, &str, &str, &str, &str); 4] = [
    ("t", "a", "Europe/Berlin", "DE-BE", "l"),
    ("t", "b", "America/New_York", "US-NY", "m"),
    ("u", "a", "Europe/Berlin", "DE-BY", "l"),
    ("u", "c", "Asia/Kathmandu", "DE", "m"),
];

fn record(dice: &mut Dice, feed: Feed, id: u64) -> Value {
    let (tenant, name, zone, region, location) = dice.of(&STORES);
    let whom = dice.of(&[None, Some("t"), Some("u")]);
    let at = dice.instant();
    let (from, to) = dice.range();
    match feed {
        Feed::Sales => {
            let quantity = i64::try_from(dice.below(12)).expect("small") - 3;
            sale(id, tenant, name, dice.of(&["x", "y", "z"]), quantity, "1.25", &at)
        }
        Feed::Stores => {
            let mut record = store(
                tenant,
                name,
                dice.of(&[zone, "Europe/London"]),
                dice.of(&[region, "DE"]),
                location,
                dice.of(&["EUR", "GBP"]),
            );
            record["valid_from"] = dice.of(&["2010-01-01", "2014-03-20"]).into();
            record
        }
        Feed::Inventory => {
            json!({"tenant": tenant, "store": name, "sku": dice.of(&["x", "y", "w"]), "as_of": at, "on_hand": dice.below(3)})
        }
        Feed::Prices => {
            json!({"tenant": tenant, "sku": dice.of(&["x", "y"]), "competitor": dice.of(&["c", "d"]), "observed_at": at,
            "price": dice.below(9), "currency": dice.of(&["EUR", "GBP"])})
        }
        Feed::Weather => weather(
            location,
            &from,
            "observed",
            1 + i64::try_from(dice.below(30)).expect("small"),
            &format!("2014-05-0{}T00:00:00Z", 1 + dice.below(9)),
        ),
        Feed::Events => {
            let region = dice.of(&["DE", "DE-BE", "US", "store/a", "store/b"]);
            let whom = if region.starts_with("store/") { Some(tenant) } else { whom };
            // Few ids, so that events are moved and renamed.
            let mut event = event(
                whom,
                &format!("e{}", dice.below(12)),
                dice.of(&["holiday", "closure", "school_holiday", "promotion", "sports"]),
                region,
                &from,
                &to,
            );
            event["name"] = format!("n{}", dice.below(5)).into();
            event
        }
        Feed::Signals => {
            let whole = dice.below(99) as f64;
            signal(whom, dice.of(&["DE", "DE-BE", "US-NY", "store/a"]), &from, &to, whole)
        }
        Feed::Sentiment => {
            json!({"source": "p", "post_id": dice.below(30).to_string(), "topic": dice.of(&["x", "z", "l", "DE-BE"]),
            "text": "t", "posted_at": at, "score": 0.25 * (dice.below(9) as f64) - 1.0})
        }
        Feed::Products => unreachable!("no mart is made of products"),
    }
}

/// Rounds of a property run; `ROUNDS` and `SEED` choose others.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_in_whatever_order_a_mart_equals_one_made_from_nothing() {
    let seed = setting("SEED", 7);
    let mut dice = Dice(seed);
    let mut world = World::new().await;
    let feeds = [
        Feed::Sales,
        Feed::Stores,
        Feed::Inventory,
        Feed::Prices,
        Feed::Weather,
        Feed::Events,
        Feed::Signals,
        Feed::Sentiment,
    ];
    let (mut id, mut some_days) = (0, 0);
    for round in 0..setting("ROUNDS", 60) {
        // The first stores come late, and records of stores seldom after.
        let feed = match dice.below(20) {
            0 if round > 3 => Feed::Stores,
            1..=8 => Feed::Sales,
            _ => dice.of(&feeds[2..]),
        };
        let count = 1 + dice.below(if feed == Feed::Sales { 12 } else { 3 });
        let records: Vec<_> = (0..count)
            .map(|_| {
                id += 1;
                record(&mut dice, feed, id)
            })
            .collect();
        world.send(feed, &records).await;
        if dice.below(4) == 0 {
            let tables = feeds.map(|feed| format!("curated.{}", feed.name()));
            let tables: Vec<_> = tables.into_iter().chain(Mart::ALL.map(Mart::qualified_name)).collect();
            let table = &tables[usize::try_from(dice.below(tables.len() as u64)).expect("small")];
            let table = world.feeder.lake.table(table).expect("a table");
            compact(table, &CompactOptions::default()).await.expect("compacted");
        }
        if dice.below(3) > 0 {
            some_days += world.refresh().await.iter().map(|done| done.store_days).sum::<u64>();
        }
        if round % 12 == 11 {
            world.refresh().await;
            world.expect_true(&format!("seed {seed}, round {round}")).await;
        }
    }
    assert!(some_days > 0, "no refresh has ever done a part");
    assert_ne!(world.ask("SELECT count(*) FROM marts.store_days").await, "0");
}
