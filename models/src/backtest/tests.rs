//! Models of many series, on a table whose plan is worth knowing.

use chrono::{Days, NaiveDate};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{evaluate, windows};
use crate::candidates::{Candidate, Frame, Sight};
use crate::panel::{Covariate, Frequency, LongTable, LongTableBuilder, MOST_ROWS, Role, Settings};
use crate::{boost, tide};

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
            let y =
                if open { 100.0 * f64::from(shop + 1) * if promo { 2.0 } else { 1.0 } * noise } else { 0.0 };
            let others = [open, promo].map(|is| u8::from(is).to_string());
            let row = (format!("shop {shop}"), (first + Days::new(day)).to_string(), y.to_string());
            builder
                .push(Some(&row.0), Some(&row.1), Some(&row.2), others.iter().map(|text| Some(text.as_str())))
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
        step: 14,
        min_train: 14,
        clip0: true,
        mask: Some(0),
        median_by: vec![1],
        shift: vec![0, 1],
        boost: boost::Config { trees: 60, ..boost::Config::default() },
        net: tide::Config { steps: 150, ..tide::Config::default() },
        rows: MOST_ROWS,
        jobs,
    }
}

/// The frames of a candidate in each window.
fn frames(table: &LongTable, jobs: usize, candidate: Candidate) -> Vec<Frame> {
    let settings = settings(jobs);
    let windows = windows(table, &settings).expect("windows");
    evaluate(candidate, &windows, &|| std::time::Duration::ZERO, &|| ()).frames
}

#[test]
fn a_plan_halves_the_error_at_least() {
    let table = table();
    let sql = |candidate| {
        let frames = frames(&table, 2, candidate);
        super::measures(&frames, false).of_quantiles.expect("quantiles").sql
    };
    let naive = sql(Candidate::SeasonalNaive);
    for of in [Candidate::Boost, Candidate::Tide] {
        let [known, alone] = [Sight::Known, Sight::Alone].map(|sight| sql(of(sight)));
        assert!(known < 0.5 * alone && alone < naive, "{known}, {alone}, {naive}");
    }
    assert!(sql(Candidate::Blend) < 0.5 * naive);
}

#[test]
fn neither_threads_nor_what_comes_change_a_forecast() {
    let table = table();
    let mut rubbish = table.clone();
    for series in &mut rubbish.series {
        let last = series.y.len() - 14;
        series.y[last..].fill(1e9);
    }
    let forecasts = |table, jobs, candidate| -> Vec<([Vec<f64>; 11], Vec<f64>)> {
        frames(table, jobs, candidate).into_iter().map(|frame| (frame.quantiles, frame.mean)).collect()
    };
    for candidate in [Candidate::Boost(Sight::Known), Candidate::Tide(Sight::Known), Candidate::Blend] {
        let made = forecasts(&table, 1, candidate);
        assert_eq!(made, forecasts(&table, 3, candidate), "{}", candidate.name());
        assert_eq!(made, forecasts(&rubbish, 2, candidate), "{}", candidate.name());
        for (quantiles, mean) in &made {
            for row in 0..mean.len() {
                let of_row: Vec<f64> = quantiles.iter().map(|column| column[row]).collect();
                assert!(of_row.is_sorted() && of_row.iter().all(|value| value.is_finite()), "{of_row:?}");
                assert!(mean[row].is_finite());
            }
        }
    }
    let alone = forecasts(&rubbish, 2, Candidate::Boost(Sight::Alone));
    assert_ne!(alone, forecasts(&rubbish, 2, Candidate::Boost(Sight::Known)));
}

#[test]
fn a_history_of_one_horizon_or_less_has_a_blend_too() {
    let mut table = table();
    for (at, series) in table.series.iter_mut().enumerate() {
        let kept = 29 + 3 * at;
        series.y.truncate(kept);
        series.periods.truncate(kept);
        series.covariates.iter_mut().for_each(|values| values.truncate(kept));
    }
    for frame in frames(&table, 2, Candidate::Blend) {
        assert!(frame.quantiles.iter().flatten().chain(&frame.mean).all(|value| value.is_finite()));
    }
}

/// Sums of such values are no numbers.
#[test]
fn a_spike_without_measure_leaves_every_forecast_finite() {
    let mut table = table();
    table.series[0].y[250] = 1e300;
    for candidate in [Candidate::Boost(Sight::Known), Candidate::Tide(Sight::Known), Candidate::Blend] {
        for frame in frames(&table, 2, candidate) {
            let of_others = |row: &usize| frame.series[*row] > 0;
            for row in (0..frame.y.len()).filter(of_others) {
                let quantiles = frame.quantiles.each_ref().map(|column| column[row]);
                assert!(
                    quantiles.iter().all(|value| (-1e6..1e6).contains(value)),
                    "{}: {quantiles:?}",
                    candidate.name()
                );
            }
            let all = frame.quantiles.iter().flatten().chain(&frame.mean);
            assert!(all.into_iter().all(|value| value.is_finite()), "{}", candidate.name());
        }
    }
}

#[test]
fn origins_lie_a_step_apart_and_the_last_a_horizon_before_the_end() {
    let table = table();
    let settings = Settings { windows: 3, step: 5, ..settings(1) };
    let windows = windows(&table, &settings).expect("windows");
    let known: Vec<usize> = windows.iter().map(|window| window.parts[0].known).collect();
    let rows = table.series[0].y.len();
    assert_eq!(known, [rows - 14 - 10, rows - 14 - 5, rows - 14]);
}

#[test]
fn so_many_parts_are_picked_evenly() {
    let table = table();
    let settings = settings(1);
    let windows = windows(&table, &settings).expect("windows");
    let picked = |most: usize| windows[0].some(most).parts.iter().map(|part| part.series).collect::<Vec<_>>();
    assert_eq!((picked(3).len(), picked(6), picked(100)), (3, (0..6).collect(), (0..6).collect()));
    assert!(picked(3).windows(2).all(|pair| pair[1] - pair[0] == 2), "{:?}", picked(3));
}
