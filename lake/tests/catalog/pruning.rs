//! Statistics leave files out and never change an answer.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type};
use domain::civil;
use serde_json::{Value, json};

use super::{Totals, query, session, totals};
use crate::support::*;

/// Texts at the edges of what bounds can hold: beyond ASCII, with a quote, and too long for a bound.
const SKUS: [&str; 7] = [
    "sku-0",
    "sku-3",
    "sku-4",
    "Ärmel-1",
    "o'brien",
    "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz-long",
    "10",
];

/// Records at the edges of what statistics can hold: instants between two milliseconds, returns, rare discounts.
fn record(partition: i32, offset: i64) -> Value {
    let mut record = sale(partition, offset);
    record["sku"] = SKUS[(offset / 3 % 7) as usize].into();
    record["occurred_at"] =
        json!(format!("2010-0{}-{:02}T10:00:00.{:06}Z", offset / 20 % 4 + 1, offset % 28 + 1, offset * 333));
    record["unit_price"] = json!(["0.0001", "1.25", "99999.9999"][(offset % 3) as usize]);
    if offset % 6 == 5 {
        record["kind"] = "return".into();
        record["quantity"] = json!(format!("-{}.5", offset % 4));
    }
    if offset % 10 == 7 {
        record["discount"] = json!("0.75");
    }
    record
}

/// A record as the filters below look at it.
#[derive(Debug)]
struct Sold {
    partition: i32,
    offset: i64,
    sku: String,
    store: String,
    period: String,
    at: i64,
    quantity: i128,
    price: i128,
    discount: Option<i128>,
}

impl Sold {
    fn new(partition: i32, offset: i64) -> Self {
        let record = record(partition, offset);
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let decimal = |name: &str, scale: u32| {
            let token = record[name].as_str().map_or_else(|| record[name].to_string(), str::to_owned);
            domain::decimal::parse(&token, scale).expect("a decimal")
        };
        let at = civil::parse_instant(&text("occurred_at")).expect("an instant");
        Self {
            partition,
            offset,
            sku: text("sku"),
            store: text("store"),
            period: civil::period(at),
            at,
            quantity: decimal("quantity", 3),
            price: decimal("unit_price", 4),
            discount: record.get("discount").is_some().then(|| decimal("discount", 4)),
        }
    }
}

fn totals_of<'a>(sold: impl IntoIterator<Item = &'a Sold>) -> Totals {
    let sold: Vec<&Sold> = sold.into_iter().collect();
    let sum = |of: fn(&Sold) -> i128| (!sold.is_empty()).then(|| sold.iter().map(|sold| of(sold)).sum());
    (sold.len() as i64, sum(|sold| sold.quantity), sum(|sold| sold.quantity * sold.price))
}

type Filter = (&'static str, fn(&Sold) -> bool);

const FILTERS: &[Filter] = &[
    ("true", |_| true),
    ("false", |_| false),
    ("period = '2010-02'", |s| s.period == "2010-02"),
    ("period <> '2010-02'", |s| s.period != "2010-02"),
    ("period >= '2010-02' AND period < '2010-04'", |s| s.period == "2010-02" || s.period == "2010-03"),
    ("period IN ('2010-01', '2010-04', '2011-01')", |s| s.period == "2010-01" || s.period == "2010-04"),
    ("period IS NULL", |_| false),
    ("period LIKE '2010-0%'", |_| true),
    ("substr(period, 6) = '03'", |s| s.period == "2010-03"),
    ("sku = 'sku-3'", |s| s.sku == "sku-3"),
    ("sku = 'absent'", |_| false),
    ("sku > 'sku-3'", |s| s.sku.as_str() > "sku-3"),
    ("NOT sku < 'sku-3'", |s| s.sku.as_str() >= "sku-3"),
    ("sku = 'Ärmel-1'", |s| s.sku == "Ärmel-1"),
    ("sku = 'o''brien'", |s| s.sku == "o'brien"),
    ("sku LIKE 'zzz%-long'", |s| s.sku.len() > 70),
    ("sku >= 'zz'", |s| s.sku.as_str() >= "zz"),
    ("sku < 'a'", |s| s.sku == "10"),
    ("upper(sku) = 'SKU-4'", |s| s.sku == "sku-4"),
    ("sku IN ('sku-0', 'o''brien') AND period = '2010-03'", |s| {
        (s.sku == "sku-0" || s.sku == "o'brien") && s.period == "2010-03"
    }),
    ("store = 'store-1' AND sku = 'sku-4'", |s| s.store == "store-1" && s.sku == "sku-4"),
    ("period = '2010-02' OR sku = 'sku-0'", |s| s.period == "2010-02" || s.sku == "sku-0"),
    ("occurred_at = '2010-01-08T10:00:00.002331Z'", |s| s.at == instant("2010-01-08T10:00:00.002331Z")),
    ("occurred_at > '2010-01-08T10:00:00.002330Z' AND occurred_at < '2010-01-08T10:00:00.002332Z'", |s| {
        s.at == instant("2010-01-08T10:00:00.002331Z")
    }),
    ("occurred_at >= '2010-02-01T00:00:00Z' AND occurred_at < '2010-03-01T00:00:00Z'", |s| {
        s.period == "2010-02"
    }),
    ("occurred_at > '2010-04-24T10:00:00.026'", |s| s.at > instant("2010-04-24T10:00:00.026Z")),
    ("_partition = 1", |s| s.partition == 1),
    ("_offset BETWEEN 10 AND 20", |s| (10..=20).contains(&s.offset)),
    ("_log = 2", |_| false),
    ("_log = 1 AND _partition = 2 AND _offset = 33", |s| s.partition == 2 && s.offset == 33),
    ("quantity < 0", |s| s.quantity < 0),
    ("quantity >= 3.5", |s| s.quantity >= 3_500),
    ("quantity = -1.5", |s| s.quantity == -1_500),
    ("unit_price = 0.0001", |s| s.price == 1),
    ("unit_price > 99999.9998", |s| s.price == 999_999_999),
    ("discount IS NULL", |s| s.discount.is_none()),
    ("discount IS NOT NULL", |s| s.discount.is_some()),
    ("discount > 0.5 AND period = '2010-01'", |s| s.discount == Some(7_500) && s.period == "2010-01"),
    ("promotion IS NULL", |_| true),
    ("promotion IS NOT NULL", |_| false),
    ("promotion = 'none'", |_| false),
    ("NOT _duplicate", |_| true),
    ("_known_at > '2020-01-01T00:00:00Z'", |_| true),
    ("_timestamp < '1990-01-01T00:00:00.000010Z'", |s| s.offset < 10),
];

fn instant(text: &str) -> i64 {
    civil::parse_instant(text).expect("an instant")
}

#[tokio::test]
async fn filters_give_what_the_records_give() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    for from in [None, Some(20), Some(40), Some(60)] {
        let to = from.unwrap_or(0) + 20;
        let draft = Draft::new(1).records(record).range(0, from, to).range(1, from, to).range(2, from, to);
        must_commit(&lake, &draft.stage(&lake).await).await;
    }
    let sold: Vec<Sold> =
        (0..3).flat_map(|partition| (0..80).map(move |offset| Sold::new(partition, offset))).collect();
    // As written, and as another process reads it from the log.
    for context in [session(&lake), session(&open(folder.path()).await)] {
        for (sql, holds) in FILTERS {
            let expected = totals_of(sold.iter().filter(|sold| holds(sold)));
            assert_eq!(totals(&context, &format!("sales WHERE {sql}")).await, expected, "{sql}");
        }
        let mut expected = BTreeMap::<(String, String), (i64, i128)>::new();
        for sold in &sold {
            let group = expected.entry((sold.period.clone(), sold.sku.clone())).or_default();
            *group = (group.0 + 1, group.1 + sold.quantity);
        }
        let sql = "SELECT arrow_cast(period, 'Utf8'), arrow_cast(sku, 'Utf8'), count(*), sum(quantity) FROM sales GROUP BY 1, 2";
        let mut found = BTreeMap::new();
        for rows in query(&context, sql).await {
            let (periods, skus) = (rows.column(0).as_string::<i32>(), rows.column(1).as_string::<i32>());
            let counts = rows.column(2).as_primitive::<Int64Type>();
            let units = rows.column(3).as_primitive::<Decimal128Type>();
            for at in 0..rows.num_rows() {
                let group = (periods.value(at).to_owned(), skus.value(at).to_owned());
                assert_eq!(found.insert(group, (counts.value(at), units.value(at))), None);
            }
        }
        assert_eq!(found, expected);
    }
}

/// Whether a query is answered, and rightly, though every file but those of `kept` offsets is gone from the disk.
async fn is_answered_from(kept: std::ops::Range<i64>, filter: &str, holds: fn(&Sold) -> bool) {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let mut gone = Vec::new();
    for from in [None, Some(20), Some(40), Some(60)] {
        let to = from.unwrap_or(0) + 20;
        let batch = Draft::new(1).records(record).range(0, from, to).stage(&lake).await;
        must_commit(&lake, &batch).await;
        if !kept.contains(&from.unwrap_or(0)) {
            gone.extend(batch.files.into_iter().map(|file| file.path));
        }
    }
    for path in &gone {
        std::fs::remove_file(table_folder(&lake, SALES).join(path)).expect("a file of the table");
    }
    let sold: Vec<Sold> = (0..80).map(|offset| Sold::new(0, offset)).collect();
    let expected = totals_of(sold.iter().filter(|sold| holds(sold)));
    assert!(expected.0 > 0, "{filter} holds for some");
    assert_eq!(totals(&session(&lake), &format!("sales WHERE {filter}")).await, expected, "{filter}");
}

#[tokio::test]
async fn files_that_cannot_hold_an_answer_are_not_opened() {
    is_answered_from(20..40, "period = '2010-02'", |s| s.period == "2010-02").await;
    is_answered_from(20..60, "period IN ('2010-02', '2010-03') AND sku <> 'sku-0'", |s| {
        (s.period == "2010-02" || s.period == "2010-03") && s.sku != "sku-0"
    })
    .await;
    is_answered_from(60..80, "occurred_at >= '2010-04-01T00:00:00Z'", |s| s.period == "2010-04").await;
    is_answered_from(40..60, "_offset BETWEEN 41 AND 58", |s| (41..=58).contains(&s.offset)).await;
}

#[tokio::test]
async fn files_without_the_article_are_not_opened() {
    fn record(_: i32, offset: i64) -> Value {
        let mut record = sale(0, offset);
        record["sku"] =
            json!(format!("{}-{}", ["apple", "melon", "pear"][(offset / 10) as usize], offset % 10));
        record["occurred_at"] = "2010-01-05T10:00:00Z".into();
        record
    }
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let mut files = Vec::new();
    for from in [None, Some(10), Some(20)] {
        let to = from.unwrap_or(0) + 10;
        let batch = Draft::new(1).records(record).range(0, from, to).stage(&lake).await;
        must_commit(&lake, &batch).await;
        files.extend(batch.files);
    }
    assert_eq!(files.len(), 3);
    for file in [&files[0], &files[2]] {
        std::fs::remove_file(table_folder(&lake, SALES).join(&file.path)).expect("a file of the table");
    }
    let context = session(&lake);
    assert_eq!(totals(&context, "sales WHERE sku = 'melon-4'").await, super::totals_of([14]));
    assert_eq!(totals(&context, "sales WHERE sku >= 'm' AND sku < 'n'").await, super::totals_of(10..20));
}
