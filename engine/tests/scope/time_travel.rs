//! Earlier states, by version and by time, for every principal.

use std::path::Path;

use domain::{ErrorKind, civil};
use engine::{Engine, Limits};

use crate::support::{self, Row, folder, principal, refused, rows, settings};

async fn growing_lake(folder: &Path) -> Engine {
    let row = |tenant| Row { tenant, store: "x", sku: "1".to_owned(), category: None, quantity: 1, day: 0 };
    let commits: Vec<_> = (1..=4).map(|_| vec![row("a"), row("b")]).collect();
    support::engine(&support::lake(folder, &commits, |_| true).await, settings())
}

/// When each version was committed, in milliseconds, as its entry tells.
fn committed_ms(folder: &Path) -> Vec<i64> {
    let log = folder.join("lake/curated/sales/_delta_log");
    let at = |version: u64| {
        let entry = std::fs::read_to_string(log.join(format!("{version:020}.json"))).ok()?;
        let actions =
            entry.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        let told = actions.filter_map(|action| action["commitInfo"]["timestamp"].as_i64()).next();
        Some(told.expect("an entry tells its time"))
    };
    (0..).map_while(at).collect()
}

#[tokio::test]
async fn both_forms_read_the_same_state() {
    let folder = folder();
    let engine = growing_lake(folder.path()).await;
    // Version 0 creates the table, version 1 registers the log.
    for version in 0_u64..=5 {
        let rows_then = version.saturating_sub(1);
        for sql in [
            format!("SELECT count(*) FROM as_of('curated.sales', {version})"),
            format!("SELECT count(*) FROM as_of('sales', '{version}') AS then"),
            format!("SELECT count(sales.sku) FROM curated.\"sales@{version}\" AS sales"),
        ] {
            assert_eq!(rows(&engine, "a", &sql).await, rows_then.to_string(), "{sql}");
            assert_eq!(rows(&engine, "operator", &sql).await, (2 * rows_then).to_string(), "{sql}");
        }
    }
    let change = "SELECT count(*) - (SELECT count(*) FROM as_of('sales', 3)) FROM sales";
    assert_eq!(rows(&engine, "a", change).await, "2");
}

#[tokio::test]
async fn an_instant_reads_the_newest_state_of_that_time() {
    let folder = folder();
    let engine = growing_lake(folder.path()).await;
    let committed = committed_ms(folder.path());
    assert_eq!(committed.len(), 6);
    for instant_ms in committed.iter().flat_map(|at| [at - 1, *at, at + 1]) {
        let newest = committed.iter().rposition(|at| *at <= instant_ms);
        let instant = civil::format_instant(instant_ms * 1_000);
        let sql = format!("SELECT count(*) FROM as_of('curated.sales', '{instant}')");
        match newest {
            Some(version) => {
                let expected = version.saturating_sub(1).to_string();
                assert_eq!(rows(&engine, "a", &sql).await, expected, "{instant}: version {version}");
                let named = format!("SELECT count(*) FROM \"sales@{instant}\"");
                assert_eq!(rows(&engine, "a", &named).await, expected);
            }
            None => assert_eq!(refused(&engine, "a", &sql).await.kind(), ErrorKind::NotFound),
        }
    }
    let operators =
        refused(&engine, "operator", "SELECT * FROM as_of('sales', '1999-01-01T00:00:00Z')").await;
    assert!(operators.to_string().contains("did not exist yet at 1999-01-01T00:00:00Z"), "{operators}");
    let future = "SELECT count(*) FROM as_of('sales', '2999-01-01T00:00:00+01:00')";
    assert_eq!(rows(&engine, "a", future).await, "4");
}

#[tokio::test]
async fn an_answer_names_the_versions_that_it_read() {
    let folder = folder();
    let engine = growing_lake(folder.path()).await;
    for (sql, expected) in [
        ("SELECT 1", vec![]),
        ("SELECT count(*) FROM sales a JOIN curated.sales b ON a.sku = b.sku", vec![("curated.sales", 5)]),
        (
            "SELECT count(*) FROM sales, as_of('sales', 2) t, \"sales@3\" u",
            vec![("curated.sales", 5), ("curated.sales@2", 2), ("curated.sales@3", 3)],
        ),
        ("SELECT table_name FROM information_schema.columns", vec![]),
    ] {
        let answer = engine.session(principal("a")).query(sql, Limits::default()).await.expect(sql);
        let read: Vec<_> = answer.as_of.iter().map(|(table, version)| (table.as_str(), *version)).collect();
        assert_eq!(read, expected, "{sql}");
    }
}

#[tokio::test]
async fn versions_that_are_none_are_told() {
    let folder = folder();
    let engine = growing_lake(folder.path()).await;
    for (at, kind) in [
        ("99", ErrorKind::NotFound),
        ("old", ErrorKind::Invalid),
        ("", ErrorKind::Invalid),
        ("-1", ErrorKind::Invalid),
    ] {
        for who in ["operator", "a"] {
            let error = refused(&engine, who, &format!("SELECT * FROM \"sales@{at}\"")).await;
            assert_eq!(error.kind(), kind, "{who}: {error}");
            assert!(error.to_string().contains("curated.sales"), "{who}: {error}");
        }
    }
    let tenants = refused(&engine, "a", "SELECT * FROM \"sales@99\"").await.to_string();
    assert_eq!(tenants, "curated.sales at `99` cannot be read: not yet, or not any more");
}
