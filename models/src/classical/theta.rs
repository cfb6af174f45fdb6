//! The dynamic optimised theta model (Fiorucci, Pellegrini, Louzada, Petropoulos and Koehler 2016, "Models for optimising the theta method and their
//! relationship to state space models"): a smoothed level, and a share of the straight line through all that came so far.
//!
//! With the smoothing given, errors are linear in the first level and in the share. Both are solved for, and one number is left to search.

use super::season::Season;

/// Smoothing that is tried; the bounds are those of the authors' own program.
const SMOOTHING: (f64, f64) = (0.1, 0.99);

/// Points that are tried over the range, and how often the steps around the best one are halved.
const POINTS: usize = 12;
const HALVINGS: usize = 8;

/// The first values tell too little of a line for their errors to count.
const UNJUDGED: usize = 2;

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct Theta {
    season: Season,
    known: usize,
    smoothing: f64,
    /// How much of the line's slope is followed: 1 - 1/theta.
    share: f64,
    state: State,
    /// Standard deviation of the errors one period ahead, season taken away.
    spread: f64,
}

/// Fits the model to values of which NaN is missing. None where fewer than six are known.
#[must_use]
pub fn fit(values: &[f64], season: usize) -> Option<Theta> {
    if values.iter().filter(|value| value.is_finite()).count() < 6 {
        return None;
    }
    let season = Season::of(values, season);
    let plain: Vec<f64> = values.iter().enumerate().map(|(at, value)| season.without(at, *value)).collect();
    let solved = |smoothing: f64| Solved::of(&plain, smoothing);
    let mut step = (SMOOTHING.1 - SMOOTHING.0) / (POINTS - 1) as f64;
    let points = (0..POINTS).map(|at| solved(SMOOTHING.0 + step * at as f64));
    let mut best = points.min_by(|a, b| a.squares.total_cmp(&b.squares))?;
    for _ in 0..HALVINGS {
        step /= 2.0;
        for near in [best.smoothing - step, best.smoothing + step] {
            let near = solved(near.clamp(SMOOTHING.0, SMOOTHING.1));
            if near.squares < best.squares {
                best = near;
            }
        }
    }
    let Solved { smoothing, first, share, squares, judged } = best;
    let mut state = State { level: first, ..State::default() };
    plain.iter().for_each(|value| state.follow(*value, smoothing));
    let spread = (squares / judged.saturating_sub(3).max(1) as f64).sqrt();
    let is_finite = [state.level, share, spread].iter().all(|value| value.is_finite());
    is_finite.then_some(Theta { season, known: values.len(), smoothing, share, state, spread })
}

/// What is best with a smoothing.
struct Solved {
    smoothing: f64,
    /// The level before the first value.
    first: f64,
    share: f64,
    squares: f64,
    judged: usize,
}

impl Solved {
    /// Least squares over the errors: each is what comes of the values alone, less what the first level and the share add.
    fn of(values: &[f64], smoothing: f64) -> Self {
        let mut state = State::default();
        let mut rows: Vec<[f64; 3]> = Vec::with_capacity(values.len());
        for (at, value) in values.iter().enumerate() {
            if at >= UNJUDGED && value.is_finite() {
                let kept = (1.0 - smoothing).powf(state.count);
                rows.push([value - state.level, kept, state.drift(smoothing)]);
            }
            state.follow(*value, smoothing);
        }
        let sum = |a: usize, b: usize| rows.iter().map(|row| row[a] * row[b]).sum::<f64>();
        let (levels, both, drifts) = (sum(1, 1), sum(1, 2), sum(2, 2));
        let (of_level, of_drift) = (sum(0, 1), sum(0, 2));
        let apart = levels * drifts - both * both;
        // Of lines that hardly differ from a level, or of none at all, nothing is followed.
        let share = if apart > 1e-12 * levels * drifts {
            ((of_drift * levels - of_level * both) / apart).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let first = if levels > 0.0 { (of_level - share * both) / levels } else { 0.0 };
        let error = |[error, level, drift]: &[f64; 3]| (error - first * level - share * drift).powi(2);
        Self { smoothing, first, share, squares: rows.iter().map(error).sum(), judged: rows.len() }
    }
}

impl Theta {
    /// Means and standard deviations of so many periods ahead, in the values' unit.
    #[must_use]
    pub fn forecast(&self, horizon: usize) -> (Vec<f64>, Vec<f64>) {
        let mut state = self.state.clone();
        let ahead = |ahead: usize| {
            let expected = state.level + self.share * state.drift(self.smoothing);
            state.follow(expected, self.smoothing);
            // As of simple exponential smoothing, whose level moves as this one's.
            let spread = self.spread * (1.0 + ahead as f64 * self.smoothing.powi(2)).sqrt();
            let at = self.known + ahead;
            (self.season.with(at, expected), spread * self.season.scale(at))
        };
        (0..horizon).map(ahead).unzip()
    }
}

/// What is known after some periods.
#[derive(Debug, Clone, Default, PartialEq)]
struct State {
    level: f64,
    /// Periods, and those of them that had a value.
    periods: f64,
    count: f64,
    /// Sums over the periods with a value: of t, t squared, y, and t times y.
    sums: [f64; 4],
}

impl State {
    /// What the whole line adds to the level for the next period.
    fn drift(&self, smoothing: f64) -> f64 {
        if self.count == 0.0 {
            return 0.0;
        }
        let [t, squares, y, products] = self.sums;
        let apart = self.count * squares - t * t;
        let slope = if apart > 0.0 { (self.count * products - t * y) / apart } else { 0.0 };
        let intercept = (y - slope * t) / self.count;
        let kept = (1.0 - smoothing).powf(self.count);
        kept * intercept + (1.0 - kept * (1.0 - smoothing)) / smoothing * slope
    }

    /// A missing value leaves all but the time as it was.
    fn follow(&mut self, value: f64, smoothing: f64) {
        self.periods += 1.0;
        if !value.is_finite() {
            return;
        }
        self.level += smoothing * (value - self.level);
        self.count += 1.0;
        let t = self.periods;
        for (sum, more) in self.sums.iter_mut().zip([t, t * t, value, t * value]) {
            *sum += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_on_and_a_level_stays() {
        let line: Vec<f64> = (0..60).map(|at| 10.0 + 2.0 * f64::from(at)).collect();
        let (mean, spreads) = fit(&line, 1).expect("a model").forecast(3);
        for (ahead, mean) in mean.iter().enumerate() {
            let expected = 130.0 + 2.0 * ahead as f64;
            assert!((mean - expected).abs() < 0.02 * expected, "{mean}, {expected}");
        }
        assert!(spreads.is_sorted());
        let (mean, _) = fit(&[5.0; 30], 7).expect("a model").forecast(2);
        assert!(mean.iter().all(|mean| (mean - 5.0).abs() < 1e-9), "{mean:?}");
    }

    #[test]
    fn a_season_is_found_in_spite_of_gaps() {
        let season = [1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 6.0];
        let value = |at: usize| if at % 11 == 5 { f64::NAN } else { 100.0 * season[at % 7] };
        let values: Vec<f64> = (0..140).map(value).collect();
        let (mean, _) = fit(&values, 7).expect("a model").forecast(7);
        for (mean, season) in mean.iter().zip(season) {
            assert!((mean - 100.0 * season).abs() < 4.0 * season, "{mean}, {season}");
        }
    }

    #[test]
    fn too_little_is_no_model() {
        assert_eq!(fit(&[1.0, 2.0, f64::NAN, 3.0, 4.0, 5.0], 7), None);
        assert!(fit(&[0.0; 6], 2).expect("a model").forecast(2).0.iter().all(|mean| *mean == 0.0));
    }
}
