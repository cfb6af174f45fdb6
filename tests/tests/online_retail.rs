//! The whole Online Retail II file through Apache Kafka into S3: every line exactly once, and the totals to the last digit.

use tests::verify::Report;
use tests::world::World;

#[test]
fn every_line_stands_once_with_exact_totals() {
    let mut world = World::on_s3();
    world.set("INTELLICARTEL__INGEST__FLUSH_MS", "1000");
    let demo = |name: &str| format!("{}/../demo/{name}", env!("CARGO_MANIFEST_DIR"));
    let (file, map) = (demo("online_retail.csv.xz"), demo("online_retail_ii.toml"));
    let produced = world.run(&["produce", "sales", "--file", &file, "--map", &map]).expect_success();
    assert!(produced.stderr.contains("1067371 records acknowledged"), "{}", produced.stderr);
    world.ingest_to_the_end();

    let report = Report::of(&world);
    report.expect_exact();
    assert_eq!((report.number("rows"), report.number("letters")), (1_067_371, 0));
    assert_eq!(report.text("quantity"), "10608492.000");
    assert_eq!(report.text("revenue"), "19287250.5680000");
    let periods = report.json()["periods"]["curated/sales"].as_array().expect("a list");
    assert_eq!(
        (periods.len(), periods[0].as_str(), periods[24].as_str()),
        (25, Some("2009-12"), Some("2011-12"))
    );
    // The same, as the product's own reader sees it.
    let own = world.sql(
        "SELECT count(*), sum(quantity), sum(quantity * unit_price), count(DISTINCT transaction_id || ':' || line) FROM curated.sales",
    );
    assert_eq!(own, "1067371,10608492.000,19287250.5680000,1067371");
}
