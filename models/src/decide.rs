//! Decisions out of forecasts: how much to order of each article, and what it is at risk of.
//!
//! What may come of an article are the sample paths of its stored forecast ([`future`]), as they were when it was made. Orders earn what they earn on these
//! ([`order`]); what a budget cannot pay is left to what earns more for its cost ([`budget`]). Decisions are of the evening of the last business day whose sales
//! are known. They are pure: the same series, stock, forecasts and policy give the same decisions.

mod budget;
pub mod closed_form;
mod future;
mod order;
mod risk;

use std::collections::{BTreeMap, HashMap};

use chrono::{Days, NaiveDate};
use domain::civil::Micros;
use domain::decimal::Scaled;
use domain::decision::{
    DecisionRun, OrderPlan, OrderStatus, Recommendation, RiskScore, Standing, StockItem, StoredForecast,
    TenThousandths, Thousandths,
};
use domain::forecast::{DailySeries, SeriesSet};
use domain::principal::Principal;
use domain::{Error, Result, civil};
use serde::Serialize;

use crate::forecast::paths::Scenarios;
use crate::panel::on_threads;
use budget::{Step, allot};
use future::{Future, mean};
use order::{MOST_DAYS, Order, Stock, Terms};
use risk::{Risk, units};

/// The code's part of a decision version. The number behind the release rises whenever a change of the code changes a figure.
pub const CODE_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "/decide-1");

const UNIT: Thousandths = 1_000;
/// What no stored quantity reaches.
const GREATEST_QUANTITY: Thousandths = 1_000_000_000_000_000_000;
const MONEY: f64 = 10_000.0;

/// Steps that an order is bought in under a budget, at most.
const MOST_STEPS: u64 = 16;

/// Stock that was counted so many days ago is not to be trusted.
const STALE_DAYS: i64 = 14;

/// What a business may spend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// In ten-thousandths.
    pub amount: TenThousandths,
    /// ISO 4217 code.
    pub currency: String,
}

/// How a business orders.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Policy {
    /// Days from one review of orders to the next, 1 to 90.
    pub review_days: u32,
    /// What a unit in stock costs in a year, as a share of its cost: interest, room, ageing. Not below 0.
    pub holding_rate: f64,
    /// What an order of an article costs for itself, in the currency of the article. Not below 0.
    pub order_cost: f64,
    /// Days from an order to its receipt where nothing is said of it.
    pub lead_time_days: u32,
    /// Days that stock may last before it counts as too much.
    pub overstock_days: u32,
    /// What may be spent now; none: whatever pays.
    pub budget: Option<Budget>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            review_days: 7,
            holding_rate: 0.25,
            order_cost: 0.0,
            lead_time_days: 7,
            overstock_days: 90,
            budget: None,
        }
    }
}

impl Policy {
    fn check(&self) -> Result<()> {
        let refused =
            |name: &str, expected: &str| Err(Error::invalid(format!("{name}: expected {expected}")));
        let from_zero = |value: f64| value.is_finite() && value >= 0.0;
        match self {
            _ if !(1..=90).contains(&self.review_days) => refused("review days", "1 to 90"),
            _ if !from_zero(self.holding_rate) => {
                refused("holding rate", "a share of the cost a year, like 0.25")
            }
            _ if !from_zero(self.order_cost) => refused("cost of an order", "an amount of 0 or more"),
            _ if self.lead_time_days as usize > MOST_DAYS => refused("lead time", "0 to 365 days"),
            _ if !(1..=3_650).contains(&self.overstock_days) => refused("overstock days", "1 to 3650"),
            _ if self.budget.as_ref().is_some_and(|budget| budget.amount < 0) => {
                refused("budget", "0 or more")
            }
            _ => Ok(()),
        }
    }
}

/// All that shaped decisions. Fields stand in the order of their names, so that the JSON is canonical; times have no place here.
#[derive(Serialize)]
struct Identity<'a> {
    code_version: &'static str,
    lake_versions: &'a BTreeMap<String, u64>,
    model_versions: Vec<&'a str>,
    policy: &'a Policy,
    tenant: &'a str,
}

/// Decides for a business. It computes for seconds: call it off the async threads.
///
/// # Errors
/// [`domain::ErrorKind::Invalid`] for a policy out of bounds, anyone but a business with all its stores (a budget is that of all), and a budget in another currency than the
/// articles'; [`domain::ErrorKind::NotFound`] where no stock is known.
pub fn decide(
    set: &SeriesSet,
    standing: &Standing,
    whose: &Principal,
    policy: &Policy,
    created_at: Micros,
) -> Result<DecisionRun> {
    policy.check()?;
    let Principal::Tenant { tenant, stores: domain::StoreScope::All } = whose else {
        return Err(Error::invalid("decisions are made for one business with all its stores: name it"));
    };
    if standing.items.is_empty() {
        return Err(Error::new(
            domain::ErrorKind::NotFound,
            format!("no stock is known of `{tenant}`: send `inventory` records of its articles first"),
        ));
    }
    let lake_versions: BTreeMap<String, u64> = set
        .lake_versions
        .iter()
        .chain(&standing.lake_versions)
        .map(|(table, version)| (table.clone(), *version))
        .collect();
    let mut model_versions: Vec<&str> =
        standing.forecasts.iter().map(|forecast| forecast.model_version.as_str()).collect();
    model_versions.sort_unstable();
    model_versions.dedup();
    let identity = Identity {
        code_version: CODE_VERSION,
        lake_versions: &lake_versions,
        model_versions,
        policy,
        tenant,
    };
    let identity = serde_json::to_vec(&identity)
        .map_err(|error| Error::internal(format!("a decision's identity: {error}")))?;
    let mut articles = articles(set, standing, policy);
    buy(&mut articles, policy)?;
    rank(&mut articles);
    let risks = articles.iter().flat_map(Article::risks).collect();
    let recommendations = articles.into_iter().map(|article| article.recommendation).collect();
    Ok(DecisionRun {
        tenant: tenant.clone(),
        decision_version: crate::forecast::hash(&identity),
        lake_versions,
        created_at,
        recommendations,
        risks,
    })
}

/// An article that is decided on.
#[derive(Debug)]
struct Article {
    recommendation: Recommendation,
    /// What can be ordered, rising: the last is what pays most.
    choices: Vec<Choice>,
    risks: Vec<Risk>,
    currency: Option<String>,
}

/// An order that can be made.
#[derive(Debug, Clone, Copy)]
struct Choice {
    quantity: Thousandths,
    profit: f64,
    /// Of the last pack; of the least order as a whole.
    marginal_profit: f64,
    /// How likely the shelf is empty from its receipt until its days are over.
    stock_out: f64,
}

fn articles(set: &SeriesSet, standing: &Standing, policy: &Policy) -> Vec<Article> {
    let series: HashMap<(&str, &str), &DailySeries> = set
        .series
        .iter()
        .map(|series| ((series.key.store.as_str(), series.key.sku.as_str()), series))
        .collect();
    let forecasts: HashMap<(&str, &str), &StoredForecast> = standing
        .forecasts
        .iter()
        .map(|forecast| ((forecast.store.as_str(), forecast.sku.as_str()), forecast))
        .collect();
    let scenarios = scenarios(set, &standing.forecasts);
    let last_days = last_days(set);
    let of_item = |item: &StockItem| {
        let key = (item.store.as_str(), item.sku.as_str());
        let decided_on = last_days.get(key.0).copied().unwrap_or_else(|| civil::day(item.counted_at));
        Article::of(
            item,
            decided_on,
            (series.get(&key).copied(), forecasts.get(&key).copied()),
            &scenarios,
            policy,
        )
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    on_threads(threads, &standing.items, of_item)
}

/// The last day of each store that is known.
fn last_days(set: &SeriesSet) -> HashMap<&str, NaiveDate> {
    let mut last: HashMap<&str, NaiveDate> = HashMap::new();
    for series in &set.series {
        let day = last.entry(&series.key.store).or_insert(NaiveDate::MIN);
        *day = (*day).max(series.end());
    }
    last
}

/// Those of each horizon, as they were when the forecasts were made: of all articles that there were then, with a stock or not.
fn scenarios(set: &SeriesSet, forecasts: &[StoredForecast]) -> HashMap<usize, Scenarios> {
    let mut origins: HashMap<&str, NaiveDate> = HashMap::new();
    for forecast in forecasts {
        let origin = origins.entry(&forecast.store).or_insert(forecast.origin);
        *origin = (*origin).max(forecast.origin);
    }
    let Some(newest) = origins.values().copied().max() else { return HashMap::new() };
    let origin = |store: &str| origins.get(store).copied().unwrap_or(newest);
    let known = set.series.iter().map(|series| known(series, origin(&series.key.store)).len());
    let most_known = known.max().unwrap_or_default();
    let horizons = forecasts.iter().map(|forecast| forecast.days.len());
    horizons.map(|horizon| (horizon, Scenarios::new(horizon, most_known))).collect()
}

/// The days of a series up to a forecast's origin.
fn known(series: &DailySeries, origin: NaiveDate) -> &[f64] {
    let days = usize::try_from((origin - series.start).num_days() + 1).unwrap_or_default();
    &series.units[..days.min(series.units.len())]
}

impl Article {
    fn of(
        item: &StockItem,
        decided_on: NaiveDate,
        (series, forecast): (Option<&DailySeries>, Option<&StoredForecast>),
        scenarios: &HashMap<usize, Scenarios>,
        policy: &Policy,
    ) -> Self {
        let mut article = Self {
            recommendation: Recommendation {
                store: item.store.clone(),
                sku: item.sku.clone(),
                product_name: series.and_then(|series| series.product_name.clone()),
                decided_on,
                stock_as_of: item.counted_at,
                status: OrderStatus::NeedsData,
                rank: None,
                plan: None,
                reason: String::new(),
                model_version: forecast.map(|forecast| forecast.model_version.clone()),
            },
            choices: Vec::new(),
            risks: risk::price_undercut(item).into_iter().collect(),
            currency: item.currency.clone(),
        };
        let Some((series, forecast)) = series.zip(forecast) else {
            article.recommendation.reason =
                "there is no forecast of it: it has never sold, or `forecast run` was not run since it did"
                    .to_owned();
            return article;
        };
        let known = known(series, forecast.origin);
        let came = &series.units[known.len()..];
        let future = scenarios
            .get(&forecast.days.len())
            .and_then(|scenarios| Future::of(scenarios, forecast, known, came.len()));
        let Some(future) = future else {
            article.recommendation.reason = format!(
                "its forecast of {} days from {} on is over: run `forecast run`",
                forecast.days.len(),
                forecast.origin
            );
            return article;
        };
        article.risks.extend(risk::demand_shock(&future, came));
        article.decide(item, &future, policy);
        article
    }

    fn decide(&mut self, item: &StockItem, future: &Future, policy: &Policy) {
        let stock =
            Stock { on_hand: (item.on_hand - item.sold_since).max(0.0), on_order: item.on_order.max(0.0) };
        let cost = item.unit_cost.map(|cost| cost as f64 / MONEY);
        self.risks.extend(risk::overstock(future, stock, cost, policy));
        let terms = match terms(item, policy) {
            Ok(terms) => terms,
            Err(missing) => {
                self.recommendation.reason = missing;
                return;
            }
        };
        let order = Order::of(future, stock, terms, policy);
        let pack = item.pack_size.unwrap_or(UNIT).max(1);
        if quantity(order.packs, pack) >= GREATEST_QUANTITY {
            self.recommendation.reason =
                "its order is greater than any quantity can be: look at pack_size and min_order".to_owned();
            return;
        }
        self.risks.push(risk::stock_out(&order, &terms));
        let (before, without) = order.stock_out(0);
        self.recommendation.plan = Some(OrderPlan {
            quantity: 0,
            wanted: quantity(order.packs, pack),
            on_hand: stock.on_hand,
            on_order: stock.on_order,
            lead_time_days: terms.lead as u32,
            cover_days: order.cover as u32,
            lead_time_demand: mean(&future.first(terms.lead)),
            cover_demand: mean(&future.first(terms.lead + order.cover)) - mean(&future.first(terms.lead)),
            reorder_point: order.reorder_point,
            order_up_to: order.order_up_to,
            stock_out_before: before,
            stock_out_with: without,
            stock_out_without: without,
            unit_cost: item.unit_cost.unwrap_or_default(),
            order_cost: 0,
            expected_profit: 0.0,
            marginal_profit: 0.0,
            currency: item.currency.clone().unwrap_or_default(),
        });
        self.recommendation.reason = said(item, self.recommendation.decided_on, &terms);
        self.choices = choices(&order, &terms, pack, policy);
        self.settle(self.choices.last().copied());
    }

    /// Orders what was chosen, or nothing.
    fn settle(&mut self, chosen: Option<Choice>) {
        let Some(plan) = &mut self.recommendation.plan else { return };
        plan.quantity = chosen.map_or(0, |chosen| chosen.quantity);
        plan.order_cost = cost_of(plan.quantity, plan.unit_cost);
        plan.expected_profit = chosen.map_or(0.0, |chosen| chosen.profit);
        plan.marginal_profit = chosen.map_or(0.0, |chosen| chosen.marginal_profit);
        plan.stock_out_with = chosen.map_or(plan.stock_out_without, |chosen| chosen.stock_out);
        self.recommendation.status = match () {
            () if plan.quantity < plan.wanted => OrderStatus::OverBudget,
            () if plan.quantity > 0 => OrderStatus::Order,
            () => OrderStatus::Enough,
        };
    }

    /// The steps from each choice to the next; none where nothing is to be paid.
    fn steps(&self) -> Vec<Step> {
        let unit_cost = self.recommendation.plan.as_ref().map_or(0, |plan| plan.unit_cost);
        if unit_cost <= 0 {
            return Vec::new();
        }
        let mut before = (0, 0.0);
        let step = |choice: &Choice| {
            let cost = cost_of(choice.quantity - before.0, unit_cost) as f64;
            let step = Step { cost, profit: choice.profit - before.1 };
            before = (choice.quantity, choice.profit);
            step
        };
        self.choices.iter().map(step).collect()
    }

    fn risks(&self) -> impl Iterator<Item = RiskScore> {
        let of = &self.recommendation;
        self.risks.iter().map(|risk| RiskScore {
            store: of.store.clone(),
            sku: of.sku.clone(),
            product_name: of.product_name.clone(),
            decided_on: of.decided_on,
            kind: risk.kind,
            score: risk.score,
            at_stake: risk.at_stake,
            currency: risk.at_stake.and_then(|_| self.currency.clone()),
            reason: risk.reason.clone(),
        })
    }
}

/// What can be ordered: with a budget from the least order on, in steps that are not too many.
fn choices(order: &Order, terms: &Terms, pack: Thousandths, policy: &Policy) -> Vec<Choice> {
    let first = terms.least_packs.max(1);
    let best = order.packs;
    if best < first {
        return Vec::new();
    }
    let every = (best - first).div_ceil(MOST_STEPS - 1).max(1);
    let before = (first..best).step_by(usize::try_from(every).unwrap_or(usize::MAX));
    let choice = |packs: u64| {
        let profit = order.profit(packs);
        let marginal_profit = if packs > first { profit - order.profit(packs - 1) } else { profit };
        Choice {
            quantity: quantity(packs, pack),
            profit,
            marginal_profit,
            stock_out: order.stock_out(packs).1,
        }
    };
    before.filter(|_| policy.budget.is_some()).chain([best]).map(choice).collect()
}

/// On what terms an article is ordered, or what is missing.
fn terms(item: &StockItem, policy: &Policy) -> std::result::Result<Terms, String> {
    let missing = |field: &str| format!("its {field} is not known: send it in `products`");
    let cost = item.unit_cost.ok_or_else(|| missing("unit_cost"))? as f64 / MONEY;
    let price = item.price.ok_or_else(|| missing("list_price"))? as f64 / MONEY;
    let lead = item.lead_time_days.unwrap_or(policy.lead_time_days) as usize;
    if lead > MOST_DAYS {
        return Err(format!("a lead time of {lead} days is more than is looked ahead: {MOST_DAYS}"));
    }
    let pack = item.pack_size.unwrap_or(UNIT).max(1);
    let least = item.min_order.unwrap_or_default().max(0) as u64;
    Ok(Terms {
        lead,
        pack: pack as f64 / UNIT as f64,
        least_packs: least.div_ceil(pack.unsigned_abs()),
        shelf_life: item.shelf_life_days.map(|days| days as usize),
        margin: price - cost,
        cost,
    })
}

/// What else is to be known of a decision.
fn said(item: &StockItem, decided_on: NaiveDate, terms: &Terms) -> String {
    let mut said = Vec::new();
    if terms.margin <= 0.0 {
        said.push("a unit costs no less than it sells for".to_owned());
    }
    if item.lead_time_days.is_none() {
        said.push(format!("its lead time is not known: {} days are assumed", terms.lead));
    }
    let counted = civil::day(item.counted_at);
    let age = (decided_on - counted).num_days();
    if age > STALE_DAYS {
        said.push(format!(
            "its stock was counted {age} days ago, on {counted}: what came in since is not known"
        ));
    }
    if item.on_hand - item.sold_since < 0.0 {
        said.push("more was sold than was in stock: 0 is assumed".to_owned());
    }
    said.join("; ")
}

fn quantity(packs: u64, pack: Thousandths) -> Thousandths {
    i64::try_from(packs).unwrap_or(i64::MAX).saturating_mul(pack)
}

/// Exact but for what lies beyond four digits.
fn cost_of(quantity: Thousandths, unit_cost: TenThousandths) -> TenThousandths {
    (i128::from(quantity) * unit_cost + i128::from(UNIT) / 2) / i128::from(UNIT)
}

/// Gives up what the budget cannot pay, what earns least for its cost first.
fn buy(articles: &mut [Article], policy: &Policy) -> Result<()> {
    let Some(budget) = &policy.budget else { return Ok(()) };
    let (mut at, mut orders) = (Vec::new(), Vec::new());
    for (number, article) in articles.iter().enumerate() {
        let steps = article.steps();
        if steps.is_empty() {
            continue;
        }
        let other = article.currency.as_deref().filter(|currency| *currency != budget.currency);
        if let Some(other) = other {
            let Recommendation { store, sku, .. } = &article.recommendation;
            return Err(Error::invalid(format!(
                "a budget in {}, and {sku} in {store} costs {other}: a budget is of one currency",
                budget.currency
            )));
        }
        at.push(number);
        orders.push(steps);
    }
    let taken = allot(&orders, budget.amount as f64)?;
    for (number, taken) in at.into_iter().zip(taken) {
        let chosen = taken.checked_sub(1).map(|last| articles[number].choices[last]);
        articles[number].settle(chosen);
    }
    Ok(())
}

/// Numbers orders by what a unit of money earns, and says why.
fn rank(articles: &mut [Article]) {
    let earns = |article: &Article| {
        let plan = article.recommendation.plan.as_ref().filter(|plan| plan.quantity > 0)?;
        Some(plan.expected_profit / (plan.order_cost as f64).max(1.0))
    };
    let mut order: Vec<(usize, f64)> =
        articles.iter().enumerate().filter_map(|(at, article)| Some((at, earns(article)?))).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    for (rank, (at, _)) in (1..).zip(order) {
        articles[at].recommendation.rank = Some(rank);
    }
    for article in articles {
        let told = std::mem::take(&mut article.recommendation.reason);
        let decided = article.recommendation.plan.as_ref().map(|plan| decided(&article.recommendation, plan));
        let parts = decided.into_iter().chain([told]).filter(|part| !part.is_empty());
        article.recommendation.reason = parts.collect::<Vec<_>>().join("; ");
    }
}

/// A decision in words.
fn decided(of: &Recommendation, plan: &OrderPlan) -> String {
    let last = u64::from(plan.lead_time_days + plan.cover_days);
    let until = of.decided_on.checked_add_days(Days::new(last)).unwrap_or(NaiveDate::MAX);
    let there = plan.on_hand + plan.on_order;
    let whole = |thousandths: Thousandths| units(thousandths as f64 / UNIT as f64);
    let stock = format!(
        "{} in stock and {} on order; {} are expected to sell until an order is received in {} days, {} more until {until}",
        units(plan.on_hand),
        units(plan.on_order),
        units(plan.lead_time_demand),
        plan.lead_time_days,
        units(plan.cover_demand)
    );
    let money = Scaled { value: plan.order_cost, scale: 4 };
    match of.status {
        OrderStatus::Order => format!(
            "{stock}: {} for {money} {} are expected to earn {:.2}, and bring the risk of an empty shelf then from {:.0} to {:.0} %",
            whole(plan.quantity),
            plan.currency,
            plan.expected_profit,
            100.0 * plan.stock_out_without,
            100.0 * plan.stock_out_with
        ),
        OrderStatus::OverBudget => {
            format!("{stock}: {} would pay, the budget pays {}", whole(plan.wanted), whole(plan.quantity))
        }
        _ => format!(
            "{stock}: {} will do, the risk of an empty shelf then is {:.0} %",
            units(there),
            100.0 * plan.stock_out_without
        ),
    }
}

#[cfg(test)]
mod tests;
