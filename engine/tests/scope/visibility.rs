//! Who sees which rows, columns and tables.

use domain::ErrorKind;
use engine::Engine;

use crate::support::{self, Row, folder, refused, rows, settings};

async fn small_lake(folder: &std::path::Path) -> Engine {
    let row = |tenant, store, sku: &str, quantity| Row {
        tenant,
        store,
        sku: sku.to_owned(),
        category: None,
        quantity,
        day: quantity,
    };
    let commits = [
        vec![row("a", "x", "1", 1), row("b", "x", "2", 10), row("a", "y", "3", 3)],
        vec![row("a", "z", "4", 40), row("ab", "x", "5", 50), row("b", "y", "6", 60)],
    ];
    support::engine(&support::lake(folder, &commits, |_| true).await, settings())
}

#[tokio::test]
async fn each_principal_sees_its_own_rows() {
    let folder = folder();
    let engine = small_lake(folder.path()).await;
    let skus = "SELECT string_agg(sku, ' ' ORDER BY sku) FROM sales";
    for (who, expected) in [
        ("operator", "1 2 3 4 5 6"),
        ("a", "1 3 4"),
        ("a/x", "1"),
        ("a/x,z", "1 4"),
        ("a/nowhere", "\"\""),
        ("ab", "5"),
        ("b/y", "6"),
        ("nobody", "\"\""),
    ] {
        assert_eq!(rows(&engine, who, skus).await, expected, "{who}");
    }
}

#[tokio::test]
async fn the_tenants_column_and_the_operators_tables_are_hidden() {
    let folder = folder();
    let engine = small_lake(folder.path()).await;
    let tables = "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema <> 'information_schema' ORDER BY 1";
    let of = |schema: &str| domain::Feed::ALL.map(|feed| format!("{schema}.{}", feed.name()));
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names.join(";")
    };
    let mut visible = of("curated").to_vec();
    let marts = [
        "daily_demand",
        "forecast_accuracy",
        "forecast_overrides",
        "forecasts",
        "item_days",
        "override_value",
        "recommendations",
        "risk_scores",
        "sales_live",
        "served_forecasts",
        "store_days",
    ];
    visible.extend(marts.map(|mart| format!("marts.{mart}")));
    visible.push("ops.model_versions".to_owned());
    assert_eq!(rows(&engine, "a", tables).await, sorted(visible.clone()));
    visible.extend(of("raw"));
    visible.push("raw.dead_letters".to_owned());
    assert_eq!(rows(&engine, "operator", tables).await, sorted(visible));
    let columns = "SELECT count(*), sum(CASE WHEN column_name = 'tenant' THEN 1 ELSE 0 END) FROM information_schema.columns WHERE table_schema = 'curated' AND table_name = 'sales'";
    // The period comes to the feed's columns; the hashes by which twins are known go.
    let all = domain::Feed::Sales.columns().len() + 1 - domain::duplicates::HASHES.len();
    assert_eq!(rows(&engine, "operator", columns).await, format!("{all},1"));
    assert_eq!(rows(&engine, "a/x", columns).await, format!("{},0", all - 1));
    assert_eq!(rows(&engine, "operator", "SELECT count(DISTINCT tenant) FROM sales").await, "3");
    assert_eq!(rows(&engine, "operator", "SELECT count(*) FROM raw.dead_letters").await, "0");
    assert_eq!(rows(&engine, "a", "SELECT count(*) FROM information_schema.schemata").await, "3");
}

#[tokio::test]
async fn every_table_and_column_says_what_it_is_for() {
    let folder = folder();
    let engine = small_lake(folder.path()).await;
    for who in ["operator", "a", "a/x"] {
        for table in ["tables", "columns"] {
            let of = |comment: &str| {
                format!(
                    "SELECT count(*) > 0 FROM information_schema.{table} WHERE table_schema <> 'information_schema' AND comment IS {comment}"
                )
            };
            assert_eq!(rows(&engine, who, &of("NULL")).await, "false", "{who}: {table}");
            assert_eq!(rows(&engine, who, &of("NOT NULL")).await, "true", "{who}: {table}");
        }
        let sku = "SELECT comment FROM information_schema.columns WHERE table_name = 'item_days' AND column_name = 'sku'";
        assert_eq!(rows(&engine, who, sku).await, "Article", "{who}");
        let shown = rows(&engine, who, "SHOW COLUMNS FROM marts.item_days").await;
        assert!(shown.contains("rival_price"), "{who}: {shown}");
    }
    let all_rows = "SELECT comment LIKE 'Every record that curated.sales was made of, also those that do not count there. Lines of receipts%' FROM information_schema.tables WHERE table_schema = 'raw' AND table_name = 'sales'";
    assert_eq!(rows(&engine, "operator", all_rows).await, "true");
    let unknown = refused(&engine, "a", "SELECT * FROM information_schema.comments").await;
    assert_eq!(unknown.kind(), ErrorKind::Invalid);
    assert!(unknown.to_string().contains("information_schema.comments"), "{unknown}");
}

#[tokio::test]
async fn views_show_what_they_say() {
    let folder = folder();
    let engine = small_lake(folder.path()).await;
    for view in domain::views::View::ALL {
        let sql = format!(
            "SELECT column_name || ' ' || data_type FROM information_schema.columns \
             WHERE table_schema || '.' || table_name = '{}' ORDER BY ordinal_position",
            view.qualified_name()
        );
        let columns = view.description().columns;
        let said: Vec<_> =
            columns.iter().map(|column| format!("{} {}", column.name, column.data_type)).collect();
        // As CSV they are quoted where they hold commas or quotes.
        let shown = rows(&engine, "operator", &sql).await.replace('"', "");
        assert_eq!(shown, said.join(";").replace('"', ""));
    }
}

#[tokio::test]
async fn what_is_hidden_is_told_like_what_does_not_exist() {
    let folder = folder();
    let engine = small_lake(folder.path()).await;
    for (hidden, absent) in [
        ("SELECT * FROM raw.dead_letters", "SELECT * FROM rax.dead_letters"),
        ("SELECT * FROM raw.sales", "SELECT * FROM rax.sales"),
        ("SELECT * FROM as_of('raw.dead_letters', 0)", "SELECT * FROM as_of('rax.dead_letters', 0)"),
        ("SELECT tenant FROM sales", "SELECT tenanx FROM sales"),
        ("SELECT * FROM information_schema.df_settings", "SELECT * FROM information_schema.dx_settings"),
    ] {
        let (hidden, absent) = (refused(&engine, "a", hidden).await, refused(&engine, "a", absent).await);
        assert_eq!(hidden.kind(), absent.kind());
        let absent =
            absent.to_string().replace("rax", "raw").replace("tenanx", "tenant").replace("dx_", "df_");
        assert_eq!(hidden.to_string(), absent);
    }
}

#[tokio::test]
async fn nobody_writes() {
    let folder = folder();
    let engine = small_lake(folder.path()).await;
    let stolen = folder.path().join("stolen.csv");
    for who in ["operator", "a"] {
        for sql in [
            format!("COPY sales TO '{}'", stolen.display()),
            "SET datafusion.execution.batch_size = 1".to_owned(),
            "DELETE FROM sales".to_owned(),
            "CREATE VIEW v AS SELECT 1".to_owned(),
        ] {
            assert_eq!(refused(&engine, who, &sql).await.kind(), ErrorKind::Invalid, "{who}: {sql}");
        }
    }
    assert!(!stolen.exists());
    assert!(rows(&engine, "operator", "EXPLAIN ANALYZE SELECT * FROM sales").await.contains("output_rows"));
}

#[tokio::test]
async fn a_tenant_reads_no_place_when_a_file_is_gone() {
    let folder = folder();
    let engine = small_lake(folder.path()).await;
    let table = folder.path().join("lake/curated/sales");
    for period in std::fs::read_dir(&table).expect("the table's folder") {
        let period = period.expect("an entry").path();
        if period.file_name().is_some_and(|name| name.to_string_lossy().starts_with("period=")) {
            std::fs::remove_dir_all(period).expect("the files are deleted");
        }
    }
    let error = refused(&engine, "a", "SELECT * FROM sales").await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.to_string(), "curated.sales cannot be read at the moment: try again later");
    let operators = refused(&engine, "operator", "SELECT * FROM sales").await.to_string();
    assert!(operators.contains("parquet"), "{operators}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_of_an_equal_one_is_computed_as_well() {
    let folder = folder();
    let row = Row { tenant: "a", store: "x", sku: "7".to_owned(), category: None, quantity: 3, day: 1 };
    let lake = support::lake(folder.path(), &[vec![row]], |_| true).await;
    let engine = support::engine(&lake, settings());
    let nested = |expression: &str, times: usize| {
        let first = "SELECT CAST(quantity AS INT) AS q, sku AS s FROM sales".to_owned();
        (0..times).fold(first, |query, _| format!("SELECT {expression} FROM ({query})"))
    };
    for (expression, expected) in
        [("q + 1 AS q, s || s AS s", "6,77777777"), ("-q AS q, s", "-3,7"), ("q, s", "3,7")]
    {
        for who in ["a", "operator"] {
            assert_eq!(rows(&engine, who, &nested(expression, 3)).await, expected, "{expression}");
        }
    }
    let with = "WITH t AS (SELECT quantity + 1 AS quantity FROM sales), u AS (SELECT quantity + 1 AS quantity FROM t) SELECT * FROM u";
    assert_eq!(rows(&engine, "a", with).await, "5.000");
}
