//! `forecast recommend`: what to order, out of stored forecasts and the stock as it is, and what articles are at risk of.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use domain::decimal::{self, Scaled};
use domain::decision::{DecisionRun, OrderStatus, Recommendation, risk_level};
use domain::forecast::SeriesSet;
use domain::ports::{DecisionSink as _, Tables, WrittenDecisions};
use domain::principal::{Principal, StoreScope};
use domain::{Error, ErrorKind, Result, civil};
use indicatif::ProgressBar;
use lake::{Lake, LakeOptions};
use models::decide::{Budget, Policy, decide};
use models::forecast::by_tenant;
use serde_json::{Value, json};

use crate::config::Config;
use crate::report::{Form, Output, write_json, write_rows, write_text};
use crate::wire;

/// Orders that the table shows.
const SHOWN: usize = 10;

#[derive(Debug, Args)]
pub(super) struct Recommend {
    /// Only this business [default: all that have a stock].
    #[arg(long)]
    tenant: Option<String>,
    /// What may be spent now, like "500 GBP" [default: whatever pays].
    #[arg(long, value_parser = budget, requires = "tenant")]
    budget: Option<Budget>,
    /// Days from one review of orders to the next.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=90))]
    review_days: u32,
    /// What a unit in stock costs in a year, as a share of its cost.
    #[arg(long, default_value_t = 0.25, value_parser = from_zero, allow_negative_numbers = true)]
    holding_rate: f64,
    /// What an order of an article costs for itself, in its currency.
    #[arg(long, default_value_t = 0.0, value_parser = from_zero, allow_negative_numbers = true)]
    order_cost: f64,
    /// Days from an order to its receipt, where neither `inventory` nor `products` tells.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(0..=365))]
    lead_time_days: u32,
    /// Days that stock may last before it counts as too much.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    overstock_days: u32,
    #[command(flatten)]
    output: Output,
}

fn budget(text: &str) -> std::result::Result<Budget, String> {
    let expected = "expected an amount with at most four decimals and a currency, like \"500 GBP\"";
    let (amount, currency) = text.trim().split_once(' ').ok_or(expected)?;
    let amount = decimal::parse(amount, 4).map_err(|_| expected)?;
    let is_code = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_code || amount < 0 {
        return Err(expected.to_owned());
    }
    Ok(Budget { amount, currency: currency.to_owned() })
}

fn from_zero(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "expected a number of 0 or more, like 0.25".to_owned())
}

impl Recommend {
    /// For every business, as usual.
    pub(super) fn of_all() -> Self {
        let Policy { review_days, holding_rate, order_cost, lead_time_days, overstock_days, budget } =
            Policy::default();
        let output = Output { form: Form::Table };
        Self {
            tenant: None,
            budget,
            review_days,
            holding_rate,
            order_cost,
            lead_time_days,
            overstock_days,
            output,
        }
    }

    fn policy(&self) -> Policy {
        Policy {
            review_days: self.review_days,
            holding_rate: self.holding_rate,
            order_cost: self.order_cost,
            lead_time_days: self.lead_time_days,
            overstock_days: self.overstock_days,
            budget: self.budget.clone(),
        }
    }
}

pub(super) async fn run(config: &Config, args: Recommend, bar: ProgressBar) -> Result<()> {
    let decided = decide_all(config, &args, &bar).await;
    bar.finish_and_clear();
    let decided = decided?;
    match args.output.form {
        Form::Json => write_json(&decided.iter().map(|(run, written)| summary(run, *written)).collect()),
        Form::Table => decided.iter().try_for_each(|(run, written)| show(run, *written)),
    }
}

async fn decide_all(
    config: &Config,
    args: &Recommend,
    bar: &ProgressBar,
) -> Result<Vec<(DecisionRun, WrittenDecisions)>> {
    let principal = args.tenant.clone().map_or(Ok(Principal::Operator), Principal::tenant)?;
    let lake = wire::lake(config, LakeOptions::Write).await?;
    let _ = wire::marts(Arc::clone(&lake))?.refresh().await?;
    let tables = wire::series(Arc::clone(&lake))?;
    bar.set_message("reading series");
    let mut decided = Vec::new();
    let mut tenants = by_tenant(tables.daily_series(&principal, 1).await?);
    if let (true, Some(tenant)) = (tenants.is_empty(), &args.tenant) {
        // Without sales, what is missing is told of the stock.
        tenants.push((tenant.clone(), SeriesSet::default()));
    }
    bar.set_length(tenants.len() as u64);
    for (tenant, set) in tenants {
        bar.set_message(format!("deciding for {tenant}"));
        match decide_one(&lake, &tables, &tenant, set, args.policy()).await {
            Ok(one) => decided.push(one),
            Err(error) if error.kind() == ErrorKind::NotFound && args.tenant.is_none() => {
                bar.suspend(|| eprintln!("{error}"));
            }
            Err(error) => return Err(Error::new(error.kind(), format!("business `{tenant}`: {error}"))),
        }
        bar.inc(1);
    }
    if decided.is_empty() {
        let message = "nothing was decided: no business has a stock; send `inventory` records first";
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    Ok(decided)
}

async fn decide_one(
    lake: &Lake,
    tables: &dyn Tables,
    tenant: &str,
    set: SeriesSet,
    policy: Policy,
) -> Result<(DecisionRun, WrittenDecisions)> {
    let whose = Principal::Tenant { tenant: tenant.to_owned(), stores: StoreScope::All };
    let standing = tables.standing(&whose, &set.lake_versions).await?;
    let make = move || decide(&set, &standing, &whose, &policy, civil::now());
    let run = tokio::task::spawn_blocking(make).await;
    let run = run.map_err(|error| Error::internal(format!("the decisions did not end: {error}")))??;
    let written = lake.write_decisions(run.clone()).await?;
    Ok((run, written))
}

fn count(run: &DecisionRun, status: OrderStatus) -> usize {
    run.recommendations.iter().filter(|of| of.status == status).count()
}

/// What all orders cost and are expected to earn, by currency.
fn money(run: &DecisionRun) -> BTreeMap<&str, (i128, f64)> {
    let mut money: BTreeMap<&str, (i128, f64)> = BTreeMap::new();
    for plan in run.recommendations.iter().filter_map(|of| of.plan.as_ref()).filter(|plan| plan.quantity > 0)
    {
        let (cost, profit) = money.entry(&plan.currency).or_default();
        *cost += plan.order_cost;
        *profit += plan.expected_profit;
    }
    money
}

/// Risks that are high or critical, by kind.
fn risks(run: &DecisionRun) -> BTreeMap<&'static str, usize> {
    let mut risks = BTreeMap::new();
    for risk in run.risks.iter().filter(|risk| matches!(risk_level(risk.score), "high" | "critical")) {
        *risks.entry(risk.kind.name()).or_default() += 1;
    }
    risks
}

fn summary(run: &DecisionRun, written: WrittenDecisions) -> Value {
    let money = money(run).into_iter().map(|(currency, (cost, profit))| {
        json!({ "currency": currency, "order_cost": Scaled { value: cost, scale: 4 }.to_string(), "expected_profit": profit })
    });
    let mut summary = json!({
        "tenant": run.tenant,
        "articles": run.recommendations.len(),
        "decision_version": run.decision_version,
        "money": money.collect::<Value>(),
        "high_risks": risks(run),
        "rows_written": written.recommendations.rows,
        "rows_replaced": written.recommendations.replaced_rows,
        "risk_rows_written": written.risks.map_or(0, |risks| risks.rows),
    });
    for status in OrderStatus::ALL {
        summary[status.name()] = count(run, status).into();
    }
    summary
}

fn show(run: &DecisionRun, written: WrittenDecisions) -> Result<()> {
    let mut text = format!(
        "{}: {} articles with a known stock: {} to order, {} over the budget, {} have enough, {} need data\n",
        run.tenant,
        run.recommendations.len(),
        count(run, OrderStatus::Order),
        count(run, OrderStatus::OverBudget),
        count(run, OrderStatus::Enough),
        count(run, OrderStatus::NeedsData)
    );
    for (currency, (cost, profit)) in money(run) {
        let cost = Scaled { value: cost, scale: 4 };
        text += &format!(
            "orders for {cost} {currency}, expected to earn {profit:.2} {currency} above not ordering\n"
        );
    }
    for (kind, count) in risks(run) {
        text += &format!("{count} articles at a high or critical risk of {kind}\n");
    }
    text += &format!(
        "{} rows in marts.recommendations, {} replaced; decision version {}\n\n",
        written.recommendations.rows, written.recommendations.replaced_rows, run.decision_version
    );
    write_text(&text)?;
    let mut orders: Vec<&Recommendation> =
        run.recommendations.iter().filter(|of| of.rank.is_some()).collect();
    orders.sort_by_key(|of| of.rank);
    let rows: Vec<Value> = orders.into_iter().take(SHOWN).filter_map(row).collect();
    write_rows(
        Form::Table,
        &[
            "rank",
            "store",
            "sku",
            "product_name",
            "order_quantity",
            "order_cost",
            "expected_profit",
            "in_stock",
            "on_order",
        ],
        &rows,
    )?;
    write_text("\n")
}

fn row(of: &Recommendation) -> Option<Value> {
    let plan = of.plan.as_ref()?;
    Some(json!({
        "rank": of.rank,
        "store": of.store,
        "sku": of.sku,
        "product_name": of.product_name,
        "order_quantity": plan.quantity as f64 / 1e3,
        "order_cost": format!("{} {}", Scaled { value: plan.order_cost, scale: 4 }, plan.currency),
        "expected_profit": format!("{:.2}", plan.expected_profit),
        "in_stock": plan.on_hand,
        "on_order": plan.on_order,
    }))
}
