//! `sql --as` through the binary: a business sees its own rows, formulas are harmless in CSV, and an answer that was cut says so.

use serde_json::json;
use tests::world::World;

#[test]
fn a_business_asks_through_the_binary() {
    let world = World::on_folder();
    world.create_topic(1);
    let records = [
        ("gift-uk", "london", "=SUM(A1:A9)", 3, "t1"),
        ("gift-uk", "leeds", "-5", 4, "t2"),
        ("rival", "london", "theirs", 500, "t3"),
    ];
    let producer = world.producer();
    for (tenant, store, sku, quantity, receipt) in records {
        let record = json!({
            "tenant": tenant, "store": store, "transaction_id": receipt, "line": 1, "sku": sku, "quantity": quantity,
            "unit_price": "1.25", "currency": "GBP", "kind": "sale", "occurred_at": "2011-05-01T10:00:00Z",
        });
        let value = record.to_string().into_bytes();
        producer
            .send_raw(&world.topic(), Some(0), None, Some(&value), false)
            .expect("the cluster takes records");
    }
    producer.finish().expect("all records are acknowledged");
    let _ = world.ingest_to_the_end();

    let sum = "SELECT sum(quantity) AS units FROM sales";
    let sql = |arguments: &[&str]| world.run(&[&["sql"], arguments].concat());
    let csv = |arguments: &[&str]| sql(&[arguments, &["--output", "csv"]].concat());
    assert_eq!(csv(&[sum]).expect_success().stdout, "units\n507.000\n");
    assert_eq!(csv(&[sum, "--as", "gift-uk"]).expect_success().stdout, "units\n7.000\n");
    assert_eq!(csv(&[sum, "--as", "gift-uk/leeds"]).expect_success().stdout, "units\n4.000\n");
    assert_eq!(csv(&[sum, "--as", "gift-uk/leeds,london"]).expect_success().stdout, "units\n7.000\n");
    assert_eq!(csv(&[sum, "--as", "nobody"]).expect_success().stdout, "units\n\"\"\n");
    let _ = csv(&["SELECT tenant FROM sales", "--as", "gift-uk"]).expect_failure(&["tenant"]);
    let hidden = csv(&["SELECT * FROM raw.dead_letters", "--as", "gift-uk"]).expect_failure(&["raw"]);
    assert_eq!(hidden.status.code(), Some(2));
    let bad = csv(&[sum, "--as", "gift-uk/"]).expect_failure(&["is not a store"]);
    assert_eq!(bad.status.code(), Some(2));

    let skus = "SELECT sku FROM sales ORDER BY sku";
    assert_eq!(csv(&[skus, "--as", "gift-uk"]).expect_success().stdout, "sku\n-5\n'=SUM(A1:A9)\n");

    let cut = csv(&[skus, "--limit", "2"]);
    assert_eq!((cut.status.code(), cut.stdout.lines().count()), (Some(3), 3), "{}", cut.stderr);
    assert!(cut.stderr.contains("truncated after 2 rows by max_rows: 2 rows"), "{}", cut.stderr);
    let whole = csv(&[skus, "--limit", "3"]).expect_success();
    assert!(!whole.stderr.contains("truncated"), "{}", whole.stderr);
    let table = sql(&["SELECT value FROM generate_series(1, 10001)"]);
    assert_eq!(table.status.code(), Some(3), "{}", table.stderr);
    assert!(table.stderr.contains("--output csv or json gives all"), "{}", table.stderr);
    let json = sql(&["SELECT value FROM generate_series(1, 10001)", "--output", "json"]).expect_success();
    assert_eq!(json.stdout.matches("value").count(), 10_001);

    let endless = "SELECT count(*) FROM generate_series(1, 1000) a, generate_series(1, 1000000000000) b";
    let stopped = sql(&[endless, "--timeout", "0.5", "--as", "gift-uk"]).expect_failure(&["timeout: 0.5 s"]);
    assert_eq!(stopped.status.code(), Some(1));
}
