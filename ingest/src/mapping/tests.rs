//! Rows that become records, and mappings that cannot be used.

use super::*;
use crate::source::Column;

const MAPPING: &str = r#"
    history = true
    [feeds.sales]
    tenant = { constant = "t" }
    store = { constant = "s" }
    transaction_id = { column = "Invoice" }
    line = { ordinal_within = ["Invoice"] }
    sku = { column = "Code", transforms = ["trim", "upper"] }
    quantity = { column = "Quantity" }
    unit_price = { column = "Price" }
    currency = { constant = "GBP" }
    kind = { column = "Quantity", negative = "return", otherwise = "sale" }
    occurred_at = { column = "Date", format = "%m/%d/%Y %H:%M", time_zone = "Europe/London" }
    customer = { column = "Customer" }
"#;

fn columns(names: &[&str]) -> Columns {
    Columns { list: names.iter().map(|name| Column::text(*name)).collect(), sampled: None }
}

/// What a mapping makes of rows with these columns.
fn records<const N: usize>(
    mapping: &str,
    parameters: &[(&str, &str)],
    names: [&str; N],
    rows: &[[&str; N]],
) -> (Vec<(Feed, serde_json::Value)>, LocalTimes) {
    let columns = columns(&names);
    let parameters =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (mut mapper, wanted) =
        Mapping::parse(mapping).expect("valid").bind(&columns, &parameters).expect("bound");
    let values = rows.iter().flat_map(|texts| {
        let mut row = Row::default();
        row.clear(wanted.len());
        for (name, text) in names.iter().zip(texts) {
            row.set(wanted.iter().position(|wanted| wanted == name).expect("all are mapped"), text);
        }
        mapper.map(&row)
    });
    let values =
        values.map(|record| (record.feed, serde_json::from_slice(&record.value).expect("json"))).collect();
    (values, mapper.local_times())
}

fn map(rows: &[[&str; 6]]) -> (Vec<serde_json::Value>, LocalTimes) {
    let names = ["Invoice", "Code", "Quantity", "Price", "Date", "Customer"];
    let (records, times) = records(MAPPING, &[], names, rows);
    (records.into_iter().map(|(_, record)| record).collect(), times)
}

#[test]
fn rows_become_records_and_local_times_are_counted() {
    let (records, times) = map(&[
        ["7", " 85a ", "12", "6.95", "12/1/2009 7:45", "13085"],
        ["8", "1", "1", "1", "3/28/2010 1:30", ""],
        ["7", "85A", "-2", "6.95", "10/31/2010 1:30", "x"],
        ["7", "85A", "-2", "6.95", "31/31/2010", "x"],
    ]);
    assert_eq!(records[0]["sku"], "85A");
    assert_eq!(
        (&records[0]["line"], &records[2]["line"], &records[3]["line"]),
        (&1.into(), &2.into(), &3.into())
    );
    assert_eq!(records[0]["occurred_at"], "2009-12-01T07:45:00Z");
    assert_eq!(records[1]["occurred_at"], "2010-03-28T01:30:00Z", "moved forward to 02:30 summer time");
    assert_eq!(records[2]["occurred_at"], "2010-10-31T00:30:00Z", "the first of two");
    assert_eq!(records[3]["occurred_at"], "31/31/2010", "unreadable values go on to become dead letters");
    assert_eq!((&records[0]["kind"], &records[2]["kind"]), (&"sale".into(), &"return".into()));
    assert_eq!(records[1].get("customer"), None);
    assert_eq!(times, LocalTimes { moved: 1, ambiguous: 1 });
}

#[test]
fn the_examples_of_the_guide_are_mappings() {
    let guide = include_str!("../../../docs/guides/mappings.md");
    let examples = guide.split("```toml\n").skip(1).filter_map(|part| part.split("```").next());
    let formats: Vec<_> = examples.map(|text| Mapping::parse(text).expect(text).file_format).collect();
    assert_eq!(formats, [FileFormat::Csv, FileFormat::JsonLines, FileFormat::Parquet]);
    let till = include_str!("../../../docs/guides/feeds.md").split("```toml\n").nth(1);
    let till = till.and_then(|part| part.split("```").next()).map(Mapping::parse);
    let till = till.expect("an example").expect("a mapping");
    assert_eq!(till.feeds().into_iter().collect::<Vec<_>>(), [Feed::Sales, Feed::Events]);
}

#[test]
fn faults_name_the_key_and_the_fix() {
    let fault = |from: &str, to: &str| Mapping::parse(&MAPPING.replace(from, to)).expect_err(to).to_string();
    assert!(fault("history", "histroy").contains("histroy"));
    assert!(fault("[feeds.sales]", "[feeds.sale]").contains("no feed `sale`"));
    assert!(fault("Europe/London", "Europe/Lundon").contains("Europe/Lundon"));
    assert!(fault("\"trim\"", "\"strip\"").contains("strip"));
    assert!(fault("currency = { constant = \"GBP\" }", "").contains("lacks a rule for currency"));
    assert!(fault("%H:%M", "%Q").contains("format"));
    let error = Mapping::parse(MAPPING)
        .expect("valid")
        .bind(&columns(&["Invoice", "Code"]), &Parameters::new())
        .expect_err("a column is missing")
        .to_string();
    assert!(error.contains("no column `") && error.contains("Invoice, Code"), "{error}");
}

/// A drugstore's day: sales where it was open, a closure where not, and its store once.
const SEVERAL: &str = r#"
    delimiter = ";"
    [feeds.sales]
    when = { column = "Open", is = "True" }
    tenant = { parameter = "tenant" }
    store = { column = "Store" }
    transaction_id = { column = "Date" }
    line = { constant = 1 }
    sku = { constant = "all" }
    quantity = { column = "Sales", decimal_comma = true }
    unit_price = { constant = "1" }
    currency = { constant = "EUR" }
    kind = { constant = "sale" }
    promotion = { column = "Promo", values = { True = "promo", False = "" } }
    occurred_at = { column = "Date", format = "%d.%m.%Y", time_zone = "Europe/Berlin" }

    [[feeds.events]]
    when = [{ column = "Open", is_not = ["True", ""] }, { column = "Date", is_not = "24.12.2014" }]
    tenant = { parameter = "tenant" }
    event_id = { template = "closure/{Store}/{Date}" }
    kind = { constant = "closure" }
    name = { constant = "closed" }
    region = { template = "store/{Store}" }
    starts_on = { column = "Date", date_format = "%d.%m.%Y" }
    ends_on = { column = "Date", date_format = "%d.%m.%Y" }

    [[feeds.events]]
    once_per = ["Week"]
    event_id = { template = "week/{Week}" }
    kind = { constant = "other" }
    name = { constant = "a week" }
    region = { constant = "DE" }
    starts_on = { column = "Week", extract = "^(\\S+) - " }
    ends_on = { column = "Week", extract = " - (\\S+)$" }
"#;

fn records_of(rows: &[[&str; 6]]) -> Vec<(Feed, serde_json::Value)> {
    let names = ["Store", "Date", "Open", "Sales", "Promo", "Week"];
    records(SEVERAL, &[("tenant", "rossmann")], names, rows).0
}

#[test]
fn one_row_fills_the_sections_that_take_it() {
    let week = "2014-12-21 - 2014-12-27";
    let records = records_of(&[
        ["1", "23.12.2014", "True", "1.234,5", "True", week],
        ["1", "24.12.2014", "False", "0", "False", week],
        ["2", "25.12.2014", "False", "0", "False", week],
        ["2", "26.12.2014", "True", "12", "False", ""],
    ]);
    let feeds: Vec<_> = records.iter().map(|(feed, _)| *feed).collect();
    assert_eq!(feeds, [Feed::Events, Feed::Sales, Feed::Events, Feed::Events, Feed::Sales]);
    let (week, sale, closure, no_week) = (&records[0].1, &records[1].1, &records[2].1, &records[3].1);
    assert_eq!((&week["starts_on"], &week["ends_on"]), (&"2014-12-21".into(), &"2014-12-27".into()));
    assert_eq!(sale["quantity"], "1234.5");
    assert_eq!((&sale["line"], &sale["promotion"]), (&1.into(), &"promo".into()));
    assert_eq!(sale["occurred_at"], "2014-12-22T23:00:00Z", "midnight in Berlin");
    assert_eq!(closure["event_id"], "closure/2/25.12.2014");
    assert_eq!((&closure["region"], &closure["starts_on"]), (&"store/2".into(), &"2014-12-25".into()));
    // A template without one of its values gives no text, so that the record says what it lacks.
    assert_eq!((no_week.get("event_id"), no_week.get("starts_on")), (None, None));
    assert_eq!(records[4].1.get("promotion"), None, "an empty word leaves the field out");
}

#[test]
fn what_only_some_feeds_need_can_be_left_out() {
    let mapping = || Mapping::parse(SEVERAL).expect("valid");
    let weeks = mapping().only(&[Feed::Events]).expect("it fills events");
    assert_eq!(weeks.feeds().into_iter().collect::<Vec<_>>(), [Feed::Events]);
    let fault = mapping().only(&[Feed::Weather]).expect_err("it fills no weather").to_string();
    assert!(fault.contains("weather, but sales, events"), "{fault}");
    let unnamed =
        mapping().bind(&columns(&["Store", "Date", "Open", "Sales", "Promo", "Week"]), &Parameters::new());
    assert!(unnamed.expect_err("no tenant").to_string().contains("--param tenant=VALUE"));
}

#[test]
fn faults_of_sections_name_their_place() {
    let fault = |from: &str, to: &str| {
        let text = SEVERAL.replacen(from, to, 1);
        assert_ne!(text, SEVERAL, "{from}");
        Mapping::parse(&text).expect_err(to).to_string()
    };
    assert!(fault("is = \"True\"", "equals = \"True\"").contains("feeds.sales.when"));
    assert!(fault(", is = \"True\"", "").contains("one of is and is_not"));
    assert!(fault("{Store}/{Date}", "{Store}/{Date").contains("feeds.events[0].event_id: template"));
    assert!(fault("^(\\\\S+) - ", "^\\\\S+ - ").contains("feeds.events[1].starts_on: extract"));
    assert!(fault("^(\\\\S+) - ", "^(\\\\S+ - ").contains("extract"));
    assert!(fault("once_per = [\"Week\"]", "once_per = 7").contains("feeds.events[1].once_per"));
    assert!(fault("decimal_comma = true", "decimal_comma = true, negative = \"a\"").contains("otherwise"));
    assert!(fault("{ constant = 1 }", "{ constant = [1] }").contains("line: constant"));
}

#[test]
fn decimal_commas_are_read_or_left_to_the_feed() {
    let quantity = |text: &str| {
        let records = records_of(&[["1", "23.12.2014", "True", text, "", ""]]);
        let sale = records.into_iter().find(|(feed, _)| *feed == Feed::Sales);
        sale.expect("it was open").1["quantity"].clone()
    };
    for (text, read) in [
        ("1.234.567,50", "1234567.50"),
        ("-7,5", "-7.5"),
        ("12", "12"),
        ("1 234,5", "1234.5"),
        ("0,5", "0.5"),
    ] {
        assert_eq!(quantity(text), read, "{text}");
    }
    for unread in ["1.5", "1,2,3", "1,", "1.23,4.5"] {
        assert_eq!(quantity(unread), unread, "it becomes a dead letter or is what it says");
    }
}
