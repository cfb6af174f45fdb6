//! Boosted forests over all series of a window: what they learn, and how their answers are read.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::pooled::{self, BEND, MOST_LEVELS, bent, size, unbent};
use super::{Answer, Sight};
use crate::boost::{self, Forest, MEAN, Target, VALUES};
use crate::features::{Features, Question, Told, View};
use crate::panel::{Part, Settings, Window, on_threads};

/// Forests that are averaged, each grown from rows and origins of its own.
const FORESTS: usize = 2;

/// How much a row may count when splits are chosen, beside the mean row.
const WEIGHTS: (f32, f32) = (0.02, 20.0);

/// Where sampling begins.
const SEED: u64 = 7;

/// Forests that have learned what came before a window's origin.
#[derive(Debug)]
pub(super) struct Forests {
    view: View,
    forests: Vec<Forest>,
}

impl Forests {
    /// Learns from the known rows of a window.
    pub(super) fn grow(window: &Window<'_>, sight: Sight) -> Self {
        let settings = window.settings;
        let view = pooled::view(settings, sight);
        let seeds: Vec<u64> = (SEED..).take(FORESTS).collect();
        let features = Features::new(window.table, &view, &window.known());
        let forests = on_threads(settings.jobs, &seeds, |seed| {
            let questions = questions(window, &features, *seed);
            let learned = features.tell(&questions);
            let target = target(window, &questions, &learned);
            Forest::grow(&learned.columns, &target, &boost::Config { seed: *seed, ..settings.boost })
        });
        Self { view, forests }
    }

    /// What was learned.
    pub(super) fn learned(&self) -> &[Forest] {
        &self.forests
    }

    /// Of what was learned.
    pub(super) fn of(forests: Vec<Forest>, settings: &Settings, sight: Sight) -> Self {
        Self { view: pooled::view(settings, sight), forests }
    }

    /// Forecasts parts of a window at the same origin or a later one. What all series did is that of the whole window.
    pub(super) fn forecast(&self, window: &Window<'_>, parts: &[Part]) -> Vec<Answer> {
        let features = Features::new(window.table, &self.view, &window.known());
        on_threads(window.settings.jobs, parts, |part| {
            let (series, origin, foresees) = (part.series, part.known, window.foresees(part));
            let ahead = |ahead| Question { series, target: origin + ahead, origin, foresees };
            answer(
                &self.forests,
                &features.tell(&(0..window.settings.horizon).map(ahead).collect::<Vec<_>>()),
            )
        })
    }
}

/// What is asked of the known rows: each on which a series is open, from an origin a random number of periods before it. The first rows of a series are no origins: too little is known there.
fn questions(window: &Window<'_>, features: &Features<'_>, seed: u64) -> Vec<Question> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let first = |part: &Part| part.first_origin(window.settings.season);
    let targets =
        |part: &Part| (first(part)..part.known).filter(|row| features.is_active(part.series, *row)).count();
    let count: usize = window.parts.iter().map(targets).sum();
    // Where something may be forecast or not, each is asked both ways.
    let ways: &[bool] = if window.table.has_forecasts() { &[false, true] } else { &[false] };
    let kept = window.settings.rows as f64 / (count * ways.len()).max(1) as f64;
    let mut questions = Vec::with_capacity(count.min(window.settings.rows));
    for part in &window.parts {
        for target in (first(part)..part.known).filter(|row| features.is_active(part.series, *row)) {
            let back = random.random_range(0..window.settings.horizon);
            let is_kept = random.random::<f64>() < kept;
            if let Some(origin) = target.checked_sub(back).filter(|origin| is_kept && *origin >= first(part))
            {
                let question =
                    |foresees: &bool| Question { series: part.series, target, origin, foresees: *foresees };
                questions.extend(ways.iter().map(question));
            }
        }
    }
    questions
}

/// Rows count as they do in scaled errors: by the level beside the series' scale.
fn target(window: &Window<'_>, questions: &[Question], told: &Told) -> Target {
    let scales = window.scales();
    let mut target = Target { start: starts(told), ..Target::default() };
    for ((question, level), like) in questions.iter().zip(&told.levels).zip(&told.like) {
        let y = window.table.series[question.series].y[question.target];
        let levels = (y / level).clamp(-MOST_LEVELS, MOST_LEVELS);
        let size = size(*level, scales[question.series]);
        target.bent.push(bent(levels) as f32);
        target.raw.push(levels as f32);
        target.size.push(size);
        // How far a step on the bent scale reaches on the other.
        target.weight.push(size * like.hypot(BEND as f32));
    }
    let mean = target.weight.iter().sum::<f32>() / target.weight.len().max(1) as f32;
    target.weight.iter_mut().for_each(|weight| *weight = (*weight / mean).clamp(WEIGHTS.0, WEIGHTS.1));
    target
}

/// All begins at what came in like periods.
fn starts(told: &Told) -> Vec<[f32; VALUES]> {
    let start = |like: &f32| {
        let like = f64::from(*like).clamp(-MOST_LEVELS, MOST_LEVELS);
        let mut start = [bent(like) as f32; VALUES];
        start[MEAN] = like as f32;
        start
    };
    told.like.iter().map(start).collect()
}

/// The mean of the forests' answers on the scales that they were grown on, in the series' unit. Averages of quantiles may cross by a little: they are sorted.
fn answer(forests: &[Forest], told: &Told) -> Answer {
    let start = starts(told);
    let made: Vec<_> = forests.iter().map(|forest| forest.predict(&told.columns, &start)).collect();
    let mut answer = Answer::default();
    for (row, level) in told.levels.iter().enumerate() {
        let average =
            |at: usize| made.iter().map(|rows| f64::from(rows[row][at])).sum::<f64>() / made.len() as f64;
        let mut quantiles: [f64; 11] = std::array::from_fn(|at| unbent(average(at)) * level);
        quantiles.sort_unstable_by(f64::total_cmp);
        answer.quantiles.iter_mut().zip(quantiles).for_each(|(column, value)| column.push(value));
        answer.mean.push(average(MEAN) * level);
    }
    answer
}
