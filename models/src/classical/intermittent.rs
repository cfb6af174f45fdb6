//! Demand that mostly is none: how often it comes, and how much then.
//!
//! Croston (1972) smooths sizes and the intervals between them, which overstates the mean; Syntetos and Boylan (2005) take that off again. Teunter, Syntetos and Babai
//! (2011) smooth how likely demand is instead, in each period, so that what is sold no more fades.

/// Smoothing that is tried.
const SMOOTHING: [f64; 6] = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3];

/// Sizes that a distribution is made of, the newest ones.
const SIZES: usize = 50;

/// How demand is smoothed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Sizes and intervals, corrected as Syntetos and Boylan do.
    SyntetosBoylan,
    /// Sizes and chances, as Teunter, Syntetos and Babai do.
    TeunterSyntetosBabai,
}

/// What is expected of each period ahead.
#[derive(Debug, Clone, PartialEq)]
pub struct Intermittent {
    /// How likely demand is in a period.
    chance: f64,
    /// Sizes of demand, ascending, about the smoothed one.
    sizes: Vec<f64>,
    mean: f64,
}

/// Smooths values of which NaN is missing; what is below 0 came back, and is no demand. None where there never was any.
#[must_use]
pub fn fit(values: &[f64], method: Method) -> Option<Intermittent> {
    let known: Vec<f64> =
        values.iter().filter(|value| value.is_finite()).map(|value| value.max(0.0)).collect();
    let demands: Vec<f64> = known.iter().copied().filter(|value| *value != 0.0).collect();
    let chances: &[f64] = match method {
        Method::SyntetosBoylan => &[0.0],
        Method::TeunterSyntetosBabai => &SMOOTHING,
    };
    let pairs =
        SMOOTHING.iter().flat_map(|of_size| chances.iter().map(move |of_chance| (*of_size, *of_chance)));
    let runs = pairs.map(|(of_size, of_chance)| Run::over(&known, &demands, method, of_size, of_chance));
    let best = runs.min_by(|a, b| a.squares.total_cmp(&b.squares)).filter(|_| !demands.is_empty())?;
    let newest = &demands[demands.len().saturating_sub(SIZES)..];
    let about = best.size / (newest.iter().sum::<f64>() / newest.len() as f64);
    let mut sizes: Vec<f64> = newest.iter().map(|size| size * about).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    let fitted = Intermittent { chance: best.chance, sizes, mean: best.mean() };
    (fitted.mean.is_finite() && fitted.sizes.iter().all(|size| size.is_finite())).then_some(fitted)
}

impl Intermittent {
    /// The mean of a period.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// What demand stays below with this probability: none as long as there may be none, then the sizes that came.
    #[must_use]
    pub fn quantile(&self, level: f64) -> f64 {
        let none = 1.0 - self.chance;
        if level <= none {
            return 0.0;
        }
        let share = (level - none) / self.chance;
        let at = (share * self.sizes.len() as f64) as usize;
        self.sizes[at.min(self.sizes.len() - 1)]
    }
}

/// A way through the values with given smoothing.
struct Run {
    size: f64,
    chance: f64,
    /// What the product of size and chance is off by.
    correction: f64,
    squares: f64,
}

impl Run {
    /// Begins at the mean size and the share of periods with demand.
    fn over(known: &[f64], demands: &[f64], method: Method, of_size: f64, of_chance: f64) -> Self {
        let share = demands.len() as f64 / known.len() as f64;
        let size = demands.iter().sum::<f64>() / demands.len() as f64;
        let correction = match method {
            Method::SyntetosBoylan => 1.0 - of_size / 2.0,
            Method::TeunterSyntetosBabai => 1.0,
        };
        let mut run = Self { size, chance: share, correction, squares: 0.0 };
        let (mut interval, mut since) = (1.0 / share, 0.0);
        for value in known {
            run.squares += (value - run.mean()).powi(2);
            since += 1.0;
            let is_demand = *value != 0.0;
            if is_demand {
                run.size += of_size * (value - run.size);
                interval += of_size * (since - interval);
                since = 0.0;
            }
            run.chance = match method {
                Method::SyntetosBoylan => 1.0 / interval,
                Method::TeunterSyntetosBabai => run.chance + of_chance * (f64::from(is_demand) - run.chance),
            };
        }
        run
    }

    fn mean(&self) -> f64 {
        self.correction * self.size * self.chance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fourth_period_sells_eight() {
        let values: Vec<f64> = (0..200).map(|at| if at % 4 == 3 { 8.0 } else { 0.0 }).collect();
        for (method, most) in [(Method::SyntetosBoylan, 0.16), (Method::TeunterSyntetosBabai, 0.1)] {
            let fitted = fit(&values, method).expect("a model");
            assert!((fitted.mean() - 2.0).abs() <= most * 2.0, "{fitted:?}");
            let quantiles = [0.1, 0.5, 0.7, 0.8, 0.9].map(|level| fitted.quantile(level));
            assert_eq!(quantiles.map(|value| value > 0.0), [false, false, false, true, true], "{fitted:?}");
            assert!((quantiles[4] - 8.0).abs() < 1e-9);
        }
    }

    #[test]
    fn what_is_sold_no_more_fades_with_chances_alone() {
        let values: Vec<f64> = (0..300).map(|at| if at < 100 && at % 3 == 0 { 6.0 } else { 0.0 }).collect();
        let mean = |method| fit(&values, method).expect("a model").mean();
        assert!(mean(Method::TeunterSyntetosBabai) < 0.1 * mean(Method::SyntetosBoylan));
    }

    #[test]
    fn what_came_back_is_no_demand() {
        let values: Vec<f64> = (0..60).map(|at| [3.0, 0.0, -2.0, 0.0, 7.0][at % 5]).collect();
        for method in [Method::SyntetosBoylan, Method::TeunterSyntetosBabai] {
            let fitted = fit(&values, method).expect("a model");
            let quantiles: Vec<f64> = (1..40).map(|level| fitted.quantile(f64::from(level) / 40.0)).collect();
            assert!(quantiles.is_sorted() && quantiles[0] == 0.0 && fitted.mean() > 0.0, "{quantiles:?}");
        }
    }

    #[test]
    fn no_demand_is_no_model() {
        assert_eq!(fit(&[0.0, f64::NAN, -1.0], Method::SyntetosBoylan), None);
        assert_eq!(fit(&[], Method::TeunterSyntetosBabai), None);
    }
}
