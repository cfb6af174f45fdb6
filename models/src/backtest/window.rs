//! One origin of an evaluation.

use super::{LongSeries, LongTable, Settings};

/// The rows that lie before and behind an origin, of the series that are long enough.
#[derive(Debug, Clone)]
pub struct Window<'a> {
    /// All series, with all their rows.
    pub table: &'a LongTable,
    /// How it is evaluated.
    pub settings: &'a Settings,
    /// Its number; 0 is the earliest.
    pub number: usize,
    /// The series that take part, in the order of the table.
    pub parts: Vec<Part>,
}

/// A series in a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Which of the table's series.
    pub series: usize,
    /// How many rows lie before the origin.
    pub known: usize,
    /// Mean absolute error of the seasonal naive forecast inside the known rows, by a lag of one where they are no longer than a season; NaN for a single row.
    pub scale: f64,
}

impl Part {
    /// A series of which all but the last of some rows are known; none where those are too few.
    fn of(at: usize, series: &LongSeries, rows: usize, unknown: usize, settings: &Settings) -> Option<Self> {
        let known = rows.checked_sub(unknown).filter(|known| *known >= settings.min_train.max(1))?;
        Some(Self { series: at, known, scale: naive_error(&series.y[..known], settings.season) })
    }

    /// The first row that is an origin to learn from: too little is known at those before it.
    pub(super) fn first_origin(&self, season: usize) -> usize {
        (2 * season).min(self.known / 2)
    }
}

impl<'a> Window<'a> {
    /// The window of a number.
    pub(super) fn new(table: &'a LongTable, settings: &'a Settings, number: usize) -> Self {
        let behind = settings.horizon * (settings.windows - number);
        let part =
            |(at, series): (usize, &LongSeries)| Part::of(at, series, series.y.len(), behind, settings);
        let parts = table.series.iter().enumerate().filter_map(part).collect();
        Self { table, settings, number, parts }
    }

    /// The same window as it was so many rows before: of the parts that were long enough by then.
    pub(super) fn before(&self, rows: usize) -> Self {
        let part = |part: &Part| Part::of(part.series, self.series(part), part.known, rows, self.settings);
        Self { parts: self.parts.iter().filter_map(part).collect(), ..self.clone() }
    }

    /// How many rows are known of each of the table's series; none of those that take no part.
    pub(super) fn known(&self) -> Vec<usize> {
        self.of_series(0, |part| part.known)
    }

    /// The scale of each of the table's series; NaN of those that take no part.
    pub(super) fn scales(&self) -> Vec<f64> {
        self.of_series(f64::NAN, |part| part.scale)
    }

    fn of_series<T: Copy>(&self, none: T, of: impl Fn(&Part) -> T) -> Vec<T> {
        let mut all = vec![none; self.table.series.len()];
        self.parts.iter().for_each(|part| all[part.series] = of(part));
        all
    }

    /// The series of a part.
    #[must_use]
    pub fn series(&self, part: &Part) -> &'a LongSeries {
        &self.table.series[part.series]
    }

    /// Asks each part on as many threads as are set; answers in their order.
    pub(super) fn map<T: Send>(&self, of: impl Fn(&Part) -> T + Sync) -> Vec<T> {
        on_threads(self.settings.jobs, &self.parts, of)
    }
}

/// Asks of each item on so many threads; answers in their order.
pub(super) fn on_threads<I: Sync, T: Send>(
    threads: usize,
    items: &[I],
    of: impl Fn(&I) -> T + Sync,
) -> Vec<T> {
    let share = items.len().div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = items
            .chunks(share)
            .map(|items| scope.spawn(|| items.iter().map(&of).collect::<Vec<T>>()))
            .collect();
        let joined = threads.into_iter().flat_map(|thread| match thread.join() {
            Ok(answers) => answers,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    })
}

fn naive_error(known: &[f64], season: usize) -> f64 {
    let lag = if known.len() > season { season } else { 1 };
    let errors = known
        .iter()
        .skip(lag)
        .zip(known)
        .map(|(y, before)| (y - before).abs())
        .filter(|error| error.is_finite());
    let (sum, count) = errors.fold((0.0, 0_usize), |(sum, count), error| (sum + error, count + 1));
    sum / count as f64
}
