//! Models of one series alone as candidates. Where one has too little to go by, the seasonal naive forecast stands in.

use domain::forecast::QUANTILES_PER_MILLE;

use super::Answer;
use super::seasonal_naive::{deviates, of_series};
use crate::classical::intermittent::{self, Method};
use crate::panel::Window;

/// Of a model that gives means and standard deviations for known values, a season and a horizon: normal intervals.
pub(super) fn normal(
    window: &Window<'_>,
    model: impl Fn(&[f64], usize, usize) -> Option<(Vec<f64>, Vec<f64>)> + Sync,
) -> Vec<Answer> {
    let deviates = deviates();
    let (season, horizon) = (window.settings.season, window.settings.horizon);
    window.map(|part| {
        let known = &window.series(part).y[..part.known];
        let Some((mean, spreads)) = model(known, season, horizon) else {
            return of_series(known, season, horizon, &deviates);
        };
        let at =
            |deviate: f64| mean.iter().zip(&spreads).map(|(mean, spread)| mean + deviate * spread).collect();
        Answer { quantiles: deviates.map(at), mean }
    })
}

/// Of a method for demand that mostly is none: the same for each period ahead.
pub(super) fn intermittent(window: &Window<'_>, method: Method) -> Vec<Answer> {
    let deviates = deviates();
    let (season, horizon) = (window.settings.season, window.settings.horizon);
    window.map(|part| {
        let known = &window.series(part).y[..part.known];
        let Some(fitted) = intermittent::fit(known, method) else {
            return of_series(known, season, horizon, &deviates);
        };
        let at = |per_mille: u16| vec![fitted.quantile(f64::from(per_mille) / 1_000.0); horizon];
        Answer { quantiles: QUANTILES_PER_MILLE.map(at), mean: vec![fitted.mean(); horizon] }
    })
}
