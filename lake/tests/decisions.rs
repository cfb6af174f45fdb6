//! Runs of decisions in `marts.recommendations` and `marts.risk_scores`: exact amounts, and no row twice.

mod support;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type};
use chrono::NaiveDate;
use domain::ErrorKind;
use domain::decision::{DecisionRun, OrderPlan, OrderStatus, Recommendation, RiskKind, RiskScore};
use domain::ports::{DecisionSink, WrittenRows};
use lake::Lake;
use support::*;

const RECOMMENDATIONS: &str = "marts.recommendations";
const RISKS: &str = "marts.risk_scores";

fn date(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

fn plan(quantity: i64) -> OrderPlan {
    OrderPlan {
        quantity,
        wanted: 2 * quantity,
        on_hand: 1.0,
        on_order: 2.0,
        lead_time_days: 3,
        cover_days: 4,
        lead_time_demand: 5.0,
        cover_demand: 6.0,
        reorder_point: 7.0,
        order_up_to: 8.0,
        stock_out_before: 0.1,
        stock_out_with: 0.2,
        stock_out_without: 0.3,
        unit_cost: 12_345,
        order_cost: 99_999_999_999_999_999_999,
        expected_profit: 9.0,
        marginal_profit: 1.5,
        currency: "GBP".to_owned(),
    }
}

/// A run over some articles, the last of which lacks something and is decided on in another month.
fn run(digit: char, articles: usize) -> DecisionRun {
    let recommendation = |article: usize| {
        let is_last = article + 1 == articles;
        Recommendation {
            store: "s".to_owned(),
            sku: format!("sku-{article}"),
            product_name: None,
            decided_on: date(if is_last { "2011-11-30" } else { "2011-12-09" }),
            stock_as_of: 5,
            status: if is_last { OrderStatus::NeedsData } else { OrderStatus::OverBudget },
            rank: (!is_last).then_some(article as u32 + 1),
            plan: (!is_last).then(|| plan(1_500)),
            reason: "because".to_owned(),
            model_version: (!is_last).then(|| "1".repeat(64)),
        }
    };
    let risk = |article: usize| RiskScore {
        store: "s".to_owned(),
        sku: format!("sku-{article}"),
        product_name: Some("Name".to_owned()),
        decided_on: date("2011-12-09"),
        kind: RiskKind::Overstock,
        score: 0.5,
        at_stake: Some(3.25),
        currency: Some("GBP".to_owned()),
        reason: "because".to_owned(),
    };
    DecisionRun {
        tenant: "t".to_owned(),
        decision_version: digit.to_string().repeat(64),
        lake_versions: [("curated.inventory".to_owned(), 4)].into(),
        created_at: 7,
        recommendations: (0..articles).map(recommendation).collect(),
        risks: (0..articles).map(risk).collect(),
    }
}

async fn rows(lake: &Lake, table: &str) -> Vec<RecordBatch> {
    let log = lake.table(table).expect("a table").snapshot().await.expect("a state");
    rows_at(lake, table, &log)
}

#[tokio::test]
async fn a_run_stands_once_with_exact_amounts() {
    let folder = folder();
    let lake = open(folder.path()).await;
    let first = lake.write_decisions(run('1', 3)).await.expect("written");
    assert_eq!(first.recommendations, WrittenRows { version: 1, rows: 3, replaced_rows: 0 });
    assert_eq!(first.risks, Some(WrittenRows { version: 1, rows: 3, replaced_rows: 0 }));
    let other = lake.write_decisions(run('2', 2)).await.expect("written");
    let again = lake.write_decisions(run('1', 3)).await.expect("written");
    assert_eq!((other.recommendations.replaced_rows, again.recommendations.replaced_rows), (0, 3));
    assert_eq!(again.risks.map(|risks| risks.replaced_rows), Some(3));
    let batches = rows(&lake, RECOMMENDATIONS).await;
    let count = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    assert_eq!((count(&batches), count(&rows(&lake, RISKS).await)), (5, 5));
    let mut found = Vec::new();
    for batch in &batches {
        let column = |name: &str| batch.column_by_name(name).expect("a column");
        let (skus, statuses) = (column("sku").as_string::<i32>(), column("status").as_string::<i32>());
        let quantities = column("order_quantity").as_primitive::<Decimal128Type>();
        let costs = column("order_cost").as_primitive::<Decimal128Type>();
        let leads = column("lead_time_days").as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let figures = (
                quantities.iter().nth(row).flatten(),
                costs.iter().nth(row).flatten(),
                leads.iter().nth(row).flatten(),
            );
            found.push((skus.value(row).to_owned(), statuses.value(row).to_owned(), figures));
        }
    }
    found.sort();
    let figures = (Some(1_500), Some(99_999_999_999_999_999_999), Some(3));
    let row = |sku: &str, status: &str, figures| (sku.to_owned(), status.to_owned(), figures);
    let none = (None, None, None);
    let mut expected = vec![
        row("sku-0", "over_budget", figures),
        row("sku-0", "over_budget", figures),
        row("sku-1", "over_budget", figures),
        row("sku-1", "needs_data", none),
        row("sku-2", "needs_data", none),
    ];
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn figures_that_no_reader_should_meet_are_refused_before_anything_is_written() {
    let folder = folder();
    let lake = open(folder.path()).await;
    let refused = async |run: DecisionRun, word: &str| {
        let error = lake.write_decisions(run).await.expect_err("refused");
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(word), "{error}");
    };
    let mut unsound = run('1', 3);
    unsound.recommendations[1].plan.as_mut().expect("a plan").expected_profit = f64::NAN;
    refused(unsound, "sku-1 in s").await;
    let mut unsound = run('1', 3);
    unsound.risks[2].score = 1.5;
    refused(unsound, "risk of t, sku-2 in s").await;
    let mut large = run('1', 2);
    large.recommendations[0].plan.as_mut().expect("a plan").quantity = 10_i64.pow(18);
    refused(large, "too large").await;
    refused(DecisionRun { recommendations: Vec::new(), ..run('1', 3) }, "nothing to write").await;
    assert_eq!((rows(&lake, RECOMMENDATIONS).await.len(), rows(&lake, RISKS).await.len()), (0, 0));
    let without_risks = DecisionRun { risks: Vec::new(), ..run('1', 1) };
    assert_eq!(lake.write_decisions(without_risks).await.expect("written").risks, None);
}
