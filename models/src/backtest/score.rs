//! Measures of forecasts, pooled over windows.
//!
//! | Key | What |
//! |---|---|
//! | `MASE` | mean over series and windows of the mean absolute error / [`crate::panel::Part::scale`] |
//! | `WAPE` | sum of absolute errors / sum of absolute values |
//! | `sMAPE` | mean of 2 * error / (value + forecast), absolute, in per cent; 0 / 0 is 0 |
//! | `bias`, `mean_bias` | sum of the medians, or of the means, less the values / sum of the values |
//! | `RMSE`, `RMSPE` | root of the mean squared error; the same relative to values above 0 |
//! | `pinball` | by quantile, mean of twice the quantile loss, in units |
//! | `SQL` | the same / scale, meant over quantiles .1 to .9, series and windows |
//! | `WQL` | sum of twice the quantile losses / sum of absolute values, meant over quantiles |
//! | `cov80`, `cov95` | share of values within [.1, .9] and within [.025, .975] |
//! | `cov_by_q` | share of values not above the quantile |
//!
//! Errors are those of the median. What nothing was compared for is null.

use std::collections::BTreeMap;

use domain::forecast::{INTERVAL_80, QUANTILES_PER_MILLE};
use serde::Serialize;

use crate::candidates::{Frame, MEDIAN, SCORED, quantile};

/// Measures of a model; the module's table says what they are.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the module's table")]
pub struct Measures {
    pub n_points: usize,
    #[serde(rename = "MASE")]
    pub mase: Option<f64>,
    #[serde(rename = "WAPE")]
    pub wape: Option<f64>,
    #[serde(rename = "sMAPE")]
    pub smape: Option<f64>,
    pub bias: Option<f64>,
    pub mean_bias: Option<f64>,
    #[serde(rename = "RMSE")]
    pub rmse: Option<f64>,
    #[serde(rename = "RMSPE")]
    pub rmspe: Option<f64>,
    #[serde(flatten)]
    pub of_quantiles: Option<QuantileMeasures>,
}

/// Those of a model with intervals.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the module's table")]
pub struct QuantileMeasures {
    pub pinball: BTreeMap<String, f64>,
    #[serde(rename = "SQL")]
    pub sql: f64,
    #[serde(rename = "WQL")]
    pub wql: f64,
    pub cov80: f64,
    pub cov95: f64,
    pub cov_by_q: BTreeMap<String, f64>,
}

/// A row that is compared: its frame, its place there.
type At<'a> = (&'a Frame, usize);

/// The measures of a model's frames, one for each window; of the rows on which a series is open, or of all.
#[must_use]
pub fn measures(frames: &[Frame], of_active: bool) -> Measures {
    // Groups of rows, one for each series and window.
    let groups: Vec<Vec<At<'_>>> = frames.iter().flat_map(|frame| groups(frame, of_active)).collect();
    let rows = || groups.iter().flatten().copied();
    let count = rows().count();
    let y = |(frame, row): At<'_>| frame.y[row];
    let error = |(frame, row): At<'_>| frame.quantiles[MEDIAN][row] - frame.y[row];
    let mean = |sum: f64| (count > 0).then(|| sum / count as f64);
    let share = |part: f64, whole: f64| (whole != 0.0).then(|| part / whole);
    let values: f64 = rows().map(y).sum();
    let absolute: f64 = rows().map(|at| y(at).abs()).sum();
    let relative = |at: At<'_>| {
        let whole = y(at).abs() + (y(at) + error(at)).abs();
        if whole > 0.0 { 2.0 * error(at).abs() / whole } else { 0.0 }
    };
    let positive: Vec<f64> = rows().filter(|at| y(*at) > 0.0).map(|at| (error(at) / y(at)).powi(2)).collect();
    let has_mean = frames.iter().all(|frame| frame.mean.len() == frame.y.len());
    Measures {
        n_points: count,
        mase: scaled(&groups, |at| error(at).abs()),
        wape: share(rows().map(|at| error(at).abs()).sum(), absolute),
        smape: mean(100.0 * rows().map(relative).sum::<f64>()),
        bias: share(rows().map(error).sum(), values),
        mean_bias: has_mean
            .then(|| share(rows().map(|(frame, row)| frame.mean[row] - frame.y[row]).sum(), values))
            .flatten(),
        rmse: mean(rows().map(|at| error(at).powi(2)).sum()).map(f64::sqrt),
        rmspe: share(positive.iter().sum(), positive.len() as f64).map(f64::sqrt),
        of_quantiles: quantile_measures(frames, &groups, absolute),
    }
}

/// The rows of a frame by series, without those whose value is missing.
fn groups(frame: &Frame, of_active: bool) -> Vec<Vec<At<'_>>> {
    let rows: Vec<usize> = (0..frame.y.len())
        .filter(|row| frame.y[*row].is_finite() && (!of_active || frame.active[*row]))
        .collect();
    rows.chunk_by(|a, b| frame.series[*a] == frame.series[*b])
        .map(|rows| rows.iter().map(|row| (frame, *row)).collect())
        .collect()
}

/// The mean over groups of a loss in units of their scale; groups without a scale are left out.
fn scaled(groups: &[Vec<At<'_>>], loss: impl Fn(At<'_>) -> f64) -> Option<f64> {
    let of_group = |rows: &Vec<At<'_>>| {
        let (frame, first) = *rows.first()?;
        let scale = frame.scale[first];
        (scale.is_finite() && scale > 0.0)
            .then(|| rows.iter().map(|at| loss(*at)).sum::<f64>() / rows.len() as f64 / scale)
    };
    let losses: Vec<f64> = groups.iter().filter_map(of_group).collect();
    (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64)
}

fn quantile_measures(frames: &[Frame], groups: &[Vec<At<'_>>], absolute: f64) -> Option<QuantileMeasures> {
    let has_all =
        frames.iter().all(|frame| frame.quantiles.iter().all(|quantile| quantile.len() == frame.y.len()));
    let count = groups.iter().map(Vec::len).sum::<usize>() as f64;
    if !has_all || count == 0.0 {
        return None;
    }
    let rows = || groups.iter().flatten().copied();
    let within = |low: usize, high: usize| {
        let is_within = |(frame, row): &At<'_>| {
            frame.quantiles[low][*row] <= frame.y[*row] && frame.y[*row] <= frame.quantiles[high][*row]
        };
        rows().filter(is_within).count() as f64 / count
    };
    let mut measures = QuantileMeasures {
        pinball: BTreeMap::new(),
        sql: 0.0,
        wql: 0.0,
        cov80: within(INTERVAL_80.0, INTERVAL_80.1),
        cov95: within(0, QUANTILES_PER_MILLE.len() - 1),
        cov_by_q: BTreeMap::new(),
    };
    let scored = SCORED.count() as f64;
    for at in SCORED {
        let (q, name) = quantile(at);
        let loss = |(frame, row): At<'_>| {
            let below = frame.y[row] - frame.quantiles[at][row];
            2.0 * (q * below).max((q - 1.0) * below)
        };
        let pinball = rows().map(loss).sum::<f64>() / count;
        measures.sql += scaled(groups, loss)? / scored;
        measures.wql += pinball / scored / (absolute / count);
        let covered = rows().filter(|(frame, row)| frame.y[*row] <= frame.quantiles[at][*row]).count();
        measures.cov_by_q.insert(name.clone(), covered as f64 / count);
        measures.pinball.insert(name, pinball);
    }
    Some(measures)
}
