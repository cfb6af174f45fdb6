use proptest::prelude::*;

use super::*;
use crate::decide::closed_form::{critical_ratio, newsvendor_normal};
use statrs::distribution::{ContinuousCDF, Normal};

const TERMS: Terms = Terms { lead: 2, pack: 1.0, least_packs: 0, shelf_life: None, margin: 3.0, cost: 5.0 };
const NONE: Stock = Stock { on_hand: 0.0, on_order: 0.0 };

fn policy(review_days: u32, holding_rate: f64) -> Policy {
    Policy { review_days, holding_rate, ..Policy::default() }
}

/// Normal units on one day in rising order, none on the others.
fn normal_day(mean: f64, deviation: f64, day: usize, days: usize) -> Future {
    let normal = Normal::new(mean, deviation).expect("a distribution");
    let units = std::array::from_fn(|path| normal.inverse_cdf((path as f64 + 0.5) / PATHS as f64) as f32);
    Future::from_days((0..days).map(|at| if at == day { units } else { [0.0; PATHS] }).collect())
}

#[test]
fn an_order_for_one_day_is_the_newsvendors() {
    // What is left of a day's fresh goods is worth nothing: too many cost 5, too few 3.
    let future = normal_day(500.0, 80.0, 2, 7);
    let fresh = Terms { shelf_life: Some(1), ..TERMS };
    let order = Order::of(&future, NONE, fresh, &policy(1, 0.0));
    let (stock, _) = newsvendor_normal(5.0, 3.0, 500.0, 80.0).expect("a stock");
    assert!((order.packs as f64 - stock).abs() < 1.5, "{} {stock}", order.packs);
    // It is the critical quantile of the paths, to the pack.
    let rank = (critical_ratio(5.0, 3.0) * PATHS as f64).ceil() as usize;
    assert_eq!(order.packs as f64, f64::from(future.on(2)[rank - 1]).floor() + 1.0);
}

#[test]
fn demand_that_no_delivery_can_meet_is_not_ordered() {
    let future = Future::even([10.0; PATHS]);
    let order = Order::of(&future, NONE, TERMS, &policy(3, 0.25));
    // Three days from the receipt on; two days before it are lost.
    assert_eq!((order.packs, order.lost_before(), order.stock_out(0)), (30, 20.0, (1.0, 1.0)));
    let enough = Stock { on_hand: 50.0, on_order: 0.0 };
    let order = Order::of(&future, enough, TERMS, &policy(3, 0.25));
    assert_eq!((order.packs, order.stock_out(0)), (0, (0.0, 0.0)));
    let half = Stock { on_hand: 20.0, on_order: 15.0 };
    let order = Order::of(&future, half, TERMS, &policy(3, 0.25));
    assert_eq!((order.packs, order.stock_out(0), order.stock_out(15)), (15, (0.0, 1.0), (0.0, 0.0)));
    assert!(
        (order.reorder_point - 50.0).abs() < 0.1 && order.order_up_to == order.reorder_point,
        "{order:?}"
    );
}

#[test]
fn packs_and_least_orders_are_kept_and_must_pay() {
    let future = Future::even([10.0; PATHS]);
    let packs = |terms: Terms| Order::of(&future, NONE, terms, &policy(3, 0.25)).packs;
    // 30 units sell; a fourth pack of 8 is worth what holding the rest costs.
    assert_eq!(packs(Terms { pack: 8.0, ..TERMS }), 4);
    assert_eq!(packs(Terms { pack: 8.0, least_packs: 6, ..TERMS }), 6);
    // Fresh goods: the rest of the fourth pack is lost, three units earn 9 and six cost 30.
    assert_eq!(packs(Terms { pack: 9.0, shelf_life: Some(3), ..TERMS }), 3);
    assert_eq!(packs(Terms { pack: 9.0, shelf_life: Some(3), least_packs: 9, ..TERMS }), 0);
    assert_eq!(packs(Terms { margin: -0.5, ..TERMS }), 0);
    assert_eq!(packs(Terms { margin: 0.0, ..TERMS }), 0);
}

#[test]
fn what_an_order_costs_for_itself_makes_orders_rarer_and_larger() {
    let future = Future::even([10.0; PATHS]);
    let costly = Policy { order_cost: 40.0, ..policy(3, 0.25) };
    let order = Order::of(&future, NONE, TERMS, &costly);
    // sqrt(2 * 40 * 10 / (5 * 0.25 / 365)) = 483 units, which last 48 days.
    assert_eq!((order.cover, order.packs), (48, 480));
    assert!((order.reorder_point - 50.0).abs() < 0.1 && (order.order_up_to - 500.0).abs() < 0.1, "{order:?}");
    // Above the reorder point nothing is ordered, though more would be if it had to be.
    let enough = Stock { on_hand: 51.0, on_order: 0.0 };
    assert_eq!(Order::of(&future, enough, TERMS, &costly).packs, 0);
    // Where an order costs more than it can earn, none is made.
    let dear = Policy { order_cost: 1e6, ..costly };
    assert_eq!(Order::of(&future, NONE, TERMS, &dear).packs, 0);
}

#[test]
fn demand_beyond_what_forecasts_are_calibrated_for_is_not_ordered() {
    // A large buyer comes in two of 200 futures; without cost of holding, a unit for him would pay.
    let units = std::array::from_fn(|path| if path < 2 { 5_000.0 } else { 10.0 });
    let order = Order::of(&Future::even(units), NONE, TERMS, &policy(1, 0.0));
    assert_eq!(order.packs, 10);
    let units = std::array::from_fn(|path| if path < 3 { 5_000.0 } else { 10.0 });
    assert_eq!(Order::of(&Future::even(units), NONE, TERMS, &policy(1, 0.0)).packs, 5_000);
}

#[test]
fn what_is_received_today_meets_todays_demand() {
    let future = Future::even([10.0; PATHS]);
    let at_once = Terms { lead: 0, ..TERMS };
    let order = Order::of(&future, Stock { on_hand: 4.0, on_order: 3.0 }, at_once, &policy(1, 0.25));
    assert_eq!((order.packs, order.lost_before()), (3, 0.0));
}

proptest! {
    #[test]
    fn the_order_earns_as_much_as_the_best_of_all_that_are_possible(
        units in proptest::collection::vec(0..40_u32, 2 * PATHS),
        (on_hand, on_order) in (0..60_u32, 0..30_u32),
        (lead, pack, least_packs) in (0..4_usize, 1..12_u32, 0..5_u64),
        shelf_life in proptest::option::of(0..6_usize),
        (margin, cost) in (-1.0..5.0_f64, 0.1..5.0_f64),
        (review_days, holding_rate) in (1..5_u32, 0.0..3.0_f64),
    ) {
        let day = |at: usize| std::array::from_fn(|path| units[at * PATHS + path] as f32);
        let future = Future::from_days(vec![day(0), day(1)]);
        let terms = Terms { lead, pack: f64::from(pack), least_packs, shelf_life, margin, cost };
        let stock = Stock { on_hand: f64::from(on_hand), on_order: f64::from(on_order) };
        let order = Order::of(&future, stock, terms, &policy(review_days, holding_rate));
        let all = least_packs.max(1)..=least_packs.max(order.most_packs());
        let possible = all.filter(|_| order.most_packs() > 0).map(|packs| order.profit(packs)).fold(0.0, f64::max);
        prop_assert!((order.profit(order.packs) - possible).abs() < 1e-9, "{} {possible}", order.packs);
        prop_assert!(order.packs == 0 || order.packs >= least_packs);
    }
}
