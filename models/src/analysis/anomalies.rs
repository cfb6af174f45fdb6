//! What is out of the ordinary in a series: values far from what it has at such a time, levels that changed and stay, and values unlike those of other series.
//!
//! What a series has at such a time is a running median and the median of its place in the season; how far values lie from it is measured in median absolute deviations
//! (Hampel, The influence curve and its role in robust estimation, Journal of the American Statistical Association 69, 1974), on the scale of square roots, where counts spread
//! alike at every level (Anscombe, The transformation of Poisson, binomial and negative-binomial data, Biometrika 35, 1948). What comes seldom is judged by its sizes.

use std::collections::HashMap;

use domain::analysis::{AnomalyKind, Judged};

use crate::panel::{LongSeries, Period};

/// Spreads from what is expected beyond which a value is out of the ordinary.
const FAR: f64 = 5.0;

/// Spreads of a difference of levels beyond which a level has changed, and the least change, as a share.
const LEVEL_FAR: f64 = 4.0;
const LEAST_CHANGE: f64 = 0.15;

/// Sizes of what comes seldom differ at least by this much, as ratios.
const LEAST_SPREAD_OF_SIZES: f64 = 0.25;

/// Values that anything can be told by.
const FEWEST: usize = 10;

/// Series beside which another is looked at.
const FEWEST_OTHERS: usize = 5;

/// A standard deviation of normal values beside the median of their absolute deviations, and beside the mean.
const OF_MEDIAN: f64 = 1.4826;
const OF_MEAN: f64 = 1.2533;

/// Spreads from the middle of a level beyond which a value counts for it no more.
const COUNTS_FOR_LEVEL: f64 = 3.0;

/// Judges each value of a dense series; NaN is missing, and nothing is told of it.
pub(super) fn judge(y: &[f64], season: usize) -> Vec<Judged> {
    let mut judged = vec![Judged::default(); y.len()];
    if y.iter().filter(|y| y.is_finite()).count() < FEWEST {
        return judged;
    }
    if is_seldom(y) {
        judge_sizes(y, &mut judged);
        return judged;
    }
    let scale = Scale::of(y);
    let x: Vec<f64> = y.iter().map(|y| scale.on(*y)).collect();
    let trend = running_median(&x, width(season));
    let of_season = seasonal(&x, &trend, season);
    let expected: Vec<f64> = trend.iter().zip(&of_season).map(|(trend, season)| trend + season).collect();
    let off: Vec<f64> = x.iter().zip(&expected).map(|(x, expected)| x - expected).collect();
    let Some(spread) = spread(&off, scale.least_spread) else { return judged };
    for (at, judged) in judged.iter_mut().enumerate().filter(|(at, _)| y[*at].is_finite()) {
        let score = off[at] / spread;
        judged.expected = Some(scale.back(expected[at]));
        judged.bounds =
            Some((scale.back(expected[at] - FAR * spread), scale.back(expected[at] + FAR * spread)));
        judged.score = Some(score);
        judged.kind =
            (score.abs() > FAR).then_some(if score > 0.0 { AnomalyKind::Spike } else { AnomalyKind::Dip });
    }
    let without: Vec<f64> = x.iter().zip(&of_season).map(|(x, season)| x - season).collect();
    for (at, kind) in levels(&without, &off, spread, season, &scale) {
        judged[at].kind.get_or_insert(kind);
    }
    judged
}

/// Whether more values are 0 than not: 0 is no dip of such a series then, and a value no spike.
fn is_seldom(y: &[f64]) -> bool {
    let known = || y.iter().filter(|y| y.is_finite());
    known().all(|y| *y >= 0.0) && 2 * known().filter(|y| **y == 0.0).count() > known().count()
}

/// Judges what comes seldom by its sizes alone, on the scale of ratios.
fn judge_sizes(y: &[f64], judged: &mut [Judged]) {
    let sizes: Vec<f64> = y.iter().filter(|y| **y > 0.0).map(|y| y.ln_1p()).collect();
    if sizes.len() < FEWEST {
        return;
    }
    let middle = median(&mut sizes.clone());
    let off: Vec<f64> = sizes.iter().map(|size| size - middle).collect();
    let Some(spread) = spread(&off, LEAST_SPREAD_OF_SIZES) else { return };
    for (judged, y) in judged.iter_mut().zip(y).filter(|(_, y)| **y > 0.0) {
        let score = (y.ln_1p() - middle) / spread;
        *judged = Judged {
            expected: Some(middle.exp_m1()),
            bounds: Some((0.0, (middle + FAR * spread).exp_m1())),
            score: Some(score),
            score_beside_others: None,
            kind: (score > FAR).then_some(AnomalyKind::Spike),
        };
    }
}

/// Tells of each value how far it lies from its own series beside how far others do at that time.
pub(super) fn beside_others(series: &[LongSeries], judged: &mut [Vec<Judged>]) {
    let mut at_time: HashMap<Period, Vec<f64>> = HashMap::new();
    let all = series.iter().zip(judged.iter()).flat_map(|(series, judged)| series.periods.iter().zip(judged));
    for (period, score) in all.filter_map(|(period, judged)| Some((*period, judged.score?))) {
        at_time.entry(period).or_default().push(score);
    }
    let of_others: HashMap<Period, (f64, f64)> = at_time
        .into_iter()
        .filter(|(_, scores)| scores.len() > FEWEST_OTHERS)
        .map(|(period, mut scores)| {
            let middle = median(&mut scores);
            let mut off: Vec<f64> = scores.iter().map(|score| (score - middle).abs()).collect();
            (period, (middle, (OF_MEDIAN * median(&mut off)).max(1.0)))
        })
        .collect();
    for (series, judged) in series.iter().zip(judged) {
        for (period, judged) in series.periods.iter().zip(judged) {
            let (Some(score), Some((middle, spread))) = (judged.score, of_others.get(period)) else {
                continue;
            };
            let beside = (score - middle) / spread;
            judged.score_beside_others = Some(beside);
            if beside.abs() > FAR {
                judged.kind.get_or_insert(AnomalyKind::UnlikeOthers);
            }
        }
    }
}

/// The scale that values are looked at on: roots where none is below 0.
struct Scale {
    is_root: bool,
    /// What values spread at least: whole numbers no less than those that come at random.
    least_spread: f64,
}

impl Scale {
    fn of(y: &[f64]) -> Self {
        let known = || y.iter().filter(|y| y.is_finite());
        let is_root = known().all(|y| *y >= 0.0);
        let are_counts = is_root && known().all(|y| y.fract() == 0.0);
        Self { is_root, least_spread: if are_counts { 1.0 } else { 0.0 } }
    }

    fn on(&self, y: f64) -> f64 {
        if self.is_root { 2.0 * (y + 0.375).sqrt() } else { y }
    }

    fn back(&self, x: f64) -> f64 {
        if self.is_root { ((x.max(0.0) / 2.0).powi(2) - 0.375).max(0.0) } else { x }
    }
}

/// Values that a trend is the median of: two seasons, unless those are years of weeks, in which a trend goes up and down.
fn width(season: usize) -> usize {
    const LEAST: usize = 13;
    if season > 24 { LEAST } else { (2 * season + 1).max(LEAST) }
}

/// The median of the values around each, as many as there are at the ends; of the whole where there are none.
fn running_median(x: &[f64], width: usize) -> Vec<f64> {
    let whole = median(&mut x.to_vec());
    let half = width / 2;
    let around = |at: usize| {
        let (from, to) = (at.saturating_sub(half), (at + half + 1).min(x.len()));
        let value = median(&mut x[from..to].to_vec());
        if value.is_finite() { value } else { whole }
    };
    (0..x.len()).map(around).collect()
}

/// What each place in the season has more than the trend, in its middle; nothing where a season has not come three times.
fn seasonal(x: &[f64], trend: &[f64], season: usize) -> Vec<f64> {
    if season < 2 || x.len() < 3 * season {
        return vec![0.0; x.len()];
    }
    let off: Vec<f64> = x.iter().zip(trend).map(|(x, trend)| x - trend).collect();
    let of_place = |place: usize| {
        let middle = median(&mut off.iter().skip(place).step_by(season).copied().collect::<Vec<f64>>());
        if middle.is_finite() { middle } else { 0.0 }
    };
    let places: Vec<f64> = (0..season).map(of_place).collect();
    (0..x.len()).map(|at| places[at % season]).collect()
}

/// How far values spread, in standard deviations of normal ones; none where they do not.
fn spread(off: &[f64], least: f64) -> Option<f64> {
    let mut far: Vec<f64> = off.iter().filter(|off| off.is_finite()).map(|off| off.abs()).collect();
    let mean = far.iter().sum::<f64>() / far.len() as f64;
    let middle = median(&mut far);
    let spread = if middle > 0.0 { OF_MEDIAN * middle } else { OF_MEAN * mean };
    Some(spread.max(least)).filter(|spread| spread.is_finite() && *spread > 0.0)
}

/// Where levels changed: the means of three seasons before and behind a place differ by far, more than anywhere near. No value counts for more than those that come at random.
fn levels(
    without: &[f64],
    off: &[f64],
    spread: f64,
    season: usize,
    scale: &Scale,
) -> Vec<(usize, AnomalyKind)> {
    let width = (3 * season).clamp(8, 48);
    let memory = memory(off, spread);
    // Values that follow each other alike tell less than as many that do not.
    let of_difference = spread * (2.0 / width as f64).sqrt() * ((1.0 + memory) / (1.0 - memory)).sqrt();
    let middle = |from: usize, to: usize| {
        let mut values = without[from..to].to_vec();
        let middle = median(&mut values);
        let bound = COUNTS_FOR_LEVEL * spread;
        values.iter().map(|value| value.clamp(middle - bound, middle + bound)).sum::<f64>()
            / values.len() as f64
    };
    let changes: Vec<f64> = (0..without.len())
        .map(|at| {
            if at < width || at + width > without.len() {
                return 0.0;
            }
            let (before, behind) = (middle(at - width, at), middle(at, at + width));
            let (low, high) = (scale.back(before.min(behind)), scale.back(before.max(behind)));
            let is_great = high.abs() * (1.0 - LEAST_CHANGE) > low;
            let change = (behind - before) / of_difference;
            if is_great && change.is_finite() { change } else { 0.0 }
        })
        .collect();
    let is_greatest = |at: &usize| {
        let near = &changes[at.saturating_sub(width)..(at + width).min(changes.len())];
        let first = at.saturating_sub(width);
        let greatest = near.iter().enumerate().max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs()));
        // Of several alike, the last one: it is where the new level begins.
        greatest.is_some_and(|(place, _)| first + place == *at)
    };
    let far = (0..changes.len()).filter(|at| changes[*at].abs() > LEVEL_FAR && without[*at].is_finite());
    far.filter(is_greatest)
        .map(|at| (at, if changes[at] > 0.0 { AnomalyKind::LevelUp } else { AnomalyKind::LevelDown }))
        .collect()
}

/// What a value's distance from what is expected tells of the next one's: the correlation of neighbours, no value counting for more than those that come at random. A running median takes some of it away, which
/// is given back.
fn memory(off: &[f64], spread: f64) -> f64 {
    let bounded = |off: &f64| off.clamp(-COUNTS_FOR_LEVEL * spread, COUNTS_FOR_LEVEL * spread);
    let pairs = || off.windows(2).filter(|pair| pair[0].is_finite() && pair[1].is_finite());
    let products: f64 = pairs().map(|pair| bounded(&pair[0]) * bounded(&pair[1])).sum();
    let squares: f64 = pairs().map(|pair| bounded(&pair[0]).powi(2)).sum();
    if squares > 0.0 { (products / squares + 0.15).clamp(0.0, 0.9) } else { 0.0 }
}

/// The median of those that are numbers; NaN of none.
fn median(values: &mut Vec<f64>) -> f64 {
    values.retain(|value| value.is_finite());
    let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
    let (below, middle, _) = values.select_nth_unstable_by(last.div_ceil(2), f64::total_cmp);
    if last % 2 == 0 {
        *middle
    } else {
        middle.midpoint(below.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }
}
