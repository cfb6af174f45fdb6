//! A year of weekly orders in a simulated shop: the product's decisions beside safety stock by z times sigma, both fed by the same forecasts, at the same fill rate.
//!
//! Articles differ in size, week, season, spread, how often they sell at all, cost, margin, lead time and pack. Every four weeks the product's quick model
//! learns from all demand so far; both sides order from its forecasts every week, for the lead time and the week behind it. What demand does not find is lost. Cost is the margin that
//! is lost and the holding of what is there.

use std::collections::BTreeMap;
use std::time::Instant;

use chrono::NaiveDate;
use domain::decision::{Standing, StockItem, StoredForecast};
use domain::forecast::{DailySeries, QUANTILES_PER_MILLE, SeriesForecast, SeriesKey, SeriesSet};
use domain::principal::Principal;
use models::decide::{Policy, decide};
use models::forecast::{Before, ForecastConfig, Learning, forecast};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Gamma, LogNormal, Poisson};

use crate::setting;

const HISTORY_DAYS: usize = 730;
const YEAR_DAYS: usize = 364;
const REVIEW_DAYS: usize = 7;
const LEARN_DAYS: usize = 28;
/// The longest lead time, the week behind it, and the three weeks that a forecast grows old.
const HORIZON_DAYS: usize = 42;
/// Of 99 %, as it is used where nobody knows what comes.
const NOMINAL_Z: f64 = 2.33;
const MONEY: f64 = 10_000.0;

struct Article {
    name: String,
    demand: Vec<f64>,
    cost: f64,
    margin: f64,
    lead: usize,
    pack: f64,
}

pub(crate) fn run() {
    let (articles, seeds) = (setting("ARTICLES", 100) as usize, setting("SEEDS", 3));
    println!(
        "| seed | fill rate, ours | cost | holding | z at that fill rate | cost | ours is cheaper by | fill rate at z = {NOMINAL_Z} | cost | ours is cheaper by | s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for seed in 1..=seeds {
        let begun = Instant::now();
        let articles: Vec<Article> = (0..articles).map(|number| Article::draw(seed, number)).collect();
        let forecasts: BTreeMap<usize, Vec<StoredForecast>> = (0..YEAR_DAYS)
            .step_by(LEARN_DAYS)
            .map(|day| (day, forecasts(&articles, HISTORY_DAYS + day)))
            .collect();
        let ours = simulated(&articles, &forecasts, &decided);
        let at = |z: f64| {
            simulated(&articles, &forecasts, &|shop, forecasts, passed| by_sigma(shop, forecasts, passed, z))
        };
        let (mut low, mut high) = (-1.0, 8.0);
        for _ in 0..24 {
            let middle = (low + high) / 2.0;
            if at(middle).fill_rate() < ours.fill_rate() { low = middle } else { high = middle }
        }
        let (theirs, nominal) = (at(high), at(NOMINAL_Z));
        let cheaper = |than: &Books| 100.0 * (1.0 - ours.cost() / than.cost());
        println!(
            "| {seed} | {:.4} | {:.0} | {:.0} | {high:.2} | {:.0} | {:.1} % | {:.4} | {:.0} | {:.1} % | {:.0} |",
            ours.fill_rate(),
            ours.cost(),
            ours.holding,
            theirs.cost(),
            cheaper(&theirs),
            nominal.fill_rate(),
            nominal.cost(),
            cheaper(&nominal),
            begun.elapsed().as_secs_f64()
        );
    }
}

impl Article {
    fn draw(seed: u64, number: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed * 1_000_003 + number as u64);
        let size = LogNormal::new(1.5, 1.0).expect("a distribution").sample(&mut random);
        let week: [f64; 7] = std::array::from_fn(|_| random.random_range(0.6..1.5));
        let (season, spread) = (random.random_range(0.0..0.5), random.random_range(0.5..4.0));
        let sells = if number.is_multiple_of(3) { random.random_range(0.15..0.6) } else { 1.0 };
        let phase = random.random_range(0.0..std::f64::consts::TAU);
        let day = |day: usize| {
            let yearly = 1.0 + season * (std::f64::consts::TAU * day as f64 / 365.0 + phase).sin();
            if random.random::<f64>() >= sells {
                return 0.0;
            }
            // Negative binomial, as a Poisson whose mean is drawn from a gamma.
            let mean = size * week[day % 7] * yearly / sells;
            let drawn = Gamma::new(spread, mean / spread).expect("a distribution").sample(&mut random);
            Poisson::new(drawn.max(1e-9)).expect("a distribution").sample(&mut random)
        };
        let demand = (0..HISTORY_DAYS + YEAR_DAYS).map(day).collect();
        let mut random = StdRng::seed_from_u64(seed * 7_919 + number as u64);
        let cost = random.random_range(100..1_000) as f64 / 100.0;
        Self {
            name: format!("a{number:03}"),
            demand,
            cost,
            margin: (cost * random.random_range(0.2..1.0) * 100.0).round() / 100.0,
            lead: [3, 7, 14][random.random_range(0..3)],
            pack: [1.0, 6.0, 12.0][random.random_range(0..3)],
        }
    }

    fn series(&self, known: usize) -> DailySeries {
        let units = self.demand[..known].to_vec();
        DailySeries {
            key: SeriesKey { tenant: "t".to_owned(), store: "s".to_owned(), sku: self.name.clone() },
            product_name: None,
            category: None,
            start: NaiveDate::from_ymd_opt(2021, 1, 4).expect("a date"),
            sale_days: units.iter().filter(|units| **units > 0.0).count(),
            stocked_out: Vec::new(),
            units,
        }
    }
}

fn series(articles: &[Article], known: usize) -> SeriesSet {
    SeriesSet {
        series: articles.iter().map(|article| article.series(known)).collect(),
        ..SeriesSet::default()
    }
}

fn whose() -> Principal {
    Principal::tenant("t").expect("a name")
}

fn forecasts(articles: &[Article], known: usize) -> Vec<StoredForecast> {
    let config = ForecastConfig { horizon_days: HORIZON_DAYS, learning: Learning::QUICK, search: false };
    let made =
        forecast(&series(articles, known), &whose(), config, &Before::default(), &|_| ()).expect("forecasts");
    let stored = |of: SeriesForecast| {
        let sku = of.subject.sku()?.to_owned();
        let days = of.days.iter().map(|day| (day.mean, day.quantiles)).collect();
        Some(StoredForecast {
            store: "s".to_owned(),
            sku,
            origin: of.origin,
            model_version: made.model_version.clone(),
            days,
        })
    };
    made.forecasts.into_iter().filter_map(stored).collect()
}

/// A shop on an evening.
struct Shop<'a> {
    articles: &'a [Article],
    /// Days that are known.
    known: usize,
    on_hand: Vec<f64>,
    /// By day of receipt, units of each article.
    coming: BTreeMap<usize, Vec<f64>>,
}

impl Shop<'_> {
    fn on_order(&self, article: usize) -> f64 {
        self.coming.values().map(|units| units[article]).sum()
    }
}

#[derive(Default)]
struct Books {
    asked: f64,
    sold: f64,
    holding: f64,
    lost: f64,
}

impl Books {
    fn fill_rate(&self) -> f64 {
        self.sold / self.asked
    }

    fn cost(&self) -> f64 {
        self.holding + self.lost
    }
}

/// Units to order of each article, from forecasts that are so many days old.
type Orders<'a> = &'a dyn Fn(&Shop<'_>, &[StoredForecast], usize) -> Vec<f64>;

fn simulated(
    articles: &[Article],
    forecasts: &BTreeMap<usize, Vec<StoredForecast>>,
    orders: Orders<'_>,
) -> Books {
    let begin = |article: &Article| {
        let daily = article.demand[HISTORY_DAYS - 56..HISTORY_DAYS].iter().sum::<f64>() / 56.0;
        daily * (article.lead + REVIEW_DAYS) as f64
    };
    let on_hand = articles.iter().map(begin).collect();
    let mut shop = Shop { articles, known: HISTORY_DAYS, on_hand, coming: BTreeMap::new() };
    let mut books = Books::default();
    let rate = Policy::default().holding_rate / 365.0;
    for day in 0..YEAR_DAYS {
        shop.known = HISTORY_DAYS + day;
        if let Some(received) = shop.coming.remove(&day) {
            shop.on_hand.iter_mut().zip(received).for_each(|(there, units)| *there += units);
        }
        if day % REVIEW_DAYS == 0 {
            let (learned, forecasts) = forecasts.range(..=day).next_back().expect("a forecast");
            for (at, units) in orders(&shop, forecasts, day - learned).into_iter().enumerate() {
                let of_day =
                    shop.coming.entry(day + articles[at].lead).or_insert_with(|| vec![0.0; articles.len()]);
                of_day[at] += units;
            }
        }
        for (article, there) in articles.iter().zip(&mut shop.on_hand) {
            let asked = article.demand[HISTORY_DAYS + day];
            let sold = asked.min(*there);
            *there -= sold;
            books.asked += asked;
            books.sold += sold;
            books.lost += (asked - sold) * article.margin;
            books.holding += *there * article.cost * rate;
        }
    }
    books
}

/// The product's.
fn decided(shop: &Shop<'_>, forecasts: &[StoredForecast], _: usize) -> Vec<f64> {
    let item = |(at, article): (usize, &Article)| StockItem {
        store: "s".to_owned(),
        sku: article.name.clone(),
        on_hand: shop.on_hand[at],
        on_order: shop.on_order(at),
        lead_time_days: Some(article.lead as u32),
        pack_size: Some((article.pack * 1_000.0) as i64),
        unit_cost: Some((article.cost * MONEY).round() as i128),
        price: Some(((article.cost + article.margin) * MONEY).round() as i128),
        currency: Some("EUR".to_owned()),
        ..StockItem::default()
    };
    let items = shop.articles.iter().enumerate().map(item).collect();
    let standing = Standing { items, forecasts: forecasts.to_vec(), ..Standing::default() };
    let run = decide(&series(shop.articles, shop.known), &standing, &whose(), &Policy::default(), 0)
        .expect("decided");
    run.recommendations
        .iter()
        .map(|of| of.plan.as_ref().map_or(0.0, |plan| plan.quantity as f64 / 1_000.0))
        .collect()
}

/// Up to the mean of lead time and review plus z times its standard deviation, in whole packs.
fn by_sigma(shop: &Shop<'_>, forecasts: &[StoredForecast], passed: usize, z: f64) -> Vec<f64> {
    let days_of: BTreeMap<&str, &StoredForecast> = forecasts.iter().map(|of| (of.sku.as_str(), of)).collect();
    let order = |(at, article): (usize, &Article)| {
        let days = &days_of[article.name.as_str()].days[passed..][..article.lead + REVIEW_DAYS];
        let mean: f64 = days.iter().map(|(mean, _)| mean).sum();
        let variance: f64 = days.iter().map(|(mean, quantiles)| variance(*mean, quantiles)).sum();
        let missing = mean + z * variance.sqrt() - shop.on_hand[at] - shop.on_order(at);
        (missing.max(0.0) / article.pack).ceil() * article.pack
    };
    shop.articles.iter().enumerate().map(order).collect()
}

/// Of a distribution that is even between its quantiles.
fn variance(mean: f64, quantiles: &[f64; 11]) -> f64 {
    let shares: Vec<f64> =
        QUANTILES_PER_MILLE.iter().map(|per_mille| f64::from(*per_mille) / 1_000.0).collect();
    let between = (1..11).map(|at| {
        let (low, high) = (quantiles[at - 1] - mean, quantiles[at] - mean);
        (shares[at] - shares[at - 1]) * (low * low + low * high + high * high) / 3.0
    });
    let tails =
        shares[0] * (quantiles[0] - mean).powi(2) + (1.0 - shares[10]) * (quantiles[10] - mean).powi(2);
    between.sum::<f64>() + tails
}
