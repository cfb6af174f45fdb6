//! The last season again. Intervals are normal, with the spread of the in-sample errors, which grows with the root of the seasons ahead (Hyndman and
//! Athanasopoulos, Forecasting: principles and practice, section 5.5).

use domain::forecast::QUANTILES_PER_MILLE;
use statrs::distribution::{ContinuousCDF, Normal};

use super::Answer;
use crate::panel::Window;

pub(super) fn forecast(window: &Window<'_>) -> Vec<Answer> {
    let deviates = deviates();
    let (season, horizon) = (window.settings.season, window.settings.horizon);
    window.map(|part| of_series(&window.series(part).y[..part.known], season, horizon, &deviates))
}

/// The standard normal values at [`QUANTILES_PER_MILLE`].
pub(super) fn deviates() -> [f64; 11] {
    let normal = Normal::standard();
    QUANTILES_PER_MILLE.map(|per_mille| normal.inverse_cdf(f64::from(per_mille) / 1_000.0))
}

/// Where a season is not known whole, the last value stands for what is missing.
pub(super) fn of_series(known: &[f64], season: usize, horizon: usize, deviates: &[f64; 11]) -> Answer {
    let last = known.iter().rev().copied().find(|y| y.is_finite()).unwrap_or(0.0);
    let spread = spread(known, season);
    let mut answer = Answer::default();
    for ahead in 0..horizon {
        let seasons = ahead / season;
        let value = (known.len() + ahead)
            .checked_sub(season * (seasons + 1))
            .map(|at| known[at])
            .filter(|y| y.is_finite());
        let spread = value.map_or(0.0, |_| spread * ((seasons + 1) as f64).sqrt());
        let value = value.unwrap_or(last);
        answer.mean.push(value);
        for (quantile, deviate) in answer.quantiles.iter_mut().zip(deviates) {
            quantile.push(value + deviate * spread);
        }
    }
    answer
}

fn spread(known: &[f64], season: usize) -> f64 {
    let errors = known
        .iter()
        .skip(season)
        .zip(known)
        .map(|(y, before)| (y - before).powi(2))
        .filter(|error| error.is_finite());
    let (sum, count) = errors.fold((0.0, 0_usize), |(sum, count), error| (sum + error, count + 1));
    if count == 0 { 0.0 } else { (sum / count as f64).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_season_comes_again_and_its_spread_grows_by_season() {
        let mut deviates = [0.0; 11];
        deviates[10] = 2.0;
        let known = [1.0, 2.0, 4.0, 4.0, 5.0];
        let answer = of_series(&known, 2, 5, &deviates);
        assert_eq!(answer.mean, [4.0, 5.0, 4.0, 5.0, 4.0]);
        // Errors 3, 2, 1.
        let spread = (14.0_f64 / 3.0).sqrt();
        let upper = [4.0, 5.0, 4.0, 5.0, 4.0].map(|mean: f64| mean);
        for (ahead, (found, mean)) in answer.quantiles[10].iter().zip(upper).enumerate() {
            assert!((found - mean - 2.0 * spread * ((ahead / 2 + 1) as f64).sqrt()).abs() < 1e-12, "{ahead}");
        }
    }

    #[test]
    fn less_than_a_season_is_filled_with_the_last_value() {
        let answer = of_series(&[7.0, 3.0], 3, 4, &[1.0; 11]);
        assert_eq!(answer.mean, [3.0, 7.0, 3.0, 3.0]);
        assert_eq!(answer.quantiles[0], answer.mean);
        assert_eq!(of_series(&[f64::NAN], 3, 2, &[1.0; 11]).mean, [0.0, 0.0]);
    }
}
