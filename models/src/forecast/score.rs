//! What is counted when forecasts of past origins meet what came.

use domain::forecast::{Backtest, INTERVAL_80};

/// Sums over forecast days; those of several series add up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Score {
    absolute_error: f64,
    naive_absolute_error: f64,
    absolute_actual: f64,
    covered: usize,
    n: usize,
}

impl Score {
    /// Counts one day, unless it has not come or the naive forecast was not to be had.
    pub(crate) fn compare(&mut self, actual: f64, mean: f64, naive: f64, quantiles: &[f64; 11]) {
        if !(actual.is_finite() && naive.is_finite()) {
            return;
        }
        self.absolute_error += (actual - mean).abs();
        self.naive_absolute_error += (actual - naive).abs();
        self.absolute_actual += actual.abs();
        self.covered += usize::from(quantiles[INTERVAL_80.0] <= actual && actual <= quantiles[INTERVAL_80.1]);
        self.n += 1;
    }

    /// Takes in another's sums.
    pub(crate) fn add(&mut self, other: &Self) {
        self.absolute_error += other.absolute_error;
        self.naive_absolute_error += other.naive_absolute_error;
        self.absolute_actual += other.absolute_actual;
        self.covered += other.covered;
        self.n += other.n;
    }

    /// The measures; what nothing was compared for is `None`.
    pub(crate) fn measures(&self) -> Backtest {
        let share = |error: f64| (self.absolute_actual > 0.0).then(|| error / self.absolute_actual);
        Backtest {
            wape: share(self.absolute_error),
            naive_wape: share(self.naive_absolute_error),
            coverage_80: (self.n > 0).then(|| self.covered as f64 / self.n as f64),
            n: self.n,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_shares_of_what_was_compared_and_nothing_is_invented() {
        assert_eq!(Score::default().measures(), Backtest::default());
        let quantiles = [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 9.0];
        let mut score = Score::default();
        for actual in [3.0, -4.0, 1.0, 0.0] {
            score.compare(actual, 1.0, 2.0, &quantiles);
        }
        let mut doubled = score;
        doubled.add(&score);
        let expected =
            Backtest { wape: Some(1.0), naive_wape: Some(10.0 / 8.0), coverage_80: Some(0.5), n: 8 };
        assert_eq!(doubled.measures(), expected);
        let mut nothing_sold = Score::default();
        nothing_sold.compare(0.0, 0.0, 0.0, &[0.0; 11]);
        assert_eq!(nothing_sold.measures(), Backtest { coverage_80: Some(1.0), n: 1, ..Backtest::default() });
    }
}
