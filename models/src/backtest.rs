//! Rolling-origin evaluation of models on a long table, by the definitions of the field's usual Python scripts.
//!
//! The last `windows` origins lie a horizon apart, or another step; each series is cut at its own end. A series takes part in a window when it has `min_train` values
//! before the origin. Models see the rows before it and, of the covariates known for the future, those behind it. Scales come from the rows before it.
//!
//! A missing value is nobody's forecast error: it is left out of every measure.

mod predictions;
mod score;

use std::time::{Duration, Instant};

use domain::{Error, Result};
use serde::Serialize;

use crate::candidates::{Candidate, Frame};
use crate::panel::{LongTable, Settings, Window};

pub use predictions::write_parquet;
pub use score::{Measures, QuantileMeasures, measures};

/// What a model did in all windows.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Its forecasts, one frame for each window.
    pub frames: Vec<Frame>,
    /// What selection and calibration took.
    pub selection: Spent,
    /// What fit and predict took.
    pub fit: Spent,
}

/// Time that something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Wall time.
    pub wall: Duration,
    /// CPU time of the process.
    pub cpu: Duration,
}

impl Spent {
    /// Adds what making something takes.
    fn on<T>(&mut self, cpu_time: &dyn Fn() -> Duration, make: impl FnOnce() -> T) -> T {
        let (begun, cpu_before) = (Instant::now(), cpu_time());
        let made = make();
        self.wall += begun.elapsed();
        self.cpu += cpu_time().saturating_sub(cpu_before);
        made
    }
}

/// The measures of a model as they are reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelReport {
    /// Over all rows.
    #[serde(flatten)]
    pub all: Measures,
    /// Seconds of fit and predict, summed over the windows.
    pub wall_s: f64,
    /// CPU seconds of fit and predict.
    pub cpu_s: f64,
    /// Seconds of selection and calibration; 0 for a model that has neither.
    pub selection_wall_s: f64,
    /// CPU seconds of selection and calibration.
    pub selection_cpu_s: f64,
    /// Over the rows on which a series is open; none without a mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<Measures>,
    /// Of each window; none of a single one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Measures>,
}

/// The windows of a table.
///
/// # Errors
/// [`domain::ErrorKind::Invalid`] when no series is long enough for any of them.
pub fn windows<'a>(table: &'a LongTable, settings: &'a Settings) -> Result<Vec<Window<'a>>> {
    let windows: Vec<_> = (0..settings.windows).map(|number| Window::new(table, settings, number)).collect();
    if windows.iter().all(|window| window.parts.is_empty()) {
        let needed = settings.min_train + settings.horizon;
        let longest = table.series.iter().map(|series| series.y.len()).max().unwrap_or_default();
        return Err(Error::invalid(format!(
            "no series is long enough: {needed} periods are needed (--min-train and --horizon), the longest has {longest}"
        )));
    }
    Ok(windows)
}

/// Forecasts every window. `cpu_time` tells the CPU time of the process so far; `done` hears of each window.
pub fn evaluate(
    candidate: Candidate,
    windows: &[Window<'_>],
    cpu_time: &dyn Fn() -> Duration,
    done: &dyn Fn(),
) -> Evaluation {
    let (mut frames, mut selection, mut fit) = (Vec::new(), Spent::default(), Spent::default());
    for window in windows {
        let chosen = selection.on(cpu_time, || candidate.choose(window));
        let answers = fit.on(cpu_time, || candidate.forecast(window, chosen.as_ref()));
        frames.push(Frame::new(window, answers));
        done();
    }
    Evaluation { frames, selection, fit }
}

impl Evaluation {
    /// Its measures.
    #[must_use]
    pub fn report(&self, settings: &Settings) -> ModelReport {
        let of_window = |frame: &Frame| measures(std::slice::from_ref(frame), false);
        ModelReport {
            all: measures(&self.frames, false),
            wall_s: self.fit.wall.as_secs_f64(),
            cpu_s: self.fit.cpu.as_secs_f64(),
            selection_wall_s: self.selection.wall.as_secs_f64(),
            selection_cpu_s: self.selection.cpu.as_secs_f64(),
            active: settings.mask.map(|_| measures(&self.frames, true)),
            windows: if self.frames.len() > 1 {
                self.frames.iter().map(of_window).collect()
            } else {
                Vec::new()
            },
        }
    }
}

#[cfg(test)]
mod tests;
