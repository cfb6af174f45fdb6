use super::*;

fn mended(map: &str, record: &str) -> String {
    let map = MendingMap::parse(map).expect("a map");
    let letter = StoredLetter {
        place: "t/1/0/0".parse().expect("a place"),
        feed: Feed::Sales,
        attempt: 1,
        ingested_at: 0,
        raw_key: None,
        raw_value: Some(record.as_bytes().to_vec()),
        headers: None,
        timestamp: None,
        error_class: String::new(),
        error_message: String::new(),
        field: None,
        value: None,
        expected: String::new(),
        tenant: None,
        store: None,
        pipeline: String::new(),
    };
    match Mend::Map(map).apply(&letter) {
        Ok(value) => String::from_utf8(value.expect("a value")).expect("text"),
        Err(reject) => reject.to_string(),
    }
}

#[test]
fn a_map_changes_what_it_names_and_keeps_the_rest_to_the_digit() {
    let record = r#"{"price": 2.5000, "n":"1", "old":{"a": 1}, "x":null, "kind":"S"}"#;
    let map = |rules: &str| mended(&format!("[feeds.sales]\n{rules}"), record);
    assert_eq!(map("n = { constant = 2 }"), r#"{"n":2,"price":2.5000,"old":{"a": 1},"x":null,"kind":"S"}"#);
    let absent = "x = { constant = \"c\", when_absent = true }\nn = { constant = \"9\", when_absent = true }";
    assert_eq!(map(absent), r#"{"n":"1","x":"c","price":2.5000,"old":{"a": 1},"kind":"S"}"#);
    // A rename takes the place of what stood there; one whose source is absent changes nothing.
    assert_eq!(map("n = { field = \"old\" }"), r#"{"n":{"a": 1},"price":2.5000,"x":null,"kind":"S"}"#);
    assert_eq!(
        map("n = { field = \"nothing\" }"),
        r#"{"n":"1","price":2.5000,"old":{"a": 1},"x":null,"kind":"S"}"#
    );
    let values = "kind = { values = { \"S\" = \"sale\", \"R\" = \"return\" } }\nprice = { values = { \"2.5000\" = \"3\" } }";
    assert_eq!(map(values), r#"{"kind":"sale","price":"3","n":"1","old":{"a": 1},"x":null}"#);
    let swap = "n = { field = \"kind\", values = { \"S\" = true } }\nkind = { field = \"n\" }\nprice = { drop = true }";
    assert_eq!(map(swap), r#"{"kind":"1","n":true,"old":{"a": 1},"x":null}"#);
    let all = "price = { drop = true }\nn = { drop = true }\nold = { drop = true }\nx = { drop = true }\nkind = { drop = true }";
    assert_eq!(map(all), "{}");
    let fault = mended("[feeds.sales]\nn = { drop = true }", "not json");
    assert!(fault.starts_with("malformed_json"), "{fault}");
}

#[test]
fn faults_of_a_map_name_the_key_and_the_fix() {
    for (text, words) in [
        ("[feeds.sale]\nn = { drop = true }", "no feed `sale`"),
        ("[feeds.sales]\nn = { drop = true, constant = 1 }", "feeds.sales.n: give one of"),
        ("[feeds.sales]\nn = { drop = false }", "feeds.sales.n: give one of"),
        ("[feeds.sales]\nn = { constant = 2.5 }", "feeds.sales.n: write a decimal as a text"),
        ("[feeds.sales]\nn = { field = \"a\", when_absent = true }", "when_absent goes with constant"),
        ("[feeds.sales]\nn = { column = \"a\" }", "feeds.sales.n: unknown field `column`"),
        ("[feeds.sales]\nn = \"a\"", "feeds.sales.n"),
        ("[feeds]", "it changes no feed"),
    ] {
        let fault = MendingMap::parse(text).expect_err(text);
        assert!(fault.contains(words), "{fault}");
    }
}

#[test]
fn the_example_of_the_guide_is_a_map() {
    let guide = include_str!("../../../docs/guides/dead-letters.md");
    let examples: Vec<_> =
        guide.split("```toml\n").skip(1).filter_map(|part| part.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        MendingMap::parse(example).expect(example);
    }
}

#[test]
fn headers_tell_history_as_the_topic_told_it() {
    assert!(is_history(Some(r#"[{"key":"a","value":null},{"key":"history","value":"1"}]"#)));
    for other in [None, Some("[]"), Some(r#"[{"key":"history","value":"0"}]"#), Some("nonsense")] {
        assert!(!is_history(other), "{other:?}");
    }
}
