//! The median of a series' own past in the same season of the calendar and under the same values of chosen covariates, days closed left out.

use std::collections::HashMap;

use super::Answer;
use crate::panel::{LongSeries, Window};

/// Where the past has no such day, the median of all its open days; 0 where there is none.
pub(super) fn forecast(window: &Window<'_>) -> Vec<Answer> {
    let settings = window.settings;
    window.map(|part| {
        let series = window.series(part);
        let is_open = |row: &usize| settings.mask.is_none_or(|mask| series.covariates[mask][*row] == 1.0);
        let mut groups: HashMap<Vec<u64>, Vec<f64>> = HashMap::new();
        let mut all = Vec::new();
        for row in (0..part.known).filter(is_open).filter(|row| series.y[*row].is_finite()) {
            groups.entry(key(window, series, row)).or_default().push(series.y[row]);
            all.push(series.y[row]);
        }
        let otherwise = median(&mut all).unwrap_or(0.0);
        let medians: HashMap<Vec<u64>, f64> =
            groups.into_iter().filter_map(|(key, mut values)| Some((key, median(&mut values)?))).collect();
        let rows = part.known..part.known + settings.horizon;
        let forecasts = rows.map(|row| medians.get(&key(window, series, row)).copied().unwrap_or(otherwise));
        let mut answer = Answer::default();
        answer.quantiles[5] = forecasts.collect();
        answer
    })
}

fn key(window: &Window<'_>, series: &LongSeries, row: usize) -> Vec<u64> {
    let season = window.table.frequency.season_of(series.periods[row]);
    let by = window.settings.median_by.iter().map(|at| series.covariates[*at][row].to_bits());
    season.map(u64::from).into_iter().chain(by).collect()
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        _ if values.is_empty() => None,
        0 => Some(f64::midpoint(values[middle - 1], values[middle])),
        _ => Some(values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_even_and_odd_counts() {
        assert_eq!(
            (median(&mut []), median(&mut [3.0]), median(&mut [4.0, 1.0])),
            (None, Some(3.0), Some(2.5))
        );
        assert_eq!(median(&mut [9.0, 1.0, 2.0]), Some(2.0));
    }
}
