//! Every kind of bad record becomes a dead letter that says what was wrong and where, and the stream goes on.

use serde_json::{Value, json};
use tests::world::World;

fn good() -> Value {
    json!({
        "tenant": "gift-uk", "store": "online", "transaction_id": "1", "line": 1, "sku": "A", "quantity": "1", "unit_price": "2.50",
        "currency": "GBP", "kind": "sale", "occurred_at": "2026-01-10T12:00:00Z",
    })
}

/// The good record with one field set to another value.
fn with(field: &str, value: Value) -> Vec<u8> {
    let mut record = good();
    record[field] = value;
    record.to_string().into_bytes()
}

/// The good record with one field's value replaced by a raw JSON token.
fn with_token(field: &str, token: &str) -> Vec<u8> {
    let text = String::from_utf8(with(field, json!("@@"))).expect("JSON is UTF-8");
    text.replace("\"@@\"", token).into_bytes()
}

fn without(field: &str) -> Vec<u8> {
    let mut record = good();
    record.as_object_mut().expect("an object").remove(field);
    record.to_string().into_bytes()
}

/// What is sent, and the class and field of the letter that it must become.
fn bad_records() -> Vec<(Option<Vec<u8>>, &'static str, &'static str)> {
    let huge = with("note", Value::from("x".repeat(10_000_000)));
    vec![
        (None, "empty_value", ""),
        (Some(Vec::new()), "empty_value", ""),
        (Some(b"{\"tenant\": \"gift".to_vec()), "malformed_json", ""),
        (Some(b"[1, 2]".to_vec()), "malformed_json", ""),
        (Some(vec![b'{', 0xff, b'}']), "invalid_utf8", ""),
        (Some(huge), "too_large", ""),
        (Some(with("line", json!("one"))), "wrong_type", "line"),
        (Some(with("sku", json!(12))), "wrong_type", "sku"),
        (Some(without("unit_price")), "missing_field", "unit_price"),
        (Some(with("tenant", Value::Null)), "missing_field", "tenant"),
        (Some(with("tenant", json!(""))), "missing_field", "tenant"),
        (Some(with("tenant", json!("a/b"))), "out_of_range", "tenant"),
        (Some(with("occurred_at", json!("2026-02-30T12:00:00Z"))), "out_of_range", "occurred_at"),
        (Some(with("occurred_at", json!("10/01/2026"))), "out_of_range", "occurred_at"),
        (Some(with("occurred_at", json!("1989-12-31T23:59:59Z"))), "out_of_range", "occurred_at"),
        (Some(with("occurred_at", json!("2199-01-01T00:00:00Z"))), "out_of_range", "occurred_at"),
        (Some(with("quantity", json!("1.0001"))), "too_many_decimals", "quantity"),
        (Some(with_token("unit_price", "2.00001")), "too_many_decimals", "unit_price"),
        (Some(with_token("unit_price", "1e400")), "out_of_range", "unit_price"),
        (Some(with_token("unit_price", "1e-400")), "too_many_decimals", "unit_price"),
        (Some(with("quantity", json!("-1"))), "inconsistent", "kind"),
        (Some(br#"{"tenant":"a","tenant":"b"}"#.to_vec()), "duplicate_field", "tenant"),
    ]
}

#[test]
fn bad_records_become_letters_and_the_stream_goes_on() {
    let world = World::on_folder();
    world.create_topic(1);
    let (producer, topic) = (world.producer(), world.topic());
    let send = |value: Option<&[u8]>| {
        producer.send_raw(&topic, Some(0), Some(b"key"), value, false).expect("the client takes it");
    };
    let bad = bad_records();
    for (value, ..) in &bad {
        send(Some(good().to_string().as_bytes()));
        send(value.as_deref());
    }
    // Digits beyond the scale that are zero change nothing, and an unknown field is kept.
    let mut exact = good();
    exact["quantity"] = json!("1.500000");
    exact["till"] = json!({"id": 7});
    send(Some(exact.to_string().as_bytes()));
    producer.finish().expect("all is acknowledged");

    let said = world.ingest_to_the_end().stderr;
    assert!(said.contains(&format!("{} rows and {} dead letters", bad.len() + 1, bad.len())), "{said}");
    let letters = world.sql(
        "SELECT _offset, error_class, coalesce(field, ''), coalesce(tenant, ''), error_message FROM raw.dead_letters ORDER BY _offset",
    );
    let letters: Vec<&str> = letters.lines().collect();
    assert_eq!(letters.len(), bad.len(), "{letters:#?}");
    for (at, (letter, (value, class, field))) in letters.iter().zip(&bad).enumerate() {
        let shown =
            value.as_deref().map(|value| String::from_utf8_lossy(&value[..value.len().min(80)]).into_owned());
        assert!(letter.starts_with(&format!("{},{class},{field},", 2 * at + 1)), "{shown:?} became {letter}");
    }
    // A letter belongs to a business only if the record itself states a valid one.
    assert!(letters[5].contains(",gift-uk,"), "{}", letters[5]);
    assert!(letters[9].contains("missing_field,tenant,,"), "{}", letters[9]);
    let kept = world.sql("SELECT quantity, _extra FROM curated.sales ORDER BY _offset DESC LIMIT 1");
    assert_eq!(kept, r#"1.500,"{""till"":{""id"":7}}""#);
    let kept = world.sql("SELECT max(length(encode(raw_value, 'hex'))) / 2, count(*) FILTER (WHERE raw_key IS NOT NULL) FROM raw.dead_letters");
    assert_eq!(kept, format!("{},{}", bad[5].0.as_ref().map_or(0, Vec::len), bad.len()));
}
