//! Functions whose results outgrow their arguments: what is refused before it takes the process down, and that ordinary use of them is not.

use domain::ErrorKind;
use engine::Engine;

use crate::support::{self, Row, folder, refused, rows, settings};

async fn engine(folder: &std::path::Path) -> Engine {
    let row = |at: i64| Row {
        tenant: "a",
        store: "x",
        sku: format!("sku-{at}"),
        category: (at % 2 == 0).then(|| "c".to_owned()),
        quantity: at + 1,
        day: at,
    };
    let lake = support::lake(folder, &[(0..3).map(row).collect()], |_| true).await;
    support::engine(&lake, settings())
}

/// An expression of `a`, of which the same is made in an outer query, and so on.
fn again(expression: &str, first: &str, times: usize) -> String {
    let first = format!("SELECT {first} AS a FROM sales");
    (0..times).fold(first, |query, _| format!("SELECT {expression} AS a FROM ({query})"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_outgrow_the_memory_is_refused() {
    let folder = folder();
    let engine = engine(folder.path()).await;
    let nested = (0..40).fold("'ab'".to_owned(), |text, _| format!("replace({text}, 'ab', 'abababab')"));
    let growing = [
        "repeat(sku, 2000000000)",
        "repeat('x', 2000000000)",
        "repeat('x', 100000)",
        "length(repeat(sku, CAST(quantity AS BIGINT) * 1000000000))",
        "lpad(sku, 2000000000)",
        "rpad('x', 2000000000, 'y')",
        "array_length(array_repeat(sku, 2000000000))",
        "array_length(range(1, 1000000000000))",
        "array_length(generate_series(1, 1000000000000, 2))",
        "array_length(generate_series(DATE '0001-01-01', DATE '9999-12-31', INTERVAL '1 second'))",
        "array_length(generate_series(TIMESTAMP '1900-01-01', TIMESTAMP '2100-01-01', INTERVAL '1 millisecond'))",
        "array_length(array_resize(make_array(sku), 1000000000, sku))",
        "concat(repeat('x', 8000), repeat('y', 8000))",
        "regexp_replace(repeat(sku, 100000), '', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 'g')",
        "array_to_string(array_repeat(1, 1000), repeat('-', 8000))",
        "CASE WHEN quantity > 0 THEN repeat(sku, 2000000000) END",
        &nested,
    ];
    let selected = growing.iter().map(|expression| format!("SELECT {expression} FROM sales"));
    let others = [
        again("a || a || a", "sku", 20),
        format!("SELECT array_length(a) FROM ({})", again("array_concat(a, a, a)", "make_array(sku)", 20)),
        "SELECT count(*) FROM sales WHERE repeat(sku, 2000000000) = 'x'".to_owned(),
        "SELECT max(repeat(sku, 2000000000)) FROM sales".to_owned(),
        "SELECT 1 FROM sales GROUP BY repeat(sku, 2000000000)".to_owned(),
        "SELECT (SELECT max(repeat(b.sku, 2000000000)) FROM sales b) FROM sales".to_owned(),
        "SELECT unnest(range(1, 1000000000000))".to_owned(),
        format!(
            "SELECT {} FROM sales",
            (0..129).map(|n| format!("concat(sku, '{n}')")).collect::<Vec<_>>().join(", ")
        ),
    ];
    for sql in selected.chain(others) {
        for who in ["a", "operator"] {
            let error = refused(&engine, who, &sql).await;
            assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{sql:.200}: {error}");
            assert!(error.to_string().contains("longer") || error.to_string().contains("shorter"), "{error}");
        }
    }
    // Computed while the query is planned, and a text that is repeated for each row.
    for (sql, word) in [
        ("SELECT * FROM generate_series(1, length(repeat('x', 2000000000)))".to_owned(), "takes literals"),
        ("SELECT * FROM generate_series(1, (SELECT 3))".to_owned(), "takes literals"),
        (format!("SELECT strpos('{}', sku) FROM sales", "x".repeat(9_000)), "longer than 8192 bytes"),
        (format!("SELECT strpos($${}$$, sku) FROM sales", "x".repeat(9_000)), "longer than 8192 bytes"),
    ] {
        let error = refused(&engine, "a", &sql).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_eq!(rows(&engine, "a", "SELECT count(*) FROM sales").await, "3");
    let list = refused(&engine, "a", "SELECT sku, make_array(sku) AS skus FROM sales").await;
    assert_eq!(list.kind(), ErrorKind::Invalid, "{list}");
    assert!(list.to_string().contains("column `skus`"), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_texts_and_lists_are_made() {
    let folder = folder();
    let engine = engine(folder.path()).await;
    for (sql, expected) in [
        ("SELECT store || '-' || sku FROM sales ORDER BY sku LIMIT 1", "x-sku-0"),
        ("SELECT sku || 1 || true FROM sales ORDER BY 1 LIMIT 1", "sku-01true"),
        ("SELECT count(*) FROM sales WHERE (sku || category) IS NULL", "1"),
        ("SELECT 'a' || 'b' || 'c'", "abc"),
        ("SELECT NULL || 'b' IS NULL", "true"),
        (
            "SELECT sku || 'x', count(*) FROM sales GROUP BY sku || 'x' ORDER BY sku || 'x' LIMIT 1",
            "sku-0x,1",
        ),
        ("SELECT max(a) FROM (SELECT sku || '!' AS a FROM sales)", "sku-2!"),
        ("SELECT concat(sku, category, quantity) FROM sales ORDER BY 1 LIMIT 2", "sku-0c1.000;sku-12.000"),
        ("SELECT concat_ws('/', store, sku) FROM sales ORDER BY 1 LIMIT 1", "x/sku-0"),
        ("SELECT lpad(CAST(7 AS VARCHAR), 3, '0'), rpad('a', 3), repeat('ab', 2)", "007,a  ,abab"),
        (
            "SELECT replace(sku, 'sku', 'article'), regexp_replace(sku, 's(k)u', '\\1') FROM sales ORDER BY 1 LIMIT 1",
            "article-0,k-0",
        ),
        ("SELECT array_to_string(array_append(make_array(1, 2), 3), '+')", "1+2+3"),
        ("SELECT array_to_string([1, 2] || [3], '+')", "1+2+3"),
        ("SELECT array_length(string_to_array('a,b', ',')), array_length(range(10))", "2,10"),
        (
            "SELECT count(*), max(day) FROM (SELECT unnest(generate_series(DATE '2010-01-01', DATE '2029-12-31', INTERVAL '1 day')) AS day)",
            "7305,2029-12-31",
        ),
        ("SELECT sum(value) FROM generate_series(-1, (3), +1)", "5"),
        ("SELECT string_agg(sku, ',' ORDER BY sku) FROM sales", "\"sku-0,sku-1,sku-2\""),
        ("SELECT encode(CAST('a' AS BYTEA), 'hex')", "61"),
    ] {
        for who in ["a", "operator"] {
            assert_eq!(rows(&engine, who, sql).await, expected, "{sql}");
        }
    }
}
