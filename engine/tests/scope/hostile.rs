//! Queries that try to learn of another tenant's rows, asked of a lake with those rows and of one without.

use std::collections::BTreeMap;

use domain::Result;
use engine::{Engine, Limits, Output, write_output};
use proptest::prelude::*;

use crate::support::{self, Row, folder, principal, settings};

/// All that tenant `a` gets: the columns with their types, the text or the error with its kind, the versions.
async fn seen(engine: &Engine, who: &str, sql: &str) -> String {
    let limits = Limits { max_rows: Some(20_000), max_bytes: None, timeout: None };
    let answered = async {
        let answer = engine.session(principal(who)).query(sql, limits).await?;
        let (schema, as_of): (_, BTreeMap<_, _>) = (answer.schema.clone(), answer.as_of.clone());
        let mut written = Vec::new();
        let summary = write_output(answer, Output::Json, &mut written).await;
        let text = String::from_utf8(written).expect("text");
        // What came before an error is seen too.
        let end: Result<_> = summary.map(|summary| (summary.rows, summary.bytes, summary.truncated));
        Ok::<_, domain::Error>(format!("{schema:?}\n{as_of:?}\n{text}\n{:?}", told(end)))
    };
    told(answered.await).unwrap_or_else(|error| error)
}

fn told<T>(result: Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{:?}: {error}", error.kind()))
}

/// Tenant `a` sells articles whose names are numbers; tenant `b`'s values make every cast, division and pattern fail.
///
/// Files are longer than a batch, so that b's rows move where a's batches would end. In March all of a's articles are below 200 and sold singly,
/// while b's widen the file's bounds: whether the file can be left out of a search above 200 depends on b, and must not show.
fn commits() -> Vec<Vec<Row>> {
    let row = |at: i64| {
        let of_a = at % 3 == 0 || at % 7 == 0;
        let day = at % 80;
        let is_march = day >= 56;
        let number = if is_march { 100 } else { 200 } + at % 17;
        Row {
            tenant: if of_a { "a" } else { "b" },
            store: if at % 2 == 0 { "north" } else { "south" },
            sku: if of_a { number.to_string() } else { format!("b-secret-{at}") },
            category: if of_a {
                (at % 5 != 0).then(|| format!("c{}", at % 4))
            } else {
                Some("(unclosed [secret".to_owned())
            },
            quantity: match (of_a, is_march) {
                (true, true) => 1,
                (true, false) => at % 6 + 2,
                (false, _) => [0, 1_000_000 + at][usize::from(at % 2 == 0)],
            },
            day: if of_a { day } else { at % 300 % (80 + at % 40) },
        }
    };
    vec![(0..400).map(row).collect(), (400..410).map(row).collect(), (410..40_000).map(row).collect()]
}

/// Every query must end as the second word says: answered, or refused; so that none of them passes by failing for a trivial reason.
const QUERIES: &[(&str, bool)] = &[
    // Casts and arithmetic that succeed on a's rows and would fail on b's, in every place where an engine may run them early.
    ("SELECT sum(CAST(sku AS BIGINT)) FROM sales", true),
    ("SELECT count(*) FROM sales WHERE CAST(sku AS BIGINT) > 105", true),
    ("SELECT count(*) FROM sales WHERE 1000 / CAST(quantity AS BIGINT) > 200", true),
    ("SELECT sku FROM sales WHERE CAST(sku AS BIGINT) > 105 AND store = 'north' LIMIT 5", true),
    ("SELECT * FROM sales WHERE store = 'north' AND 1 / (CAST(quantity AS BIGINT) - 1) >= 0 LIMIT 3", false),
    ("SELECT CAST(category AS BIGINT) FROM sales", false),
    ("SELECT sku FROM sales ORDER BY CAST(sku AS BIGINT) DESC, _offset LIMIT 7", true),
    ("SELECT CAST(sku AS BIGINT) % 4 AS g, count(*), sum(quantity) FROM sales GROUP BY 1 ORDER BY 1", true),
    ("SELECT CASE WHEN quantity = 0 THEN 1 / CAST(quantity AS BIGINT) ELSE 0 END FROM sales LIMIT 2", true),
    ("SELECT 127::TINYINT + CAST(sum(CAST(quantity AS BIGINT)) AS TINYINT) FROM sales", false),
    ("SELECT CAST(quantity AS BIGINT) * 9223372036854775807 FROM sales WHERE quantity > 1 LIMIT 1", true),
    ("SELECT count(*) FROM sales WHERE 'x' ~ category", true),
    ("SELECT regexp_count('x', category || '(') FROM sales WHERE category IS NOT NULL LIMIT 1", false),
    ("SELECT to_timestamp(category) FROM sales WHERE category IS NOT NULL LIMIT 1", false),
    ("SELECT count(*) FROM sales WHERE coalesce(try_cast(sku AS BIGINT), -1) = -1", true),
    ("SELECT arrow_cast(sku, 'UInt8') FROM sales WHERE _offset < 400", true),
    ("SELECT count(*) FROM sales WHERE sku >= '200' AND 10 / (CAST(quantity AS BIGINT) - 1) > 0", true),
    ("SELECT count(*) FROM sales WHERE 10 / (CAST(quantity AS BIGINT) - 1) > 0 AND sku >= '200'", true),
    (
        "SELECT count(*) FROM sales WHERE 10 / (CAST(quantity AS BIGINT) - 1) > 0 AND upper(sku) >= '200'",
        false,
    ),
    // Order, limits, sums of floats.
    ("SELECT * FROM sales LIMIT 11", true),
    ("SELECT sku, _offset FROM sales LIMIT 5 OFFSET 2000", true),
    ("SELECT sku, _offset FROM sales", true),
    (
        "SELECT sum(CAST(unit_price AS DOUBLE) / 3), avg(CAST(quantity AS DOUBLE) / 7), stddev(CAST(quantity AS DOUBLE)) FROM sales",
        true,
    ),
    (
        "SELECT first_value(sku), last_value(sku), array_agg(_offset) FROM sales WHERE period = '2010-02'",
        true,
    ),
    (
        "SELECT approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY CAST(unit_price AS DOUBLE)), approx_distinct(sku) FROM sales",
        true,
    ),
    ("SELECT sku FROM sales UNION ALL SELECT category FROM sales LIMIT 4000", true),
    ("SELECT sku FROM sales UNION SELECT store FROM sales", true),
    ("SELECT CAST(sku AS BIGINT) FROM sales UNION ALL SELECT CAST(category AS BIGINT) FROM sales", false),
    ("SELECT sku FROM sales EXCEPT SELECT sku FROM sales WHERE quantity > 2", true),
    // Counts, bounds and emptiness, which statistics would answer.
    (
        "SELECT count(*), count(DISTINCT sku), min(sku), max(sku), min(occurred_at), max(occurred_at), max(_offset) FROM sales",
        true,
    ),
    ("SELECT count(*) FROM sales WHERE sku LIKE 'b-secret%'", true),
    ("SELECT count(*) FROM sales WHERE quantity >= 1000000", true),
    ("SELECT count(*) FROM sales WHERE occurred_at >= TIMESTAMP '2010-06-01T00:00:00Z'", true),
    ("SELECT period, count(*) FROM sales GROUP BY period", true),
    ("SELECT max(quantity) FROM sales WHERE sku > '104' AND sku < '110'", true),
    // Joins, windows, subqueries, CTEs, recursion.
    (
        "SELECT count(*) FROM sales x JOIN sales y ON x.sku = y.sku AND x._offset < y._offset WHERE x._offset < 300",
        true,
    ),
    (
        "SELECT x.sku, y.sku FROM sales x LEFT JOIN sales y ON CAST(x.sku AS BIGINT) = CAST(y.sku AS BIGINT) + 1 LIMIT 9",
        true,
    ),
    (
        "SELECT sku, row_number() OVER (), sum(quantity) OVER (PARTITION BY store ORDER BY _offset) FROM sales LIMIT 50",
        true,
    ),
    ("SELECT sku FROM sales WHERE quantity > (SELECT avg(quantity) FROM sales) LIMIT 6", true),
    ("SELECT (SELECT max(CAST(sku AS BIGINT)) FROM sales) - count(*) FROM sales", true),
    (
        "WITH s AS (SELECT sku, 10 / CAST(quantity AS BIGINT) AS q FROM sales) SELECT q, count(*) FROM s GROUP BY q",
        true,
    ),
    (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i, (SELECT count(*) FROM sales WHERE quantity = i) FROM n",
        true,
    ),
    ("SELECT unnest(array_agg(sku)) FROM sales LIMIT 3", true),
    (
        "SELECT s.sku, v.column1 FROM (VALUES ('101'), ('b-secret-1'), ('102')) v JOIN sales s ON s.sku = v.column1 LIMIT 4",
        true,
    ),
    ("SELECT EXISTS (SELECT 1 FROM sales WHERE sku LIKE 'b%'), 'b' IN (SELECT store FROM sales)", false),
    // How a query runs.
    ("EXPLAIN SELECT sku FROM sales WHERE sku = '105' AND CAST(sku AS BIGINT) > 3 LIMIT 3", true),
    ("EXPLAIN FORMAT TREE SELECT sku, count(*) FROM sales WHERE sku > 'b' GROUP BY sku", true),
    (
        "EXPLAIN FORMAT INDENT SELECT x.sku FROM sales x JOIN sales y USING (sku) UNION ALL SELECT sku FROM sales",
        true,
    ),
    ("EXPLAIN VERBOSE SELECT * FROM sales", false),
    ("EXPLAIN ANALYZE SELECT * FROM sales", false),
    ("EXPLAIN ANALYZE VERBOSE SELECT * FROM sales", false),
    ("SHOW ALL", false),
    ("SELECT * FROM information_schema.df_settings", false),
    // What exists.
    ("SELECT table_schema, table_name FROM information_schema.tables", true),
    ("SELECT table_name, column_name, data_type FROM information_schema.columns", true),
    ("SELECT schema_name FROM information_schema.schemata", true),
    ("SHOW TABLES", true),
    ("SHOW COLUMNS FROM sales", true),
    ("DESCRIBE sales", true),
    ("SELECT * FROM raw.dead_letters", false),
    ("SELECT * FROM raw.sales", false),
    ("SELECT count(*) FROM raw.\"weather@0\"", false),
    ("SELECT count(*) FROM weather", true),
    ("SELECT tenant FROM events", false),
    ("SELECT * FROM lake.raw.dead_letters", false),
    ("DESCRIBE raw.dead_letters", false),
    ("SELECT * FROM pg_catalog.pg_class", false),
    ("SELECT * FROM system.tables", false),
    ("SELECT tenant FROM sales", false),
    ("SELECT * FROM sales WHERE tenant = 'b'", false),
    ("SELECT count(*) FROM sales GROUP BY \"tenant\"", false),
    ("SELECT sales.tenant FROM curated.sales", false),
    ("SELECT count(*) FROM CURATED.SALES", true),
    ("SELECT count(*) FROM \"CURATED\".\"SALES\"", false),
    ("SELECT count(*) FROM lake.\"curated\".sales", true),
    ("SELECT count(*), sum(quantity) FROM curated.\"sales@2\"", true),
    ("SELECT count(*) FROM \"sales@99\"", false),
    ("SELECT count(*) FROM raw.\"dead_letters@0\"", false),
    ("SELECT count(*), max(sku) FROM as_of('curated.sales', 2)", true),
    ("SELECT count(*) FROM as_of('raw.dead_letters', 0)", false),
    ("SELECT count(*) FROM as_of('curated.sales', '1999-01-01T00:00:00Z')", false),
    ("SELECT input_file_name() FROM sales", false),
    ("SELECT version()", true),
    ("SELECT * FROM '/etc/passwd'", false),
    // More than reading.
    ("SET datafusion.execution.batch_size = 1", false),
    ("SET datafusion.runtime.memory_limit = '1K'", false),
    ("COPY (SELECT * FROM sales) TO '/tmp/stolen.csv'", false),
    ("COPY sales TO '/tmp/stolen.parquet'", false),
    ("CREATE TABLE mine AS SELECT * FROM sales", false),
    ("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/tmp'", false),
    ("CREATE VIEW curated.v AS SELECT 1", false),
    ("INSERT INTO sales SELECT * FROM sales", false),
    ("DELETE FROM sales", false),
    ("UPDATE sales SET quantity = 1", false),
    ("DROP TABLE curated.sales", false),
    ("PREPARE p AS SELECT 1", false),
    ("EXPLAIN COPY sales TO '/tmp/stolen.csv'", false),
    ("SELECT 1; SELECT 2", false),
    ("", false),
];

/// Words that would come from where they must not.
const SECRETS: &[&str] = &["secret", "unclosed", "parquet", "file:", "1000001"];

#[tokio::test(flavor = "multi_thread")]
async fn no_query_tells_whether_others_rows_lie_between() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let mixed = support::lake(&path("mixed"), &commits(), |_| true).await;
    let alone = support::lake(&path("alone"), &commits(), |row| row.tenant == "a").await;
    let mixed = support::engine(&mixed, settings());
    let alone = support::engine(&alone, settings());
    let mut failures = Vec::new();
    for who in ["a", "a/north"] {
        for (sql, answered) in QUERIES {
            let (among, apart) = (seen(&mixed, who, sql).await, seen(&alone, who, sql).await);
            if among != apart {
                failures.push(format!("as {who}: {sql}\n--- among others\n{among}\n--- apart\n{apart}"));
            }
            if apart.contains("\nOk((") != *answered {
                failures.push(format!("as {who}: {sql}\nanswered should be {answered}:\n{apart}"));
            }
            for secret in SECRETS.iter().filter(|secret| !sql.contains(**secret)) {
                if among.contains(secret) {
                    failures.push(format!("as {who}: {sql}\ntells `{secret}`:\n{among}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n=====\n"));
}

fn any_rows() -> impl Strategy<Value = Vec<Vec<Row>>> {
    let row = (any::<bool>(), 0_i64..3, 0_i64..12, 0_i64..40).prop_map(|(of_a, store, number, day)| Row {
        tenant: if of_a { "a" } else { "b" },
        store: ["north", "south", "east"][store as usize],
        sku: if of_a { number.to_string() } else { format!("x{number}") },
        category: (number % 3 > 0).then(|| format!("c{}", number % 3)),
        quantity: if of_a { number + 1 } else { 0 },
        day,
    });
    prop::collection::vec(prop::collection::vec(row, 1..30), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_rows_the_answer_is_that_of_the_visible_ones(commits in any_rows()) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let differences = runtime.block_on(async {
            let folder = folder();
            let mixed = support::lake(&folder.path().join("mixed"), &commits, |_| true).await;
            let alone = support::lake(&folder.path().join("alone"), &commits, |row| row.tenant == "a").await;
            let (mixed, alone) = (support::engine(&mixed, settings()), support::engine(&alone, settings()));
            let mut differences = Vec::new();
            for sql in [
                "SELECT * FROM sales",
                "SELECT sku FROM sales WHERE sku > '3' AND 10 / (CAST(sku AS BIGINT) - 5) > 0 LIMIT 3",
                "SELECT store, sum(CAST(quantity AS DOUBLE) / 3) FROM sales WHERE store <> 'east' GROUP BY store",
                "SELECT CAST(category AS BIGINT) FROM sales UNION ALL SELECT CAST(sku AS BIGINT) FROM sales",
            ] {
                let (among, apart) = (seen(&mixed, "a", sql).await, seen(&alone, "a", sql).await);
                if among != apart {
                    differences.push(format!("{sql}\n{among}\n{apart}"));
                }
            }
            differences
        });
        prop_assert!(differences.is_empty(), "{}", differences.join("\n=====\n"));
    }
}
