//! What is promised for any series, and the coverage of what is served.

use chrono::{Datelike, Days, NaiveDate, Weekday};
use domain::forecast::{DayForecast, PlannedDay, SeriesKey, StorePlan, Total};
use proptest::prelude::*;

use super::*;

/// SplitMix64: small, and the same numbers for ever.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Evenly in [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

pub(crate) fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

/// An article of the store `s`.
pub(crate) fn article(sku: &str, units: Vec<f64>) -> DailySeries {
    let sale_days = units.iter().filter(|units| **units > 0.0).count();
    let key = SeriesKey { tenant: "t".to_owned(), store: "s".to_owned(), sku: sku.to_owned() };
    DailySeries {
        key,
        product_name: None,
        category: None,
        start: day("2010-01-01"),
        units,
        sale_days,
        stocked_out: Vec::new(),
    }
}

pub(crate) fn set(series: Vec<DailySeries>) -> SeriesSet {
    let lake_versions = [("curated.sales".to_owned(), 7)].into();
    SeriesSet { series, plans: BTreeMap::new(), lake_versions }
}

pub(crate) fn tenant() -> Principal {
    Principal::tenant("t").expect("a name")
}

/// Learns next to nothing: where only the shape of what is made counts.
pub(crate) const LEAST: Learning = Learning { rows: 2_000, trees: 4, tree_rate: 0.2, steps: 2 };
/// Learns enough to see a plan.
pub(crate) const SOME: Learning = Learning { rows: 20_000, trees: 60, tree_rate: 0.2, steps: 150 };

fn made_of(set: &SeriesSet, horizon_days: usize, learning: Learning) -> Forecasts {
    made_after(&Before::default(), set, ForecastConfig { horizon_days, learning, search: false })
}

pub(crate) fn made_after(before: &Before, set: &SeriesSet, config: ForecastConfig) -> Forecasts {
    forecast(set, &tenant(), config, before, &|_| {}).expect("forecasts")
}

fn one(units: Vec<f64>) -> SeriesForecast {
    made_of(&set(vec![article("a", units)]), 28, LEAST).forecasts.remove(0)
}

fn of<'a>(forecasts: &'a Forecasts, subject: &Subject) -> &'a SeriesForecast {
    forecasts.forecasts.iter().find(|forecast| forecast.subject == *subject).expect("a forecast")
}

fn sku(store: &str, sku: &str) -> Subject {
    Subject::Sku { store: store.to_owned(), sku: sku.to_owned() }
}

fn store(store: &str) -> Subject {
    Subject::Store { store: store.to_owned() }
}

/// Every weekday sells its own amount, give or take one.
pub(crate) fn weekly(days: usize) -> Vec<f64> {
    (0..days).map(|day| (day % 7 * 10 + day / 7 % 2) as f64).collect()
}

/// Two stores that are closed on Sundays and sell twice as much, and in all articles more or less together, on the days of a promotion. The second ends
/// three days before the first.
pub(crate) fn shops() -> SeriesSet {
    const DAYS: usize = 300;
    let start = day("2024-01-01");
    let mut random = Random::new(1);
    let plan = |from: usize| {
        let of_day = |at: usize| PlannedDay {
            is_closed: at % 7 == 6,
            is_promotion: (at / 5).is_multiple_of(3),
            ..PlannedDay::default()
        };
        StorePlan { start: start + Days::new(from as u64), days: (from..DAYS + 40).map(of_day).collect() }
    };
    let mut series = Vec::new();
    let mut plans = BTreeMap::new();
    for (name, days) in [("one", DAYS), ("two", DAYS - 3)] {
        let of_store = plan(0);
        let moods: Vec<f64> = (0..days).map(|_| 0.7 + 0.6 * random.uniform()).collect();
        for number in 0..6 {
            let size = f64::from(number + 1) * 4.0;
            let units = (0..days).map(|at| {
                let PlannedDay { is_closed, is_promotion, .. } = of_store.days[at];
                let sold = size * moods[at] * if is_promotion { 2.0 } else { 1.0 };
                if is_closed { 0.0 } else { (sold + random.uniform()).round() }
            });
            let mut article = article(&format!("a{number}"), units.collect());
            article.key.store = name.to_owned();
            article.start = start;
            article.category = Some(if number < 3 { "small" } else { "large" }.to_owned());
            series.push(article);
        }
        plans.insert(("t".to_owned(), name.to_owned()), of_store);
    }
    SeriesSet { series, plans, lake_versions: BTreeMap::new() }
}

#[test]
fn plans_of_days_to_come_are_in_the_forecast_and_it_is_judged_by_what_came() {
    let shops = shops();
    let forecasts = made_of(&shops, 14, SOME);
    assert_eq!(forecasts.counts, Counts { series: 12, model: 12, sparse: 0 });
    let largest = of(&forecasts, &sku("one", "a5"));
    assert_eq!((largest.fallback.as_deref(), largest.origin), (None, day("2024-10-26")));
    let plan = &shops.plans[&("t".to_owned(), "one".to_owned())];
    let mean = |is_promotion: bool| {
        let like = |made: &&DayForecast| {
            let planned = plan.on(made.date);
            !planned.is_closed && planned.is_promotion == is_promotion
        };
        let means: Vec<f64> = largest.days.iter().filter(like).map(|made| made.mean).collect();
        means.iter().sum::<f64>() / means.len() as f64
    };
    let ratio = mean(true) / mean(false);
    assert!((1.5..2.5).contains(&ratio), "{ratio}: {:?}", largest.days);
    for made in &largest.days {
        assert_eq!(plan.on(made.date).is_closed, made.quantiles[10] == 0.0 && made.mean == 0.0, "{made:?}");
    }
    // What it says of itself was measured on the last fourteen days, in which the model did not learn.
    let Backtest { wape, naive_wape, coverage_80, n } = forecasts.backtest;
    assert_eq!(n, 12 * 14);
    assert!(wape.expect("measured") < 0.7 * naive_wape.expect("measured"), "{:?}", forecasts.backtest);
    assert!((0.65..=1.0).contains(&coverage_80.expect("measured")), "{:?}", forecasts.backtest);
    assert_eq!(largest.backtest.n, 14);
}

#[test]
fn means_sum_from_level_to_level_and_quantiles_know_what_sells_together() {
    let forecasts = made_of(&shops(), 14, SOME);
    let levels: Vec<_> = forecasts.forecasts.iter().map(|made| made.subject.level()).collect();
    let of_store = [["sku"; 6].as_slice(), &["category", "category", "store"]].concat();
    assert_eq!(levels, [of_store.clone(), of_store, vec!["business"]].concat());
    // Whole units were sold: quantiles are such, means are none.
    let of_articles =
        || forecasts.forecasts.iter().filter(|made| made.subject.sku().is_some()).flat_map(|made| &made.days);
    assert!(of_articles().all(|made| made.quantiles.iter().all(|units| units.fract() == 0.0)));
    assert!(of_articles().any(|made| made.mean.fract() != 0.0));
    let sum = |ahead: usize, is_part: &dyn Fn(&Subject) -> bool| -> f64 {
        let parts = forecasts.forecasts.iter().filter(|made| is_part(&made.subject));
        parts.map(|made| made.days[ahead].mean).sum()
    };
    for name in ["one", "two"] {
        let whole = of(&forecasts, &store(name));
        for (ahead, made) in whole.days.iter().enumerate() {
            for level in ["sku", "category"] {
                let below = sum(ahead, &|subject| subject.level() == level && subject.store() == Some(name));
                assert!((below - made.mean).abs() < 1e-9, "{level} {ahead}");
            }
        }
        // Articles share their days' moods: in all they spread about as their sum does, not as if each went its own way.
        let width = |made: &DayForecast| made.quantiles[9] - made.quantiles[1];
        let skus = forecasts
            .forecasts
            .iter()
            .filter(|made| made.subject.sku().is_some() && made.subject.store() == Some(name));
        let widths: Vec<f64> = skus.map(|made| width(&made.days[1])).collect();
        let apart = widths.iter().map(|width| width.powi(2)).sum::<f64>().sqrt();
        let together: f64 = widths.iter().sum();
        let found = width(&whole.days[1]);
        assert!(found > 1.3 * apart && found < 1.1 * together, "{apart} {found} {together}");
        let last = whole.days.last().expect("days");
        let total: f64 = whole.days.iter().map(|made| made.mean).sum();
        assert!((last.total.mean - total).abs() < 1e-9 * total, "{last:?}");
        let Total { median, q900, q975, .. } = last.total;
        assert!((median / total - 1.0).abs() < 0.1 && median < q900 && q900 < q975, "{last:?}");
        // Days differ from each other more than fortnights do.
        let nights = whole.days.iter().map(|made| made.quantiles[9] - made.quantiles[5]).sum::<f64>();
        assert!(q900 - median < nights, "{last:?}");
    }
    // The second store's forecast ends three days earlier, and so does that of the whole.
    let (one, two) = (of(&forecasts, &store("one")), of(&forecasts, &store("two")));
    let whole = of(&forecasts, &Subject::Business);
    assert_eq!((whole.origin, whole.days.len()), (one.origin, 11));
    assert_eq!(whole.days.last().map(|made| made.date), two.days.last().map(|made| made.date));
    for (at, made) in whole.days.iter().enumerate() {
        assert!((made.mean - one.days[at].mean - two.days[at + 3].mean).abs() < 1e-9);
    }
    assert!(whole.backtest.n == 11 && forecasts.of_business == whole.backtest);
}

#[test]
fn a_store_that_sold_its_last_long_ago_is_no_part_of_the_business() {
    let mut shops = shops();
    for series in shops.series.iter_mut().filter(|series| series.key.store == "two") {
        series.units.truncate(280);
    }
    let forecasts = made_of(&shops, 14, LEAST);
    let whole = of(&forecasts, &Subject::Business);
    assert_eq!(whole.days.len(), 14);
    assert!((whole.days[3].mean - of(&forecasts, &store("one")).days[3].mean).abs() < 1e-9);
}

#[test]
fn a_weekday_without_sales_is_closed_unsaid() {
    let mut shops = shops();
    shops.plans.clear();
    let forecasts = made_of(&shops, 14, LEAST);
    for forecast in &forecasts.forecasts {
        for made in &forecast.days {
            let is_sunday = made.date.weekday() == Weekday::Sun;
            assert_eq!(
                is_sunday,
                made.quantiles[10] == 0.0 && made.mean == 0.0,
                "{:?} {made:?}",
                forecast.subject
            );
        }
    }
}

#[test]
fn what_came_behind_the_older_origin_is_no_part_of_its_table() {
    let before = shops();
    let mut after = before.clone();
    for series in &mut after.series {
        let known = series.units.len() - 14;
        series.units[known..].iter_mut().for_each(|units| *units = 1e6 - *units);
    }
    let config = ForecastConfig { horizon_days: 14, learning: LEAST, search: false };
    let (before, after) = (Business::new(&before, &config, 14), Business::new(&after, &config, 14));
    // Bits, since days to come are missing.
    let bits = |business: &Business<'_>| {
        let of_series = |series: &crate::panel::LongSeries| {
            let columns = series.covariates.iter().chain([&series.y]);
            columns.flatten().map(|value| value.to_bits()).collect::<Vec<_>>()
        };
        business.table.series.iter().map(of_series).collect::<Vec<_>>()
    };
    assert_eq!(bits(&before), bits(&after));
    assert_eq!(before.settings, after.settings);
    assert_ne!(before.came(0), after.came(0));
}

#[test]
fn an_article_that_hardly_sells_has_the_quantiles_of_its_days() {
    let mut units = vec![0.0; 400];
    for at in (9..400).step_by(20) {
        units[at] = 6.0;
    }
    let forecast = one(units);
    let made = &forecast.days[27];
    // The last 56 days hold three sales; one day in twenty is more than 2.5 % and less than 10 %.
    assert_eq!(made.mean, 18.0 / 56.0);
    assert_eq!(made.quantiles, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 6.0]);
    let reason =
        "20 days with sales, 28 are needed: mean of its last 56 open days, quantiles of its last 364";
    assert_eq!(forecast.fallback.as_deref(), Some(reason));
    assert_eq!(forecast.backtest.n, 28);
    // A month of such days sells about once and a half as much as the mean says of a day, times twenty-eight.
    assert!((made.total.mean - 9.0).abs() < 1e-9 && made.total.q975 > 6.0, "{made:?}");
}

#[test]
fn a_new_article_is_held_beside_those_that_were_new_before_it() {
    // One that was always there, thirty that came in the year and sold 20 on the first day and 2 on each other one, and three that have just come.
    let mut series = vec![article("always", vec![5.0; 400])];
    let mut begun = |sku: String, days: usize, category: &str, units: f64| {
        let mut units = vec![units; days];
        units[0] = 20.0;
        let mut of = article(&sku, units);
        of.start = series[0].end() - Days::new(days as u64 - 1);
        of.category = Some(category.to_owned());
        series.push(of);
    };
    (0..30).for_each(|at| begun(format!("b{at:02}"), 100 + at, "small", 2.0));
    begun("c first day".to_owned(), 1, "small", 0.0);
    begun("d weeks".to_owned(), 15, "small", 9.0);
    let end = series[0].end();
    let unsold = SeriesKey { sku: "e unsold".to_owned(), ..series[0].key.clone() };
    series.push(DailySeries { start: end + Days::new(1), ..DailySeries::of(unsold) });
    let made = made_of(&set(series.clone()), 28, LEAST);
    let day = |sku: &str| {
        let made = of(&made, &self::sku("s", sku));
        (made.days[9].mean, made.days[9].quantiles, made.fallback.clone().unwrap_or_default())
    };
    let (mean, quantiles, reason) = day("c first day");
    assert_eq!((mean, quantiles), (2.0, [2.0; 11]), "of its first day alone it would have been 20");
    assert!(
        reason.ends_with(
            "of its own days, beside those of 30 articles when they were new, which count as 14 days more"
        ),
        "{reason}"
    );
    let (mean, quantiles, _) = day("d weeks");
    assert_eq!((mean, quantiles[5], quantiles[6]), (5.5, 2.0, 9.0), "half of either");
    let (mean, quantiles, reason) = day("e unsold");
    assert_eq!((mean, quantiles), (2.0, [2.0; 11]));
    assert!(reason.starts_with("not sold yet: of its own days, beside those of 30 articles"), "{reason}");
    // Those that were new long ago, or too few of them, tell nothing, and of what never sold nothing is said then.
    let few = made_of(&set(series.split_off(12)), 28, LEAST);
    assert!(few.forecasts.iter().all(|made| made.subject != self::sku("s", "e unsold")));
    let alone = of(&few, &self::sku("s", "c first day"));
    assert_eq!(alone.days[9].mean, 20.0);
}

#[test]
fn what_cannot_be_judged_is_not_served() {
    for days in [1, 6, 34, 55, 83] {
        let forecast = one(vec![3.0; days]);
        assert!(forecast.fallback.is_some(), "{days} days");
        assert_eq!(forecast.days.len(), 28, "{days} days");
        assert!(forecast.days.iter().all(|made| made.mean == 3.0), "{days} days");
        assert_eq!(forecast.backtest.n, if days >= 35 { 28 } else { 0 }, "{days} days");
    }
    let reason = "no article of the business has history enough to judge a model by";
    assert!(one(vec![3.0; 83]).fallback.expect("a reason").starts_with(reason));
    assert_eq!(one(vec![3.0; 84]).fallback, None);
}

#[test]
fn the_version_is_that_of_what_was_learned() {
    let shops = shops();
    let mut other = shops.clone();
    other.series[0].units[100] += 40.0;
    let (first, second) = (made_of(&shops, 14, LEAST), made_of(&other, 14, LEAST));
    let weights = |made: &Forecasts| {
        let identity: serde_json::Value = serde_json::from_str(&made.identity).expect("JSON");
        identity["weights"].as_str().map(str::to_owned)
    };
    assert_eq!(weights(&first).map(|hash| hash.len()), Some(64));
    assert_ne!(weights(&first), weights(&second));
    assert_ne!(first.model_version, second.model_version);
    assert_eq!(weights(&made_of(&set(vec![article("a", vec![1.0; 20])]), 14, LEAST)), None);
}

#[test]
fn days_that_hold_no_quantity_count_as_nothing_and_are_told() {
    let mut units = weekly(560);
    let clean = one(units.clone());
    (units[100], units[200]) = (f64::NAN, f64::INFINITY);
    let forecast = one(units);
    assert_eq!(forecast.fallback.as_deref(), Some("days that hold no quantity count as 0"));
    assert!((forecast.days[0].mean / clean.days[0].mean - 1.0).abs() < 0.5, "{:?}", forecast.days[0]);
}

#[test]
fn other_businesses_and_horizons_out_of_bounds_are_refused() {
    let series = set(vec![article("a", weekly(100))]);
    let config = ForecastConfig::default();
    let other = Principal::tenant("u").expect("a name");
    for (whose, config) in [
        (&Principal::Operator, config),
        (&other, config),
        (&tenant(), ForecastConfig { horizon_days: 0, ..config }),
        (&tenant(), ForecastConfig { horizon_days: 366, ..config }),
    ] {
        let error = forecast(&series, whose, config, &Before::default(), &|_| {}).expect_err("refused");
        assert_eq!(error.kind(), domain::ErrorKind::Invalid, "{error}");
    }
}

#[test]
fn a_set_is_split_by_business() {
    let mut other = article("a", weekly(10));
    other.key.tenant = "b".to_owned();
    let parts = by_tenant(set(vec![article("a", weekly(10)), other, article("c", weekly(10))]));
    let found: Vec<_> = parts.iter().map(|(tenant, part)| (tenant.as_str(), part.series.len())).collect();
    assert_eq!(found, [("b", 1), ("t", 2)]);
    assert!(parts.iter().all(|(_, part)| part.lake_versions["curated.sales"] == 7));
}

#[test]
fn a_selection_is_kept_for_four_weeks_and_then_until_another_beats_it() {
    let shops = shops();
    let config = ForecastConfig { horizon_days: 14, learning: SOME, search: false };
    let first = made_after(&Before::default(), &shops, config);
    assert_eq!(first.way, Way::First);
    let selection = first.selection.clone().expect("a selection");
    assert_eq!((selection.chosen_on, selection.searched_on), (day("2024-10-26"), day("2024-10-26")));
    // Brought to the disk and back, it is what it was.
    let text = serde_json::to_string(&selection).expect("JSON");
    assert_eq!(serde_json::from_str::<Selection>(&text).expect("a selection"), selection);
    let after = |selection: Selection| Before { parent: Some("0f".to_owned()), selection: Some(selection) };
    let young =
        Selection { searched_on: day("2024-09-29"), chosen_on: day("2024-09-29"), ..selection.clone() };
    let kept = made_after(&after(young.clone()), &shops, config);
    assert_eq!(
        (kept.way, kept.selection.as_ref(), kept.parent.as_deref()),
        (Way::Kept, Some(&young), Some("0f"))
    );
    // The same selection makes the same forecasts, but what it comes after is part of the version.
    assert_eq!(kept.forecasts, first.forecasts);
    assert_ne!(kept.model_version, first.model_version);

    let old = Selection { searched_on: day("2024-09-28"), ..young.clone() };
    let defended = made_after(&after(old), &shops, config);
    let Way::Defended(contest) = defended.way else { panic!("{:?}", defended.way) };
    assert_eq!((contest.difference, contest.articles), (0.0, 12), "it met its like");
    let (chosen_on, searched_on) = (young.chosen_on, selection.searched_on);
    assert_eq!(defended.selection, Some(Selection { chosen_on, searched_on, ..selection.clone() }));

    // What rests on the last week alone knows nothing of promotions.
    let mut worse = serde_json::to_value(&selection).expect("JSON");
    for shares in worse["chosen"]["weights"].as_array_mut().expect("weights") {
        *shares = serde_json::json!([0.0, 0.0, 0.0, 0.0, 1.0]);
    }
    let worse: Selection = serde_json::from_value(worse).expect("a selection");
    let won = made_after(&after(worse), &shops, ForecastConfig { search: true, ..config });
    let Way::Won(contest) = won.way else { panic!("{:?}", won.way) };
    assert!(contest.difference < -0.05 && contest.interval.1 < 0.0, "{contest}");
    assert_eq!((won.selection, &won.forecasts), (Some(selection), &first.forecasts));
}

/// Days as no till ever sent them.
fn any_units() -> impl Strategy<Value = Vec<f64>> {
    let day = prop_oneof![
        4 => Just(0.0),
        3 => (0_i32..50).prop_map(f64::from),
        1 => (-50_000_i32..0).prop_map(|units| f64::from(units) / 1e3),
        1 => 0.0_f64..1e15,
        1 => -1e15_f64..0.0,
    ];
    let broken = prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-1e300), Just(1e300), Just(5e-324)];
    prop_oneof![
        6 => prop::collection::vec(day, 0..400),
        1 => prop::collection::vec((0_i32..3).prop_map(f64::from), 0..400),
        1 => (0.0_f64..1e6, 0_usize..400).prop_map(|(units, days)| vec![units; days]),
        1 => (0_usize..400).prop_map(|days| vec![0.0; days]),
        1 => prop::collection::vec(broken, 0..400),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_series_gets_figures_that_can_be_used(all in prop::collection::vec(any_units(), 1..5), horizon in 1_usize..40) {
        let series: Vec<_> = all.iter().enumerate().map(|(at, units)| article(&at.to_string(), units.clone())).collect();
        let forecasts = made_of(&set(series.clone()), horizon, LEAST);
        let begun: Vec<_> = series.iter().filter(|series| !series.units.is_empty()).collect();
        let Counts { series: count, model, sparse } = forecasts.counts;
        prop_assert_eq!((count, model + sparse), (begun.len(), begun.len()));
        for (series, forecast) in begun.iter().zip(&forecasts.forecasts) {
            prop_assert_eq!(Some(series.key.sku.as_str()), forecast.subject.sku());
            let greatest = series.units.iter().copied().filter(|units| units.abs() <= 1e21).fold(0.0, f64::max);
            for made in &forecast.days {
                for figure in made.quantiles.iter().chain([&made.mean]) {
                    prop_assert!(*figure <= 2.0 * greatest, "{figure}");
                }
            }
        }
        for forecast in &forecasts.forecasts {
            prop_assert_eq!(forecast.days.len(), horizon);
            for made in &forecast.days {
                let Total { mean, median, q900, q975 } = made.total;
                for figure in made.quantiles.iter().chain(&[made.mean, mean, median, q900, q975]) {
                    prop_assert!(figure.is_finite() && *figure >= 0.0, "{figure}");
                }
                prop_assert!(made.quantiles.is_sorted() && median <= q900 && q900 <= q975, "{:?}", made);
                let parts = made.effects.parts();
                let size: f64 = parts.iter().map(|part| part.abs()).sum();
                prop_assert!((parts.iter().sum::<f64>() - made.mean).abs() <= 1e-9 * (1.0 + size), "{:?}", made);
            }
            let Backtest { wape, naive_wape, coverage_80, n } = forecast.backtest;
            prop_assert_eq!(coverage_80.is_some(), n > 0);
            prop_assert!(coverage_80.is_none_or(|share| (0.0..=1.0).contains(&share)));
            for error in [wape, naive_wape].into_iter().flatten() {
                prop_assert!(error.is_finite() && error >= 0.0 && n > 0);
            }
        }
    }

    #[test]
    fn the_same_series_give_the_same_bytes(all in prop::collection::vec(any_units(), 1..5)) {
        let series: Vec<_> = all.into_iter().enumerate().map(|(at, units)| article(&at.to_string(), units)).collect();
        let text = || format!("{:?}", made_of(&set(series.clone()), 28, LEAST));
        prop_assert_eq!(text(), text());
    }
}
