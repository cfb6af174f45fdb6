//! The same sales as CSV, JSON lines and Parquet: whatever file they come from, the lake holds the same rows.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value};
use tests::world::World;

const ROWS: usize = 4_000;
const MAPPING: &str = include_str!("../../demo/online_retail_ii.toml");
const NAMES: [&str; 8] =
    ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country"];

/// The first rows of the demo's file.
fn sales() -> Vec<csv::StringRecord> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/online_retail.csv.xz");
    let content = liblzma::read::XzDecoder::new(std::fs::File::open(file).expect("the demo's data"));
    let mut reader = csv::Reader::from_reader(content);
    assert_eq!(reader.headers().expect("a header"), NAMES.as_slice());
    reader.into_records().take(ROWS).collect::<Result<_, _>>().expect("rows")
}

fn as_csv(sales: &[csv::StringRecord]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(NAMES).expect("a header");
    for sale in sales {
        writer.write_record(sale).expect("a row");
    }
    writer.into_inner().expect("all is written")
}

/// Numbers as numbers with the digits of the CSV, the country in an object, and what is empty left out.
fn as_json_lines_gz(sales: &[csv::StringRecord]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for sale in sales {
        let mut texts = Map::new();
        for (name, text) in
            [(NAMES[0], &sale[0]), (NAMES[1], &sale[1]), (NAMES[2], &sale[2]), (NAMES[4], &sale[4])]
        {
            texts.insert(name.to_owned(), if text.is_empty() { Value::Null } else { text.into() });
        }
        let texts = Value::from(texts).to_string();
        let customer =
            if sale[6].is_empty() { String::new() } else { format!("\"Customer ID\":{},", &sale[6]) };
        let country = Value::from(&sale[7]);
        writeln!(
            packed,
            "{{\"Quantity\":{},\"Price\":{},{customer}\"buyer\":{{\"country\":{country}}},{}",
            &sale[3],
            &sale[5],
            &texts[1..]
        )
        .expect("a line");
    }
    packed.finish().expect("all is written")
}

/// Numbers as integers and floats, dates as timestamps without a zone, in several row groups.
fn as_parquet(sales: &[csv::StringRecord]) -> Vec<u8> {
    let texts = |at: usize| {
        let values = sales.iter().map(|sale| Some(&sale[at]).filter(|text| !text.is_empty()));
        Arc::new(values.collect::<StringArray>()) as ArrayRef
    };
    let floats = |at: usize| {
        Arc::new(sales.iter().map(|sale| sale[at].parse::<f64>().ok()).collect::<Float64Array>()) as ArrayRef
    };
    let whole = |text: &str| text.parse::<i64>().expect("a whole number");
    let quantity = Int64Array::from_iter_values(sales.iter().map(|sale| whole(&sale[3])));
    let date = TimestampMicrosecondArray::from_iter_values(sales.iter().map(|sale| {
        let parts: Vec<i64> = sale[4].split(['/', ' ', ':']).map(whole).collect();
        let [month, day, year, hour, minute] = parts[..] else { panic!("{parts:?} is no date") };
        let text = format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:00Z");
        domain::civil::parse_instant(&text).expect("a time")
    }));
    let columns: [ArrayRef; 8] =
        [texts(0), texts(1), texts(2), Arc::new(quantity), Arc::new(date), floats(5), floats(6), texts(7)];
    let batch = RecordBatch::try_from_iter(NAMES.into_iter().zip(columns)).expect("columns of one length");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(ROWS / 3)).build();
    let mut content = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut content, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("the file is closed");
    content
}

/// Produces a file, ingests it, and gives all that the lake holds of the sales.
fn rows_of(content: &[u8], mapping: &str) -> String {
    let world = World::on_folder();
    let (file, map) = (world.path("sales"), world.path("map.toml"));
    std::fs::write(&file, content).expect("a file");
    std::fs::write(&map, mapping).expect("a mapping");
    let (file, map) = (file.to_string_lossy(), map.to_string_lossy());
    let produced = world.run(&["produce", "sales", "--file", &file, "--map", &map]).expect_success();
    assert!(produced.stderr.contains(&format!("{ROWS} records acknowledged")), "{}", produced.stderr);
    world.ingest_to_the_end();
    world.sql(
        "SELECT tenant, store, transaction_id, line, sku, product_name, category, quantity, unit_price, discount, currency, \
         kind, promotion, channel, customer, occurred_at, _known_at, _extra \
         FROM curated.sales ORDER BY transaction_id, line",
    )
}

#[test]
fn csv_json_lines_and_parquet_give_the_same_rows() {
    let sales = sales();
    let csv = rows_of(&as_csv(&sales), MAPPING);
    assert_eq!(csv.lines().count(), ROWS, "no row holds a line break");
    let json = format!("file_format = \"json_lines\"\n{MAPPING}").replace("\"Country\"", "\"buyer.country\"");
    assert!(rows_of(&as_json_lines_gz(&sales), &json) == csv, "JSON lines give other rows than CSV");
    let parquet =
        format!("file_format = \"parquet\"\n{MAPPING}").replace("format = \"%m/%d/%Y %H:%M\", ", "");
    assert!(rows_of(&as_parquet(&sales), &parquet) == csv, "Parquet gives other rows than CSV");
}
