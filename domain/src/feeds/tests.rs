//! What each feed takes and refuses.

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type};
use arrow_array::{Array, RecordBatch};
use serde_json::{Value, json};

use super::*;
use crate::duplicates::RowHash;
use crate::fields::RejectClass as Class;

/// 2025-11-24T16:00:00Z.
const NOW: Micros = 1_764_000_000_000_000;

fn metadata(offset: i64, history: bool) -> RecordMetadata<'static> {
    RecordMetadata { topic: "t", log: 1, partition: 0, offset, timestamp: Some(1), ingested_at: NOW, history }
}

/// A record of the feed that states every field that it must, and some that it may.
fn valid(feed: Feed) -> Value {
    match feed {
        Feed::Sales => json!({
            "tenant": "gift-uk", "store": "online", "transaction_id": "489434", "line": 1, "sku": "85048",
            "quantity": 12, "unit_price": "6.95", "currency": "GBP", "kind": "sale",
            "occurred_at": "2009-12-01T07:45:00Z", "country": "United Kingdom",
        }),
        Feed::Inventory => json!({
            "tenant": "gift-uk", "store": "online", "sku": "85048", "as_of": "2011-01-01T00:00:00Z",
            "on_hand": -3, "on_order": 12, "pack_size": 6,
        }),
        Feed::Prices => json!({
            "tenant": "gift-uk", "sku": "85048", "competitor": "other", "observed_at": "2011-01-01T00:00:00Z",
            "price": "5.95", "currency": "GBP",
        }),
        Feed::Stores => json!({
            "tenant": "gift-uk", "store": "online", "valid_from": "2009-01-01", "time_zone": "Europe/London",
            "currency": "GBP", "region": "GB-ENG", "opened_on": "1886-05-01", "attributes": {"type": "a"},
        }),
        Feed::Products => json!({
            "tenant": "gift-uk", "sku": "85048", "valid_from": "2009-01-01", "name": "Light", "unit_cost": 2,
            "currency": "GBP",
        }),
        Feed::Weather => json!({
            "location": "DC", "observed_for": "2011-01-01", "kind": "observed", "temp_min_c": -1.5,
            "temp_max_c": "4", "precipitation_mm": 0,
        }),
        Feed::Sentiment => json!({
            "source": "reviews", "post_id": "1", "topic": "85048", "text": "I love it, it is great!",
            "lang": "en-GB", "posted_at": "2011-01-01T00:00:00Z",
        }),
        Feed::Events => json!({
            "event_id": "de-2015-10-03", "kind": "holiday", "name": "Unity Day", "region": "DE",
            "starts_on": "2015-10-03", "ends_on": "2015-10-03", "issued_at": "2010-01-01T00:00:00Z",
        }),
        Feed::Signals => json!({
            "source": "search", "key": "DE-BE", "starts_on": "2015-10-04", "ends_on": "2015-10-10", "value": 62,
        }),
    }
}

fn changed(feed: Feed, field: &str, value: Option<Value>) -> Vec<u8> {
    let mut record = valid(feed);
    match value {
        Some(value) => record[field] = value,
        None => drop(record.as_object_mut().expect("an object").remove(field)),
    }
    serde_json::to_vec(&record).expect("json")
}

fn taken(feed: Feed, payload: &[u8], history: bool) -> Result<(String, RecordBatch), Reject> {
    let mut builder = feed.builder();
    builder.push(Some(payload), &metadata(0, history), NOW)?;
    assert_eq!(builder.rows(), 1);
    let batches = builder.finish();
    assert_eq!((builder.rows(), builder.bytes(), batches.len()), (0, 0, 1));
    Ok(batches.into_iter().next().expect("one"))
}

fn refusal(feed: Feed, field: &str, value: Option<Value>) -> (Class, Option<String>) {
    let reject = taken(feed, &changed(feed, field, value), false).expect_err(field);
    assert!(!reject.expected.is_empty(), "{reject}");
    (reject.class, reject.field.map(String::from))
}

#[test]
fn every_feed_takes_its_record_and_misses_each_field_that_it_needs() {
    for feed in Feed::ALL {
        let record = serde_json::to_vec(&valid(feed)).expect("json");
        let (period, batch) = taken(feed, &record, false).unwrap_or_else(|e| panic!("{}: {e}", feed.name()));
        assert_eq!(period.is_empty(), !feed.has_periods(), "{}", feed.name());
        assert_eq!(batch.num_columns(), feed.columns().len());
        for required in feed.required_fields() {
            let named = (Class::MissingField, Some(required.to_owned()));
            assert_eq!(refusal(feed, required, None), named, "{}", feed.name());
            assert_eq!(refusal(feed, required, Some(Value::Null)), named, "{}", feed.name());
        }
        assert_eq!(Feed::from_name(feed.name()).expect("a name"), feed);
    }
}

/// Columns that are named elsewhere exist, and a record and its twin have one Kafka key.
#[test]
fn keys_are_made_of_columns_of_the_natural_key() {
    for feed in Feed::ALL {
        let columns: Vec<_> = feed.columns().iter().map(|column| column.name).collect();
        let definition = feed.definition();
        assert!(definition.kafka_key.iter().all(|part| definition.natural_key.contains(part)));
        for named in [definition.natural_key, definition.clustering, definition.indexed_texts] {
            assert!(!named.is_empty() && named.iter().all(|name| columns.contains(name)), "{}", feed.name());
        }
    }
    let key = |feed: Feed| feed.key(&serde_json::to_vec(&valid(feed)).expect("json"));
    assert_eq!(key(Feed::Sales).as_deref(), Ok("gift-uk/online/489434"));
    assert_eq!(key(Feed::Stores).as_deref(), Ok("gift-uk/online"));
    assert_eq!(key(Feed::Events).as_deref(), Ok("/de-2015-10-03"));
    assert_eq!(key(Feed::Weather).as_deref(), Ok("DC/2011-01-01/observed/"));
    assert!(Feed::Sales.key(b"{}").is_err());
}

/// The hashes of a record, as they stand in the table.
fn hashed(payload: &[u8], offset: i64) -> RowHash {
    let mut builder = Feed::Sales.builder();
    builder.push(Some(payload), &metadata(offset, offset % 2 == 1), NOW + offset).expect("a good record");
    RowHash::of_rows(&builder.finish()[0].1).expect("hashes")[0]
}

#[test]
fn twins_agree_in_all_that_the_feed_knows_and_in_nothing_else() {
    let changed = |field: &str, value: Option<Value>| hashed(&changed(Feed::Sales, field, value), 0);
    let first = hashed(&serde_json::to_vec(&valid(Feed::Sales)).expect("json"), 0);
    // Whoever changes these changes what stands in tables: that is another contract.
    assert_eq!((first.key, first.content), (2_739_294_370_524_263_383, 16_658_986_044_150_982_543));
    assert_eq!(hashed(&serde_json::to_vec(&valid(Feed::Sales)).expect("json"), 7), first);
    for (field, same) in [("unit_price", "6.9500".into()), ("country", "France".into()), ("till", 7.into())] {
        assert_eq!(changed(field, Some(same)), first, "{field}");
    }
    let given: [(&str, Value); 9] = [
        ("tenant", "other".into()),
        ("store", "other".into()),
        ("transaction_id", "other".into()),
        ("line", 77.into()),
        ("sku", "other".into()),
        ("unit_price", "6.9501".into()),
        ("discount", "0".into()),
        ("channel", "".into()),
        ("occurred_at", "2009-12-01T07:45:00.000001Z".into()),
    ];
    for (field, value) in given {
        let other = changed(field, Some(value));
        assert_ne!(other.content, first.content, "{field}");
        let is_of_key = Feed::Sales.natural_key().contains(&field);
        assert_eq!(other.key != first.key, is_of_key, "{field}");
    }
    // A text does not run into the next.
    let parts = |store: &str, receipt: &str| {
        let mut record = valid(Feed::Sales);
        (record["store"], record["transaction_id"]) = (store.into(), receipt.into());
        hashed(&serde_json::to_vec(&record).expect("json"), 0).key
    };
    assert_ne!(parts("a", "bc"), parts("ab", "c"));
}

#[test]
fn the_first_fields_of_a_feed_whose_duplicates_are_told_are_its_key() {
    for feed in Feed::ALL.into_iter().filter(|feed| feed.marks_duplicates()) {
        let columns = feed.columns();
        let names = columns.iter().map(|column| column.name);
        assert!(
            names.take(feed.natural_key().len()).eq(feed.natural_key().iter().copied()),
            "{}",
            feed.name()
        );
    }
}

#[test]
fn good_records_become_exact_rows_by_period_and_bad_ones_leave_no_trace() {
    let mut builder = Feed::Sales.builder();
    let mut push =
        |payload: &[u8], offset, history| builder.push(Some(payload), &metadata(offset, history), NOW);
    push(&serde_json::to_vec(&valid(Feed::Sales)).expect("json"), 0, true).expect("valid");
    let bad = changed(Feed::Sales, "quantity", Some("twelve".into()));
    assert_eq!(push(&bad, 1, true).expect_err("bad").class, Class::WrongType);
    let mut back = valid(Feed::Sales);
    (back["quantity"], back["kind"]) = ((-0.5).into(), "return".into());
    back["occurred_at"] = "2010-01-31T23:59:59Z".into();
    push(&serde_json::to_vec(&back).expect("json"), 2, false).expect("valid");
    assert_eq!(builder.rows(), 2);
    let batches = builder.finish();
    assert_eq!(batches.iter().map(|(period, _)| period.as_str()).collect::<Vec<_>>(), ["2009-12", "2010-01"]);
    let column = |batch: usize, name: &str| batches[batch].1.column_by_name(name).expect("column").clone();
    assert_eq!(column(0, "unit_price").as_primitive::<Decimal128Type>().value(0), 69_500);
    assert_eq!(column(1, "quantity").as_primitive::<Decimal128Type>().value(0), -500);
    assert_eq!(column(0, "_extra").as_string::<i32>().value(0), r#"{"country":"United Kingdom"}"#);
    assert_eq!(column(0, "_known_at").as_ref(), column(0, "occurred_at").as_ref());
    assert_eq!(column(1, "_known_at").as_ref(), column(1, "_ingested_at").as_ref());
}

#[test]
fn contradictions_within_a_record_are_refused() {
    let refused = |feed, field: &str, value: Value, named: &str, class| {
        assert_eq!(refusal(feed, field, Some(value)), (class, Some(named.to_owned())), "{field}");
    };
    refused(Feed::Sales, "kind", "return".into(), "kind", Class::Inconsistent);
    refused(Feed::Sales, "store", "a/b".into(), "store", Class::OutOfRange);
    refused(Feed::Sales, "unit_price", "1.23456".into(), "unit_price", Class::TooManyDecimals);
    refused(Feed::Inventory, "pack_size", 0.into(), "pack_size", Class::OutOfRange);
    refused(Feed::Stores, "time_zone", "Europe/Lundon".into(), "time_zone", Class::OutOfRange);
    refused(Feed::Stores, "closed_on", "1885-01-01".into(), "closed_on", Class::Inconsistent);
    refused(Feed::Weather, "temp_max_c", (-2).into(), "temp_min_c", Class::Inconsistent);
    refused(Feed::Weather, "kind", "forecast".into(), "issued_at", Class::MissingField);
    refused(Feed::Weather, "observed_for", "2026-01-01".into(), "observed_for", Class::Inconsistent);
    refused(Feed::Events, "ends_on", "2015-10-02".into(), "ends_on", Class::Inconsistent);
    refused(Feed::Signals, "ends_on", "2015-10-03".into(), "ends_on", Class::Inconsistent);
    let dear = changed(Feed::Products, "currency", None);
    assert_eq!(taken(Feed::Products, &dear, false).expect_err("no currency").class, Class::Inconsistent);
}

#[test]
fn a_forecast_is_issued_before_its_day_has_ended_everywhere() {
    let mut record = valid(Feed::Weather);
    record["kind"] = "forecast".into();
    let mut issued = |at: &str| {
        record["issued_at"] = at.into();
        taken(Feed::Weather, &serde_json::to_vec(&record).expect("json"), false)
    };
    assert!(issued("2011-01-02T12:00:00Z").is_ok(), "the day still lasts in the far west");
    assert_eq!(issued("2011-01-02T12:00:01Z").expect_err("late").field.as_deref(), Some("issued_at"));
}

/// A null tenant is a till that lost its name; its record must not be shown to all businesses.
#[test]
fn only_a_record_without_the_field_is_for_all_businesses() {
    for feed in [Feed::Events, Feed::Signals] {
        for lost in [Value::Null, "".into()] {
            assert_eq!(refusal(feed, "tenant", Some(lost)), (Class::MissingField, Some("tenant".to_owned())));
        }
        assert!(taken(feed, &changed(feed, "tenant", Some("gift-uk".into())), false).is_ok());
    }
    let closure = changed(Feed::Events, "region", Some("store/online".into()));
    let reject = taken(Feed::Events, &closure, false).expect_err("whose store?");
    assert_eq!((reject.class, reject.field.as_deref()), (Class::Inconsistent, Some("tenant")));
}

#[test]
fn what_follows_from_other_fields_is_filled_in() {
    let of = |feed: Feed, record: &Value, column: &str| {
        let (_, batch) = taken(feed, &serde_json::to_vec(record).expect("json"), false).expect("valid");
        batch.column_by_name(column).expect("a column").clone()
    };
    let weather = valid(Feed::Weather);
    assert_eq!(of(Feed::Weather, &weather, "temp_mean_c").as_primitive::<Float64Type>().value(0), 1.25);
    let issued = of(Feed::Weather, &weather, "issued_at");
    let issued = issued.as_primitive::<arrow_array::types::TimestampMicrosecondType>().value(0);
    assert_eq!(crate::civil::format_instant(issued), "2011-01-02T00:00:00Z");

    let score = |post: &Value| {
        let column = of(Feed::Sentiment, post, "score");
        column.is_valid(0).then(|| column.as_primitive::<Float64Type>().value(0))
    };
    let mut post = valid(Feed::Sentiment);
    assert!(score(&post).expect("English is scored") > 0.6);
    post["score"] = (-0.25).into();
    assert_eq!(score(&post), Some(-0.25), "a stated score stays");
    for other in [json!("de"), json!("eng"), Value::Null] {
        (post["score"], post["lang"]) = (Value::Null, other);
        assert_eq!(score(&post), None);
    }
}

#[test]
fn history_is_known_when_it_was_issued() {
    let known = |feed: Feed| {
        let (_, batch) = taken(feed, &serde_json::to_vec(&valid(feed)).expect("json"), true).expect("valid");
        let column = batch.column_by_name("_known_at").expect("a column").clone();
        crate::civil::format_instant(
            column.as_primitive::<arrow_array::types::TimestampMicrosecondType>().value(0),
        )
    };
    assert_eq!(known(Feed::Events), "2010-01-01T00:00:00Z");
    assert_eq!(known(Feed::Stores), "2009-01-01T00:00:00Z");
    assert_eq!(known(Feed::Weather), "2011-01-02T00:00:00Z");
    assert_eq!(known(Feed::Inventory), "2011-01-01T00:00:00Z");
}

proptest::proptest! {
    /// Scoring reads whatever people write.
    #[test]
    fn any_text_is_scored_or_not(text in ".{0,200}") {
        let mut post = valid(Feed::Sentiment);
        post["text"] = format!("x{text}").into();
        let taken = taken(Feed::Sentiment, &serde_json::to_vec(&post).expect("json"), false);
        proptest::prop_assert!(taken.is_ok(), "{taken:?}");
    }
}
