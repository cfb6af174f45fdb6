//! Global nets over all series of a window: what they learn, and how their answers are read.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::pooled::{self, BEND, MOST_LEVELS, bent, size, unbent};
use super::{Answer, Sight};
use crate::features::{Features, Question, Told, View};
use crate::panel::{Part, Settings, Window, on_threads};
use crate::tide::{Came, Config, Layer, Net, Read, VALUES};

/// Nets that are averaged, each from a seed of its own.
const NETS: u64 = 2;

/// How much a period may count beside the mean one.
const WEIGHTS: (f32, f32) = (0.02, 20.0);

/// The mean begins at no less, in levels: it is learned as a ratio.
const LEAST_START: f64 = 0.02;

/// Columns are told in spreads from their means, up to this many.
const MOST_SPREADS: f32 = 4.0;

/// Rows at either end of a column that its mean and spread leave aside: one in so many.
const ASIDE: usize = 200;

/// Parts that are answered at once: what is told of them is held in memory.
const AT_ONCE: usize = 64;

/// An origin of a series: the series, how many of its rows are known, and whether it foresees what could be forecast.
type Origin = (usize, usize, bool);

/// How columns are brought to scale, and the layers of the nets.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Learned {
    columns: Vec<Column>,
    nets: Vec<Vec<Layer>>,
}

/// Nets that have learned what came before a window's origin.
#[derive(Debug)]
pub(super) struct Nets {
    view: View,
    columns: Vec<Column>,
    nets: Vec<Net>,
}

impl Nets {
    /// Learns from the known rows of a window.
    pub(super) fn learn(window: &Window<'_>, sight: Sight) -> Self {
        let settings = window.settings;
        let view = pooled::view(settings, sight);
        let features = Features::new(window.table, &view, &window.known());
        let origins = origins(window);
        if origins.is_empty() {
            return Self { view, columns: Vec::new(), nets: Vec::new() };
        }
        let told = tell(&features, &origins, settings.horizon);
        let columns: Vec<Column> = told.columns.values.iter().map(|values| Column::of(values)).collect();
        let read = read(&features, &origins, &told, &columns, settings.horizon);
        let came = came(window, &features, &origins, &told);
        let of_seed = |at: &u64| {
            let config = Config { seed: settings.net.seed + at, ..settings.net };
            Net::learn(&read, &came, &config)
        };
        let nets = on_threads(settings.jobs, &(0..NETS).collect::<Vec<_>>(), of_seed);
        Self { view, columns, nets }
    }

    /// What was learned.
    pub(super) fn learned(&self) -> Learned {
        Learned { columns: self.columns.clone(), nets: self.nets.iter().map(Net::layers).collect() }
    }

    /// Of what was learned; none where that is not what nets learn.
    pub(super) fn of(learned: Learned, settings: &Settings, sight: Sight) -> Option<Self> {
        let nets = learned.nets.iter().map(|layers| Net::of(layers)).collect::<Option<_>>()?;
        Some(Self { view: pooled::view(settings, sight), columns: learned.columns, nets })
    }

    /// Forecasts parts of a window at the same origin or a later one. What all series did is that of the whole window.
    pub(super) fn forecast(&self, window: &Window<'_>, parts: &[Part]) -> Vec<Answer> {
        let horizon = window.settings.horizon;
        let features = Features::new(window.table, &self.view, &window.known());
        let of_parts = |parts: &&[Part]| -> Vec<Answer> {
            let origin = |part: &Part| (part.series, part.known, window.foresees(part));
            let origins: Vec<Origin> = parts.iter().map(origin).collect();
            let told = tell(&features, &origins, horizon);
            let read = read(&features, &origins, &told, &self.columns, horizon);
            let made: Vec<_> = self.nets.iter().map(|net| net.predict(&read)).collect();
            let rows = |part: usize| part * horizon..(part + 1) * horizon;
            (0..parts.len()).map(|part| answer(&made, &told, rows(part))).collect()
        };
        let parts: Vec<&[Part]> = parts.chunks(AT_ONCE).collect();
        on_threads(window.settings.jobs, &parts, of_parts).into_iter().flatten().collect()
    }
}

/// The origins that are learned from: as many as give the rows that there may be, by chance; where something may be forecast or not, each both ways. Of the newest ones only the first periods ahead have come.
fn origins(window: &Window<'_>) -> Vec<Origin> {
    let of_part = |part: &Part| {
        let series = part.series;
        (part.first_origin(window.settings.season)..part.known).map(move |origin| (series, origin, false))
    };
    let mut origins: Vec<Origin> = window.parts.iter().flat_map(of_part).collect();
    let ways = 1 + usize::from(window.table.has_forecasts());
    let kept = window.settings.rows as f64 / (origins.len() * ways * window.settings.horizon) as f64;
    let mut random = ChaCha8Rng::seed_from_u64(window.settings.net.seed);
    origins.retain(|_| random.random::<f64>() < kept);
    if window.table.has_forecasts() {
        let foreseeing: Vec<Origin> =
            origins.iter().map(|(series, origin, _)| (*series, *origin, true)).collect();
        origins.extend(foreseeing);
    }
    origins
}

/// What is told of each period ahead of each origin.
fn tell(features: &Features<'_>, origins: &[Origin], horizon: usize) -> Told {
    let ahead = |origin: &Origin| {
        let (series, origin, foresees) = *origin;
        (0..horizon).map(move |ahead| Question { series, target: origin + ahead, origin, foresees })
    };
    features.tell(&origins.iter().flat_map(ahead).collect::<Vec<_>>())
}

fn read(
    features: &Features<'_>,
    origins: &[Origin],
    told: &Told,
    columns: &[Column],
    horizon: usize,
) -> Read {
    let mut read = Read { horizon, ..Read::default() };
    origins.iter().for_each(|(series, origin, _)| features.newest(*series, *origin, &mut read.past));
    for (row, like) in told.like.iter().enumerate() {
        let like = f64::from(*like).clamp(-MOST_LEVELS, MOST_LEVELS);
        read.start.push(bent(like) as f32);
        read.start_mean.push(like.max(LEAST_START).ln() as f32);
        columns
            .iter()
            .zip(&told.columns.values)
            .for_each(|(column, values)| column.push(values[row], &mut read.steps));
    }
    read
}

fn came(window: &Window<'_>, features: &Features<'_>, origins: &[Origin], told: &Told) -> Came {
    let (scales, known, horizon) = (window.scales(), window.known(), window.settings.horizon);
    let mut came = Came::default();
    for (row, (level, like)) in told.levels.iter().zip(&told.like).enumerate() {
        let (series, origin, _) = origins[row / horizon];
        let target = origin + row % horizon;
        let counts = f32::from(u8::from(target < known[series] && features.is_active(series, target)));
        let y = Some(window.table.series[series].y[target] / level).filter(|_| counts > 0.0).unwrap_or(0.0);
        let levels = y.clamp(-MOST_LEVELS, MOST_LEVELS);
        let size = size(*level, scales[series]);
        came.bent.push(bent(levels) as f32);
        came.raw.push(levels as f32);
        came.size.push(size * counts);
        // How far a step on the bent scale reaches on the other.
        came.weight
            .push(size * like.clamp(-MOST_LEVELS as f32, MOST_LEVELS as f32).hypot(BEND as f32) * counts);
    }
    for weights in [&mut came.weight, &mut came.size] {
        let counted = || weights.iter().filter(|weight| **weight > 0.0);
        let mean = counted().sum::<f32>() / counted().count().max(1) as f32;
        let beside =
            |weight: f32| if weight > 0.0 { (weight / mean).clamp(WEIGHTS.0, WEIGHTS.1) } else { 0.0 };
        weights.iter_mut().for_each(|weight| *weight = beside(*weight));
    }
    came
}

/// How a column is brought to the scale of the others.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Column {
    mean: f32,
    spread: f32,
    has_missing: bool,
}

impl Column {
    fn of(values: &[f32]) -> Self {
        let mut there: Vec<f32> = values.iter().copied().filter(|value| value.is_finite()).collect();
        let has_missing = there.len() < values.len();
        there.sort_unstable_by(f32::total_cmp);
        let aside = there.len() / ASIDE;
        let (Some(low), Some(high)) = (there.get(aside), there.get(there.len().saturating_sub(1 + aside)))
        else {
            return Self { mean: 0.0, spread: 1.0, has_missing };
        };
        let clamped = || there.iter().map(|value| f64::from(value.clamp(*low, *high)));
        let mean = clamped().sum::<f64>() / there.len() as f64;
        let variance = clamped().map(|value| (value - mean).powi(2)).sum::<f64>() / there.len() as f64;
        let spread = Some(variance.sqrt() as f32).filter(|spread| *spread > 0.0).unwrap_or(1.0);
        Self { mean: mean as f32, spread, has_missing }
    }

    /// Whether a value is there is a value of its own where some are not.
    fn push(&self, value: f32, into: &mut Vec<f32>) {
        let is_there = value.is_finite();
        let spreads = ((value - self.mean) / self.spread).clamp(-MOST_SPREADS, MOST_SPREADS);
        into.push(if is_there { spreads } else { 0.0 });
        if self.has_missing {
            into.push(f32::from(u8::from(is_there)));
        }
    }
}

/// The mean of the nets' answers on the scales that they learned on, in the series' unit.
fn answer(made: &[Vec<[f32; VALUES]>], told: &Told, rows: std::ops::Range<usize>) -> Answer {
    let mut answer = Answer::default();
    for row in rows {
        let level = told.levels[row];
        let average =
            |at: usize| made.iter().map(|rows| f64::from(rows[row][at])).sum::<f64>() / made.len() as f64;
        answer
            .quantiles
            .iter_mut()
            .enumerate()
            .for_each(|(at, column)| column.push(unbent(average(at)) * level));
        answer.mean.push(average(VALUES - 1) * level);
    }
    answer
}
