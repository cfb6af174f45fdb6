//! Which orders a budget is spent on.
//!
//! An order is a row of steps, each of which costs something and earns something: the least that can be ordered, then packs. Without whole packs the best that a budget buys
//! are the steps that earn most for their cost. With them the choice near the bound of the budget is a knapsack, which is solved as an integer program; what
//! lies far from it on either side is settled. As many steps as a business of some ten articles has are all near it.

use domain::{Error, Result};
use microlp::{ComparisonOp, LinearExpr, OptimizationDirection, Problem, SolveOptions, Variable};

/// Steps on either side of the bound that are chosen anew.
const NEAR: usize = 40;

/// Branches that the solver tries at most, so that it ends on any machine with the same answer.
const MOST_NODES: u64 = 20_000;

/// A step of an order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    /// Above 0.
    pub(super) cost: f64,
    pub(super) profit: f64,
}

/// Steps of one order that are worth taking together: a later step may earn more for its cost than an earlier one.
#[derive(Debug, Clone, Copy)]
struct Run {
    order: usize,
    /// The steps of the order up to and with this run.
    upto: usize,
    cost: f64,
    profit: f64,
}

/// How many of the steps of each order are taken, so that they cost no more than the budget and earn as much as can be.
///
/// # Errors
/// [`domain::ErrorKind::Internal`] when the solver fails.
pub(super) fn allot(orders: &[Vec<Step>], budget: f64) -> Result<Vec<usize>> {
    let mut runs: Vec<Run> =
        orders.iter().enumerate().flat_map(|(order, steps)| runs(order, steps)).collect();
    runs.sort_by(|a, b| {
        (b.profit / b.cost)
            .total_cmp(&(a.profit / a.cost))
            .then(a.order.cmp(&b.order))
            .then(a.upto.cmp(&b.upto))
    });
    let mut left = budget;
    let bound = runs.iter().position(|run| {
        left -= run.cost;
        left < 0.0
    });
    let Some(bound) = bound else { return Ok(orders.iter().map(Vec::len).collect()) };
    let near = bound.saturating_sub(NEAR)..(bound + NEAR).min(runs.len());
    let upto = |runs: &[Run]| {
        let mut upto = vec![0; orders.len()];
        runs.iter().for_each(|run| upto[run.order] = run.upto);
        upto
    };
    let (settled, most) = (upto(&runs[..near.start]), upto(&runs[..near.end]));
    let spent: f64 = runs[..near.start].iter().map(|run| run.cost).sum();
    let chosen = solved(orders, &settled, &most, budget - spent)?;
    let greedy = greedy(orders, &settled, &most, budget - spent);
    let total = |taken: &[usize], of: fn(&Step) -> f64| -> f64 {
        orders.iter().zip(taken).flat_map(|(steps, taken)| &steps[..*taken]).map(of).sum()
    };
    let profit = |taken: &[usize]| total(taken, |step| step.profit);
    // What the solver takes for whole and for within the budget is so but for its tolerance.
    let is_paid = total(&chosen, |step| step.cost) <= budget;
    Ok(if is_paid && profit(&chosen) >= profit(&greedy) { chosen } else { greedy })
}

/// The steps of an order in runs that earn ever less for their cost.
fn runs(order: usize, steps: &[Step]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let mut run = Run { order, upto: at + 1, cost: step.cost, profit: step.profit };
        while let Some(last) = runs.pop_if(|last| last.profit / last.cost < run.profit / run.cost) {
            run = Run { cost: last.cost + run.cost, profit: last.profit + run.profit, ..run };
        }
        runs.push(run);
    }
    runs
}

/// Steps behind the settled ones, as long as they can be paid, those first that earn most for their cost.
fn greedy(orders: &[Vec<Step>], settled: &[usize], most: &[usize], budget: f64) -> Vec<usize> {
    let (mut taken, mut left) = (settled.to_vec(), budget);
    loop {
        let next = (0..orders.len()).filter(|order| taken[*order] < most[*order]);
        let payable = next.filter(|order| orders[*order][taken[*order]].cost <= left);
        let ratio = |order: &usize| orders[*order][taken[*order]].profit / orders[*order][taken[*order]].cost;
        let Some(best) = payable.max_by(|a, b| ratio(a).total_cmp(&ratio(b)).then(b.cmp(a))) else {
            return taken;
        };
        left -= orders[best][taken[best]].cost;
        taken[best] += 1;
    }
}

/// The same by an integer program: a step is taken only with the one before it.
fn solved(orders: &[Vec<Step>], settled: &[usize], most: &[usize], budget: f64) -> Result<Vec<usize>> {
    let failed =
        |error: microlp::Error| Error::internal(format!("the budget could not be allotted: {error}"));
    let mut problem = Problem::new(OptimizationDirection::Maximize);
    let mut costs = LinearExpr::empty();
    let mut variables: Vec<(usize, Variable)> = Vec::new();
    for (order, steps) in orders.iter().enumerate() {
        let mut before: Option<Variable> = None;
        for step in &steps[settled[order]..most[order]] {
            let taken = problem.add_binary_var(step.profit);
            costs.add(taken, step.cost);
            if let Some(before) = before.replace(taken) {
                problem.add_constraint([(taken, 1.0), (before, -1.0)], ComparisonOp::Le, 0.0);
            }
            variables.push((order, taken));
        }
    }
    problem.add_constraint(costs, ComparisonOp::Le, budget);
    let mut options = SolveOptions::default();
    options.node_limit = Some(MOST_NODES);
    let outcome = problem.solve_with(options).map_err(failed)?;
    let mut taken = settled.to_vec();
    if let Some(solution) = outcome.solution() {
        for (order, variable) in variables {
            taken[order] += usize::from(solution.var_value(variable) > 0.5);
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn totals(orders: &[Vec<Step>], taken: &[usize]) -> (f64, f64) {
        let steps = || orders.iter().zip(taken).flat_map(|(steps, taken)| &steps[..*taken]);
        (steps().map(|step| step.cost).sum(), steps().map(|step| step.profit).sum())
    }

    /// Everything that can be taken, tried.
    fn brute_force(orders: &[Vec<Step>], budget: f64) -> f64 {
        let mut best: f64 = 0.0;
        let mut taken = vec![0; orders.len()];
        loop {
            let (cost, profit) = totals(orders, &taken);
            if cost <= budget {
                best = best.max(profit);
            }
            let Some(at) = (0..orders.len()).find(|at| taken[*at] < orders[*at].len()) else { return best };
            taken[..at].fill(0);
            taken[at] += 1;
        }
    }

    /// A few orders whose first step may be the most expensive one, and whose later ones earn ever less.
    fn orders() -> impl Strategy<Value = Vec<Vec<Step>>> {
        let order = (1..=40_u32, 1..=4_u32, -20..=60_i32, proptest::collection::vec(1..=30_u32, 0..4));
        let order = order.prop_map(|(pack, least, first, mut later)| {
            later.sort_unstable_by(|a, b| b.cmp(a));
            let cost = f64::from(pack);
            let first = Step { cost: cost * f64::from(least), profit: f64::from(first) };
            let later = later.into_iter().map(|profit| Step { cost, profit: f64::from(profit) });
            std::iter::once(first).chain(later).collect()
        });
        proptest::collection::vec(order, 1..6)
    }

    proptest! {
        #[test]
        fn a_budget_buys_what_trying_everything_finds(orders in orders(), budget in 0..200_u32) {
            let budget = f64::from(budget);
            let taken = allot(&orders, budget).expect("allotted");
            let (cost, profit) = totals(&orders, &taken);
            prop_assert!(cost <= budget, "{cost} of {budget}");
            let best = brute_force(&orders, budget);
            // Whatever is affordable without a choice is taken whole, so that only orders that pay are given.
            let all = totals(&orders, &orders.iter().map(Vec::len).collect::<Vec<_>>());
            prop_assert!((profit - best).abs() < 1e-6 || all.0 <= budget, "{profit} instead of {best}");
        }
    }

    #[test]
    fn what_earns_most_for_its_cost_is_bought_first_and_many_orders_end_in_time() {
        let step = |number: u32| Step { cost: 7.0, profit: f64::from(number % 97) };
        let orders: Vec<Vec<Step>> = (0..2_000).map(|number| vec![step(number)]).collect();
        let taken = allot(&orders, 7.0 * 500.0 + 3.0).expect("allotted");
        let (cost, profit) = totals(&orders, &taken);
        let mut profits: Vec<f64> = orders.iter().map(|steps| steps[0].profit).collect();
        profits.sort_by(|a, b| b.total_cmp(a));
        assert_eq!((cost, profit), (3_500.0, profits[..500].iter().sum()));
    }
}
