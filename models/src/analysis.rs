//! Any series that a question gives: what comes next in them, and what was out of the ordinary. Each is looked at as it is, without plans or weather; nothing is kept.

mod anomalies;

use domain::analysis::{Analysis, GivenSeries, Judged, Outlook};
use domain::{Error, ErrorKind, Result};

use crate::candidates::Candidate;
use crate::panel::{Frequency, LongSeries, LongTable, Settings, Window};
use crate::{boost, tide};

/// Series and values that are forecast at once: between two such lots it may be stopped, and intervals are calibrated by the lot.
const LOT: usize = 200;
const LOT_VALUES: usize = 200_000;

/// Values of all series together, at most, those that are missing among them.
const MOST_VALUES: usize = 2_000_000;

/// A value that lies farther from 0 is none: sums of its squares would be no numbers.
const MOST: f64 = 1e150;

/// Looks at series by models of one series alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct SeriesAnalysis;

impl Analysis for SeriesAnalysis {
    fn outlooks(
        &self,
        series: &[GivenSeries],
        horizon: usize,
        goes_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Outlook>> {
        let (frequency, dense) = dense(series)?;
        let mut outlooks = Vec::with_capacity(series.len());
        for lot in lots(&dense) {
            check(goes_on)?;
            let settings = settings(frequency, horizon, lot);
            let covariates = Vec::new();
            let table = LongTable { covariates, frequency, series: padded(lot, horizon), market: None };
            let window = Window::new(&table, &settings, 0);
            let answers = Candidate::Combined.forecast(&window, None);
            outlooks.extend(lot.iter().zip(answers).map(|(series, mut answer)| {
                let is_known = series.y.iter().any(|y| y.is_finite());
                let floor = if settings.clip0 { 0.0 } else { f64::NEG_INFINITY };
                let columns = answer.quantiles.iter_mut().chain([&mut answer.mean]);
                columns
                    .flatten()
                    .for_each(|value| *value = if is_known { value.max(floor) } else { f64::NAN });
                Outlook {
                    times: behind(series, frequency, horizon),
                    mean: answer.mean,
                    quantiles: answer.quantiles,
                }
            }));
        }
        Ok(outlooks)
    }

    fn anomalies(
        &self,
        series: &[GivenSeries],
        goes_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Vec<Judged>>> {
        let (frequency, dense) = dense(series)?;
        let mut judged = Vec::with_capacity(series.len());
        for series in &dense {
            check(goes_on)?;
            judged.push(anomalies::judge(&series.y, frequency.season()));
        }
        anomalies::beside_others(&dense, &mut judged);
        // Of periods that the question did not give, nothing is told.
        let given = |(of, (dense, judged)): (&GivenSeries, (&LongSeries, Vec<Judged>))| {
            let mut asked = of.times.iter().peekable();
            let is_given = |at: &i64| asked.next_if_eq(&at).is_some();
            let kept: Vec<bool> = dense.periods.iter().map(is_given).collect();
            judged.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(judged, _)| judged).collect()
        };
        Ok(series.iter().zip(dense.iter().zip(judged)).map(given).collect())
    }
}

/// Series by lots, one at least in each.
fn lots(series: &[LongSeries]) -> Vec<&[LongSeries]> {
    let (mut lots, mut from, mut values) = (Vec::new(), 0, 0);
    for (at, of) in series.iter().enumerate() {
        if at > from && (at - from >= LOT || values + of.y.len() > LOT_VALUES) {
            lots.push(&series[from..at]);
            (from, values) = (at, 0);
        }
        values += of.y.len();
    }
    lots.extend((from < series.len()).then(|| &series[from..]));
    lots
}

fn check(goes_on: &(dyn Fn() -> bool + Sync)) -> Result<()> {
    if goes_on() { Ok(()) } else { Err(Error::new(ErrorKind::Cancelled, "nobody waits for the answer")) }
}

fn settings(frequency: Frequency, horizon: usize, series: &[LongSeries]) -> Settings {
    Settings {
        season: frequency.season(),
        horizon,
        windows: 1,
        step: horizon,
        min_train: 1,
        // What was never below 0 will not be.
        clip0: !series.iter().flat_map(|series| &series.y).any(|y| *y < 0.0),
        mask: None,
        median_by: Vec::new(),
        shift: Vec::new(),
        boost: boost::Config::default(),
        net: tide::Config::default(),
        rows: 0,
        // Other questions wait for the other cores.
        jobs: 1,
    }
}

/// Each series with a value for each period from its first to its last; what was not given is missing.
fn dense(series: &[GivenSeries]) -> Result<(Frequency, Vec<LongSeries>)> {
    let frequency = Frequency::among(series.iter().map(|series| series.times.as_slice()));
    let frequency = frequency.map_err(Error::invalid)?;
    let mut count = 0;
    let mut dense = Vec::with_capacity(series.len());
    for of in series {
        let faulty = |what: String| match of.name.as_str() {
            "" => Error::invalid(what),
            name => Error::invalid(format!("series `{name}`: {what}")),
        };
        let mut made =
            LongSeries { id: of.name.clone(), periods: Vec::new(), y: Vec::new(), covariates: Vec::new() };
        let mut next = of.times.first().copied().unwrap_or_default();
        for (time, value) in of.times.iter().zip(&of.values) {
            while next < *time && count < MOST_VALUES {
                made.periods.push(next);
                made.y.push(f64::NAN);
                count += 1;
                next = frequency.after(next);
            }
            if count >= MOST_VALUES {
                return Err(Error::new(
                    ErrorKind::LimitExceeded,
                    format!(
                        "more than {MOST_VALUES} periods between the first and last times of all series: ask about fewer series or a shorter time"
                    ),
                ));
            }
            if next != *time {
                let (found, period) = (frequency.show(*time), frequency.to_string());
                return Err(faulty(format!(
                    "{found} is not a whole number of periods ({period}) after the first time"
                )));
            }
            made.periods.push(*time);
            made.y.push(if value.abs() <= MOST { *value } else { f64::NAN });
            count += 1;
            next = frequency.after(*time);
        }
        dense.push(made);
    }
    Ok((frequency, dense))
}

/// With as many missing values behind the last as are forecast.
fn padded(series: &[LongSeries], horizon: usize) -> Vec<LongSeries> {
    let pad = |series: &LongSeries| {
        let mut padded = series.clone();
        padded.y.resize(series.y.len() + horizon, f64::NAN);
        padded.periods.resize(series.y.len() + horizon, 0);
        padded
    };
    series.iter().map(pad).collect()
}

fn behind(series: &LongSeries, frequency: Frequency, horizon: usize) -> Vec<i64> {
    let last = series.periods.last().copied().unwrap_or_default();
    std::iter::successors(Some(frequency.after(last)), |at| Some(frequency.after(*at)))
        .take(horizon)
        .collect()
}

#[cfg(test)]
mod tests;
