//! What a stored model answers, beside what it answered when it was made.

use domain::forecast::DayWeather;
use domain::ports::Blobs as _;

use super::*;
use crate::forecast::effects::tests::{rainy, weather};
use crate::forecast::tests::{LEAST, SOME, article, made_after, set, shops};
use crate::forecast::{Before, Forecasts, Learning, Timings, publish};
use crate::registry::artefact;
use crate::registry::tests::Memory;

/// Makes a model, stores it, and gives back what was stored.
async fn stored(set: &SeriesSet, learning: Learning) -> (Forecasts, Vec<u8>, Option<Vec<u8>>) {
    let config = ForecastConfig { horizon_days: 14, learning, search: false };
    let made = made_after(&Before::default(), set, config);
    let memory = Memory::default();
    let published =
        publish(made.clone(), Timings::default(), &memory, &memory, &memory).await.expect("published");
    let manifest = memory.get(&published.manifest).await.expect("a store").expect("a manifest");
    let learned = memory.get(&artefact(&made.model_version, "model.json")).await.expect("a store");
    (made, manifest, learned)
}

fn question(store: &str, sku: &str, changes: &[(NaiveDate, Change)]) -> Question {
    Question { store: store.to_owned(), sku: sku.to_owned(), changes: changes.to_vec() }
}

fn rain(wet: f64) -> Change {
    Change { precipitation_mm: Some(wet), ..Change::default() }
}

#[tokio::test]
async fn asked_about_the_plans_it_was_made_with_it_gives_what_it_made() {
    for mut set in [shops(), rainy(|_| weather(20.0, 0.0)), set(vec![article("a", vec![2.0; 30])])] {
        let (made, manifest, learned) = stored(&set, LEAST).await;
        // What has come since is no part of it.
        set.series.iter_mut().for_each(|series| series.units.extend([900.0; 3]));
        let frozen = Frozen::of(&manifest, learned.as_deref(), set).expect("a model");
        let articles = made.forecasts.iter().filter(|made| made.subject.sku().is_some());
        for made in articles {
            let (store, sku) = made.subject.store().zip(made.subject.sku()).expect("an article");
            let answer = frozen.ask(&question(store, sku, &[])).expect("an answer");
            assert_eq!((answer.origin, &answer.fallback), (made.origin, &made.fallback));
            assert_eq!(answer.days.len(), made.days.len());
            for (day, made) in answer.days.iter().zip(&made.days) {
                assert_eq!(
                    (day.date, day.planned.mean, day.planned.quantiles),
                    (made.date, made.mean, made.quantiles)
                );
                assert_eq!(day.planned, day.changed);
            }
        }
    }
}

#[tokio::test]
async fn what_is_planned_and_sold_since_is_nothing_that_it_was_told() {
    let mut set = shops();
    set.plans.values_mut().for_each(|plan| plan.days.iter_mut().for_each(|day| day.is_promotion = false));
    let (made, manifest, learned) = stored(&set, LEAST).await;
    // The first promotion ever, a holiday, and an article of a category that there was not, which is sorted before the others.
    for day in set.plans.values_mut().flat_map(|plan| plan.days.iter_mut().rev().take(30)) {
        (day.is_promotion, day.is_holiday) = (true, true);
    }
    let mut another = set.series[0].clone();
    another.key.sku = "z".to_owned();
    another.category = Some("a new one".to_owned());
    set.series.insert(6, another);
    let frozen = Frozen::of(&manifest, learned.as_deref(), set).expect("a model");
    let origin = frozen.ask(&question("one", "a5", &[])).expect("an answer").origin;
    for number in 0..6 {
        let made = made
            .forecasts
            .iter()
            .find(|made| made.subject.sku() == Some(&format!("a{number}")))
            .expect("a forecast");
        let asked = frozen.ask(&question("one", &format!("a{number}"), &[])).expect("an answer");
        for (day, made) in asked.days.iter().zip(&made.days) {
            let off = (day.planned.mean - made.mean).abs() / (1.0 + made.mean);
            assert!(
                off < 0.05,
                "what all articles came to has one more, and nothing else is other: {day:?} {made:?}"
            );
        }
    }
    let promotion = Change { is_promotion: Some(true), ..Change::default() };
    let error =
        frozen.ask(&question("one", "a5", &[(origin + Days::new(1), promotion)])).expect_err("refused");
    assert!(error.to_string().contains("promotion"), "{error}");
}

#[tokio::test]
async fn rain_lowers_warmth_raises_and_a_closed_day_has_nothing() {
    let set = rainy(|ahead| if ahead < 7 { weather(15.0, 0.0) } else { DayWeather::default() });
    let (_, manifest, learned) = stored(&set, SOME).await;
    let frozen = Frozen::of(&manifest, learned.as_deref(), set).expect("a model");
    let origin = frozen.ask(&question("s", "a1", &[])).expect("an answer").origin;
    let date = |ahead: u64| origin + Days::new(ahead);
    let warm = Change { temp_mean_c: Some(24.0), precipitation_mm: Some(0.0), ..Change::default() };
    let closed = Change { is_closed: Some(true), ..Change::default() };
    // The tenth day has no weather as it is planned.
    let changes = [
        (date(2), rain(9.0)),
        (date(4), warm),
        (date(6), closed),
        (date(10), Change { temp_mean_c: Some(24.0), ..rain(0.0) }),
    ];
    let days = frozen.ask(&question("s", "a1", &changes)).expect("an answer").days;
    let ratio = |ahead: usize| days[ahead - 1].changed.mean / days[ahead - 1].planned.mean;
    assert!((0.2..0.7).contains(&ratio(2)), "{:?}", days[1]);
    assert!(ratio(4) > 1.15, "{:?}", days[3]);
    assert_eq!((days[5].changed.mean, days[5].changed.quantiles), (0.0, [0.0; 11]));
    assert!(ratio(10) > 1.15, "{:?}", days[9]);
    assert!((0.95..1.05).contains(&ratio(8)), "{:?}", days[7]);
}

#[tokio::test]
async fn what_cannot_be_asked_is_told() {
    let set = rainy(|_| weather(20.0, 0.0));
    let (_, manifest, learned) = stored(&set, LEAST).await;
    let frozen = Frozen::of(&manifest, learned.as_deref(), set.clone()).expect("a model");
    let origin = frozen.ask(&question("s", "a1", &[])).expect("an answer").origin;
    let promotion = Change { is_promotion: Some(true), ..Change::default() };
    let first = origin + Days::new(1);
    for (changes, expected) in [
        (vec![(origin, rain(1.0))], vec![format!("{origin} is not forecast"), first.to_string()]),
        (vec![(origin + Days::new(15), rain(1.0))], vec!["is not forecast".to_owned()]),
        (vec![(first, rain(1.0)), (first, rain(2.0))], vec![format!("{first} is given twice")]),
        (
            vec![(first, Change::default()), (origin, promotion)],
            vec!["nothing is to be".to_owned(), "promotion".to_owned(), "not forecast".to_owned()],
        ),
    ] {
        let error = frozen.ask(&question("s", "a1", &changes)).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(expected.iter().all(|part| error.to_string().contains(part)), "{error}");
    }
    let error = frozen.ask(&question("s", "unknown", &[])).expect_err("no article");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    // What another release has stored is not guessed at.
    let text = String::from_utf8(manifest.clone()).expect("a text").replace(CODE_VERSION, "0.0.1/older");
    let learned = learned.expect("a model");
    for (manifest, learned) in [(text.as_bytes(), learned.as_slice()), (b"{}", &learned), (&manifest, b"[1]")]
    {
        let error = Frozen::of(manifest, Some(learned), set.clone()).expect_err("refused");
        assert!(
            error.kind() == ErrorKind::Incompatible && error.to_string().contains("forecast run"),
            "{error}"
        );
    }
}
