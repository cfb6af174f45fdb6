//! What may come of an article: its sample paths from the evening on in which is decided.

use domain::decision::StoredForecast;

use crate::forecast::CAP_FACTOR;
use crate::forecast::paths::{PATHS, Scenarios, seed_of, spread};

const SEASON_DAYS: usize = 7;
/// The probabilities of the two outermost quantiles.
const INNER: f64 = 0.9;
const OUTER: f64 = 0.975;

/// Units by day and path.
#[derive(Debug, Clone)]
pub(super) struct Future {
    /// Of the days between the forecast's origin and the decision.
    passed: Vec<[f32; PATHS]>,
    /// Of those behind the decision; never empty.
    days: Vec<[f32; PATHS]>,
}

impl Future {
    /// The paths of a stored forecast, as they were when it was made. `known` is the history up to its origin, `passed` the number of days that have come
    /// since. None when the forecast ends there.
    pub(super) fn of(
        scenarios: &Scenarios,
        forecast: &StoredForecast,
        known: &[f64],
        passed: usize,
    ) -> Option<Self> {
        let most = CAP_FACTOR * known.iter().copied().fold(0.0, f64::max);
        let spreads = forecast
            .days
            .iter()
            .map(|(mean, quantiles)| with_tail(spread(quantiles, *mean, most), quantiles, most));
        let mut days = scenarios.paths(known, seed_of(&forecast.store, &forecast.sku), spreads);
        let passed: Vec<_> = days.drain(..passed.min(days.len())).collect();
        (!days.is_empty()).then_some(Self { passed, days })
    }

    /// With the same units on all days of each path.
    #[cfg(test)]
    pub(super) fn even(units: [f32; PATHS]) -> Self {
        Self { passed: Vec::new(), days: vec![units] }
    }

    #[cfg(test)]
    pub(super) fn from_days(days: Vec<[f32; PATHS]>) -> Self {
        Self { passed: Vec::new(), days }
    }

    /// The units of a day, 0 the first behind the decision. Days that lie behind the forecast repeat its last week.
    pub(super) fn on(&self, ahead: usize) -> &[f32; PATHS] {
        let there = self.days.len();
        let Some(beyond) = ahead.checked_sub(there) else { return &self.days[ahead] };
        let week = there.min(SEASON_DAYS);
        &self.days[there - week + beyond % week]
    }

    /// What all days between the forecast's origin and the decision come to in each path; none where there are none.
    pub(super) fn passed(&self) -> Option<[f64; PATHS]> {
        (!self.passed.is_empty()).then(|| sum(self.passed.iter()))
    }

    /// What the first days behind the decision come to in each path.
    pub(super) fn first(&self, days: usize) -> [f64; PATHS] {
        sum((0..days).map(|ahead| self.on(ahead)))
    }
}

/// Values of a spread with an upper tail that goes on as it began: exponential, with as much between the two outermost quantiles as they have. The spread itself ends
/// where the mean asks it to, which says little of single rare days.
fn with_tail(mut spread: [f32; PATHS], quantiles: &[f64; 11], most: f64) -> [f32; PATHS] {
    let [.., inner, outer] = *quantiles;
    let (from, to) = (1.0 - INNER, 1.0 - OUTER);
    let scale = (outer - inner) / (from / to).ln();
    for (path, value) in spread.iter_mut().enumerate() {
        let above = 1.0 - (path as f64 + 0.5) / PATHS as f64;
        if above < to {
            let tail = outer + scale * (to / above).ln();
            *value = value.max(tail.min(most) as f32);
        }
    }
    spread
}

fn sum<'a>(days: impl Iterator<Item = &'a [f32; PATHS]>) -> [f64; PATHS] {
    let mut sums = [0.0; PATHS];
    for day in days {
        sums.iter_mut().zip(day).for_each(|(sum, units)| *sum += f64::from(*units));
    }
    sums
}

/// The mean over the paths.
pub(super) fn mean(values: &[f64; PATHS]) -> f64 {
    values.iter().sum::<f64>() / PATHS as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_goes_on_as_it_began_and_no_further_than_can_be() {
        let quantiles = std::array::from_fn(|at| if at < 9 { 0.0 } else { 10.0 * (at - 8) as f64 });
        let plain = spread(&quantiles, 0.0, 1e6);
        let tailed = with_tail(plain, &quantiles, 1e6);
        assert_eq!((plain[PATHS - 1], &plain[..195]), (20.0, &tailed[..195]));
        // From 0.9 to 0.975 there are 10: from 0.975 to 0.9975, a tenth as much above, ln 10 / ln 4 times as many.
        let last = 20.0 + 10.0 * 10_f64.ln() / 4_f64.ln();
        assert!((f64::from(tailed[PATHS - 1]) - last).abs() < 0.01, "{tailed:?}");
        assert_eq!(with_tail(plain, &quantiles, 21.0)[PATHS - 1], 21.0);
        assert_eq!(with_tail([0.0; PATHS], &[0.0; 11], 5.0), [0.0; PATHS]);
    }

    #[test]
    fn days_behind_the_forecast_repeat_its_last_week() {
        let days: Vec<_> = (0..10_u8).map(|day| [f32::from(day); PATHS]).collect();
        let future = Future::from_days(days);
        let on = |ahead: usize| future.on(ahead)[0];
        assert_eq!((on(0), on(9), on(10), on(16), on(17)), (0.0, 9.0, 3.0, 9.0, 3.0));
        assert_eq!(future.first(11)[0], 48.0);
        assert_eq!(Future::even([2.0; PATHS]).first(30)[7], 60.0);
    }
}
