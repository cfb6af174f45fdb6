use domain::decision::{RiskKind, RivalPrice};
use domain::forecast::{QUANTILES_PER_MILLE, SeriesForecast, SeriesKey};
use proptest::prelude::*;

use super::*;
use crate::forecast::paths::{quantiles, seed_of, spread};
use crate::forecast::{Before, ForecastConfig, Learning, forecast};

const DAYS: usize = 200;
const HORIZON: usize = 28;

fn date(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

/// An article that sells ten units a day, of which the last `passed` days came behind its forecast.
fn article(sku: &str, passed: usize) -> (DailySeries, StoredForecast, StockItem) {
    let key = SeriesKey { tenant: "t".to_owned(), store: "s".to_owned(), sku: sku.to_owned() };
    let units = (0..DAYS).map(|day| 8.0 + (day % 5) as f64).collect();
    let series = DailySeries {
        key,
        product_name: Some(format!("Name of {sku}")),
        category: None,
        start: date("2025-01-01"),
        units,
        sale_days: DAYS,
        stocked_out: Vec::new(),
    };
    let origin = series.end() - Days::new(passed as u64);
    let quantiles = QUANTILES_PER_MILLE.map(|per_mille| 5.0 + 10.0 * f64::from(per_mille) / 1_000.0);
    let forecast = StoredForecast {
        store: "s".to_owned(),
        sku: sku.to_owned(),
        origin,
        model_version: "m".repeat(64),
        days: vec![(10.0, quantiles); HORIZON],
    };
    let item = StockItem {
        store: "s".to_owned(),
        sku: sku.to_owned(),
        counted_at: civil::start_of(series.end()),
        on_hand: 20.0,
        lead_time_days: Some(5),
        pack_size: Some(6_000),
        unit_cost: Some(20_000),
        price: Some(50_000),
        currency: Some("GBP".to_owned()),
        ..StockItem::default()
    };
    (series, forecast, item)
}

fn world(articles: Vec<(DailySeries, StoredForecast, StockItem)>) -> (SeriesSet, Standing) {
    let mut set =
        SeriesSet { lake_versions: [("marts.item_days".to_owned(), 3)].into(), ..SeriesSet::default() };
    let mut standing =
        Standing { lake_versions: [("curated.inventory".to_owned(), 5)].into(), ..Standing::default() };
    for (series, forecast, item) in articles {
        set.series.push(series);
        standing.forecasts.push(forecast);
        standing.items.push(item);
    }
    (set, standing)
}

fn tenant() -> Principal {
    Principal::tenant("t").expect("a name")
}

fn decided_on(set: &SeriesSet, standing: &Standing, policy: &Policy) -> DecisionRun {
    decide(set, standing, &tenant(), policy, 7).expect("decided")
}

fn plan(of: &Recommendation) -> &OrderPlan {
    of.plan.as_ref().unwrap_or_else(|| panic!("{of:?}"))
}

#[test]
fn an_article_that_runs_low_is_ordered_in_packs_until_the_next_order_can_come() {
    let (set, standing) = world(vec![article("a", 0)]);
    let run = decided_on(&set, &standing, &Policy::default());
    let [of] = run.recommendations.as_slice() else { panic!("{run:?}") };
    let plan = plan(of);
    assert_eq!((of.status, of.rank, of.decided_on), (OrderStatus::Order, Some(1), set.series[0].end()));
    // Seven days of ten units behind the receipt, and what spread asks for; cost 2 and margin 3 make the holding cost small.
    assert_eq!(plan.quantity % 6_000, 0);
    assert!((66_000..=108_000).contains(&plan.quantity), "{plan:?}");
    assert_eq!(plan.order_cost, i128::from(plan.quantity) * 20_000 / 1_000);
    assert!((plan.lead_time_demand - 50.0).abs() < 0.5 && (plan.cover_demand - 70.0).abs() < 0.7, "{plan:?}");
    assert!(
        plan.stock_out_before > 0.9 && plan.stock_out_with < 0.05 && plan.stock_out_without > 0.95,
        "{plan:?}"
    );
    assert!(
        of.reason.contains("20 in stock and 0 on order") && of.reason.contains("are expected to earn"),
        "{}",
        of.reason
    );
    let stock_out = run.risks.iter().find(|risk| risk.kind == RiskKind::StockOut).expect("a risk");
    assert!(
        stock_out.score > 0.9 && stock_out.at_stake.is_some_and(|stake| (stake - 90.0).abs() < 10.0),
        "{stock_out:?}"
    );
    assert_eq!(decided_on(&set, &standing, &Policy::default()), run);
}

/// Totals of a stored forecast are quantiles of sums of its paths: only the same paths have the same ones.
#[test]
fn paths_are_those_that_the_forecast_was_made_of() {
    let (mut long, ..) = article("long", 0);
    let (mut short, ..) = article("short", 0);
    for (at, units) in long.units.iter_mut().chain(&mut short.units).enumerate() {
        *units = ((at * at) % 17) as f64;
    }
    short.units.drain(..80);
    short.start = short.start + Days::new(80);
    let mut set = SeriesSet { series: vec![long, short], ..SeriesSet::default() };
    let least = Learning { rows: 1_000, trees: 3, tree_rate: 0.3, steps: 3 };
    let config = ForecastConfig { horizon_days: 14, learning: least, search: false };
    let made = forecast(&set, &tenant(), config, &Before::default(), &|_| ()).expect("forecasts");
    let is_short = |of: &&SeriesForecast| of.subject.sku() == Some("short");
    let of = made.forecasts.iter().find(is_short).expect("a forecast");
    // Three days have come since, and of the longest article no stock is known.
    set.series.iter_mut().for_each(|series| series.units.extend([3.0; 3]));
    let days = of.days.iter().map(|day| (day.mean, day.quantiles)).collect();
    let stored = StoredForecast {
        store: "s".to_owned(),
        sku: "short".to_owned(),
        origin: of.origin,
        model_version: made.model_version.clone(),
        days,
    };
    let scenarios = &scenarios(&set, std::slice::from_ref(&stored))[&14];
    let known = known(&set.series[1], stored.origin);
    let most = crate::forecast::CAP_FACTOR * 16.0;
    let spreads = stored.days.iter().map(|(mean, quantiles)| spread(quantiles, *mean, most));
    let paths = scenarios.paths(known, seed_of("s", "short"), spreads);
    for (ahead, day) in of.days.iter().enumerate() {
        let sums = std::array::from_fn(|path| paths[..=ahead].iter().map(|day| f64::from(day[path])).sum());
        let expected = [day.total.median, day.total.q900, day.total.q975];
        let found = quantiles(&sums, [500, 900, 975]);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?} {expected:?}");
    }
}

#[test]
fn what_was_sold_since_the_count_is_gone_and_days_since_the_forecast_have_passed() {
    let (set, mut standing) = world(vec![article("a", 3)]);
    standing.items[0].on_hand = 300.0;
    standing.items[0].sold_since = 290.0;
    let run = decided_on(&set, &standing, &Policy::default());
    let plan = plan(&run.recommendations[0]);
    assert_eq!((plan.on_hand, run.recommendations[0].decided_on), (10.0, set.series[0].end()));
    let shock = run.risks.iter().find(|risk| risk.kind == RiskKind::DemandShock).expect("a risk");
    assert!(shock.reason.contains("on the 3 days since its forecast, 30 were expected"), "{}", shock.reason);
    standing.items[0].sold_since = 400.0;
    let run = decided_on(&set, &standing, &Policy::default());
    assert!(
        run.recommendations[0].reason.contains("more was sold than was in stock"),
        "{:?}",
        run.recommendations
    );
}

#[test]
fn what_is_missing_is_named_and_stops_no_other_article() {
    let mut articles: Vec<_> = ["a", "b", "c", "d", "e"].into_iter().map(|sku| article(sku, 0)).collect();
    articles[0].2.unit_cost = None;
    articles[1].2.price = None;
    articles[2].1.origin = articles[2].1.origin - Days::new(HORIZON as u64);
    articles[3].2.lead_time_days = Some(400);
    let (set, mut standing) = world(articles);
    standing.items.push(StockItem { sku: "never sold".to_owned(), ..standing.items[4].clone() });
    let run = decided_on(&set, &standing, &Policy::default());
    let statuses: Vec<_> = run.recommendations.iter().map(|of| of.status.name()).collect();
    assert_eq!(statuses, ["needs_data", "needs_data", "needs_data", "needs_data", "order", "needs_data"]);
    for (of, said) in run.recommendations.iter().zip([
        "unit_cost",
        "list_price",
        "forecast run",
        "400 days",
        "",
        "no forecast",
    ]) {
        assert!(of.reason.contains(said), "{} {}", said, of.reason);
    }
    standing.items.clear();
    let error = decide(&set, &standing, &tenant(), &Policy::default(), 7).expect_err("nothing is known");
    assert!(error.to_string().contains("`inventory`"), "{error}");
}

#[test]
fn a_budget_buys_what_earns_most_for_its_cost() {
    let mut articles: Vec<_> = ["a", "b", "c"].into_iter().map(|sku| article(sku, 0)).collect();
    articles[1].2.price = Some(90_000);
    articles[2].2.price = Some(21_000);
    let (set, standing) = world(articles);
    let free = decided_on(&set, &standing, &Policy::default());
    let wanted: Vec<_> = free.recommendations.iter().map(|of| plan(of).order_cost).collect();
    let budget =
        |amount| Policy { budget: Some(Budget { amount, currency: "GBP".to_owned() }), ..Policy::default() };
    let run = decided_on(&set, &standing, &budget(wanted[1] + 12 * 20_000));
    let costs: Vec<_> = run.recommendations.iter().map(|of| plan(of).order_cost).collect();
    assert!(costs.iter().sum::<i128>() <= wanted[1] + 240_000, "{costs:?}");
    assert!(
        costs[0] > 0 && costs[0] < wanted[0] && costs[1] > wanted[1] * 8 / 10 && costs[2] == 0,
        "{costs:?} {wanted:?}"
    );
    assert_eq!(run.recommendations[2].status, OrderStatus::OverBudget);
    assert_eq!((run.recommendations[1].rank, run.recommendations[2].rank), (Some(1), None));
    assert_ne!(run.decision_version, free.decision_version);
    let none = decided_on(&set, &standing, &budget(0));
    assert!(
        none.recommendations.iter().all(|of| of.status == OrderStatus::OverBudget && plan(of).quantity == 0)
    );
    let all = decided_on(&set, &standing, &budget(wanted.iter().sum()));
    assert_eq!(all.recommendations, free.recommendations);
    let other =
        Policy { budget: Some(Budget { amount: 1, currency: "EUR".to_owned() }), ..Policy::default() };
    let error = decide(&set, &standing, &tenant(), &other, 7).expect_err("two currencies").to_string();
    assert!(error.contains("EUR") && error.contains("GBP"), "{error}");
}

#[test]
fn risks_are_scored_by_what_they_measure() {
    let mut full = article("a", 0);
    full.2.on_hand = 10_000.0;
    full.2.rival = Some(RivalPrice {
        competitor: "shop".to_owned(),
        price: 45_000,
        observed_at: civil::start_of(date("2025-07-01")),
    });
    let (mut set, mut standing) = world(vec![full]);
    let scores = |set: &SeriesSet, standing: &Standing| -> BTreeMap<&'static str, f64> {
        let run = decided_on(set, standing, &Policy::default());
        run.risks.iter().map(|risk| (risk.kind.name(), (risk.score * 100.0).round() / 100.0)).collect()
    };
    // 900 of 10,000 sell in 90 days; the rival is a tenth below, of a quarter.
    let expected = [("overstock", 0.91), ("price_undercut", 0.4), ("stock_out", 0.0)];
    assert_eq!(scores(&set, &standing), expected.into_iter().collect());
    standing.forecasts[0].origin = set.series[0].end() - Days::new(7);
    let known = DAYS - 7;
    set.series[0].units[known..].fill(40.0);
    assert_eq!(scores(&set, &standing)["demand_shock"], 1.0);
    set.series[0].units[known..].fill(10.0);
    assert!(scores(&set, &standing)["demand_shock"] < 0.5);
}

#[test]
fn policies_out_of_bounds_and_callers_of_some_stores_are_refused() {
    let (set, standing) = world(vec![article("a", 0)]);
    let refused = |policy: Policy, word: &str| {
        let error = decide(&set, &standing, &tenant(), &policy, 7).expect_err("refused").to_string();
        assert!(error.contains(word), "{error}");
    };
    refused(Policy { review_days: 0, ..Policy::default() }, "review days");
    refused(Policy { holding_rate: f64::NAN, ..Policy::default() }, "holding rate");
    refused(Policy { order_cost: -1.0, ..Policy::default() }, "cost of an order");
    refused(Policy { lead_time_days: 366, ..Policy::default() }, "lead time");
    refused(Policy { overstock_days: 0, ..Policy::default() }, "overstock days");
    let some = Principal::parse("t/s").expect("a caller");
    for whose in [Principal::Operator, some] {
        assert!(decide(&set, &standing, &whose, &Policy::default(), 7).is_err());
    }
}

proptest! {
    #[test]
    fn any_stock_and_terms_give_finite_decisions(
        (on_hand, on_order, sold_since) in (-1e15..1e15_f64, 0.0..1e15_f64, -1e15..1e15_f64),
        (lead, pack, least, life) in (0..400_u32, 1..i64::MAX / 2, 0..i64::MAX / 2, proptest::option::of(0..40_000_u32)),
        (cost, price) in (0..10_i128.pow(18), 0..10_i128.pow(18)),
        order_cost in 0.0..1e9_f64,
    ) {
        let mut made = article("a", 0);
        made.2 = StockItem { on_hand, on_order, sold_since, lead_time_days: Some(lead), pack_size: Some(pack), min_order: Some(least),
            shelf_life_days: life, unit_cost: Some(cost), price: Some(price), ..made.2 };
        let (set, standing) = world(vec![made]);
        let policy = Policy { order_cost, budget: Some(Budget { amount: 10_000_000, currency: "GBP".to_owned() }), ..Policy::default() };
        let run = decided_on(&set, &standing, &policy);
        for of in &run.recommendations {
            prop_assert!(!of.reason.is_empty());
            let Some(plan) = &of.plan else { continue };
            let figures = [plan.expected_profit, plan.marginal_profit, plan.reorder_point, plan.order_up_to, plan.stock_out_with, plan.cover_demand];
            prop_assert!(figures.iter().all(|figure| figure.is_finite()), "{plan:?}");
            prop_assert!(plan.quantity >= 0 && (plan.quantity == 0 || plan.quantity >= least) && plan.order_cost <= 10_000_000 , "{plan:?}");
        }
        prop_assert!(run.risks.iter().all(|risk| (0.0..=1.0).contains(&risk.score)), "{:?}", run.risks);
    }
}
