//! Forecasts of a window beside what came.

use domain::forecast::{INTERVAL_80, QUANTILES_PER_MILLE};

use super::Answer;
use crate::panel::{Period, Window};

/// The quantiles that losses are taken over: .1 to .9.
pub(crate) const SCORED: std::ops::RangeInclusive<usize> = INTERVAL_80.0..=INTERVAL_80.1;

/// Where the median stands among the quantiles.
pub(crate) const MEDIAN: usize = 5;

/// The forecasts of a window, after the rules of the evaluation were applied: row by row, those of a series together.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Which of the table's series.
    pub series: Vec<usize>,
    /// Its period.
    pub periods: Vec<Period>,
    /// What came.
    pub y: Vec<f64>,
    /// Values at [`domain::forecast::QUANTILES_PER_MILLE`]; all empty but the median for a model without intervals.
    pub quantiles: [Vec<f64>; 11],
    /// The mean; empty for a model that has none.
    pub mean: Vec<f64>,
    /// The scale of the series in this window.
    pub scale: Vec<f64>,
    /// Whether the series is open.
    pub active: Vec<bool>,
    /// The window's number.
    pub window: usize,
}

impl Frame {
    /// Of a window and the answers for its parts, in their order.
    pub(crate) fn new(window: &Window<'_>, answers: Vec<Answer>) -> Self {
        let mut frame = Self {
            series: Vec::new(),
            periods: Vec::new(),
            y: Vec::new(),
            quantiles: Default::default(),
            mean: Vec::new(),
            scale: Vec::new(),
            active: Vec::new(),
            window: window.number,
        };
        for (part, answer) in window.parts.iter().zip(answers) {
            let series = window.series(part);
            let rows = part.known..part.known + window.settings.horizon;
            let is_open =
                |row: usize| window.settings.mask.is_none_or(|mask| series.covariates[mask][row] != 0.0);
            let settled = |values: Vec<f64>| {
                let floor = if window.settings.clip0 { 0.0 } else { f64::NEG_INFINITY };
                let settle =
                    move |(row, value): (usize, f64)| if is_open(row) { value.max(floor) } else { 0.0 };
                rows.clone().zip(values).map(settle).collect::<Vec<f64>>()
            };
            for (column, values) in frame.quantiles.iter_mut().zip(answer.quantiles) {
                column.extend(settled(values));
            }
            frame.mean.extend(settled(answer.mean));
            for row in rows.clone() {
                frame.series.push(part.series);
                frame.periods.push(series.periods[row]);
                frame.y.push(series.y[row]);
                frame.scale.push(part.scale);
                frame.active.push(is_open(row));
            }
        }
        frame
    }
}

/// A quantile's probability, as a number and as columns and reports name it: `0.1`, `0.025`.
pub(crate) fn quantile(at: usize) -> (f64, String) {
    let q = f64::from(QUANTILES_PER_MILLE[at]) / 1_000.0;
    (q, q.to_string())
}
