//! Boosted forests over all series of a window: what they learn, and how their answers are read.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::window::on_threads;
use super::{Answer, Part, Sight, Window};
use crate::boost::{self, Forest, MEAN, Target, VALUES};
use crate::features::{Features, Question, Told, View};

/// Rows that a forest learns from, at most.
const MOST_ROWS: usize = 250_000;

/// Forests that are averaged, each grown from rows and origins of its own.
const FORESTS: usize = 2;

/// Quantiles are boosted on a bent scale, in levels: below this, values count by their difference; above, by their ratio.
const BEND: f64 = 0.1;

/// No value is told that is more levels away from 0: what is, is a fault of the file, and sums of it would be no numbers.
const MOST_LEVELS: f64 = 1e6;

/// How much a row may count when splits are chosen, beside the mean row.
const WEIGHTS: (f32, f32) = (0.02, 20.0);

/// Where sampling begins.
const SEED: u64 = 7;

/// Forecasts the parts of a window.
pub(super) fn forecast(window: &Window<'_>, sight: Sight) -> Vec<Answer> {
    let settings = window.settings;
    let told_of_plans = sight != Sight::Alone;
    let view = View {
        season: settings.season,
        horizon: settings.horizon,
        mask: settings.mask,
        by: if told_of_plans { settings.median_by.clone() } else { Vec::new() },
        around: settings.shift.clone(),
        known: told_of_plans,
        oracle: sight == Sight::Oracle,
    };
    let mut known = vec![0; window.table.series.len()];
    window.parts.iter().for_each(|part| known[part.series] = part.known);
    let features = Features::new(window.table, &view, &known);
    let seeds: Vec<u64> = (SEED..).take(FORESTS).collect();
    let forests = on_threads(settings.jobs, &seeds, |seed| {
        let questions = questions(window, &features, *seed);
        let learned = features.tell(&questions);
        let target = target(window, &questions, &learned);
        Forest::grow(&learned.columns, &target, &boost::Config { seed: *seed, ..settings.boost })
    });
    window.map(|part| {
        let ahead = |ahead| Question { series: part.series, target: part.known + ahead, origin: part.known };
        answer(&forests, &features.tell(&(0..settings.horizon).map(ahead).collect::<Vec<_>>()))
    })
}

/// What is asked of the known rows: each on which a series is open, from an origin a random number of periods before it. The first rows of a series are no
/// origins: too little is known there.
fn questions(window: &Window<'_>, features: &Features<'_>, seed: u64) -> Vec<Question> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let first = |part: &Part| (2 * window.settings.season).min(part.known / 2);
    let targets =
        |part: &Part| (first(part)..part.known).filter(|row| features.is_active(part.series, *row)).count();
    let count: usize = window.parts.iter().map(targets).sum();
    let kept = MOST_ROWS as f64 / count.max(1) as f64;
    let mut questions = Vec::with_capacity(count.min(MOST_ROWS));
    for part in &window.parts {
        for target in (first(part)..part.known).filter(|row| features.is_active(part.series, *row)) {
            let back = random.random_range(0..window.settings.horizon);
            let is_kept = random.random::<f64>() < kept;
            if let Some(origin) = target.checked_sub(back).filter(|origin| is_kept && *origin >= first(part))
            {
                questions.push(Question { series: part.series, target, origin });
            }
        }
    }
    questions
}

/// Rows count as they do in scaled errors: by the level beside the series' scale.
fn target(window: &Window<'_>, questions: &[Question], told: &Told) -> Target {
    let mut scales = vec![f64::NAN; window.table.series.len()];
    window.parts.iter().for_each(|part| scales[part.series] = part.scale);
    let mut target = Target { start: starts(told), ..Target::default() };
    for ((question, level), like) in questions.iter().zip(&told.levels).zip(&told.like) {
        let y = window.table.series[question.series].y[question.target];
        let levels = (y / level).clamp(-MOST_LEVELS, MOST_LEVELS);
        let size =
            Some(level / scales[question.series]).filter(|size| size.is_finite()).unwrap_or(1.0) as f32;
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

fn bent(levels: f64) -> f64 {
    (levels / BEND).asinh()
}

/// The mean of the forests' answers on the scales that they were grown on, in the series' unit. Averages of quantiles may cross by a little: they are sorted.
fn answer(forests: &[Forest], told: &Told) -> Answer {
    let start = starts(told);
    let made: Vec<_> = forests.iter().map(|forest| forest.predict(&told.columns, &start)).collect();
    let most = bent(MOST_LEVELS);
    let mut answer = Answer::default();
    for (row, level) in told.levels.iter().enumerate() {
        let average =
            |at: usize| made.iter().map(|rows| f64::from(rows[row][at])).sum::<f64>() / made.len() as f64;
        let mut quantiles: [f64; 11] =
            std::array::from_fn(|at| BEND * average(at).clamp(-most, most).sinh() * level);
        quantiles.sort_unstable_by(f64::total_cmp);
        answer.quantiles.iter_mut().zip(quantiles).for_each(|(column, value)| column.push(value));
        answer.mean.push(average(MEAN) * level);
    }
    answer
}

#[cfg(test)]
mod tests {
    use chrono::{Days, NaiveDate};

    use super::super::{
        Candidate, Covariate, Frequency, LongTable, LongTableBuilder, Role, Settings, evaluate, windows,
    };
    use super::*;

    /// Shops that sell twice as much on days of a promotion, and nothing on Sundays.
    fn table() -> LongTable {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let covariates = ["open", "promo"].map(|name| Covariate { name: name.to_owned(), role: Role::Known });
        let mut builder = LongTableBuilder::new(Frequency::Daily, covariates.to_vec());
        let first = NaiveDate::from_ymd_opt(2023, 1, 2).expect("a date");
        for shop in 0..6 {
            for day in 0..300_u64 {
                let (open, promo) = (day % 7 != 6, random.random::<f32>() < 0.4);
                let noise = 0.8 + 0.4 * random.random::<f64>();
                let y = if open {
                    100.0 * f64::from(shop + 1) * if promo { 2.0 } else { 1.0 } * noise
                } else {
                    0.0
                };
                let others = [open, promo].map(|is| u8::from(is).to_string());
                let row = (format!("shop {shop}"), (first + Days::new(day)).to_string(), y.to_string());
                builder
                    .push(
                        Some(&row.0),
                        Some(&row.1),
                        Some(&row.2),
                        others.iter().map(|text| Some(text.as_str())),
                    )
                    .expect("a row");
            }
        }
        builder.finish().expect("a table")
    }

    fn settings(jobs: usize) -> Settings {
        Settings {
            season: 7,
            horizon: 14,
            windows: 2,
            min_train: 14,
            clip0: true,
            mask: Some(0),
            median_by: vec![1],
            shift: vec![0, 1],
            boost: boost::Config { trees: 60, ..boost::Config::default() },
            jobs,
        }
    }

    fn forecasts(table: &LongTable, jobs: usize, sight: Sight) -> Vec<Vec<Answer>> {
        let settings = settings(jobs);
        windows(table, &settings).expect("windows").iter().map(|window| forecast(window, sight)).collect()
    }

    #[test]
    fn a_plan_halves_the_error_at_least() {
        let table = table();
        let settings = settings(2);
        let windows = windows(&table, &settings).expect("windows");
        let sql = |candidate| {
            let none = || std::time::Duration::ZERO;
            let report = evaluate(candidate, &windows, &none, &|| ()).report(&settings);
            report.all.of_quantiles.expect("quantiles").sql
        };
        let [known, alone] = [Sight::Known, Sight::Alone].map(|sight| sql(Candidate::Boost(sight)));
        let naive = sql(Candidate::SeasonalNaive);
        assert!(known < 0.5 * alone && alone < naive, "{known}, {alone}, {naive}");
    }

    #[test]
    fn neither_threads_nor_what_comes_change_a_forecast() {
        let table = table();
        let made = forecasts(&table, 1, Sight::Known);
        assert_eq!(made, forecasts(&table, 3, Sight::Known));
        let mut rubbish = table.clone();
        for series in &mut rubbish.series {
            let last = series.y.len() - 14;
            series.y[last..].fill(1e9);
        }
        assert_eq!(made[1], forecasts(&rubbish, 2, Sight::Known)[1]);
        assert_ne!(made[1], forecasts(&rubbish, 2, Sight::Alone)[1]);
        for answer in made.iter().flatten() {
            for ahead in 0..14 {
                let quantiles: Vec<f64> = answer.quantiles.iter().map(|column| column[ahead]).collect();
                assert!(
                    quantiles.is_sorted() && quantiles.iter().all(|value| value.is_finite()),
                    "{quantiles:?}"
                );
                assert!(answer.mean[ahead].is_finite());
            }
        }
    }
}
