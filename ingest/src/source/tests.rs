//! Files of each format through a mapping: what their rows become, and what is refused.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use arrow_array::builder::{ListBuilder, StringDictionaryBuilder};
use arrow_array::types::Int8Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array, Float32Array,
    Float64Array, Int64Array, LargeStringArray, RecordBatch, StringArray, StringViewArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::mapping::{LocalTimes, MappedRecord, Mapping, Parameters};

/// A mapping of every needed field to a constant, but for the lines that are given.
fn mapping(file_format: &str, lines: &str) -> String {
    let mut text = format!("file_format = \"{file_format}\"\n[feeds.sales]\n{lines}\n");
    for (field, value) in [
        ("tenant", "t"),
        ("store", "s"),
        ("transaction_id", "1"),
        ("line", "1"),
        ("sku", "a"),
        ("quantity", "1"),
        ("unit_price", "1"),
        ("currency", "GBP"),
        ("kind", "sale"),
        ("occurred_at", "2010-01-01T00:00:00Z"),
    ] {
        if !lines.lines().any(|line| line.trim_start().starts_with(&format!("{field} "))) {
            text.push_str(&format!("{field} = {{ constant = \"{value}\" }}\n"));
        }
    }
    text
}

/// The records of a file, or what was said against it: of its columns, or of a row.
fn mapped(file: &Path, mapping: &str) -> Result<(Vec<MappedRecord>, LocalTimes), String> {
    let mapping = Mapping::parse(mapping).map_err(|error| error.to_string())?;
    let source = open("--file", file, mapping.file_format, mapping.delimiter, &CancellationToken::new())
        .map_err(|error| error.to_string())?;
    let (mut mapper, columns) =
        mapping.bind(source.columns(), &Parameters::new()).map_err(|error| error.to_string())?;
    let size_bytes = source.size_bytes();
    let (mut rows, mut row, mut records) = (source.rows(&columns)?, Row::default(), Vec::new());
    while rows.read(&mut row)? {
        records.extend(mapper.map(&row));
    }
    assert_eq!(rows.read_bytes(), size_bytes, "all was read");
    Ok((records, mapper.local_times()))
}

/// The values of one field in the records of a file.
fn values_of(file: &Path, mapping: &str, field: &str) -> Result<Vec<Option<String>>, String> {
    let (records, _) = mapped(file, mapping)?;
    let value = |record: &MappedRecord| {
        let fields: serde_json::Value = serde_json::from_slice(&record.value).expect("JSON");
        fields.get(field).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    Ok(records.iter().map(value).collect())
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn file(&self, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join("source");
        std::fs::write(&path, content).expect("the file is written");
        path
    }

    fn parquet(&self, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
        self.file(parquet_of(columns))
    }
}

fn parquet_of(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let mut content = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut content, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("the file is closed");
    content
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(content).expect("it is packed");
    packed.finish().expect("it is packed")
}

fn xz(content: &[u8]) -> Vec<u8> {
    let mut packed = liblzma::write::XzEncoder::new(Vec::new(), 1);
    packed.write_all(content).expect("it is packed");
    packed.finish().expect("it is packed")
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

const SKU: &str = r#"sku = { column = "Code" }"#;

#[test]
fn each_format_reads_the_same_plain_and_packed() {
    let codes = StringArray::from(vec!["85A", "9"]);
    for (format, content) in [
        ("csv", b"\xef\xbb\xbfCode,Other\n85A,1\n9,2\n".to_vec()),
        ("json_lines", b"\xef\xbb\xbf{\"Code\":\"85A\"}\r\n\n{\"Other\":[1,{}], \"Code\":9}".to_vec()),
        ("parquet", parquet_of(vec![("Code", Arc::new(codes) as ArrayRef)])),
    ] {
        let map = mapping(format, SKU);
        for content in [content.clone(), gzip(&content), xz(&content)] {
            let folder = Folder::new();
            assert_eq!(values_of(&folder.file(&content), &map, "sku"), Ok(some(&["85A", "9"])), "{format}");
        }
    }
}

#[test]
fn what_is_not_the_stated_format_is_refused() {
    let folder = Folder::new();
    let fault = |format: &str, content: &[u8]| {
        mapped(&folder.file(content), &mapping(format, SKU)).expect_err(format)
    };
    let error = fault("parquet", b"Code\n1\n");
    assert!(error.contains("--file") && error.contains("cannot be read as Parquet"), "{error}");
    assert!(fault("json_lines", b"Code\n1\n").contains("line 1: "), "CSV is no JSON");
    let error = fault("json_lines", b"[\n{\"Code\": 1}]");
    assert!(error.contains("line 1: ") && error.contains("one whole JSON object"), "{error}");
    assert!(fault("json_lines", b" \n\n").contains("holds no JSON object"));
    assert!(fault("json_lines", &[b' '; MAX + 1]).contains("line 1: is longer than"));
    assert!(fault("csv", b"Code,Code\n1,2\n").contains("more than one column `Code`"));
    assert!(fault("csv", b"Code,Other\n1\n").contains("line: 2"));
    let delimiter = format!("delimiter = \";\"\n{}", mapping("json_lines", SKU));
    assert!(mapped(&folder.file("{}"), &delimiter).expect_err("no CSV").contains("only CSV has one"));
    assert!(mapped(&folder.file(""), &mapping("xml", SKU)).expect_err("no format").contains("json_lines"));
}

/// The longest line of JSON.
const MAX: usize = 16 << 20;

#[test]
fn json_keeps_digits_and_what_is_no_text_goes_on_as_it_stands() {
    let folder = Folder::new();
    let lines = [
        r#"{"item": {"code": 12345678901234567890.10, "x": 1}}"#,
        r#"{"item": {"code": "a\u00e9\n\"b\" ", "tags": []}}"#,
        r#"{"item": {"code": true}, "item.code2": {}}"#,
        r#"{"item": {"code": null}}"#,
        r#"{"item": {"code": ""}}"#,
        r#"{"item": 7}"#,
        r#"{"item": {"code": {"a": [1]}}}"#,
        r#"{"item": {"code": -1.50E+2}}"#,
    ];
    let file = folder.file(lines.join("\n"));
    let expected = [
        Some("12345678901234567890.10"),
        Some("aé\n\"b\" "),
        Some("true"),
        None,
        None,
        None,
        Some(r#"{"a":[1]}"#),
        Some("-1.50E+2"),
    ];
    let expected: Vec<_> = expected.into_iter().map(|text| text.map(str::to_owned)).collect();
    let map = mapping("json_lines", r#"sku = { column = "item.code" }"#);
    assert_eq!(values_of(&file, &map, "sku"), Ok(expected));
    let map = mapping("json_lines", r#"sku = { column = "item.tags" }"#);
    assert!(mapped(&file, &map).expect_err("an array").contains("`item.tags` is of type array"));
}

#[test]
fn a_bad_line_of_json_is_named() {
    let folder = Folder::new();
    let good = "{\"Code\": 1}\n".repeat(1500);
    for bad in
        ["{\"Code\": ", "7", "{\"Code\": 1, \"Code\": 2}", "{\"Code\": \"\\ud800\"}", "{} {}", "{\"a\": .5}"]
    {
        let error =
            mapped(&folder.file(format!("{good}\n{bad}\n")), &mapping("json_lines", SKU)).expect_err(bad);
        assert!(error.starts_with("line 1502: "), "{bad}: {error}");
        assert!(!error.contains(" column "), "the parser's own place is left out: {error}");
    }
    let error =
        mapped(&folder.file(b"{\"Code\": \"\xff\"}"), &mapping("json_lines", SKU)).expect_err("no UTF-8");
    assert!(error.contains("line 1: invalid utf-8"), "{error}");
}

#[test]
fn a_column_that_the_first_objects_lack_must_be_optional() {
    let folder = Folder::new();
    let file = folder.file("{\"a\": 1, \"b\": {\"c\": 1}}\n".repeat(1200) + "{\"promo\": \"P\"}\n");
    let error =
        mapped(&file, &mapping("json_lines", "promotion = { column = \"promo\" }")).expect_err("unknown");
    for word in [
        "feeds.sales.promotion",
        "`promo` in its first 1000 objects",
        "JSON lines it has a, b.c",
        "optional = true",
    ] {
        assert!(error.contains(word), "{error}");
    }
    let optional = mapping("json_lines", "promotion = { column = \"promo\", optional = true }");
    let found = values_of(&file, &optional, "promotion").expect("mapped");
    assert_eq!((found.len(), found[0].clone(), found[1200].as_deref()), (1201, None, Some("P")));
    let optional = optional.replace("json_lines", "csv");
    assert_eq!(values_of(&folder.file("Code\n1\n"), &optional, "promotion"), Ok(vec![None]));
    let absent = "first_seen = { column = \"seen\", optional = true, time_zone = \"Europe/London\" }";
    let code: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let file = folder.parquet(vec![("Code", code)]);
    assert_eq!(values_of(&file, &mapping("parquet", absent), "first_seen"), Ok(vec![None]));
    let needed = mapping("csv", "sku = { column = \"Code\", optional = true }");
    assert!(mapped(&file, &needed).expect_err("needed").contains("cannot be optional"));
}

#[test]
fn values_in_parquet_read_by_their_exact_text() {
    let folder = Folder::new();
    let texts: [(ArrayRef, &str); 17] = [
        (Arc::new(Int64Array::from(vec![i64::MIN])), "-9223372036854775808"),
        (Arc::new(UInt64Array::from(vec![u64::MAX])), "18446744073709551615"),
        (decimal(123_400, 4), "12.3400"),
        (decimal(-5, 3), "-0.005"),
        (decimal(7, 0), "7"),
        (Arc::new(Float64Array::from(vec![13085.0])), "13085.0"),
        (Arc::new(Float32Array::from(vec![6.95])), "6.95"),
        (Arc::new(BooleanArray::from(vec![false])), "false"),
        (Arc::new(LargeStringArray::from(vec!["é, x"])), "é, x"),
        (
            Arc::new(StringViewArray::from(vec!["a text longer than twelve bytes"])),
            "a text longer than twelve bytes",
        ),
        (dictionary("word"), "word"),
        (Arc::new(Date32Array::from(vec![14_579])), "2009-12-01"),
        (Arc::new(Date64Array::from(vec![14_579 * 86_400_000])), "2009-12-01"),
        (
            Arc::new(TimestampMillisecondArray::from(vec![1_259_653_500_000]).with_timezone("UTC")),
            "2009-12-01T07:45:00Z",
        ),
        (
            Arc::new(
                TimestampMicrosecondArray::from(vec![1_259_653_500_250_000])
                    .with_timezone("America/New_York"),
            ),
            "2009-12-01T07:45:00.250Z",
        ),
        (Arc::new(Float64Array::from(vec![0.1 + 0.2])), "0.30000000000000004"),
        (Arc::new(Float64Array::from(vec![f64::NAN])), "NaN"),
    ];
    for (values, text) in texts {
        let kind = values.data_type().to_string();
        let file = folder.parquet(vec![("Other", Arc::clone(&values)), ("Code", values)]);
        assert_eq!(values_of(&file, &mapping("parquet", SKU), "sku"), Ok(some(&[text])), "{kind}");
    }
}

fn decimal(value: i128, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(18, scale).expect("a decimal"))
}

fn dictionary(text: &str) -> ArrayRef {
    let mut words = StringDictionaryBuilder::<Int8Type>::new();
    words.append_value(text);
    Arc::new(words.finish())
}

#[test]
fn timestamps_of_parquet_without_a_zone_need_one() {
    let folder = Folder::new();
    // In London: an hour that was skipped, one that stood twice, and nothing.
    let times = vec![Some(1_269_739_800_000_000_000), Some(1_288_488_600_000_000_500), None];
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(times));
    let zoned: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0, 1, 2]).with_timezone("UTC"));
    let code: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let file = folder.parquet(vec![("Date", times), ("Zoned", zoned), ("Code", code)]);
    let at = |rule: &str| mapping("parquet", &format!("occurred_at = {{ {rule} }}"));
    let london = at(r#"column = "Date", time_zone = "Europe/London""#);
    let (_, local_times) = mapped(&file, &london).expect("mapped");
    assert_eq!(local_times, LocalTimes { moved: 1, ambiguous: 1 });
    let expected = vec![
        Some("2010-03-28T01:30:00Z".to_owned()),
        Some("2010-10-31T00:30:00.000000500Z".to_owned()),
        None,
    ];
    assert_eq!(values_of(&file, &london, "occurred_at"), Ok(expected));
    for (rule, word) in [
        (r#"column = "Date""#, "time_zone = \"Europe/London\""),
        (r#"column = "Date", format = "%Y", time_zone = "Europe/London""#, "nothing else"),
        (r#"column = "Date", transforms = ["trim"]"#, "local times"),
        (r#"column = "Zoned", time_zone = "Europe/London""#, "leave out format and time_zone"),
        (r#"column = "Code", time_zone = "Europe/London""#, "go together"),
        (r#"column = "Code", format = "%Y""#, "go together"),
        (r#"column = "Date", time_zone = "Europe/London", transforms = ["trim"]"#, "exclude each other"),
    ] {
        let error = mapped(&file, &at(rule)).expect_err(rule);
        assert!(error.contains("feeds.sales.occurred_at") && error.contains(word), "{rule}: {error}");
    }
}

#[test]
fn types_of_parquet_that_are_no_text_are_refused_when_mapped() {
    let folder = Folder::new();
    let mut list = ListBuilder::new(arrow_array::builder::Int64Builder::new());
    list.append_value([Some(1)]);
    let code: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    for values in [Arc::new(BinaryArray::from(vec![&b"\xff"[..]])) as ArrayRef, Arc::new(list.finish())] {
        let file = folder.parquet(vec![("Code", Arc::clone(&code)), ("Raw", values)]);
        assert_eq!(values_of(&file, &mapping("parquet", SKU), "sku"), Ok(some(&["a"])));
        let error = mapped(&file, &mapping("parquet", "sku = { column = \"Raw\" }")).expect_err("no text");
        assert!(error.contains("feeds.sales.sku: column `Raw` is of type"), "{error}");
        let error = mapped(&file, &mapping("parquet", "sku = { column = \"code\" }")).expect_err("no column");
        assert!(error.contains("no column `code`; read as Parquet it has Code, Raw"), "{error}");
    }
}

/// One row of the same data in all formats.
#[derive(Debug, Clone)]
struct Sold {
    invoice: String,
    code: Option<String>,
    quantity: Option<i64>,
    price: i128,
    weight: Option<i32>,
    gift: Option<bool>,
    minute: i64,
}

fn sold() -> impl Strategy<Value = Sold> {
    let awkward = prop_oneof![Just("a\r\nb"), Just("\"q\", x"), Just(" \u{e9}\t"), Just("\\u0041"), Just("")];
    let text = prop_oneof!["\\PC{0,8}", awkward.prop_map(str::to_owned)];
    (
        "[0-9C]{1,2}",
        proptest::option::of(text),
        proptest::option::of(-50_i64..50),
        -1_000_000_i128..1_000_000,
        proptest::option::of(-4000_i32..4000),
        any::<Option<bool>>(),
        0_i64..525_600,
    )
        .prop_map(|(invoice, code, quantity, price, weight, gift, minute)| Sold {
            invoice,
            code,
            quantity,
            price,
            weight,
            gift,
            minute,
        })
}

/// 2010-01-01T00:00:00.
const NEW_YEAR: i64 = 1_262_304_000;

impl Sold {
    fn price(&self) -> String {
        let sign = if self.price < 0 { "-" } else { "" };
        format!("{sign}{}.{:04}", self.price.abs() / 10_000, self.price.abs() % 10_000)
    }

    fn weight(&self) -> Option<f64> {
        self.weight.map(|quarters| f64::from(quarters) / 4.0)
    }

    fn date(&self) -> String {
        let time = chrono::DateTime::from_timestamp(NEW_YEAR + self.minute * 60, 0).expect("a time");
        time.format("%d.%m.%Y %H:%M").to_string()
    }

    fn csv(&self) -> [String; 7] {
        let shown = |value: Option<String>| value.unwrap_or_default();
        [
            self.invoice.clone(),
            shown(self.code.clone()),
            shown(self.quantity.map(|n| n.to_string())),
            self.price(),
            shown(self.weight().map(|n| format!("{n:?}"))),
            shown(self.gift.map(|gift| gift.to_string())),
            self.date(),
        ]
    }

    fn json(&self) -> String {
        let code = serde_json::json!(self.code);
        let quantity = self.quantity.map_or(String::new(), |n| format!("\"Quantity\":{n},"));
        let weight = serde_json::json!(self.weight());
        let (invoice, date) = (serde_json::json!(self.invoice), serde_json::json!(self.date()));
        let (price, gift) = (self.price(), serde_json::json!(self.gift));
        format!(
            r#"{{{quantity}"Invoice":{invoice},"Item":{{"Gift":{gift},"Code":{code}}},"Price":{price},"Weight":{weight},"Date":{date}}}"#
        )
    }
}

fn sold_in_parquet(rows: &[Sold]) -> Vec<u8> {
    let price = Decimal128Array::from_iter_values(rows.iter().map(|row| row.price));
    let date = TimestampMicrosecondArray::from_iter_values(
        rows.iter().map(|row| (NEW_YEAR + row.minute * 60) * 1_000_000),
    );
    parquet_of(vec![
        ("Invoice", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.invoice)))),
        ("Code", Arc::new(rows.iter().map(|row| row.code.as_ref()).collect::<StringArray>())),
        ("Quantity", Arc::new(rows.iter().map(|row| row.quantity).collect::<Int64Array>())),
        ("Price", Arc::new(price.with_precision_and_scale(18, 4).expect("a decimal"))),
        ("Weight", Arc::new(rows.iter().map(Sold::weight).collect::<Float64Array>())),
        ("Gift", Arc::new(rows.iter().map(|row| row.gift).collect::<BooleanArray>())),
        ("Date", Arc::new(date)),
    ])
}

const SOLD: &str = r#"
    transaction_id = { column = "Invoice" }
    line = { ordinal_within = ["Invoice"] }
    sku = { column = "Code", transforms = ["trim", "upper"] }
    quantity = { column = "Quantity" }
    unit_price = { column = "Price" }
    kind = { column = "Quantity", negative = "return", otherwise = "sale" }
    occurred_at = { column = "Date", format = "%d.%m.%Y %H:%M", time_zone = "Europe/London" }
    weight = { column = "Weight" }
    gift = { column = "Gift" }
"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_same_rows_give_the_same_records_in_all_formats(rows in proptest::collection::vec(sold(), 1..40)) {
        let folder = Folder::new();
        let mut csv = ::csv::Writer::from_writer(Vec::new());
        csv.write_record(["Invoice", "Code", "Quantity", "Price", "Weight", "Gift", "Date"]).expect("written");
        let mut json = "{\"Quantity\":null,\"Item\":{\"Code\":null,\"Gift\":null}}\n".to_owned();
        for row in &rows {
            csv.write_record(row.csv()).expect("written");
            json.push_str(&(row.json() + "\n"));
        }
        let csv = mapped(&folder.file(csv.into_inner().expect("written")), &mapping("csv", SOLD)).expect("CSV");
        let nested = SOLD.replace("\"Code\"", "\"Item.Code\"").replace("\"Gift\"", "\"Item.Gift\"");
        let mut json = mapped(&folder.file(json), &mapping("json_lines", &nested)).expect("JSON lines");
        json.0.remove(0);
        let parquet = mapping("parquet", &SOLD.replace(r#"format = "%d.%m.%Y %H:%M", "#, ""));
        let parquet = mapped(&folder.file(sold_in_parquet(&rows)), &parquet).expect("Parquet");
        prop_assert_eq!(&csv, &json);
        prop_assert_eq!(&csv, &parquet);
    }
}
