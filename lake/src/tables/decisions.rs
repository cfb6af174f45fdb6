//! `marts.recommendations` and `marts.risk_scores`: what is decided by forecasts, a row for each article, or for each of its risks.

use std::collections::BTreeMap;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::DataType;
use chrono::NaiveDate;
use domain::decimal::PRECISION;
use domain::decision::{DecisionRun, OrderPlan, risk_level};
use domain::scope::TableScope;
use domain::table::{Column, arrow_schema, money, quantity, timestamp};
use domain::{Error, Result, civil};

use super::arrays::{days, decimals, floats, instants, texts, whole};
use super::{Retention, TableDefinition};

const RECOMMENDATIONS: &str = "What to order, one row for each article in a store with a known stock and run of decisions. An order is decided on the evening of \
decided_on and earns most over the sample paths of the article's forecast; a rank tells what earns most for its cost. The run that was made last is the one to follow.";

const RISK_SCORES: &str = "What articles are at risk of, one row for each kind of an article in a store and run of decisions. Scores are 0 to 1. stock_out: the share of futures in which it runs \
out before an order of that evening is received. overstock: the share of its stock that is expected unsold after the policy's days. demand_shock: how far sales since the forecast \
lie from its middle. price_undercut: how much less the lowest competitor asks, a quarter and more being 1.";

/// What both tables begin with.
fn about() -> Vec<Column> {
    vec![
        Column::required("tenant", DataType::Utf8, "Business that the row belongs to"),
        Column::required("store", DataType::Utf8, "Store"),
        Column::required("sku", DataType::Utf8, "Article"),
        Column::optional("product_name", DataType::Utf8, "Newest name of the article"),
        Column::required(
            "decided_on",
            DataType::Date32,
            "Last business day whose sales were known; decided on its evening",
        ),
    ]
}

/// What both tables end with.
fn made() -> Vec<Column> {
    vec![
        Column::required(
            "decision_version",
            DataType::Utf8,
            "Hash over all that shaped the decisions: forecasts, stock, terms, policy, code",
        ),
        Column::required(
            "lake_versions",
            DataType::Utf8,
            "Versions of the tables that were read, as a JSON object",
        ),
        Column::required("created_at", timestamp(), "When it was decided"),
    ]
}

fn table(name: &str, comment: &'static str, columns: Vec<Column>) -> TableDefinition {
    TableDefinition {
        schema: "marts",
        name: name.to_owned(),
        comment,
        columns: [about(), columns, made()].concat(),
        indexed_texts: &["tenant", "store", "sku", "decision_version"],
        clustering: &["tenant", "store", "sku"],
        retention: Retention { deleted_file_days: 7 },
        has_periods: true,
        scope: TableScope::TenantAndStores,
    }
}

/// The table of recommendations; its period is the month of `decided_on`.
#[must_use]
pub fn recommendations() -> TableDefinition {
    let figure = |name, comment| Column::optional(name, DataType::Float64, comment);
    let columns = vec![
        Column::required("stock_as_of", timestamp(), "When the stock was counted or booked last"),
        Column::required(
            "status",
            DataType::Utf8,
            "order, over_budget, enough, or needs_data, where the reason names what is missing",
        ),
        Column::optional(
            "rank",
            DataType::Int64,
            "Place among the orders of the business, by what a unit of money earns; 1 is first",
        ),
        Column::optional("order_quantity", quantity(), "Units to order, whole packs"),
        Column::optional("wanted_quantity", quantity(), "Units that would be ordered without a budget"),
        Column::optional("unit_cost", money(), "What a unit costs, in currency"),
        Column::optional("order_cost", DataType::Decimal128(38, 4), "What the order costs, in currency"),
        Column::optional("currency", DataType::Utf8, "ISO 4217 code of all amounts"),
        figure("expected_profit", "What the order is expected to earn above not ordering, in currency"),
        figure("marginal_profit", "What its last pack is expected to earn, in currency"),
        figure("on_hand", "Units in the store by then: the stock less what was sold since"),
        figure("on_order", "Units ordered and not received"),
        Column::optional("lead_time_days", DataType::Int64, "Days from an order to its receipt"),
        Column::optional(
            "cover_days",
            DataType::Int64,
            "Days behind the receipt that an order is to last for",
        ),
        figure("lead_time_demand", "Expected units until an order is received"),
        figure("cover_demand", "Expected units from then on until the order's days are over"),
        figure("reorder_point", "Stock below which an order pays, with nothing on its way"),
        figure("order_up_to", "Stock up to which an order pays, with nothing on its way"),
        figure("stock_out_before", "How likely the shelf is empty for a buyer before an order is received"),
        figure("stock_out_with", "The same from its receipt until its days are over, with the order"),
        figure("stock_out_without", "The same without an order"),
        Column::required("reason", DataType::Utf8, "Why, in words"),
        Column::optional("model_version", DataType::Utf8, "Model of the forecast that it stands on"),
    ];
    table("recommendations", RECOMMENDATIONS, columns)
}

/// The table of risks; its period is the month of `decided_on`.
#[must_use]
pub fn risk_scores() -> TableDefinition {
    let columns = vec![
        Column::required("risk", DataType::Utf8, "stock_out, overstock, demand_shock or price_undercut"),
        Column::required("score", DataType::Float64, "0 to 1; the table's comment says what it measures"),
        Column::required("level", DataType::Utf8, "low, medium from 0.25, high from 0.5, critical from 0.75"),
        Column::optional(
            "at_stake",
            DataType::Float64,
            "Margin that is lost or cost that is tied up, in currency",
        ),
        Column::optional("currency", DataType::Utf8, "ISO 4217 code of at_stake"),
        Column::required("reason", DataType::Utf8, "Why, in words"),
    ];
    table("risk_scores", RISK_SCORES, columns)
}

/// The rows of a run, a file for each month.
pub(crate) fn recommendation_rows(run: &DecisionRun) -> Result<Vec<(String, RecordBatch)>> {
    by_month(
        &run.recommendations,
        |of| of.decided_on,
        |rows| {
            let figure = |of: fn(&OrderPlan) -> f64| floats(rows, move |row| row.plan.as_ref().map(of));
            let count = |of: fn(&OrderPlan) -> u32| {
                whole(rows, move |row| row.plan.as_ref().map(|plan| i64::from(of(plan))))
            };
            let amount = |(precision, scale): (u8, i8), of: fn(&OrderPlan) -> i128| {
                decimals(rows, (precision, scale), move |row| row.plan.as_ref().map(of))
            };
            let mut columns = Vec::from(about_of(run, rows, |of| {
                (&of.store, &of.sku, of.product_name.as_deref(), of.decided_on)
            }));
            columns.extend([
                instants(rows, |of| of.stock_as_of),
                texts(rows, |of| Some(of.status.name())),
                whole(rows, |of| of.rank.map(i64::from)),
                amount((PRECISION, 3), |plan| plan.quantity.into())?,
                amount((PRECISION, 3), |plan| plan.wanted.into())?,
                amount((PRECISION, 4), |plan| plan.unit_cost)?,
                amount((38, 4), |plan| plan.order_cost)?,
                texts(rows, |of| of.plan.as_ref().map(|plan| plan.currency.as_str())),
                figure(|plan| plan.expected_profit),
                figure(|plan| plan.marginal_profit),
                figure(|plan| plan.on_hand),
                figure(|plan| plan.on_order),
                count(|plan| plan.lead_time_days),
                count(|plan| plan.cover_days),
                figure(|plan| plan.lead_time_demand),
                figure(|plan| plan.cover_demand),
                figure(|plan| plan.reorder_point),
                figure(|plan| plan.order_up_to),
                figure(|plan| plan.stock_out_before),
                figure(|plan| plan.stock_out_with),
                figure(|plan| plan.stock_out_without),
                texts(rows, |of| Some(of.reason.as_str())),
                texts(rows, |of| of.model_version.as_deref()),
            ]);
            columns.extend(made_of(run, rows)?);
            batch(&recommendations(), columns)
        },
    )
}

/// The rows of a run, a file for each month.
pub(crate) fn risk_rows(run: &DecisionRun) -> Result<Vec<(String, RecordBatch)>> {
    by_month(
        &run.risks,
        |of| of.decided_on,
        |rows| {
            let mut columns = Vec::from(about_of(run, rows, |of| {
                (&of.store, &of.sku, of.product_name.as_deref(), of.decided_on)
            }));
            columns.extend([
                texts(rows, |of| Some(of.kind.name())),
                floats(rows, |of| Some(of.score)),
                texts(rows, |of| Some(risk_level(of.score))),
                floats(rows, |of| of.at_stake),
                texts(rows, |of| of.currency.as_deref()),
                texts(rows, |of| Some(of.reason.as_str())),
            ]);
            columns.extend(made_of(run, rows)?);
            batch(&risk_scores(), columns)
        },
    )
}

fn by_month<'a, T>(
    rows: &'a [T],
    day: impl Fn(&T) -> NaiveDate,
    batch: impl Fn(&[&'a T]) -> Result<RecordBatch>,
) -> Result<Vec<(String, RecordBatch)>> {
    let mut months: BTreeMap<String, Vec<&T>> = BTreeMap::new();
    for row in rows {
        months.entry(civil::month(day(row))).or_default().push(row);
    }
    months.into_iter().map(|(month, rows)| Ok((month, batch(&rows)?))).collect()
}

fn batch(table: &TableDefinition, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let made = RecordBatch::try_new(arrow_schema(&table.columns), columns);
    made.map_err(|error| Error::internal(format!("rows of {}: {error}", table.qualified_name())))
}

fn about_of<'a, T>(
    run: &'a DecisionRun,
    rows: &[&'a T],
    of: impl Fn(&'a T) -> (&'a String, &'a String, Option<&'a str>, NaiveDate),
) -> [ArrayRef; 5] {
    [
        texts(rows, |_| Some(&run.tenant)),
        texts(rows, |row| Some(of(row).0)),
        texts(rows, |row| Some(of(row).1)),
        texts(rows, |row| of(row).2),
        days(rows, |row| of(row).3),
    ]
}

fn made_of<T>(run: &DecisionRun, rows: &[&T]) -> Result<[ArrayRef; 3]> {
    let versions = serde_json::to_string(&run.lake_versions)
        .map_err(|error| Error::internal(format!("versions of decisions: {error}")))?;
    Ok([
        texts(rows, |_| Some(&run.decision_version)),
        texts(rows, |_| Some(&versions)),
        instants(rows, |_| run.created_at),
    ])
}
