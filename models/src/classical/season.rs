//! A season taken away from values and given back: classical decomposition (Makridakis, Wheelwright and Hyndman 1998, chapter 3).

/// Autocorrelation beyond this many standard errors shows a season, as in the theta method of the M3 competition (Assimakopoulos and Nikolopoulos 2000).
const SHOWN: f64 = 1.645;

/// What each place in the season adds, or how many times the level it has.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Season {
    None,
    Added(Vec<f64>),
    Times(Vec<f64>),
}

impl Season {
    /// The season of values of which NaN is missing; none where they are less than two of it and one more, or show none. Times where all are above 0.
    pub(super) fn of(values: &[f64], season: usize) -> Self {
        if season < 2 || values.len() <= 2 * season || !is_shown(values, season) {
            return Self::None;
        }
        let is_positive = values.iter().all(|value| value.is_nan() || *value > 0.0);
        let smooth = smooth(values, season);
        let mut sums = vec![(0.0, 0.0); season];
        for (at, (value, smooth)) in values.iter().zip(smooth).enumerate() {
            let part = if is_positive { value / smooth } else { value - smooth };
            if part.is_finite() {
                sums[at % season].0 += part;
                sums[at % season].1 += 1.0;
            }
        }
        let nothing = f64::from(u8::from(is_positive));
        let parts = sums.iter().map(|(sum, count)| if *count > 0.0 { sum / count } else { nothing });
        let parts: Vec<f64> = parts.collect();
        let mean = parts.iter().sum::<f64>() / season as f64;
        if is_positive {
            Self::Times(parts.into_iter().map(|part| part / mean).collect())
        } else {
            Self::Added(parts.into_iter().map(|part| part - mean).collect())
        }
    }

    /// A period's value without its season.
    pub(super) fn without(&self, at: usize, value: f64) -> f64 {
        match self {
            Self::None => value,
            Self::Added(parts) => value - parts[at % parts.len()],
            Self::Times(parts) => value / parts[at % parts.len()],
        }
    }

    /// A period's value with its season.
    pub(super) fn with(&self, at: usize, value: f64) -> f64 {
        match self {
            Self::Added(parts) => value + parts[at % parts.len()],
            Self::None | Self::Times(_) => value * self.scale(at),
        }
    }

    /// How many times as much a change without the season is with it.
    pub(super) fn scale(&self, at: usize) -> f64 {
        match self {
            Self::None | Self::Added(_) => 1.0,
            Self::Times(parts) => parts[at % parts.len()],
        }
    }
}

fn is_shown(values: &[f64], season: usize) -> bool {
    let known = || values.iter().filter(|value| value.is_finite());
    let count = known().count() as f64;
    let mean = known().sum::<f64>() / count;
    let off: Vec<f64> =
        values.iter().map(|value| if value.is_finite() { value - mean } else { 0.0 }).collect();
    let all: f64 = off.iter().map(|off| off * off).sum();
    let correlation = |lag: usize| off.iter().skip(lag).zip(&off).map(|(a, b)| a * b).sum::<f64>() / all;
    let nearer: f64 = (1..season).map(|lag| correlation(lag).powi(2)).sum();
    all > 0.0 && correlation(season).abs() > SHOWN * ((1.0 + 2.0 * nearer) / count).sqrt()
}

/// The moving average over a season around each period, the outer two by halves where a season is even; NaN at both ends and where nothing is known.
fn smooth(values: &[f64], season: usize) -> Vec<f64> {
    let half = season / 2;
    let around = |at: usize| {
        let begin = at.checked_sub(half)?;
        let window = values.get(begin..=at + half)?;
        let weight = |place: usize| {
            if season.is_multiple_of(2) && (place == 0 || place == season) { 0.5 } else { 1.0 }
        };
        let known = window.iter().enumerate().filter(|(_, value)| value.is_finite());
        let (sum, weights) = known.fold((0.0, 0.0), |(sum, weights), (place, value)| {
            (sum + weight(place) * value, weights + weight(place))
        });
        Some(sum / weights)
    };
    (0..values.len()).map(|at| around(at).unwrap_or(f64::NAN)).collect()
}
