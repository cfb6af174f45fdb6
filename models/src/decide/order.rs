//! How much to order of one article: what earns most over its sample paths.
//!
//! An order of tonight can be sold from the day of its receipt on; what demand meets an empty shelf before is lost, whatever is ordered. From then it has to
//! last until what is ordered at the next review can be received, or longer where orders cost something for themselves, by the economic order quantity. What is left in the end is worth
//! what it cost, unless its shelf life is over. Over the paths that is a newsvendor with a margin, a holding cost and waste; what it earns is concave in the order, so
//! that the best number of packs is found by halving.

use super::Policy;
use super::closed_form::economic_order;
use super::future::{Future, mean};
use crate::forecast::paths::PATHS;

/// No order is made to last longer, and no receipt is awaited longer.
pub(super) const MOST_DAYS: usize = 365;
const DAYS_A_YEAR: f64 = 365.0;
/// Nothing is ordered for demand beyond that of this share of futures: forecasts are calibrated up to 0.975, and what a tail is like far behind it nobody knows.
const MOST_SERVED: f64 = 0.99;
/// Halvings of a level.
const HALVINGS: usize = 32;

/// On what terms an article is ordered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Terms {
    /// Days until the first on which an order can be sold.
    pub(super) lead: usize,
    /// Units that an order is a multiple of.
    pub(super) pack: f64,
    /// Packs that an order has at least.
    pub(super) least_packs: u64,
    /// Days behind the receipt on which a unit can be sold.
    pub(super) shelf_life: Option<usize>,
    /// What a unit earns when it is sold, and what it costs.
    pub(super) margin: f64,
    /// See `margin`.
    pub(super) cost: f64,
}

/// What there is of an article.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stock {
    pub(super) on_hand: f64,
    /// Received halfway through the lead time: when it was ordered is not known.
    pub(super) on_order: f64,
}

/// An order of one article, and what was weighed for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order {
    /// Packs to order; 0 where none pays.
    pub(super) packs: u64,
    /// Days behind the receipt that they are to last for.
    pub(super) cover: usize,
    pub(super) reorder_point: f64,
    pub(super) order_up_to: f64,
    outlook: Outlook,
    terms: Terms,
    holding: f64,
    order_cost: f64,
}

impl Order {
    pub(super) fn of(future: &Future, stock: Stock, terms: Terms, policy: &Policy) -> Self {
        let holding = terms.cost * policy.holding_rate / DAYS_A_YEAR;
        let review = policy.review_days.max(1) as usize;
        let cover = cover(future, terms, review, holding, policy.order_cost);
        let outlook = |stock, cover| Outlook::of(future, stock, terms.lead, lasting(terms, cover));
        let of = |outlook: Outlook, cover| Self {
            packs: 0,
            cover,
            reorder_point: 0.0,
            order_up_to: 0.0,
            outlook,
            terms,
            holding,
            order_cost: policy.order_cost,
        };
        let mut order = of(outlook(stock, cover), cover);
        let level = |cover: usize| {
            let pays = |on_hand: f64| {
                let order = of(outlook(Stock { on_hand, on_order: 0.0 }, cover), cover);
                order.pays()
            };
            let most = future.first(terms.lead + cover).into_iter().fold(0.0, f64::max);
            halved(most, pays)
        };
        order.reorder_point = level(review);
        order.order_up_to = if cover == review { order.reorder_point } else { level(cover) };
        // Who can wait for the next review need not pay for an order now.
        let next = of(outlook(stock, review), review);
        let is_due = cover == review || next.pays();
        order.packs = if is_due { order.best() } else { 0 };
        order
    }

    /// What so many packs are expected to earn, the cost of the order for itself aside.
    fn earned(&self, packs: u64) -> f64 {
        self.outlook.earned(packs as f64 * self.terms.pack, &self.terms, self.holding)
    }

    /// What so many packs are expected to earn above none.
    pub(super) fn profit(&self, packs: u64) -> f64 {
        if packs == 0 { 0.0 } else { self.earned(packs) - self.earned(0) - self.order_cost }
    }

    /// Whether a first pack earns anything, the cost of the order for itself aside.
    fn pays(&self) -> bool {
        self.most_packs() > 0 && self.earned(1) > self.earned(0)
    }

    /// The packs of the greatest order.
    fn most_packs(&self) -> u64 {
        (self.outlook.most_wanted() / self.terms.pack).ceil().min(1e12) as u64
    }

    /// The packs that earn most; none where none earn anything.
    fn best(&self) -> u64 {
        let (mut low, mut high) = (0, self.most_packs());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.earned(middle + 1) > self.earned(middle) { low = middle + 1 } else { high = middle }
        }
        let packs = low.max(self.terms.least_packs);
        if low > 0 && self.profit(packs) > 0.0 { packs } else { 0 }
    }

    /// How likely demand meets an empty shelf before the receipt, and, with so many packs, from then on until their days are over.
    pub(super) fn stock_out(&self, packs: u64) -> (f64, f64) {
        let units = packs as f64 * self.terms.pack;
        let share = |is_out: &dyn Fn(usize) -> bool| {
            (0..PATHS).filter(|path| is_out(*path)).count() as f64 / PATHS as f64
        };
        let Outlook { stock, lost, sums, .. } = &self.outlook;
        let before = share(&|path| lost[path] > 0.0);
        let behind = |path: usize| sums.last().is_some_and(|sum| sum[path] > stock[path] + units);
        (before, share(&behind))
    }

    /// Units that are expected to be asked for before the receipt and not found.
    pub(super) fn lost_before(&self) -> f64 {
        mean(&self.outlook.lost)
    }
}

/// How long an order is to last behind its receipt.
fn cover(future: &Future, terms: Terms, review: usize, holding: f64, order_cost: f64) -> usize {
    let daily = mean(&future.first(review)) / review as f64;
    let (quantity, _) = economic_order(order_cost, holding, daily);
    let days = if order_cost > 0.0 && daily > 0.0 { quantity / daily } else { 0.0 };
    let shelf_life = terms.shelf_life.unwrap_or(MOST_DAYS).max(1);
    (days.min(MOST_DAYS as f64) as usize).min(shelf_life).max(review)
}

/// The days on which an order can be sold of those that it is to last for, and whether what is left then is worth nothing.
fn lasting(terms: Terms, cover: usize) -> (usize, bool) {
    let sellable = terms.shelf_life.map_or(usize::MAX, |days| days.max(1));
    (cover.min(sellable), sellable <= cover)
}

/// The stock on which an answer turns from yes to no, between 0 and the most.
fn halved(most: f64, pays: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, most);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if pays(middle) { low = middle } else { high = middle }
    }
    high
}

/// What comes behind the receipt, by path.
#[derive(Debug, Clone, PartialEq)]
struct Outlook {
    /// What is left by then of what there was.
    stock: [f64; PATHS],
    /// What was asked for before and not found.
    lost: [f64; PATHS],
    /// What is asked for from then on, up to and with each day.
    sums: Vec<[f64; PATHS]>,
    /// Whether what is left in the end is worth nothing.
    is_wasted: bool,
}

impl Outlook {
    fn of(future: &Future, stock: Stock, lead: usize, (days, is_wasted): (usize, bool)) -> Self {
        let mut left = [stock.on_hand.max(0.0); PATHS];
        let mut lost = [0.0; PATHS];
        let arrives = lead / 2;
        for ahead in 0..lead {
            let arrived = if ahead == arrives { stock.on_order } else { 0.0 };
            for ((left, lost), units) in left.iter_mut().zip(&mut lost).zip(future.on(ahead)) {
                let there = *left + arrived;
                let units = f64::from(*units);
                *lost += (units - there).max(0.0);
                *left = (there - units).max(0.0);
            }
        }
        if lead == 0 {
            left.iter_mut().for_each(|left| *left += stock.on_order);
        }
        let mut sum = [0.0; PATHS];
        let day = |ahead: usize| {
            sum.iter_mut().zip(future.on(lead + ahead)).for_each(|(sum, units)| *sum += f64::from(*units));
            sum
        };
        Self { stock: left, lost, sums: (0..days).map(day).collect(), is_wasted }
    }

    /// What is asked for above the stock in the greatest of the futures that are served.
    fn most_wanted(&self) -> f64 {
        let Some(all) = self.sums.last() else { return 0.0 };
        let mut wanted: [f64; PATHS] = std::array::from_fn(|path| all[path] - self.stock[path]);
        let rank = (MOST_SERVED * PATHS as f64).ceil() as usize - 1;
        wanted.select_nth_unstable_by(rank, f64::total_cmp).1.max(0.0)
    }

    fn earned(&self, units: f64, terms: &Terms, holding: f64) -> f64 {
        let Some(all) = self.sums.last() else { return 0.0 };
        let mut earned = 0.0;
        for (path, stock) in self.stock.iter().enumerate() {
            let there = stock + units;
            let held: f64 = self.sums.iter().map(|sum| (there - sum[path]).max(0.0)).sum();
            let wasted = if self.is_wasted { (there - all[path]).max(0.0) } else { 0.0 };
            earned += terms.margin * there.min(all[path]) - holding * held - terms.cost * wasted;
        }
        earned / PATHS as f64
    }
}

#[cfg(test)]
#[path = "order/tests.rs"]
mod tests;
