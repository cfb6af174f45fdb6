//! Seasonal exponential smoothing as a candidate. A series too short for it gets the seasonal naive forecast.

use super::seasonal_naive::{deviates, of_series};
use super::{Answer, Window};
use crate::classical::ets::fit;

pub(super) fn forecast(window: &Window<'_>) -> Vec<Answer> {
    let deviates = deviates();
    let (season, horizon) = (window.settings.season, window.settings.horizon);
    window.map(|part| {
        let known = &window.series(part).y[..part.known];
        let Some(fitted) = fit(known, season) else { return of_series(known, season, horizon, &deviates) };
        let (mean, spreads) = fitted.forecast(horizon);
        let at =
            |deviate: f64| mean.iter().zip(&spreads).map(|(mean, spread)| mean + deviate * spread).collect();
        Answer { quantiles: deviates.map(at), mean }
    })
}
