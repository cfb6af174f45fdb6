use domain::analysis::AnomalyKind;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, Normal, Poisson};

use super::*;

const DAY: i64 = 86_400_000_000;
/// A Monday.
const FIRST: i64 = 19_723 * DAY;

fn series(name: &str, values: Vec<f64>) -> GivenSeries {
    let times = (0..values.len() as i64).map(|day| FIRST + day * DAY).collect();
    GivenSeries { name: name.to_owned(), times, values }
}

fn judged(series: &[GivenSeries]) -> Vec<Vec<Judged>> {
    SeriesAnalysis.anomalies(series, &|| true).expect("series")
}

fn kinds(judged: &[Judged]) -> Vec<(usize, AnomalyKind)> {
    judged.iter().enumerate().filter_map(|(at, of)| Some((at, of.kind?))).collect()
}

/// A year of days about a level with a week, by what comes at random.
fn year(seed: u64, level: impl Fn(usize) -> f64, of: impl Fn(f64, &mut ChaCha8Rng) -> f64) -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let week = [0.8, 0.9, 1.0, 1.0, 1.1, 1.4, 0.8];
    (0..365).map(|day| of(level(day) * week[day % 7], &mut random)).collect()
}

fn poisson(mean: f64, random: &mut ChaCha8Rng) -> f64 {
    Poisson::new(mean.max(1e-9)).expect("a mean").sample(random)
}

/// A negative binomial of which the variance is mean + mean squared / 3.
fn erratic(mean: f64, random: &mut ChaCha8Rng) -> f64 {
    let rate = Gamma::new(3.0, mean / 3.0).expect("a shape").sample(random);
    poisson(rate, random)
}

fn amounts(mean: f64, random: &mut ChaCha8Rng) -> f64 {
    (mean * (1.0 + Normal::new(0.0, 0.2).expect("a spread").sample(random))).max(0.0)
}

#[test]
fn what_comes_at_random_is_rarely_out_of_the_ordinary() {
    type Draw = fn(f64, &mut ChaCha8Rng) -> f64;
    let draws: [(&str, Draw, f64); 6] = [
        ("seldom", erratic, 0.3),
        ("poisson 3", poisson, 3.0),
        ("poisson 40", poisson, 40.0),
        ("erratic 2", erratic, 2.0),
        ("erratic 30", erratic, 30.0),
        ("amounts", amounts, 900.0),
    ];
    for (name, draw, level) in draws {
        let (mut points, mut levels, mut days) = (0, 0, 0);
        for seed in 0..60 {
            // The level rises by half over the year: a trend is no change of level.
            let values = year(seed, |day| level * (1.0 + 0.5 * day as f64 / 365.0), draw);
            let found = kinds(&judged(&[series("a", values)])[0]);
            let is_level = |(_, kind): &&(usize, AnomalyKind)| {
                matches!(kind, AnomalyKind::LevelUp | AnomalyKind::LevelDown)
            };
            levels += found.iter().filter(is_level).count();
            points += found.iter().filter(|of| !is_level(of)).count();
            days += 365;
        }
        eprintln!("{name}: {points} points and {levels} levels of {days} days");
        assert!(points * 1_000 <= days, "{name}: {points} of {days}");
        assert!(levels <= 6, "{name}: {levels} of 60 years");
    }
}

#[test]
fn what_is_out_of_the_ordinary_is_found_where_it_was_put() {
    let (mut spikes, mut dips, mut ups, mut downs) = (0, 0, 0, 0);
    for seed in 0..40 {
        let mut values = year(seed, |_| 40.0, poisson);
        values[100] *= 3.0;
        values[200] = 0.0;
        let found = kinds(&judged(&[series("a", values)])[0]);
        spikes += usize::from(found.contains(&(100, AnomalyKind::Spike)));
        dips += usize::from(found.contains(&(200, AnomalyKind::Dip)));
        let near = |values: Vec<f64>, kind: AnomalyKind| {
            let found = kinds(&judged(&[series("a", values)])[0]);
            usize::from(found.iter().any(|(at, of)| *of == kind && at.abs_diff(180) <= 5))
        };
        ups += near(year(seed, |day| if day < 180 { 900.0 } else { 1_300.0 }, amounts), AnomalyKind::LevelUp);
        downs += near(year(seed, |day| if day < 180 { 40.0 } else { 25.0 }, poisson), AnomalyKind::LevelDown);
    }
    eprintln!("{spikes} spikes, {dips} dips, {ups} ups, {downs} downs of 40");
    assert!(spikes == 40 && dips == 40, "{spikes} spikes and {dips} dips");
    assert!(ups >= 36 && downs >= 36, "{ups} up and {downs} down");
}

#[test]
fn a_store_is_held_against_the_others() {
    // On a day on which all stores but one are shut, this one is unlike the others, and they are dips of their own.
    let stores = (0..8).map(|store| {
        let mut values = year(store, |_| 60.0, poisson);
        if store != 3 {
            values[150] = 0.0;
        }
        series(&format!("store {store}"), values)
    });
    let judged = judged(&stores.collect::<Vec<_>>());
    for (store, judged) in judged.iter().enumerate() {
        let expected = if store == 3 { AnomalyKind::UnlikeOthers } else { AnomalyKind::Dip };
        assert_eq!(judged[150].kind, Some(expected), "store {store}: {:?}", judged[150]);
        let beside = judged[150].score_beside_others.expect("eight stores");
        assert_eq!(beside.abs() > 5.0, store == 3, "store {store}: {beside}");
    }
}

#[test]
fn what_comes_seldom_is_judged_by_its_sizes() {
    let mut values: Vec<f64> =
        (0..200).map(|day| if day % 7 == 3 { 10.0 + f64::from(day % 3) } else { 0.0 }).collect();
    values[101] = 400.0;
    let judged = &judged(&[series("a", values)])[0];
    assert_eq!(kinds(judged), [(101, AnomalyKind::Spike)]);
    assert_eq!((judged[0], judged[3].expected.map(f64::round)), (Judged::default(), Some(11.0)));
}

#[test]
fn of_too_little_nothing_is_told_and_gaps_are_left_out() {
    assert_eq!(judged(&[series("a", vec![1.0; 9])])[0], [Judged::default(); 9]);
    let calm = judged(&[series("a", vec![4.5; 30])]);
    assert!(calm[0].iter().all(|of| of.kind.is_none()), "{calm:?}");
    let mut gapped = series("a", year(1, |_| 40.0, poisson));
    gapped.values[77] = 500.0;
    gapped.times.remove(50);
    gapped.values.remove(50);
    gapped.values[20] = f64::NAN;
    let judged = &judged(&[gapped.clone()])[0];
    assert_eq!(judged.len(), 364);
    assert_eq!(judged[20], Judged::default());
    assert_eq!(kinds(judged), [(76, AnomalyKind::Spike)]);
    let (low, high) = judged[0].bounds.expect("bounds");
    assert!(low < judged[0].expected.expect("a middle") && high > judged[0].expected.expect("a middle"));
}

fn outlooks(series: &[GivenSeries], horizon: usize) -> Vec<Outlook> {
    SeriesAnalysis.outlooks(series, horizon, &|| true).expect("series")
}

#[test]
fn what_comes_next_follows_the_week_and_is_held_by_its_intervals() {
    let all: Vec<GivenSeries> =
        (0..30).map(|seed| series(&seed.to_string(), year(seed, |_| 40.0, poisson))).collect();
    let known: Vec<GivenSeries> = all.iter().map(|of| series(&of.name, of.values[..337].to_vec())).collect();
    let made = outlooks(&known, 28);
    let (mut held, mut days, mut off, mut naive) = (0, 0, 0.0, 0.0);
    for (made, all) in made.iter().zip(&all) {
        assert_eq!(made.times, all.times[337..]);
        for day in 0..28 {
            let y = all.values[337 + day];
            let of = |at: usize| made.quantiles[at][day];
            assert!((1..11).all(|at| of(at - 1) <= of(at)), "crossing");
            held += usize::from(of(1) <= y && y <= of(9));
            off += (made.mean[day] - y).abs();
            naive += (all.values[337 + day - 7 * (1 + day / 7)] - y).abs();
            days += 1;
        }
    }
    let held = held as f64 / f64::from(days);
    assert!((0.75..0.87).contains(&held), "{held} of what came lies within the 80 % interval");
    assert!(off < 0.8 * naive, "off by {off}, the week before by {naive}");
}

#[test]
fn times_tell_how_far_they_lie_apart() {
    let of = |times: &[&str]| {
        let day = |text: &&str| {
            chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M")
                .expect("a time")
                .and_utc()
                .timestamp_micros()
        };
        let times: Vec<i64> = times.iter().map(day).collect();
        let values = vec![3.0; times.len()];
        let made =
            SeriesAnalysis.outlooks(&[GivenSeries { name: "a".to_owned(), times, values }], 1, &|| true);
        made.map(|made| {
            chrono::DateTime::from_timestamp_micros(made[0].times[0]).expect("a time").naive_utc().to_string()
        })
        .map_err(|error| error.to_string())
    };
    assert_eq!(of(&["2024-01-01 00:00", "2024-01-04 00:00"]).as_deref(), Ok("2024-01-05 00:00:00"));
    assert_eq!(of(&["2024-01-01 00:00", "2024-01-15 00:00"]).as_deref(), Ok("2024-01-22 00:00:00"));
    assert_eq!(of(&["2024-01-01 00:00", "2024-03-01 00:00"]).as_deref(), Ok("2024-04-01 00:00:00"));
    assert_eq!(of(&["2024-01-01 00:00", "2024-01-01 05:00"]).as_deref(), Ok("2024-01-01 06:00:00"));
    assert_eq!(of(&["2024-01-01 00:00"]).as_deref(), Ok("2024-01-02 00:00:00"));
    assert_eq!(
        of(&["2024-01-01 00:00", "2024-01-01 00:05"]),
        Err("times are hours, days, weeks or months: cut them by date_trunc".to_owned())
    );
    let far = of(&["0001-01-01 00:00", "9999-01-02 00:00"]).expect_err("too many days");
    assert!(far.starts_with("more than 2000000 periods"), "{far}");
}

#[test]
fn lots_hold_all_series_in_their_order() {
    let of = |lengths: &[usize]| {
        let series: Vec<LongSeries> = lengths
            .iter()
            .map(|length| LongSeries {
                id: String::new(),
                periods: Vec::new(),
                y: vec![0.0; *length],
                covariates: Vec::new(),
            })
            .collect();
        lots(&series).into_iter().map(<[LongSeries]>::len).collect::<Vec<_>>()
    };
    assert_eq!(of(&[]), [0; 0]);
    assert_eq!(of(&[3; 450]), [200, 200, 50]);
    assert_eq!(of(&[500_000, 150_000, 60_000, 10]), [1, 1, 2]);
}

#[test]
fn nobody_waits_for_what_was_stopped() {
    let stopped = SeriesAnalysis.outlooks(&[series("a", vec![1.0; 30])], 7, &|| false);
    assert_eq!(stopped.expect_err("stopped").kind(), ErrorKind::Cancelled);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_values_all_that_is_told_is_a_number(
        values in prop::collection::vec(
            prop_oneof![4 => -50.0..50.0_f64, 2 => Just(0.0), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(1e9), 1 => Just(-1e140), 1 => Just(1e308)],
            1..80,
        ),
        horizon in 1..20_usize,
    ) {
        let all = [series("a", values.clone()), series("b", values.iter().map(|y| y.abs()).collect())];
        for made in outlooks(&all, horizon) {
            let is_known = values.iter().any(|y| y.abs() <= 1e150);
            prop_assert!(made.mean.len() == horizon && made.mean.iter().chain(made.quantiles.iter().flatten()).all(|of| of.is_finite() == is_known), "{made:?}");
        }
        for judged in judged(&all).iter().flatten() {
            let figures = [judged.expected, judged.bounds.map(|of| of.0), judged.bounds.map(|of| of.1), judged.score, judged.score_beside_others];
            prop_assert!(figures.into_iter().flatten().all(f64::is_finite), "{judged:?}");
        }
    }
}
