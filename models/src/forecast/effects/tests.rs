//! What explanations say of businesses whose truth is known.

use chrono::{Days, NaiveDate};
use domain::forecast::{DayForecast, SeriesForecast, SeriesSet, StorePlan, Subject};

use super::*;
use crate::forecast::tests::{Random, SOME, article, day, made_after, set, shops};
use crate::forecast::{Before, ForecastConfig, Forecasts};

const HORIZON: usize = 14;
const CONFIG: ForecastConfig = ForecastConfig { horizon_days: HORIZON, learning: SOME, search: false };
const DAYS: usize = 420;

fn explained(set: &SeriesSet) -> Forecasts {
    made_after(&Before::default(), set, CONFIG)
}

fn sums_to_the_mean(made: &DayForecast) -> bool {
    let size: f64 = made.effects.parts().iter().map(|part| part.abs()).sum();
    (made.effects.sum() - made.mean).abs() <= 1e-9 * (1.0 + size)
}

/// A day that is warm or cold, wet or dry.
pub(crate) fn weather(warm: f64, wet: f64) -> DayWeather {
    DayWeather { temp_mean_c: Some(warm), precipitation_mm: Some(wet) }
}

/// Three articles that sell two units more a degree, and a third on a wet day. Of days to come the weather is forecast by `to_come`.
pub(crate) fn rainy(to_come: impl Fn(usize) -> DayWeather) -> SeriesSet {
    let mut random = Random::new(3);
    let mut days: Vec<PlannedDay> = (0..DAYS)
        .map(|_| {
            let (warm, wet) = (5.0 + 20.0 * random.uniform(), random.uniform());
            let weather = weather(warm, if wet < 0.3 { 1.0 + 20.0 * wet } else { 0.0 });
            PlannedDay { weather, ..PlannedDay::default() }
        })
        .collect();
    let of_article = |number: usize| {
        let units = days.iter().map(|day| {
            let DayWeather { temp_mean_c, precipitation_mm } = day.weather;
            let dry = (20 + 10 * number) as f64 + 2.0 * temp_mean_c.unwrap_or_default();
            let sold = if precipitation_mm.is_some_and(|wet| wet > 0.0) { dry / 3.0 } else { dry };
            sold.round()
        });
        article(&format!("a{number}"), units.collect())
    };
    let mut set = set((0..3).map(of_article).collect());
    days.extend((0..HORIZON).map(|ahead| PlannedDay { weather: to_come(ahead), ..PlannedDay::default() }));
    set.plans.insert(("t".to_owned(), "s".to_owned()), StorePlan { start: day("2010-01-01"), days });
    set
}

fn of_article<'a>(made: &'a Forecasts, name: &str) -> &'a SeriesForecast {
    made.forecasts.iter().find(|made| made.subject.sku() == Some(name)).expect("a forecast")
}

#[test]
fn rain_lowers_and_warmth_raises_the_forecast_where_they_are_forecast() {
    // Warm and dry, cold and wet, and from the eighth day on nobody knows.
    let kinds = |ahead: usize| match ahead {
        7.. => DayWeather::default(),
        _ if ahead.is_multiple_of(2) => weather(24.0, 0.0),
        _ => weather(15.0, 9.0),
    };
    let made = explained(&rainy(kinds));
    for number in 0..3 {
        let usual = (20 + 10 * number) as f64 + 30.0;
        for (ahead, made) in of_article(&made, &format!("a{number}")).days.iter().enumerate() {
            let Effects { weather, promotion, events, .. } = made.effects;
            assert!(sums_to_the_mean(made) && promotion == 0.0 && events == 0.0, "{made:?}");
            let share = weather / usual;
            let expected = match ahead {
                // A net reads the first day before it speaks of any.
                7.. => -0.02..=0.02,
                _ if ahead.is_multiple_of(2) => 0.15..=0.8,
                _ => -0.8..=-0.25,
            };
            assert!(expected.contains(&share), "{ahead}: {share} {made:?}");
        }
    }
    // Colder and as dry is less.
    let colder = explained(&rainy(|ahead| DayWeather {
        temp_mean_c: kinds(ahead).temp_mean_c.map(|_| 8.0),
        precipitation_mm: Some(0.0),
    }));
    let first = |made: &Forecasts| of_article(made, "a1").days[0].mean;
    assert!(first(&colder) < first(&made) - 10.0, "{} {}", first(&colder), first(&made));
}

#[test]
fn what_was_forecast_of_days_behind_the_older_origin_is_not_told_there() {
    let set = rainy(|_| weather(20.0, 0.0));
    let older = Business::new(&set, &CONFIG, HORIZON);
    let (known, series) = (older.known(0).len(), &older.table.series[0]);
    assert_eq!(known, DAYS - HORIZON);
    let [.., temperature, rain] = series.covariates.as_slice() else {
        panic!("{:?}", older.table.covariates)
    };
    for told in [temperature, rain] {
        assert!(told[..known].iter().all(|figure| figure.is_finite()));
        assert!(told[known..].iter().all(|figure| figure.is_nan()));
    }
    let newest = Business::new(&set, &CONFIG, 0);
    assert!(newest.table.series[0].covariates.iter().flatten().all(|figure| figure.is_finite()));
}

#[test]
fn promotions_and_closures_are_told_apart_from_the_week() {
    let mut set = shops();
    let plan = set.plans.get_mut(&("t".to_owned(), "one".to_owned())).expect("a plan");
    // The first weekday ahead without a promotion becomes a closed one, by an event.
    let origin = day("2024-10-26");
    let at = |plan: &StorePlan, ahead: u64| {
        usize::try_from((origin + Days::new(ahead) - plan.start).num_days()).expect("a day")
    };
    let is_plain = |plan: &StorePlan, ahead: u64| {
        let day = plan.days[at(plan, ahead)];
        !day.is_closed && !day.is_promotion
    };
    let closed = (1..=14).find(|ahead| is_plain(plan, *ahead)).expect("a plain day");
    let row = at(plan, closed);
    plan.days[row].is_closed = true;
    let plan = plan.clone();
    let made = explained(&set);
    let largest = made
        .forecasts
        .iter()
        .find(|made| made.subject == Subject::Sku { store: "one".to_owned(), sku: "a5".to_owned() });
    let mut promoted = 0;
    for made in &largest.expect("a forecast").days {
        let planned = plan.on(made.date);
        let Effects { base, season, promotion, events, weather, .. } = made.effects;
        assert!(sums_to_the_mean(made) && weather == 0.0, "{made:?}");
        assert!((20.0..45.0).contains(&base), "{made:?}");
        match planned {
            _ if made.date == origin + Days::new(closed) => {
                assert!(made.mean == 0.0 && events < -10.0, "{made:?}")
            }
            PlannedDay { is_closed: true, .. } => {
                // A Sunday is a Sunday, whatever else is on.
                assert!(made.mean == 0.0 && events == 0.0 && promotion == 0.0 && season < -10.0, "{made:?}");
            }
            PlannedDay { is_promotion: true, .. } => {
                promoted += 1;
                assert!((8.0..40.0).contains(&promotion), "{made:?}");
            }
            _ => assert!(promotion.abs() < 8.0 && events.abs() < 4.0, "{made:?}"),
        }
    }
    assert!(promoted > 1);
}

#[test]
fn levels_are_explained_by_what_they_sum() {
    let made = explained(&shops());
    let of_level =
        |level: &'static str| made.forecasts.iter().filter(move |made| made.subject.level() == level);
    for level in ["category", "store", "business"] {
        assert!(of_level(level).all(|made| made.days.iter().all(sums_to_the_mean)), "{level}");
    }
    let date: NaiveDate = day("2024-10-30");
    let promotions = |level: &'static str| -> f64 {
        let days = of_level(level).flat_map(|made| &made.days).filter(|made| made.date == date);
        days.map(|made| made.effects.promotion).sum()
    };
    let (articles, whole) = (promotions("sku"), promotions("business"));
    assert!(articles != 0.0 && (articles - whole).abs() < 1e-9 * articles.abs(), "{articles} {whole}");
}

#[test]
fn an_article_with_its_own_days_has_a_usual_one() {
    let made = explained(&set(vec![article("a", vec![3.0; 20])]));
    let made = &made.forecasts[0].days[0];
    assert_eq!((made.mean, made.effects), (3.0, Effects { base: 3.0, ..Effects::default() }));
}
