//! One origin of an evaluation.

use super::{LongSeries, LongTable};

/// Rows that a model of many series learns from where nothing else is said, at most.
pub const MOST_ROWS: usize = 250_000;

/// What is evaluated, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Periods in a season.
    pub season: usize,
    /// Periods ahead.
    pub horizon: usize,
    /// How many origins.
    pub windows: usize,
    /// Periods from one origin to the next.
    pub step: usize,
    /// Values that a series needs before an origin.
    pub min_train: usize,
    /// Whether forecasts below 0 become 0.
    pub clip0: bool,
    /// The covariate that is 0 where a series is closed: there each forecast is 0.
    pub mask: Option<usize>,
    /// The covariates that part a series' past into like periods, beside the season.
    pub median_by: Vec<usize>,
    /// The covariates that models look at around a period, too.
    pub shift: Vec<usize>,
    /// How forests are grown.
    pub boost: crate::boost::Config,
    /// How nets learn.
    pub net: crate::tide::Config,
    /// Rows that a model of many series learns from, at most.
    pub rows: usize,
    /// Threads.
    pub jobs: usize,
}

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
    pub(crate) fn first_origin(&self, season: usize) -> usize {
        (2 * season).min(self.known / 2)
    }
}

impl<'a> Window<'a> {
    /// The window of a number.
    pub(crate) fn new(table: &'a LongTable, settings: &'a Settings, number: usize) -> Self {
        let behind = settings.horizon + settings.step * (settings.windows - 1 - number);
        let part =
            |(at, series): (usize, &LongSeries)| Part::of(at, series, series.y.len(), behind, settings);
        let parts = table.series.iter().enumerate().filter_map(part).collect();
        Self { table, settings, number, parts }
    }

    /// The same window as it was so many rows before: of the parts that were long enough by then.
    pub(crate) fn before(&self, rows: usize) -> Self {
        let part = |part: &Part| Part::of(part.series, self.series(part), part.known, rows, self.settings);
        Self { parts: self.parts.iter().filter_map(part).collect(), ..self.clone() }
    }

    /// The same window with some of its parts.
    pub(crate) fn only(&self, is_meant: impl Fn(&Part) -> bool) -> Self {
        let parts = self.parts.iter().copied().filter(is_meant).collect();
        Self { parts, ..self.clone() }
    }

    /// The same window with so many of its parts at most, evenly picked.
    pub(crate) fn some(&self, most: usize) -> Self {
        let of = self.parts.len().max(1);
        let share = |at: usize| if of > most { at * most / of } else { at };
        let picked = self.parts.iter().enumerate().filter(|(at, _)| share(*at) != share(at + 1));
        Self { parts: picked.map(|(_, part)| *part).collect(), ..self.clone() }
    }

    /// How many rows are known of each of the table's series; none of those that take no part.
    pub(crate) fn known(&self) -> Vec<usize> {
        self.of_series(0, |part| part.known)
    }

    /// The scale of each of the table's series; NaN of those that take no part.
    pub(crate) fn scales(&self) -> Vec<f64> {
        self.of_series(f64::NAN, |part| part.scale)
    }

    fn of_series<T: Copy>(&self, none: T, of: impl Fn(&Part) -> T) -> Vec<T> {
        let mut all = vec![none; self.table.series.len()];
        self.parts.iter().for_each(|part| all[part.series] = of(part));
        all
    }

    /// Whether what is forecast is told behind the origin: behind an older one, what stands there is what came.
    pub(crate) fn foresees(&self, part: &Part) -> bool {
        part.known + self.settings.horizon >= self.series(part).y.len()
    }

    /// The series of a part.
    #[must_use]
    pub fn series(&self, part: &Part) -> &'a LongSeries {
        &self.table.series[part.series]
    }

    /// Asks each part on as many threads as are set; answers in their order.
    pub(crate) fn map<T: Send>(&self, of: impl Fn(&Part) -> T + Sync) -> Vec<T> {
        on_threads(self.settings.jobs, &self.parts, of)
    }
}

/// Asks of each item on so many threads; answers in their order.
pub(crate) fn on_threads<I: Sync, T: Send>(
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
