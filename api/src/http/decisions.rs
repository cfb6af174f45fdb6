//! `GET /api/v1/forecast/recommendations` and `GET /api/v1/forecast/risks`: what was decided last, and what articles are at risk of.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use domain::decision::{OrderStatus, RISK_LEVELS, RiskKind};
use serde::{Deserialize, Serialize};

use super::envelope::Failure;
use super::paged::{self, Wanted};
use super::parameters::{Faults, equal, given};
use super::tenant::Caller;
use crate::ApiState;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Orders {
    sku: Option<String>,
    store: Option<String>,
    status: Option<String>,
    page: Option<String>,
    per_page: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Risks {
    sku: Option<String>,
    store: Option<String>,
    risk: Option<String>,
    level: Option<String>,
    page: Option<String>,
    per_page: Option<String>,
}

/// An amount and its currency.
#[derive(Debug, Serialize)]
struct Money {
    amount: String,
    currency: String,
}

/// A row of `marts.recommendations`, amounts as text.
#[derive(Debug, Deserialize)]
struct OrderRow {
    #[serde(flatten)]
    made: Made,
    stock_as_of: String,
    status: String,
    rank: Option<u64>,
    order_cost: Option<String>,
    unit_cost: Option<String>,
    currency: Option<String>,
    expected_profit: Option<String>,
    marginal_profit: Option<String>,
    #[serde(flatten)]
    figures: Figures,
    reason: String,
    model_version: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Made {
    store: String,
    sku: String,
    product_name: Option<String>,
    decided_on: String,
    decision_version: String,
    created_at: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Figures {
    order_quantity: Option<f64>,
    wanted_quantity: Option<f64>,
    on_hand: Option<f64>,
    on_order: Option<f64>,
    lead_time_days: Option<u64>,
    cover_days: Option<u64>,
    lead_time_demand: Option<f64>,
    cover_demand: Option<f64>,
    reorder_point: Option<f64>,
    order_up_to: Option<f64>,
    stock_out_before: Option<f64>,
    stock_out_with: Option<f64>,
    stock_out_without: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Order {
    #[serde(flatten)]
    made: Made,
    stock_as_of: String,
    status: String,
    rank: Option<u64>,
    unit_cost: Option<Money>,
    order_cost: Option<Money>,
    expected_profit: Option<Money>,
    marginal_profit: Option<Money>,
    #[serde(flatten)]
    figures: Figures,
    reason: String,
    model_version: Option<String>,
}

/// A row of `marts.risk_scores`.
#[derive(Debug, Deserialize)]
struct RiskRow {
    #[serde(flatten)]
    made: Made,
    risk: String,
    score: f64,
    level: String,
    at_stake: Option<String>,
    currency: Option<String>,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Risk {
    #[serde(flatten)]
    made: Made,
    risk: String,
    score: f64,
    level: String,
    at_stake: Option<Money>,
    reason: String,
}

pub(super) async fn recommendations(
    State(state): State<ApiState>,
    caller: Caller,
    parameters: Result<Query<Orders>, QueryRejection>,
) -> Response {
    let answered = orders(&state, &caller, parameters).await;
    answered.unwrap_or_else(|failure| failure.into_response(&caller.context))
}

pub(super) async fn risks(
    State(state): State<ApiState>,
    caller: Caller,
    parameters: Result<Query<Risks>, QueryRejection>,
) -> Response {
    let answered = scores(&state, &caller, parameters).await;
    answered.unwrap_or_else(|failure| failure.into_response(&caller.context))
}

/// The rows of the run that was made last.
fn newest(table: &str, condition: &str) -> String {
    format!(
        "FROM (SELECT *, rank() OVER (ORDER BY created_at DESC, decision_version) AS place FROM {table}) WHERE place = 1{condition}"
    )
}

async fn orders(
    state: &ApiState,
    caller: &Caller,
    parameters: Result<Query<Orders>, QueryRejection>,
) -> Result<Response, Failure> {
    let Orders { sku, store, status, page, per_page } = given(parameters)?;
    let mut faults = Faults::default();
    let status = faults.one_of("status", status, &OrderStatus::ALL.map(OrderStatus::name));
    let page = faults.page(page, per_page);
    faults.check()?;
    let condition = equal([("sku", sku), ("store", store), ("status", status.map(str::to_owned))]);
    let wanted = Wanted {
        columns: "store, sku, product_name, decided_on, stock_as_of, status, rank, CAST(order_quantity AS DOUBLE) AS order_quantity, \
                  CAST(wanted_quantity AS DOUBLE) AS wanted_quantity, CAST(unit_cost AS VARCHAR) AS unit_cost, CAST(order_cost AS VARCHAR) AS order_cost, currency, \
                  CAST(CAST(expected_profit AS DECIMAL(38, 2)) AS VARCHAR) AS expected_profit, CAST(CAST(marginal_profit AS DECIMAL(38, 2)) AS VARCHAR) AS marginal_profit, \
                  on_hand, on_order, lead_time_days, cover_days, lead_time_demand, cover_demand, reorder_point, order_up_to, stock_out_before, stock_out_with, \
                  stock_out_without, reason, model_version, decision_version, created_at",
        found: &newest("marts.recommendations", &condition),
        order: "rank NULLS LAST, store, sku",
        page,
    };
    paged::answer(state, caller, wanted, OrderRow::shown).await
}

async fn scores(
    state: &ApiState,
    caller: &Caller,
    parameters: Result<Query<Risks>, QueryRejection>,
) -> Result<Response, Failure> {
    let Risks { sku, store, risk, level, page, per_page } = given(parameters)?;
    let mut faults = Faults::default();
    let risk = faults.one_of("risk", risk, &RiskKind::ALL.map(RiskKind::name));
    let level = faults.one_of("level", level, &RISK_LEVELS);
    let page = faults.page(page, per_page);
    faults.check()?;
    let owned = |word: Option<&str>| word.map(str::to_owned);
    let condition = equal([("sku", sku), ("store", store), ("risk", owned(risk)), ("level", owned(level))]);
    let wanted = Wanted {
        columns: "store, sku, product_name, decided_on, risk, score, level, CAST(CAST(at_stake AS DECIMAL(38, 2)) AS VARCHAR) AS at_stake, currency, reason, \
                  decision_version, created_at",
        found: &newest("marts.risk_scores", &condition),
        order: "score DESC, store, sku, risk",
        page,
    };
    paged::answer(state, caller, wanted, RiskRow::shown).await
}

/// Money, where there are an amount and a currency.
fn money(amount: Option<String>, currency: Option<&String>) -> Option<Money> {
    Some(Money { amount: amount?, currency: currency?.clone() })
}

impl OrderRow {
    fn shown(self) -> Order {
        let currency = self.currency.as_ref();
        Order {
            stock_as_of: self.stock_as_of,
            status: self.status,
            rank: self.rank,
            unit_cost: money(self.unit_cost, currency),
            order_cost: money(self.order_cost, currency),
            expected_profit: money(self.expected_profit, currency),
            marginal_profit: money(self.marginal_profit, currency),
            figures: self.figures,
            reason: self.reason,
            model_version: self.model_version,
            made: self.made,
        }
    }
}

impl RiskRow {
    fn shown(self) -> Risk {
        Risk {
            risk: self.risk,
            score: self.score,
            level: self.level,
            at_stake: money(self.at_stake, self.currency.as_ref()),
            reason: self.reason,
            made: self.made,
        }
    }
}
