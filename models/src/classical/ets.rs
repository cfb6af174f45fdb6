//! Seasonal exponential smoothing in innovations form (Hyndman, Koehler, Ord and Snyder, Forecasting with Exponential Smoothing, 2008), the best of a small
//! pool by AICc: level alone or with a damped trend, each without and with a season, errors and season additive, and for values above 0 multiplicative too
//! (the pool of Petropoulos et al., arXiv 2102.13209, in which trends are damped).
//!
//! Of an additive model all errors are linear in the states that it begins with. So only the one to four smoothing parameters are searched; the states
//! that are best for them are solved for, by turns. A missing value (NaN) is passed over: the states go on as if the forecast had come.

use super::minimise::minimise;

/// The longest season that has states of its own.
pub const LONGEST_SEASON: usize = 24;
/// Values that the smallest model needs.
pub const FEWEST_VALUES: usize = 6;
/// Turns of search and solution.
const TURNS: usize = 3;
/// Evaluations of a search.
const EVALUATIONS: usize = 80;
const TOLERANCE: f64 = 1e-6;
/// Where a search begins: little smoothing. The likelihood often has a second peak where the level follows each value, which is no worse in the sample and
/// forecasts worse many periods ahead.
const SLOWLY: [f64; 4] = [-4.0, -4.0, 0.0, -4.0];

/// A model of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// Whether errors and season are relative.
    pub is_multiplicative: bool,
    /// Whether there is a damped trend.
    pub has_trend: bool,
    /// Whether there is a season.
    pub is_seasonal: bool,
}

/// Smoothing parameters. Those that the form lacks are 0, and the damping 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smoothing {
    /// Of the level.
    pub alpha: f64,
    /// Of the trend, at most `alpha`.
    pub beta: f64,
    /// Of the season, at most 1 - `alpha`.
    pub gamma: f64,
    /// How much of the trend is left a period on.
    pub phi: f64,
}

/// Level, trend, and the season beginning with the next period.
#[derive(Debug, Clone, PartialEq)]
struct State {
    level: f64,
    trend: f64,
    season: Vec<f64>,
}

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// Which of the pool.
    pub form: Form,
    /// Its parameters.
    pub smoothing: Smoothing,
    /// Corrected criterion of Akaike; lower is better.
    pub aicc: f64,
    /// After the last known period.
    state: State,
    /// Standard deviation of the errors, relative ones of a multiplicative form, in units of `unit`.
    spread: f64,
    /// What the series was divided by.
    unit: f64,
}

/// Fits the best of the pool to a series with a season of so many periods. `None` where fewer than [`FEWEST_VALUES`] are known.
#[must_use]
pub fn fit(y: &[f64], season: usize) -> Option<Fitted> {
    let known: Vec<f64> = y.iter().copied().filter(|y| y.is_finite()).collect();
    if known.len() < FEWEST_VALUES {
        return None;
    }
    let unit = known.iter().map(|y| y.abs() / known.len() as f64).sum::<f64>();
    let unit = if unit > 0.0 && unit.is_finite() { unit } else { 1.0 };
    let scaled: Vec<f64> = y.iter().map(|y| y / unit).collect();
    let is_positive = known.iter().all(|y| *y > 0.0);
    let may_be_seasonal = (2..=LONGEST_SEASON).contains(&season) && known.len() >= 2 * season + 3;
    let mut best: Option<Fitted> = None;
    for is_multiplicative in [false, true] {
        for has_trend in [false, true] {
            for is_seasonal in [false, true] {
                if (is_multiplicative && !is_positive) || (is_seasonal && !may_be_seasonal) {
                    continue;
                }
                let form = Form { is_multiplicative, has_trend, is_seasonal };
                if form.parameters(season) + 2 >= known.len() {
                    continue;
                }
                let fitted = fit_form(&scaled, form, season, known.len(), unit);
                if best.as_ref().is_none_or(|best| fitted.aicc < best.aicc) {
                    best = Some(fitted);
                }
            }
        }
    }
    best
}

impl Form {
    /// Free numbers: smoothing, first states (a season's sum is the level's) and the variance.
    fn parameters(self, season: usize) -> usize {
        3 + 3 * usize::from(self.has_trend) + usize::from(self.is_seasonal) * season
    }

    /// Parameters out of unbounded numbers: alpha, then those of trend and season as far as there are.
    fn smoothing(self, at: &[f64]) -> Smoothing {
        let share = |x: f64| 1e-4 + (1.0 - 2e-4) / (1.0 + (-x).exp());
        let mut at = at.iter().copied();
        let mut next = || share(at.next().unwrap_or_default());
        let alpha = next();
        let mut smoothing = Smoothing { alpha, beta: 0.0, gamma: 0.0, phi: 1.0 };
        if self.has_trend {
            smoothing.beta = alpha * next();
            smoothing.phi = 0.8 + 0.18 * next();
        }
        if self.is_seasonal {
            smoothing.gamma = (1.0 - alpha) * next();
        }
        smoothing
    }
}

fn fit_form(y: &[f64], form: Form, season: usize, known: usize, unit: f64) -> Fitted {
    let mut first = State::guess(y, form, season);
    let (mut point, mut edge) = (SLOWLY, 1.0);
    let mut lowest = f64::INFINITY;
    for _ in 0..TURNS {
        let objective = |at: &[f64]| run(y, form, form.smoothing(at), &mut first.clone()).criterion(known);
        let (found, value) = search(form, point, edge, objective);
        point = found;
        if form.is_multiplicative || lowest - value < TOLERANCE * known as f64 {
            break;
        }
        lowest = value;
        solve_first(y, form, form.smoothing(&point), &mut first);
        edge = 0.3;
    }
    let smoothing = form.smoothing(&point);
    let mut state = first;
    let sums = run(y, form, smoothing, &mut state);
    let k = form.parameters(season) as f64;
    let n = known as f64;
    let aicc = sums.criterion(known) + 2.0 * k + 2.0 * k * (k + 1.0) / (n - k - 1.0).max(1.0);
    Fitted { form, smoothing, aicc, state, spread: (sums.squares / (n - k + 1.0).max(1.0)).sqrt(), unit }
}

/// A search in as many dimensions as the form has parameters.
fn search(form: Form, start: [f64; 4], edge: f64, of: impl Fn(&[f64]) -> f64) -> ([f64; 4], f64) {
    fn in_dimensions<const N: usize>(
        start: [f64; 4],
        edge: f64,
        of: impl Fn(&[f64]) -> f64,
    ) -> ([f64; 4], f64) {
        let mut begin = [0.0; N];
        begin.copy_from_slice(&start[..N]);
        let (found, value) = minimise(begin, [edge; N], EVALUATIONS, TOLERANCE, |at| of(at));
        let mut point = start;
        point[..N].copy_from_slice(&found);
        (point, value)
    }
    match (form.has_trend, form.is_seasonal) {
        (false, false) => in_dimensions::<1>(start, edge, of),
        (false, true) => in_dimensions::<2>(start, edge, of),
        (true, false) => in_dimensions::<3>(start, edge, of),
        (true, true) => in_dimensions::<4>(start, edge, of),
    }
}

impl State {
    /// Of the first cycles: their level, their slope where there is a trend, and what each phase has beside that.
    fn guess(y: &[f64], form: Form, season: usize) -> Self {
        let mean = |values: &mut dyn Iterator<Item = f64>| {
            let (sum, count) =
                values.filter(|y| y.is_finite()).fold((0.0, 0_usize), |(sum, count), y| (sum + y, count + 1));
            (count > 0).then(|| sum / count as f64)
        };
        let all = mean(&mut y.iter().copied()).unwrap_or_default();
        // Two halves of whole cycles, of which the slope is not the season's.
        let half = if form.is_seasonal { 2 * season } else { 5 }.min(y.len() / 2);
        let (early, late) =
            (mean(&mut y[..half].iter().copied()), mean(&mut y[half..2 * half].iter().copied()));
        let (early, late) = (early.unwrap_or(all), late.unwrap_or(all));
        let trend = if form.has_trend { (late - early) / half as f64 } else { 0.0 };
        let middle = f64::midpoint(early, late);
        let base = |at: usize| middle + trend * (at as f64 + 0.5 - half as f64);
        let beside =
            |at: usize| if form.is_multiplicative { y[at] / base(at).max(1e-3) } else { y[at] - base(at) };
        let of_phase = |phase: usize| {
            let value = mean(&mut (phase..2 * half).step_by(season).map(beside));
            let neutral = if form.is_multiplicative { 1.0 } else { 0.0 };
            value.map_or(neutral, |value| if form.is_multiplicative { value.max(1e-3) } else { value })
        };
        let season = if form.is_seasonal { (0..season).map(of_phase).collect() } else { Vec::new() };
        Self { level: base(0) - trend, trend, season }
    }

    /// What the next period is expected to be, and what of it is level and trend.
    fn expected(&self, form: Form, phase: usize, phi: f64) -> (f64, f64) {
        let base = self.level + phi * self.trend;
        match self.season.get(phase) {
            None => (base, base),
            Some(season) if form.is_multiplicative => (base * season, base),
            Some(season) => (base + season, base),
        }
    }
}

/// Sums over the known periods.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    /// Of squared errors, relative ones of a multiplicative form.
    squares: f64,
    /// Of the logarithms of the expectations, of a multiplicative form.
    logs: f64,
}

impl Sums {
    /// Twice the negative logarithm of the likelihood, but for a constant.
    fn criterion(self, known: usize) -> f64 {
        known as f64 * self.squares.max(1e-20).ln() + 2.0 * self.logs
    }
}

/// Runs through a series from the first state to the last.
fn run(y: &[f64], form: Form, smoothing: Smoothing, state: &mut State) -> Sums {
    let Smoothing { alpha, beta, gamma, phi } = smoothing;
    let cycle = state.season.len().max(1);
    let (mut sums, mut phase) = (Sums::default(), 0);
    for y in y {
        let (expected, base) = state.expected(form, phase, phi);
        let mut error = y - expected;
        if error.is_nan() {
            error = 0.0;
        } else if form.is_multiplicative {
            // A relative form that leaves the numbers above 0 is none.
            if expected <= 0.0 {
                return Sums { squares: f64::INFINITY, logs: 0.0 };
            }
            error /= expected;
            sums.logs += expected.ln();
        }
        sums.squares += error * error;
        let (per_level, per_season) = match state.season.get(phase) {
            Some(season) if form.is_multiplicative => (base, *season),
            _ if form.is_multiplicative => (base, 1.0),
            _ => (1.0, 1.0),
        };
        state.level = base + alpha * per_level * error;
        state.trend = phi * state.trend + beta * per_level * error;
        if let Some(season) = state.season.get_mut(phase) {
            *season += gamma * per_season * error;
        }
        phase = if phase + 1 == cycle { 0 } else { phase + 1 };
    }
    state.season.rotate_left(phase);
    sums
}

/// Moves the first states of an additive form to where the squared errors are least, by linear least squares with a little weight on where they are.
fn solve_first(y: &[f64], form: Form, smoothing: Smoothing, first: &mut State) {
    let Smoothing { alpha, beta, gamma, phi } = smoothing;
    let (trends, seasons) = (usize::from(form.has_trend), first.season.len());
    let count = 1 + trends + seasons;
    let cycle = seasons.max(1);
    // How the errors answer to each first state: the same recursion, begun with a one in its place and fed with nothing.
    let unit = |at: usize| (0..count).map(|of| f64::from(u8::from(of == at))).collect::<Vec<f64>>();
    let (mut levels, mut slopes) = (unit(0), if trends > 0 { unit(1) } else { vec![0.0; count] });
    let mut phases: Vec<Vec<f64>> = (0..seasons).map(|phase| unit(1 + trends + phase)).collect();
    let mut state = first.clone();
    let (mut products, mut sides) = (vec![0.0; count * count], vec![0.0; count]);
    let mut answers = vec![0.0; count];
    for (at, y) in y.iter().enumerate() {
        let phase = at % cycle;
        let (expected, base) = state.expected(form, phase, phi);
        let known = y.is_finite();
        let error = if known { y - expected } else { 0.0 };
        for of in 0..count {
            let base = levels[of] + phi * slopes[of];
            let answer = if known { base + phases.get(phase).map_or(0.0, |season| season[of]) } else { 0.0 };
            answers[of] = answer;
            levels[of] = base - alpha * answer;
            slopes[of] = phi * slopes[of] - beta * answer;
            if let Some(season) = phases.get_mut(phase) {
                season[of] -= gamma * answer;
            }
        }
        for (row, a) in answers.iter().enumerate() {
            sides[row] += a * error;
            for (product, b) in products[row * count..=row * count + row].iter_mut().zip(&answers) {
                *product += a * b;
            }
        }
        state.level = base + alpha * error;
        state.trend = phi * state.trend + beta * error;
        if let Some(season) = state.season.get_mut(phase) {
            *season += gamma * error;
        }
    }
    let weight = 1e-6 * (0..count).map(|at| products[at * count + at]).sum::<f64>() / count as f64 + 1e-12;
    (0..count).for_each(|at| products[at * count + at] += weight);
    let Some(moves) = solve(&mut products, sides) else { return };
    first.level += moves[0];
    first.trend += if trends > 0 { moves[1] } else { 0.0 };
    first.season.iter_mut().zip(&moves[1 + trends..]).for_each(|(season, by)| *season += by);
}

/// Solves a positive definite system, of whose matrix the lower half is read, after Cholesky. `None` where it is not.
fn solve(matrix: &mut [f64], mut sides: Vec<f64>) -> Option<Vec<f64>> {
    let n = sides.len();
    for row in 0..n {
        for column in 0..=row {
            let before: f64 = (0..column).map(|at| matrix[row * n + at] * matrix[column * n + at]).sum();
            let rest = matrix[row * n + column] - before;
            matrix[row * n + column] = if row == column {
                (rest > 0.0 && rest.is_finite()).then(|| rest.sqrt())?
            } else {
                rest / matrix[column * n + column]
            };
        }
    }
    for row in 0..n {
        let before: f64 = (0..row).map(|at| matrix[row * n + at] * sides[at]).sum();
        sides[row] = (sides[row] - before) / matrix[row * n + row];
    }
    for row in (0..n).rev() {
        let after: f64 = (row + 1..n).map(|at| matrix[at * n + row] * sides[at]).sum();
        sides[row] = (sides[row] - after) / matrix[row * n + row];
    }
    Some(sides)
}

impl Fitted {
    /// Means and standard deviations of the next periods. Those of a multiplicative form are of its first order.
    #[must_use]
    pub fn forecast(&self, horizon: usize) -> (Vec<f64>, Vec<f64>) {
        let Smoothing { alpha, beta, gamma, phi } = self.smoothing;
        let cycle = self.state.season.len().max(1);
        let (mut state, mut means, mut spreads) = (self.state.clone(), Vec::new(), Vec::new());
        // How much of a trend has come to be after so many periods, and the squares of what past errors still weigh.
        let (mut damped, mut sum) = (0.0, 1.0);
        for ahead in 0..horizon {
            let (expected, base) = state.expected(self.form, ahead % cycle, phi);
            means.push(expected * self.unit);
            let relative = if self.form.is_multiplicative { expected.abs() } else { 1.0 };
            spreads.push(self.spread * f64::sqrt(sum) * relative * self.unit);
            state.level = base;
            state.trend *= phi;
            damped = phi * (damped + 1.0);
            let season = if (ahead + 1) % cycle == 0 { gamma } else { 0.0 };
            let trend = if self.form.has_trend { beta * damped } else { 0.0 };
            sum += (alpha + trend + season).powi(2);
        }
        (means, spreads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_season_is_found_and_goes_on() {
        let season = [5.0, -3.0, 0.0, 2.0, -4.0, 1.0, -1.0];
        let mut noise = 7_u64;
        let mut next = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 40) as f64 / 16_777_216.0 - 0.5
        };
        let y: Vec<f64> = (0..350).map(|at| 40.0 + season[at % 7] + next()).collect();
        let fitted = fit(&y, 7).expect("a model");
        assert!(fitted.form.is_seasonal, "{fitted:?}");
        let (means, spreads) = fitted.forecast(14);
        for (ahead, mean) in means.iter().enumerate() {
            assert!((mean - 40.0 - season[ahead % 7]).abs() < 0.4, "{ahead}: {mean}");
        }
        assert!(spreads.iter().all(|spread| (0.2..0.4).contains(spread)), "{spreads:?}");
    }

    #[test]
    fn a_season_that_grows_with_the_level_is_multiplicative() {
        let season = [1.5, 0.5, 1.0, 1.2, 0.8];
        let y: Vec<f64> = (0..200)
            .map(|at| {
                (20.0 + f64::from(at)) * season[at as usize % 5] * (1.0 + 0.01 * (f64::from(at) * 1.7).sin())
            })
            .collect();
        let fitted = fit(&y, 5).expect("a model");
        assert!(fitted.form.is_multiplicative && fitted.form.is_seasonal, "{fitted:?}");
        let (means, _) = fitted.forecast(5);
        for (ahead, mean) in means.iter().enumerate() {
            assert!((mean / (220.0 * season[ahead]) - 1.0).abs() < 0.1, "{ahead}: {mean}");
        }
    }

    /// What an error adds to later forecasts is what the spread counts it for.
    #[test]
    fn spreads_count_what_errors_add_to_later_forecasts() {
        let form = Form { is_multiplicative: false, has_trend: true, is_seasonal: true };
        let smoothing = Smoothing { alpha: 0.3, beta: 0.1, gamma: 0.2, phi: 0.9 };
        let still = State { level: 10.0, trend: 0.5, season: vec![1.0, -2.0, 1.0] };
        let fitted = |state: State| Fitted { form, smoothing, aicc: 0.0, state, spread: 2.0, unit: 1.0 };
        let (expected, _) = still.expected(form, 0, smoothing.phi);
        let (mut calm, mut moved) = (still.clone(), still.clone());
        let _ = run(&[expected], form, smoothing, &mut calm);
        let _ = run(&[expected + 1.0], form, smoothing, &mut moved);
        let ((calm, _), (moved, _)) = (fitted(calm).forecast(8), fitted(moved).forecast(8));
        let (_, spreads) = fitted(still).forecast(9);
        let mut sum = 1.0;
        for (ahead, spread) in spreads.iter().enumerate() {
            assert!((spread - 2.0 * f64::sqrt(sum)).abs() < 1e-12, "{ahead}: {spread}");
            sum += calm.get(ahead).zip(moved.get(ahead)).map_or(0.0, |(calm, moved)| (moved - calm).powi(2));
        }
    }

    /// The states that are solved for are no worse than those around them.
    #[test]
    fn first_states_are_where_errors_are_least() {
        let y: Vec<f64> =
            (0..60).map(|at| f64::from(at % 5) + (f64::from(at) * 0.7).sin() + f64::from(at) * 0.1).collect();
        let form = Form { is_multiplicative: false, has_trend: true, is_seasonal: true };
        let smoothing = Smoothing { alpha: 0.2, beta: 0.05, gamma: 0.1, phi: 0.95 };
        let mut first = State::guess(&y, form, 5);
        let squares = |first: &State| run(&y, form, smoothing, &mut first.clone()).squares;
        let guessed = squares(&first);
        solve_first(&y, form, smoothing, &mut first);
        let least = squares(&first);
        assert!(least < guessed, "{least} {guessed}");
        for by in [-1e-2, 1e-2] {
            let mut others = [first.clone(), first.clone(), first.clone()];
            others[0].level += by;
            others[1].trend += by;
            others[2].season[3] += by;
            assert!(others.iter().all(|other| squares(other) >= least * (1.0 - 1e-6)), "{by}");
        }
    }

    #[test]
    fn whatever_comes_forecasts_are_finite() {
        let spiked: Vec<f64> = (0..50).map(|at| if at == 20 { 1e9 } else { f64::from(at % 7) }).collect();
        let gappy: Vec<f64> = (0..50).map(|at| if at % 3 == 0 { f64::NAN } else { 2.0 }).collect();
        for y in [
            vec![0.0; 40],
            vec![5.0; 40],
            spiked,
            gappy,
            vec![1e300; 30],
            vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            vec![-5.0; 20],
        ] {
            let fitted = fit(&y, 7).expect("a model");
            let (means, spreads) = fitted.forecast(30);
            assert!(means.iter().chain(&spreads).all(|value| value.is_finite()), "{y:?}: {fitted:?}");
        }
        assert_eq!(fit(&[1.0, f64::NAN, 2.0, 3.0, 4.0, 5.0], 7), None);
    }
}
