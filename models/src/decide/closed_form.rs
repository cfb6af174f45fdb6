//! Order quantities in closed form, where demand is even or normal: what orders out of sample paths are held against.

use domain::{Error, Result};
use statrs::distribution::{Continuous, ContinuousCDF, Normal};

/// The economic order quantity (Harris, 1913): what to order at a time of a demand that is even, in units, and the cost of orders and stock by period.
///
/// `order_cost` is that of an order, `holding` that of a unit in stock for a period, `demand` the units of a period. Without holding cost the quantity is infinite.
#[must_use]
pub fn economic_order(order_cost: f64, holding: f64, demand: f64) -> (f64, f64) {
    let quantity = (2.0 * order_cost * demand / holding).sqrt();
    (quantity, (2.0 * order_cost * demand * holding).sqrt())
}

/// The share of futures whose demand an order should meet: of one that is sold or held for a single period, with the cost of a unit too many and one too few.
#[must_use]
pub fn critical_ratio(too_many: f64, too_few: f64) -> f64 {
    too_few / (too_few + too_many)
}

/// The newsvendor's stock under normal demand, in units, and its expected cost.
///
/// # Errors
/// [`domain::ErrorKind::Invalid`] unless `deviation` is above 0 and the costs make a ratio between 0 and 1.
pub fn newsvendor_normal(too_many: f64, too_few: f64, mean: f64, deviation: f64) -> Result<(f64, f64)> {
    let normal =
        |error| Error::invalid(format!("a normal demand of {mean} and deviation {deviation}: {error}"));
    let demand = Normal::new(mean, deviation).map_err(|error| normal(error.to_string()))?;
    let ratio = critical_ratio(too_many, too_few);
    if !(ratio > 0.0 && ratio < 1.0) {
        return Err(Error::invalid(format!(
            "costs of {too_many} for a unit too many and {too_few} for one too few: both must be above 0"
        )));
    }
    let stock = demand.inverse_cdf(ratio);
    Ok((stock, (too_many + too_few) * deviation * deviation * demand.pdf(stock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of the Python package stockpyl.
    #[test]
    fn quantities_and_costs_are_those_of_stockpyl() {
        let near = |(quantity, cost): (f64, f64), expected: (f64, f64)| {
            assert!(
                (quantity - expected.0).abs() < 1e-9 && (cost - expected.1).abs() < 1e-9,
                "{quantity} {cost}"
            );
        };
        near(economic_order(8.0, 0.225, 1_300.0), (304.046_780_026_436_8, 68.410_525_505_948_29));
        let newsvendor = |too_many, too_few, mean, deviation| {
            newsvendor_normal(too_many, too_few, mean, deviation).expect("a stock")
        };
        near(newsvendor(0.18, 0.70, 50.0, 8.0), (56.603_955_927_433_89, 1.997_605_193_176_644_5));
        near(newsvendor(2.0, 18.0, 120.0, 10.0), (132.815_515_655_446, 35.099_666_386_497_37));
    }

    #[test]
    fn costs_that_make_no_ratio_are_refused() {
        for (too_many, too_few, deviation) in
            [(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0)]
        {
            assert!(newsvendor_normal(too_many, too_few, 10.0, deviation).is_err(), "{too_many} {too_few}");
        }
    }
}
