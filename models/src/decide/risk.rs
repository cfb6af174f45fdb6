//! What articles are at risk of, from what their sample paths say.

use domain::civil;
use domain::decision::{RiskKind, StockItem};

use super::Policy;
use super::future::{Future, mean};
use super::order::{Order, Stock, Terms};
use crate::forecast::paths::PATHS;

/// How much less a competitor must ask for the greatest score.
const GREATEST_UNDERCUT: f64 = 0.25;

/// A risk, before it is named.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Risk {
    pub(super) kind: RiskKind,
    pub(super) score: f64,
    pub(super) at_stake: Option<f64>,
    pub(super) reason: String,
}

/// The share of paths in which the article runs out before an order of tonight can be sold.
pub(super) fn stock_out(order: &Order, terms: &Terms) -> Risk {
    let (score, _) = order.stock_out(0);
    let lost = order.lost_before();
    let reason = format!(
        "in {:.0} of 100 futures it runs out before an order of tonight is received, in {} days; {} are asked for and not found then",
        100.0 * score,
        terms.lead,
        units(lost)
    );
    Risk { kind: RiskKind::StockOut, score, at_stake: Some(lost * terms.margin.max(0.0)), reason }
}

/// The share of the stock that is expected to lie there still when the days of the policy are over.
pub(super) fn overstock(future: &Future, stock: Stock, cost: Option<f64>, policy: &Policy) -> Option<Risk> {
    let there = stock.on_hand.max(0.0) + stock.on_order;
    if there <= 0.0 {
        return None;
    }
    let asked = future.first(policy.overstock_days as usize);
    let left = mean(&asked.map(|units| (there - units).max(0.0)));
    let reason = format!(
        "of {} in stock and on order {} are expected unsold after {} days",
        units(there),
        units(left),
        policy.overstock_days
    );
    Some(Risk {
        kind: RiskKind::Overstock,
        score: left / there,
        at_stake: cost.map(|cost| cost * left),
        reason,
    })
}

/// How far what was sold since the forecast lies from its middle: 0 there, 1 beyond all paths. None when nothing has come since.
pub(super) fn demand_shock(future: &Future, came: &[f64]) -> Option<Risk> {
    let paths = future.passed()?;
    let sold: f64 = came.iter().sum();
    let below = paths.iter().filter(|units| **units < sold).count() as f64;
    let equal = paths.iter().filter(|units| **units == sold).count() as f64;
    let place = (below + equal / 2.0) / PATHS as f64;
    let reason = format!(
        "{} sold on the {} days since its forecast, {} were expected; {:.0} of 100 futures lay below",
        units(sold),
        came.len(),
        units(mean(&paths)),
        100.0 * place
    );
    Some(Risk { kind: RiskKind::DemandShock, score: (2.0 * place - 1.0).abs(), at_stake: None, reason })
}

/// How much less the lowest competitor asks, a quarter and more being 1. None without prices to compare.
pub(super) fn price_undercut(item: &StockItem) -> Option<Risk> {
    let (price, rival) = (item.price.filter(|price| *price > 0)?, item.rival.as_ref()?);
    let gap = (price - rival.price) as f64 / price as f64;
    let side = if gap > 0.0 { "below" } else { "above" };
    let reason = format!(
        "{} asked {:.0} % {side} the own price on {}",
        rival.competitor,
        100.0 * gap.abs(),
        civil::day(rival.observed_at)
    );
    Some(Risk {
        kind: RiskKind::PriceUndercut,
        score: (gap / GREATEST_UNDERCUT).clamp(0.0, 1.0),
        at_stake: None,
        reason,
    })
}

/// Units as a person reads them.
pub(super) fn units(units: f64) -> String {
    let rounded = (units * 10.0).round() / 10.0;
    if rounded.fract() == 0.0 { format!("{rounded:.0}") } else { format!("{rounded:.1}") }
}
