//! What is decided by forecasts: how much to order of an article, and what it is at risk of.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::civil::Micros;

/// Quantities in thousandths of a unit, as they are stored.
pub type Thousandths = i64;

/// Money in ten-thousandths of a currency's unit, as it is stored.
pub type TenThousandths = i128;

/// A competitor's newest price of an article, in the currency of the article's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RivalPrice {
    /// Who asks it.
    pub competitor: String,
    /// What is asked.
    pub price: TenThousandths,
    /// When it was seen.
    pub observed_at: Micros,
}

/// An article in a store: its stock, and on what terms it is bought and sold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StockItem {
    /// The store.
    pub store: String,
    /// The article.
    pub sku: String,
    /// When the stock was counted or booked last.
    pub counted_at: Micros,
    /// Units in the store by then; below 0 where bookings run late.
    pub on_hand: f64,
    /// Units ordered by then and not received.
    pub on_order: f64,
    /// Net units sold since.
    pub sold_since: f64,
    /// Days from an order to its receipt.
    pub lead_time_days: Option<u32>,
    /// What an order is a multiple of.
    pub pack_size: Option<Thousandths>,
    /// What an order has at least.
    pub min_order: Option<Thousandths>,
    /// Days that a unit can be sold after receipt.
    pub shelf_life_days: Option<u32>,
    /// What a unit costs, and what it is offered for, in `currency`.
    pub unit_cost: Option<TenThousandths>,
    /// See `unit_cost`.
    pub price: Option<TenThousandths>,
    /// ISO 4217 code.
    pub currency: Option<String>,
    /// The lowest of the competitors' newest prices.
    pub rival: Option<RivalPrice>,
}

/// The newest stored forecast of an article in a store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredForecast {
    /// The store.
    pub store: String,
    /// The article.
    pub sku: String,
    /// The last day that was known.
    pub origin: NaiveDate,
    /// The model's version.
    pub model_version: String,
    /// Means and quantiles of the days behind `origin`, in their order.
    pub days: Vec<(f64, [f64; 11])>,
}

/// What decisions of a business are made of, beside its series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// Articles of which a stock is known, by store and article.
    pub items: Vec<StockItem>,
    /// The newest forecasts, by store and article.
    pub forecasts: Vec<StoredForecast>,
    /// Table name to version: what was read.
    pub lake_versions: BTreeMap<String, u64>,
}

/// What is to be done about an article.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrderStatus {
    /// It is to be ordered.
    Order,
    /// It should be ordered, or more of it, but the budget is spent on what earns more.
    OverBudget,
    /// What is there and on its way will do.
    Enough,
    /// Something must be known that is not; the reason names it.
    NeedsData,
}

impl OrderStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Order, Self::OverBudget, Self::Enough, Self::NeedsData];

    /// As it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::OverBudget => "over_budget",
            Self::Enough => "enough",
            Self::NeedsData => "needs_data",
        }
    }
}

/// The figures of an order, as far as it could be decided.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderPlan {
    /// What is to be ordered.
    pub quantity: Thousandths,
    /// What would be ordered without a budget.
    pub wanted: Thousandths,
    /// Units in the store on the evening of the decision, and on their way.
    pub on_hand: f64,
    /// See `on_hand`.
    pub on_order: f64,
    /// Days from an order to its receipt.
    pub lead_time_days: u32,
    /// Days behind the receipt that an order is to last for.
    pub cover_days: u32,
    /// Expected units from the decision until an order is received, and from then until its days are over.
    pub lead_time_demand: f64,
    /// See `lead_time_demand`.
    pub cover_demand: f64,
    /// Stock below which an order pays, and up to which one pays, both with nothing on its way.
    pub reorder_point: f64,
    /// See `reorder_point`.
    pub order_up_to: f64,
    /// How likely demand is to meet an empty shelf before an order is received, and from then until its days are over: with the order, and without.
    pub stock_out_before: f64,
    /// See `stock_out_before`.
    pub stock_out_with: f64,
    /// See `stock_out_before`.
    pub stock_out_without: f64,
    /// What a unit costs.
    pub unit_cost: TenThousandths,
    /// What the order costs.
    pub order_cost: TenThousandths,
    /// What the order is expected to earn above not ordering.
    pub expected_profit: f64,
    /// What its last pack is expected to earn.
    pub marginal_profit: f64,
    /// ISO 4217 code of all amounts.
    pub currency: String,
}

/// What to order of an article in a store.
#[derive(Debug, Clone, PartialEq)]
pub struct Recommendation {
    /// The store.
    pub store: String,
    /// The article.
    pub sku: String,
    /// Its newest name.
    pub product_name: Option<String>,
    /// The business day in whose evening it is decided: the last one whose sales are known.
    pub decided_on: NaiveDate,
    /// When the stock was counted last.
    pub stock_as_of: Micros,
    /// What is to be done.
    pub status: OrderStatus,
    /// The place among the orders of the business, by what a unit of money earns; 1 is first.
    pub rank: Option<u32>,
    /// The figures; none where something is missing.
    pub plan: Option<OrderPlan>,
    /// Why, in words.
    pub reason: String,
    /// The model of the forecast; none where there is none.
    pub model_version: Option<String>,
}

/// What an article may be at risk of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RiskKind {
    /// It runs out before an order can be received.
    StockOut,
    /// More lies there than sells.
    Overstock,
    /// It sells otherwise than was forecast.
    DemandShock,
    /// A competitor asks less.
    PriceUndercut,
}

impl RiskKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::StockOut, Self::Overstock, Self::DemandShock, Self::PriceUndercut];

    /// As it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StockOut => "stock_out",
            Self::Overstock => "overstock",
            Self::DemandShock => "demand_shock",
            Self::PriceUndercut => "price_undercut",
        }
    }
}

/// How great risks are, rising.
pub const RISK_LEVELS: [&str; 4] = ["low", "medium", "high", "critical"];

/// The level of a score from 0 to 1: a quarter each.
#[must_use]
pub fn risk_level(score: f64) -> &'static str {
    RISK_LEVELS[((score * 4.0) as usize).min(3)]
}

/// A risk of an article in a store.
#[derive(Debug, Clone, PartialEq)]
pub struct RiskScore {
    /// The store.
    pub store: String,
    /// The article.
    pub sku: String,
    /// Its newest name.
    pub product_name: Option<String>,
    /// The business day as of whose evening it is told.
    pub decided_on: NaiveDate,
    /// What may happen.
    pub kind: RiskKind,
    /// 0 to 1; what it measures is said with each kind.
    pub score: f64,
    /// What is at stake, in `currency`; none where that cannot be told.
    pub at_stake: Option<f64>,
    /// ISO 4217 code of `at_stake`.
    pub currency: Option<String>,
    /// Why, in words.
    pub reason: String,
}

/// All decisions of one run, of one business.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionRun {
    /// The business.
    pub tenant: String,
    /// Hash over all that shaped the decisions: forecasts, stock, terms, policy, code. Runs of the same version have the same keys and figures.
    pub decision_version: String,
    /// What they were made from.
    pub lake_versions: BTreeMap<String, u64>,
    /// When the run was made.
    pub created_at: Micros,
    /// Each article of a store once.
    pub recommendations: Vec<Recommendation>,
    /// Each kind of an article once.
    pub risks: Vec<RiskScore>,
}
