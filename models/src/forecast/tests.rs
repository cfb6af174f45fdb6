//! What is promised for any series, and the coverage of what is served.

use std::sync::Mutex;

use async_trait::async_trait;
use chrono::{Days, NaiveDate};
use domain::forecast::{ForecastRun, SeriesKey};
use domain::ports::{Blobs, ForecastSink, WrittenForecasts};
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

    /// Like the units of an article that sells every day: above 0, with a long tail.
    fn units(&mut self) -> f64 {
        let normal: f64 = (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0;
        ((2.0 + 0.5 * normal).exp() * 1e3).round() / 1e3
    }
}

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

fn article(sku: &str, units: Vec<f64>) -> DailySeries {
    let sale_days = units.iter().filter(|units| **units > 0.0).count();
    let key = SeriesKey { tenant: "t".to_owned(), store: "s".to_owned(), sku: sku.to_owned() };
    DailySeries { key, product_name: None, start: day("2010-01-01"), units, sale_days }
}

fn set(series: Vec<DailySeries>) -> SeriesSet {
    SeriesSet { series, lake_versions: [("curated.sales".to_owned(), 7)].into() }
}

fn tenant() -> Principal {
    Principal::tenant("t").expect("a name")
}

fn made(series: Vec<DailySeries>, horizon_days: usize) -> Forecasts {
    forecast(&set(series), &tenant(), ForecastConfig { horizon_days }, &|_| {}).expect("forecasts")
}

fn one(units: Vec<f64>) -> SeriesForecast {
    made(vec![article("a", units)], 28).forecasts.remove(0)
}

/// A year and a half in which every weekday sells its own amount, give or take one.
fn weekly(days: usize) -> Vec<f64> {
    (0..days).map(|day| (day % 7 * 10 + day / 7 % 2) as f64).collect()
}

#[test]
fn the_mean_repeats_the_last_week() {
    let units = weekly(560);
    let last_week = units[553..].to_vec();
    let forecast = one(units);
    assert_eq!(forecast.fallback, None);
    assert_eq!(forecast.origin, day("2010-01-01") + Days::new(559));
    assert_eq!(forecast.days.len(), 28);
    for (ahead, made) in forecast.days.iter().enumerate() {
        assert_eq!(made.mean, last_week[ahead % 7]);
        assert_eq!(made.date, forecast.origin + Days::new(ahead as u64 + 1));
    }
    // The model is the naive forecast, so both have one error.
    assert_eq!(forecast.backtest.wape, forecast.backtest.naive_wape);
    assert_eq!(forecast.backtest.n, 4 * 28);
}

#[test]
fn quantiles_are_the_mean_plus_past_errors_of_the_same_week_ahead() {
    // Errors one and three weeks ahead are +1 and -1 by turns, two and four weeks ahead 0.
    let forecast = one(weekly(560));
    for (ahead, made) in forecast.days.iter().enumerate() {
        let spread = if ahead / 7 % 2 == 0 { 1.0 } else { 0.0 };
        let expected = [(made.mean - spread).max(0.0), (made.mean + spread).min(122.0)];
        assert_eq!([made.quantiles[1], made.quantiles[9]], expected, "{ahead} days ahead");
    }
    assert_eq!(forecast.backtest.coverage_80, Some(1.0));
}

#[test]
fn days_that_judge_change_no_interval() {
    let mut random = Random::new(3);
    let calm: Vec<f64> = (0..400).map(|_| random.units()).collect();
    let mut wild = calm.clone();
    // Of the judging days, all but the last week, which is the mean.
    for units in &mut wild[351..393] {
        *units *= 0.01;
    }
    let (calm, wild) = (one(calm), one(wild));
    assert_eq!(calm.days, wild.days);
    assert_ne!(calm.backtest, wild.backtest);
}

#[test]
fn short_series_borrow_the_scaled_errors_of_similar_articles() {
    let mut random = Random::new(5);
    let mut of = |days: usize, size: f64| (0..days).map(|_| random.units() * size).collect::<Vec<_>>();
    let mut series: Vec<_> = (0..8).map(|at| article(&format!("a{at}"), of(300, 1.0))).collect();
    series.push(article("short", of(90, 100.0)));
    let forecasts = made(series, 28);
    assert_eq!(forecasts.counts, Counts { series: 9, model: 8, pooled: 1, sparse: 0 });
    let short = &forecasts.forecasts[8];
    let reason = short.fallback.as_deref().expect("a reason");
    assert_eq!(
        reason,
        "90 days of history are too few for intervals of its own: intervals from the scaled errors of 8 smooth articles of the store"
    );
    // An article a hundred times as big has intervals a hundred times as wide, or so.
    let width = |forecast: &SeriesForecast| -> f64 {
        forecast.days.iter().map(|made| made.quantiles[9] - made.quantiles[1]).sum()
    };
    let usual = forecasts.forecasts[..8].iter().map(width).sum::<f64>() / 8.0;
    assert!((50.0..200.0).contains(&(width(short) / usual)), "{} and {usual}", width(short));
    assert_eq!(short.backtest.n, 4 * 28);

    // Another store's articles lend nothing.
    let mut alone = article("short", of(90, 100.0));
    alone.key.store = "z".to_owned();
    let forecasts =
        made((0..8).map(|at| article(&format!("a{at}"), of(300, 1.0))).chain([alone]).collect(), 28);
    assert_eq!(forecasts.counts, Counts { series: 9, model: 8, pooled: 0, sparse: 1 });
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
    assert_eq!((made.quantiles[9], made.quantiles[10]), (0.0, 6.0));
    let reason = forecast.fallback.expect("a reason");
    assert_eq!(
        reason,
        "20 days with sales, 28 are needed: mean of its last 56 days, quantiles of its last 364"
    );
    assert_eq!(forecast.backtest.n, 4 * 28);
    assert!(forecast.backtest.naive_wape.is_some() && forecast.backtest.wape != forecast.backtest.naive_wape);
}

#[test]
fn nothing_is_measured_where_nothing_can_be() {
    for days in [0, 1, 6, 7, 34] {
        let forecast = one(vec![3.0; days]);
        assert_eq!(forecast.backtest, Backtest::default(), "{days} days");
        assert!(forecast.fallback.is_some(), "{days} days");
        assert_eq!(forecast.days.len(), 28, "{days} days");
    }
    assert_eq!(one(vec![3.0; 35]).backtest.n, 28);
}

#[test]
fn days_that_hold_no_quantity_count_as_nothing_and_are_told() {
    let mut units = weekly(560);
    let clean = one(units.clone());
    (units[100], units[200]) = (f64::NAN, f64::INFINITY);
    let forecast = one(units);
    assert_eq!(forecast.fallback.as_deref(), Some("days that hold no quantity count as 0"));
    assert_eq!(forecast.days[0].mean, clean.days[0].mean);
}

#[test]
fn other_businesses_and_horizons_out_of_bounds_are_refused() {
    let series = set(vec![article("a", weekly(100))]);
    let config = ForecastConfig::default();
    let other = Principal::tenant("u").expect("a name");
    for (whose, config) in [
        (&Principal::Operator, config),
        (&other, config),
        (&tenant(), ForecastConfig { horizon_days: 0 }),
        (&tenant(), ForecastConfig { horizon_days: 366 }),
    ] {
        let error = forecast(&series, whose, config, &|_| {}).expect_err("refused");
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

/// The next days of exchangeable series lie in the served 80 % interval as often as it says. Each series gives one day, so that the trials are
/// independent and their number in the interval is binomial.
#[test]
fn served_intervals_cover_days_to_come() {
    const TRIALS: usize = 1_500;
    let mut random = Random::new(11);
    let (mut covered, mut below) = (0, 0);
    for trial in 0..TRIALS {
        let units: Vec<f64> = (0..301).map(|_| random.units()).collect();
        let ahead = 1 + trial % 28;
        let made = one(units[..301 - ahead].to_vec()).days.remove(ahead - 1);
        covered += usize::from(made.quantiles[1] <= units[300] && units[300] <= made.quantiles[9]);
        below += usize::from(units[300] <= made.quantiles[5]);
    }
    let bound = |share: f64| 4.0 * (share * (1.0 - share) / TRIALS as f64).sqrt();
    let (coverage, median) = (covered as f64 / TRIALS as f64, below as f64 / TRIALS as f64);
    assert!((coverage - 0.8).abs() < bound(0.8), "80 % interval: {coverage}");
    assert!((median - 0.5).abs() < bound(0.5), "median: {median}");
}

/// What the ports were given.
#[derive(Debug, Default)]
struct Memory {
    blobs: Mutex<BTreeMap<String, Vec<u8>>>,
    runs: Mutex<Vec<ForecastRun>>,
}

#[async_trait]
impl Blobs for Memory {
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        self.blobs.lock().expect("no panic").insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.blobs.lock().expect("no panic").get(name).cloned())
    }
}

#[async_trait]
impl ForecastSink for Memory {
    async fn write_forecasts(&self, run: ForecastRun) -> Result<WrittenForecasts> {
        // The manifest stands there by now.
        let name = format!("ml-models/forecasting/{}/manifest.json", run.model_version);
        assert!(self.blobs.lock().expect("no panic").contains_key(&name));
        self.runs.lock().expect("no panic").push(run);
        Ok(WrittenForecasts { version: 1, rows: 28, replaced_rows: 0 })
    }
}

#[tokio::test]
async fn the_manifest_holds_what_the_version_is_the_hash_of() {
    let memory = Memory::default();
    let forecasts = made(vec![article("a", weekly(560))], 28);
    let (identity, version) = (forecasts.identity.clone(), forecasts.model_version.clone());
    let published = publish(forecasts, Timings::default(), &memory, &memory).await.expect("published");
    assert_eq!(published.written.rows, 28);
    let text = memory.get(&published.manifest).await.expect("a store").expect("a manifest");
    let text = String::from_utf8(text).expect("a text");
    assert!(text.contains(&identity), "{text}");
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(manifest["model_version"], version.as_str());
    assert_eq!(manifest["series"]["model"], 1);
    assert_eq!(manifest["backtest"]["n"], 112);
    assert_eq!(memory.runs.lock().expect("no panic")[0].model_version, version);
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
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_series_gets_figures_that_can_be_used(all in prop::collection::vec(any_units(), 1..5), horizon in 1_usize..40) {
        let series: Vec<_> = all.iter().enumerate().map(|(at, units)| article(&at.to_string(), units.clone())).collect();
        let forecasts = made(series.clone(), horizon);
        let Counts { series: count, model, pooled, sparse } = forecasts.counts;
        prop_assert_eq!((count, model + pooled + sparse), (series.len(), series.len()));
        for (series, forecast) in series.iter().zip(&forecasts.forecasts) {
            prop_assert_eq!(&series.key, &forecast.key);
            prop_assert_eq!(forecast.days.len(), horizon);
            let greatest = series.units.iter().copied().filter(|units| units.abs() <= 1e21).fold(0.0, f64::max);
            for made in &forecast.days {
                for figure in made.quantiles.iter().chain([&made.mean]) {
                    prop_assert!(figure.is_finite() && *figure >= 0.0 && *figure <= 2.0 * greatest, "{figure}");
                }
                prop_assert!(made.quantiles.is_sorted(), "{:?}", made.quantiles);
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
        let text = || format!("{:?}", made(series.clone(), 28));
        prop_assert_eq!(text(), text());
    }
}
