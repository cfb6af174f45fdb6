//! Rows, bytes, time and memory: what cuts an answer, what stops a query, and that a stopped query gives everything back.

use std::time::Duration;

use domain::ErrorKind;
use engine::{Cut, Engine, EngineSettings, Limits, Output, write_output};
use futures::StreamExt;

use crate::support::{self, Row, ask, folder, principal, settings};

/// Sales of two tenants, a thousand each.
async fn lake_of_thousands(folder: &std::path::Path, settings: EngineSettings) -> Engine {
    let row = |at: i64| Row {
        tenant: if at % 2 == 0 { "a" } else { "b" },
        store: "x",
        sku: format!("sku-{at:05}"),
        category: None,
        quantity: 1,
        day: at % 20,
    };
    let lake = support::lake(folder, &[(0..2_000).map(row).collect()], |_| true).await;
    support::engine(&lake, settings)
}

/// More rows than any machine counts in a test.
const ENDLESS: [&str; 4] = [
    "SELECT count(*) FROM sales a, generate_series(1, 1000000000000) b WHERE a.quantity + b.value < 0",
    "SELECT sum(a.value + b.value) FROM generate_series(1, 1000) a, generate_series(1, 1000000000000) b",
    "SELECT count(*) FROM sales a JOIN generate_series(1, 1000000000000) b ON a.quantity = b.value % 1 + 1",
    "SELECT count(*) FROM generate_series(1, 1000000000000) a WHERE a.value % 7 > 9",
];

/// Waits until the engine holds nothing; the test's own bound is far beyond what that takes.
async fn holds_nothing(engine: &Engine, what: &str) {
    for _ in 0..6_000 {
        if engine.reserved_bytes() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: {} bytes are still held", engine.reserved_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn time_stops_a_query_and_its_memory_comes_back() {
    let folder = folder();
    let engine = lake_of_thousands(folder.path(), settings()).await;
    for who in ["a", "operator"] {
        for sql in ENDLESS {
            let limits = Limits { timeout: Some(Duration::from_millis(300)), ..Limits::default() };
            let error = ask(&engine, who, sql, limits).await.expect_err(sql);
            assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{sql}: {error}");
            assert!(error.to_string().contains("timeout: 0.3 s"), "{sql}: {error}");
            holds_nothing(&engine, sql).await;
        }
    }
    // The threads are free again.
    assert_eq!(support::rows(&engine, "a", "SELECT count(*) FROM sales").await, "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_no_longer_served_after_the_time() {
    let folder = folder();
    let engine = lake_of_thousands(folder.path(), settings()).await;
    let limits = Limits { timeout: Some(Duration::from_millis(500)), ..Limits::default() };
    let sql =
        "SELECT a.value, b.sku FROM (SELECT sku FROM sales ORDER BY sku) b, generate_series(1, 100000000) a";
    let mut answer = engine.session(principal("a")).query(sql, limits).await.expect("an answer");
    answer.stream.next().await.expect("a batch").expect("rows");
    // Nobody reads; the query must end all the same.
    holds_nothing(&engine, sql).await;
    let mut last = None;
    while let Some(batch) = answer.stream.next().await {
        last = Some(batch);
    }
    let error = last.expect("an end").expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(answer.summary.get().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_an_answer_stops_the_work() {
    let folder = folder();
    let engine = lake_of_thousands(folder.path(), settings()).await;
    for sql in ENDLESS {
        let answer = engine.session(principal("a")).query(sql, Limits::default()).await.expect("an answer");
        drop(answer);
        holds_nothing(&engine, sql).await;
    }
    assert_eq!(support::rows(&engine, "a", "SELECT count(*) FROM sales").await, "1000");
}

#[tokio::test]
async fn rows_and_bytes_cut_an_answer_and_say_so() {
    let folder = folder();
    let engine = lake_of_thousands(folder.path(), settings()).await;
    let sql = "SELECT sku FROM sales ORDER BY sku";
    for (max_rows, given, truncated) in [
        (None, 1_000, None),
        (Some(1_001), 1_000, None),
        (Some(1_000), 1_000, None),
        (Some(999), 999, Some(Cut::Rows(999))),
        (Some(0), 0, Some(Cut::Rows(0))),
    ] {
        let (text, summary) =
            ask(&engine, "a", sql, Limits { max_rows, ..Limits::default() }).await.expect("an answer");
        assert_eq!((summary.rows, summary.truncated), (given, truncated), "{max_rows:?}");
        assert_eq!(text.lines().count() as u64, given + 1);
    }
    let whole = ask(&engine, "a", sql, Limits::default()).await.expect("an answer").1;
    for max_bytes in [0, 1, whole.bytes / 2, whole.bytes - 1, whole.bytes] {
        let limits = Limits { max_bytes: Some(max_bytes), ..Limits::default() };
        let (_, summary) = ask(&engine, "a", sql, limits).await.expect("an answer");
        let cut = (max_bytes < whole.bytes).then_some(Cut::Bytes(max_bytes));
        assert_eq!(summary.truncated, cut);
        assert!(summary.bytes <= max_bytes && (cut.is_some() || summary.rows == 1_000), "{summary:?}");
    }
}

#[tokio::test]
async fn memory_is_bounded_for_each_query_and_told_without_figures() {
    let folder = folder();
    let small = EngineSettings { query_memory_bytes: 1 << 20, ..settings() };
    let engine = lake_of_thousands(folder.path(), small).await;
    let sql = "SELECT max(array_length(l)) FROM (SELECT array_agg(a.sku || b.sku) AS l FROM sales a, sales b GROUP BY a._offset % 7)";
    let error = ask(&engine, "a", sql, Limits::default()).await.expect_err("too much");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(!error.to_string().contains(|c: char| c.is_ascii_digit()), "{error}");
    holds_nothing(&engine, sql).await;
}

#[tokio::test]
async fn a_query_may_not_be_endlessly_long() {
    let folder = folder();
    let engine = lake_of_thousands(folder.path(), settings()).await;
    let sql = format!("SELECT {}1", "1 + ".repeat(6_000));
    let error = ask(&engine, "a", &sql, Limits::default()).await.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    // Deep, and short enough to be planned: refused or answered, but never the end of the process.
    for sql in [
        format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("SELECT {}1", "1 + ".repeat(2_490)),
        format!("SELECT {}1 FROM sales", "_offset + ".repeat(2_490)),
        format!("SELECT 1 FROM sales WHERE {} sku = 'y'", "sku = 'x' OR ".repeat(1_240)),
        format!("SELECT {}true", "NOT ".repeat(2_490)),
        format!("{} SELECT 1", "SELECT 1 UNION ALL ".repeat(800)),
    ] {
        let limits = Limits { timeout: Some(Duration::from_secs(20)), ..Limits::default() };
        let _ = ask(&engine, "a", &sql, limits).await;
    }
    assert_eq!(support::rows(&engine, "a", "SELECT 1").await, "1");
}

/// A pipe whose reader leaves after some bytes, as `head` does.
struct LeavingReader(usize);

impl std::io::Write for LeavingReader {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_who_leaves_ends_the_query_and_is_no_failure() {
    let folder = folder();
    let engine = lake_of_thousands(folder.path(), settings()).await;
    let sql = "SELECT a.sku, b.value FROM sales a, generate_series(1, 1000000) b";
    for output in [Output::Json, Output::Csv] {
        let answer = engine.session(principal("a")).query(sql, Limits::default()).await.expect("an answer");
        let error = write_output(answer, output, &mut LeavingReader(1_000)).await.expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        holds_nothing(&engine, sql).await;
    }
}
