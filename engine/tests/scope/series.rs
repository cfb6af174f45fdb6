//! Table functions over series that a question gives.

use domain::ErrorKind;
use engine::{Cut, Limits};

use crate::support::{self, Row, ask, folder, refused, rows, settings};

/// Ten weeks in which a sells 10 of article 1 each day, 30 on Saturdays, and 5 of article 2; b sells more of the same.
fn weeks() -> Vec<Row> {
    let row = |tenant, sku: &str, quantity, day| Row {
        tenant,
        store: "x",
        sku: sku.to_owned(),
        category: None,
        quantity,
        day,
    };
    let of_day = |day: i64| {
        let of_week = if day % 7 == 5 { 30 } else { 10 };
        [
            row("a", "1", of_week, day),
            row("b", "1", 7 * of_week + day, day),
            row("a", "2", 5, day),
            row("b", "3", 1, day),
        ]
    };
    (0..70).flat_map(of_day).collect()
}

/// Days of the lakes in these tests are 28 to a month: their number, as a date.
const DAYS: &str = "SELECT sku, date '2024-01-01' + CAST((extract(month FROM occurred_at) - 1) * 28 + extract(day FROM occurred_at) - 1 AS INT) AS day, sum(quantity) AS units FROM curated.sales GROUP BY 1, 2";

#[tokio::test]
async fn what_comes_next_is_a_table_that_sees_the_callers_rows_alone() {
    let (both, alone) = (folder(), folder());
    let engine = support::engine(&support::lake(both.path(), &[weeks()], |_| true).await, settings());
    let without =
        support::engine(&support::lake(alone.path(), &[weeks()], |row| row.tenant == "a").await, settings());
    let sql = format!("SELECT * FROM forecast(({DAYS}), 14)");
    let (answer, _) = ask(&engine, "a", &sql, Limits::default()).await.expect("an answer");
    let (of_own, _) = ask(&without, "a", &sql, Limits::default()).await.expect("an answer");
    assert_eq!(answer, of_own);
    let mut lines = answer.lines();
    assert_eq!(lines.next(), Some("sku,day,mean,q025,q100,q200,q300,q400,q500,q600,q700,q800,q900,q975"));
    let lines: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(
        (lines.len(), lines[0][0], lines[0][1], lines[27][0], lines[27][1]),
        (28, "1", "2024-03-11", "2", "2024-03-24")
    );
    for line in &lines {
        let mean: f64 = line[2].parse().expect("a number");
        // 11 March is a Monday.
        let is_saturday = ["2024-03-16", "2024-03-23"].contains(&line[1]);
        let expected = match (line[0], is_saturday) {
            ("1", true) => 30.0,
            ("1", false) => 10.0,
            _ => 5.0,
        };
        assert!((mean - expected).abs() < 1.0, "{line:?}");
    }
    // It is a table among others: it has a name, joins, and reads what stands above it.
    let joined = format!(
        "WITH days AS ({DAYS}) SELECT f.sku, round(sum(f.mean)), min(n.units) FROM forecast((SELECT * FROM days), 7, 0.8) AS f JOIN (SELECT sku, min(units) AS units FROM days GROUP BY sku) AS n ON n.sku = f.sku WHERE f.lower <= f.median AND f.median <= f.upper GROUP BY f.sku ORDER BY f.sku"
    );
    assert_eq!(rows(&engine, "a", &joined).await, "1,90.0,10.000;2,35.0,5.000");
    let of_both = format!("SELECT count(DISTINCT sku), count(forecast.mean) FROM forecast(({DAYS}), 2)");
    assert_eq!(rows(&engine, "operator", &of_both).await, "3,6");
    let nothing = format!("SELECT count(*) FROM forecast(({DAYS}), 2)");
    assert_eq!(rows(&engine, "c", &nothing).await, "0");
}

#[tokio::test]
async fn what_is_out_of_the_ordinary_is_told_beside_each_value() {
    let folder = folder();
    let mut weeks = weeks();
    weeks
        .iter_mut()
        .filter(|row| row.day == 45 && row.tenant == "a" && row.sku == "1")
        .for_each(|row| row.quantity = 90);
    let engine = support::engine(&support::lake(folder.path(), &[weeks], |_| true).await, settings());
    let found = format!("SELECT sku, day, units, kind FROM anomalies(({DAYS})) WHERE is_anomaly");
    assert_eq!(rows(&engine, "a", &found).await, "1,2024-02-15,90.0,spike");
    let calm = format!(
        "SELECT count(*), sum(units), min(lower <= expected AND expected <= upper) FROM anomalies(({DAYS})) WHERE sku = '2'"
    );
    assert_eq!(rows(&engine, "a", &calm).await, "70,350.0,true");
}

#[tokio::test]
async fn what_is_no_series_is_told_with_what_is_asked_for() {
    let folder = folder();
    let engine = support::engine(&support::lake(folder.path(), &[weeks()], |_| true).await, settings());
    for (sql, told) in [
        ("forecast('SELECT 1', 7)", "forecast takes a question in parentheses"),
        ("forecast((SELECT 1), 1 + 1)", "a table function takes literals, not `1 + 1`"),
        ("forecast((SELECT 1), 0)", "forecast: 0 times ahead: give a whole number from 1 to 1000"),
        ("forecast((SELECT 1), 7, 0.5)", "forecast: level 0.5: give one of 0.2, 0.4, 0.6, 0.8, 0.95"),
        ("forecast((SELECT sku, quantity FROM sales), 7)", "forecast: no column of dates or timestamps"),
        (
            "forecast((SELECT occurred_at, quantity, line FROM sales), 7)",
            "forecast: several columns of numbers (quantity, line)",
        ),
        (
            "forecast((SELECT date_trunc('day', occurred_at) AS at, quantity FROM sales), 7)",
            "forecast: its series has a time twice: sum its values by time",
        ),
        (
            "forecast((SELECT sku, date_trunc('minute', occurred_at) + INTERVAL '5 minutes' AS at, sum(quantity) AS units FROM sales GROUP BY 1, 2), 7)",
            "times are hours, days, weeks or months",
        ),
        (
            "anomalies((SELECT make_array(1) AS list, occurred_at, quantity FROM sales))",
            "anomalies: column list is ",
        ),
        ("anomalies(sales)", "anomalies takes a question in parentheses"),
        (
            "anomalies((SELECT date '2024-01-01' AS day, 1.0 AS score))",
            "anomalies: its question has a column `score`, and so has the answer: name it otherwise",
        ),
        (
            "forecast((SELECT CAST(NULL AS DATE) AS day, 1.0 AS y), 7)",
            "forecast: a row of its question has no time: leave such rows out",
        ),
        ("explain_forecast(7)", "explain_forecast takes an article"),
        ("risk_score('a', 'b', 'c')", "risk_score takes an article"),
    ] {
        let error = refused(&engine, "a", &format!("SELECT * FROM {sql}")).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{sql}: {error}");
        assert!(error.to_string().contains(told), "{sql}: {error}");
    }
    let missing =
        refused(&engine, "a", "SELECT * FROM forecast((SELECT occurred_at, quantity FROM raw.sales), 7)")
            .await;
    assert!(missing.to_string().contains("not found"), "{missing}");
    // Of nothing known, nothing is told.
    let unknown = "SELECT count(*), count(mean), count(q500) FROM forecast((SELECT date '2024-01-01' AS day, CAST(NULL AS DOUBLE) AS y), 3)";
    assert_eq!(rows(&engine, "a", unknown).await, "3,0,0");
    // A name is a text, whatever stands in it.
    assert_eq!(
        rows(&engine, "a", "SELECT count(*) FROM explain_forecast('x'' OR ''1'' = ''1', '{t}')").await,
        "0"
    );
}

#[tokio::test]
async fn an_answer_is_cut_at_its_limits() {
    let folder = folder();
    let engine = support::engine(&support::lake(folder.path(), &[weeks()], |_| true).await, settings());
    let limits = Limits { max_rows: Some(5), ..Limits::default() };
    let (answer, summary) = ask(&engine, "a", &format!("SELECT * FROM forecast(({DAYS}), 400)"), limits)
        .await
        .expect("an answer");
    assert_eq!((answer.lines().count(), summary.truncated), (6, Some(Cut::Rows(5))));
    let many = "SELECT * FROM anomalies((SELECT CAST(value / 2 AS VARCHAR) AS name, date '2024-01-01' AS day, 1.0 AS y FROM generate_series(1, 20000)))";
    let error = refused(&engine, "a", many).await;
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(error.to_string().contains("more than 5000 series"), "{error}");
    let far = many.replace("anomalies(", "forecast(").replace("20000)))", "6000)), 300)");
    let error = refused(&engine, "a", &far).await;
    assert!(error.to_string().contains("3001 series times 300 ahead are 900300 rows"), "{error}");
}
