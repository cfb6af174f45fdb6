//! The lake through SQL: answers equal what was appended, at any version, whatever the statistics let the scan leave out.

#[path = "catalog/checkpoint.rs"]
mod checkpoint;
#[path = "catalog/pruning.rs"]
mod pruning;
mod support;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type};
use datafusion::prelude::{SessionConfig, SessionContext};
use domain::ErrorKind;
use lake::Lake;
use lake::catalog::LakeCatalog;
use support::*;

/// A session over a lake, as an engine sets one up.
fn session(lake: &Arc<Lake>) -> SessionContext {
    let config =
        SessionConfig::new().with_default_catalog_and_schema("lake", "curated").with_target_partitions(3);
    let context = SessionContext::new_with_config(config);
    let (url, store) = lake.store().bucket();
    context.register_object_store(&url, store);
    context.register_catalog("lake", Arc::new(LakeCatalog::new(Arc::clone(lake))));
    context
}

async fn try_query(context: &SessionContext, sql: &str) -> datafusion::common::Result<Vec<RecordBatch>> {
    context.sql(sql).await?.collect().await
}

async fn query(context: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    try_query(context, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Rows, units in thousandths, and revenue in units of 10^-7; sums of no rows are `None`.
type Totals = (i64, Option<i128>, Option<i128>);

/// Totals of what comes behind `FROM`.
async fn totals(context: &SessionContext, from: &str) -> Totals {
    let sql = format!("SELECT count(*), sum(quantity), sum(quantity * unit_price) FROM {from}");
    let rows = query(context, &sql).await;
    let sum = |column: usize| {
        let sums = rows[0].column(column).as_primitive::<Decimal128Type>();
        sums.iter().next().expect("a row")
    };
    (rows[0].column(0).as_primitive::<Int64Type>().value(0), sum(1), sum(2))
}

/// Totals of the records of [`sale`] in a range.
fn totals_of(offsets: impl IntoIterator<Item = i64>) -> Totals {
    let units: Vec<i128> = offsets.into_iter().map(|offset| i128::from(offset % 7 + 1) * 1_000).collect();
    let sum = (!units.is_empty()).then(|| units.iter().sum::<i128>());
    (units.len() as i64, sum, sum.map(|units| units * 12_500))
}

async fn count(context: &SessionContext, from: &str) -> i64 {
    let rows = query(context, &format!("SELECT count(*) FROM {from}")).await;
    rows[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[tokio::test]
async fn an_empty_table_has_its_columns_and_no_rows() {
    let folder = folder();
    let context = session(&open(folder.path()).await);
    assert_eq!(totals(&context, "sales").await, (0, None, None));
    let frame =
        context.sql("SELECT * FROM lake.curated.sales WHERE period = '2010-01'").await.expect("a plan");
    let fields = frame.schema().fields().len();
    assert_eq!(fields, FEED.columns().len() - 2 + 1, "the feed's columns but for the hashes, and the period");
    assert_eq!(frame.collect().await.expect("no rows").iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    assert_eq!(count(&context, "raw.dead_letters").await, 0);
}

#[tokio::test]
async fn columns_carry_their_comments() {
    let folder = folder();
    let context = session(&open(folder.path()).await);
    let frame = context.table("sales").await.expect("a table");
    for column in FEED.columns().into_iter().filter(|column| !column.name.ends_with("_hash")) {
        let field = frame.schema().field_with_unqualified_name(column.name).expect("a column");
        assert_eq!((field.data_type(), field.is_nullable()), (&column.data_type, column.nullable));
        assert_eq!(field.metadata().get("comment").map(String::as_str), Some(column.comment));
    }
}

#[tokio::test]
async fn what_is_committed_is_seen_by_every_session_at_once() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let sessions = [session(&lake), session(&open(folder.path()).await)];
    for to in [10, 20, 30] {
        let from = (to > 10).then_some(to - 10);
        must_commit(&lake, &Draft::new(1).range(0, from, to).bad([(0, to - 1)]).stage(&lake).await).await;
        for context in &sessions {
            let good = (0..to).filter(|offset| offset % 10 != 9);
            assert_eq!(totals(context, "sales").await, totals_of(good));
            assert_eq!(count(context, "raw.dead_letters").await, to / 10);
        }
    }
}

#[tokio::test]
async fn earlier_versions_stay_as_they_were() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let mut versions = vec![(version(&lake, SALES).await, 0)];
    for to in [7, 11, 30, 31] {
        let (_, stored) = versions.last().copied().expect("a version");
        let from = (stored > 0).then_some(stored);
        let at = must_commit(&lake, &Draft::new(1).range(0, from, to).stage(&lake).await).await;
        versions.push((at, to));
    }
    let context = session(&open(folder.path()).await);
    let table = lake.table(SALES).expect("a table");
    for (at, to) in &versions {
        let state = table.snapshot_at(*at).await.expect("an earlier state");
        assert_eq!(state.version(), *at);
        assert_eq!(coordinates_at(&lake, SALES, &state), range(0, 0..*to));
        assert_eq!(state.transaction("main/retail.sales.v1/1/0"), (*to > 0).then_some(*to));
        assert_eq!(totals(&context, &format!("\"sales@{at}\"")).await, totals_of(0..*to));
        let named = format!("lake.curated.\"sales@{at}\" WHERE sku = 'sku-1'");
        assert_eq!(totals(&context, &named).await, totals_of((0..*to).filter(|offset| offset % 5 == 1)));
    }
    // Two versions in one query: what came between them.
    let (old, new) = (versions[2], versions[3]);
    let between = format!(
        "\"sales@{}\" AS new LEFT ANTI JOIN \"sales@{}\" AS old ON new._offset = old._offset",
        new.0, old.0
    );
    assert_eq!(count(&context, &between).await, new.1 - old.1);
    assert_eq!(totals(&context, "sales").await, totals_of(0..31));
}

#[tokio::test]
async fn a_version_that_is_none_is_told() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    must_commit(&lake, &Draft::new(1).range(0, None, 3).stage(&lake).await).await;
    let next = version(&lake, SALES).await + 1;
    let error = lake.table(SALES).expect("a table").snapshot_at(next).await.expect_err("not yet");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains(&format!("version {next}")), "{error}");

    let context = session(&lake);
    for (name, word) in [
        (format!("sales@{next}"), format!("version {next}")),
        ("sales@old".to_owned(), "sales@12".to_owned()),
        ("sales@-1".to_owned(), "sales@12".to_owned()),
        ("sales@".to_owned(), "sales@12".to_owned()),
        ("sale".to_owned(), "sale".to_owned()),
    ] {
        let error = try_query(&context, &format!("SELECT * FROM \"{name}\"")).await.expect_err(&name);
        assert!(error.to_string().contains(&word), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_row_comes_back_as_it_was_sent() {
    fn record(partition: i32, offset: i64) -> serde_json::Value {
        let mut record = sale(partition, offset);
        record["quantity"] = serde_json::json!("-0.125");
        record["kind"] = "return".into();
        record["unit_price"] = serde_json::json!("99999999999999.9999");
        record["discount"] = serde_json::json!(0.05);
        record["product_name"] = "Tasse, weiß".into();
        record["occurred_at"] = "2010-12-31T23:59:59.123456Z".into();
        record["till"] = serde_json::json!({"id": [7, 1.50]});
        record
    }
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    must_commit(&lake, &Draft::new(1).records(record).range(3, None, 1).stage(&lake).await).await;
    let sql = "SELECT CAST(quantity AS VARCHAR), CAST(unit_price AS VARCHAR), CAST(discount AS VARCHAR), product_name, \
        CAST(occurred_at AS VARCHAR), period, kind, _extra, _topic, CAST(_log AS VARCHAR), CAST(_partition AS VARCHAR), \
        CAST(_offset AS VARCHAR), category, CAST(_known_at = _ingested_at AS VARCHAR) FROM sales";
    let rows = query(&session(&lake), sql).await;
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    let row = rows.iter().find(|batch| batch.num_rows() > 0).expect("a row");
    let texts: Vec<Option<String>> = row
        .columns()
        .iter()
        .map(|column| {
            let column = arrow::compute::cast(column, &arrow_schema::DataType::Utf8).expect("a text");
            column.as_string::<i32>().iter().next().flatten().map(str::to_owned)
        })
        .collect();
    let expected = [
        Some("-0.125"),
        Some("99999999999999.9999"),
        Some("0.0500"),
        Some("Tasse, weiß"),
        Some("2010-12-31T23:59:59.123456Z"),
        Some("2010-12"),
        Some("return"),
        Some(r#"{"till":{"id":[7,1.5]}}"#),
        Some(TOPIC),
        Some("1"),
        Some("3"),
        Some("0"),
        None,
        Some("true"),
    ];
    assert_eq!(texts, expected.map(|text| text.map(str::to_owned)));
}

#[tokio::test]
async fn limits_are_kept_with_and_without_a_filter() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    must_commit(&lake, &Draft::new(1).range(0, None, 50).range(1, None, 50).stage(&lake).await).await;
    let context = session(&lake);
    let rows = async |sql: &str| query(&context, sql).await.iter().map(RecordBatch::num_rows).sum::<usize>();
    assert_eq!(rows("SELECT * FROM sales LIMIT 7").await, 7);
    assert_eq!(rows("SELECT * FROM sales WHERE sku = 'sku-4' LIMIT 7").await, 7);
    assert_eq!(rows("SELECT * FROM sales WHERE sku = 'sku-4' LIMIT 1000").await, 20);
    assert_eq!(rows("SELECT period FROM sales LIMIT 1000").await, 100);
    assert_eq!(rows("SELECT * FROM sales ORDER BY _offset DESC LIMIT 3 OFFSET 98").await, 2);
}

#[tokio::test]
async fn a_root_may_have_an_unusual_name() {
    let parent = folder();
    for name in ["with blank", "ümläut", "hash#mark", "tilde~1", "[a]*?"] {
        let folder = parent.path().join(name);
        let lake = lake_with_log(&folder).await;
        must_commit(&lake, &Draft::new(1).range(0, None, 10).stage(&lake).await).await;
        assert_eq!(coordinates(&lake, SALES).await, range(0, 0..10), "{name}");
        assert_eq!(totals(&session(&lake), "sales").await, totals_of(0..10), "{name}");
    }
    let error = support::refusal(&parent.path().join("per%20cent")).await;
    assert!(error.to_string().contains("holds a `%`"), "{error}");
}
