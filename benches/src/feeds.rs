//! All feeds at once: the demo's files, with competitors' prices and signals beside them, which the demo does not have.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{Days, NaiveDate};
use domain::Feed;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::place::{Ground, Place, server};
use crate::setting;
use crate::usage::{Usage, cpu_seconds, measured};

/// Files of the demo, each with its mapping.
const FILES: [(&str, &str); 9] = [
    ("assigned/stores.csv", "stores.toml"),
    ("assigned/products.csv", "products.toml"),
    ("holidays/us.csv", "holidays.toml"),
    ("holidays/uk.csv", "holidays.toml"),
    ("holidays/de.csv", "holidays.toml"),
    ("assigned/snippets.csv", "snippets.toml"),
    ("assigned/inventory.csv", "inventory.toml"),
    ("hourly_bikesharing.csv.gz", "bikeshare.toml"),
    ("online_retail.csv.xz", "online_retail_ii.toml"),
];

const COMPETITORS: [&str; 3] = ["north", "south", "west"];

/// Weeks of Online Retail II.
const PRICED_WEEKS: u64 = 105;

/// Weeks of both businesses.
const SIGNALLED_WEEKS: u64 = 560;

pub(crate) fn run() {
    let rounds = setting("ROUNDS", 3);
    let filled = Place::new(Ground::Folder, &Place::fresh_prefix());
    fill(&filled);
    let mut runs = [(Ground::Folder, Vec::new()), (Ground::S3, Vec::new())];
    for round in 1..=rounds {
        for (ground, runs) in &mut runs {
            eprintln!("round {round} of {rounds}: all feeds, {ground}");
            let place = Place::new(*ground, &filled.prefix);
            let broker = server("kafka");
            let before = cpu_seconds(broker);
            let usage = ingest(&place);
            runs.push((usage, cpu_seconds(broker) - before, events(&place)));
        }
    }
    println!("\n## All feeds at once: median of {rounds} rounds in turn\n");
    println!(
        "| lake | events | events per CPU-second | wall s | CPU s | peak MiB | CPU s of the broker |\n|---|---|---|---|---|---|---|"
    );
    for (ground, mut runs) in runs {
        runs.sort_by(|(a, ..), (b, ..)| a.cpu_seconds.total_cmp(&b.cpu_seconds));
        let (usage, broker, events) = runs[runs.len() / 2];
        println!(
            "| {ground} | {events} | {:.0} | {:.2} | {:.2} | {:.0} | {broker:.2} |",
            events as f64 / usage.cpu_seconds,
            usage.wall.as_secs_f64(),
            usage.cpu_seconds,
            usage.peak_mib
        );
    }
}

/// Brings everything in the place's topics into its lake.
pub(crate) fn ingest(place: &Place) -> Usage {
    let begun = Instant::now();
    measured(place.start(&["ingest", "--until-end"]), begun)
}

/// Fills the topic of every feed.
pub(crate) fn fill(place: &Place) {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let demo = own.join("../demo");
    for (file, map) in FILES {
        produce(place, &demo.join(file), &demo.join(map));
    }
    for (name, text) in [("prices", prices(&demo)), ("signals", signals())] {
        let file = place.folder().join(name).with_extension("csv");
        std::fs::write(&file, text).expect("a file in the folder");
        produce(place, &file, &own.join("feeds").join(name).with_extension("toml"));
    }
}

/// Sends a file.
pub(crate) fn produce(place: &Place, file: &Path, map: &Path) {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    measured(place.start(&["produce", "--file", &text(file), "--map", &text(map)]), Instant::now());
}

/// How many records the tables cover.
fn events(place: &Place) -> i64 {
    let lake = place.lake();
    Feed::ALL.into_iter().map(|feed| place.covered(&lake, feed)).sum()
}

/// A price a week of every competitor for every article that has a cost, around its list price.
fn prices(demo: &Path) -> String {
    let articles: PathBuf = demo.join("assigned/products.csv");
    let articles = std::fs::read_to_string(&articles).expect("the demo's products");
    let mut random = StdRng::seed_from_u64(7);
    let mut text = "sku,competitor,observed_at,price\n".to_owned();
    for article in articles.lines().skip(1) {
        // A name may hold commas; what is needed stands before and behind it.
        let sku = article.split(',').next().expect("an SKU");
        let list_price: f64 =
            article.rsplit(',').nth(2).and_then(|price| price.parse().ok()).expect("a price");
        for competitor in COMPETITORS {
            for week in 0..PRICED_WEEKS {
                let day = day("2009-12-01") + Days::new(7 * week + random.random_range(0..7));
                let (hour, price) = (random.random_range(0..24), list_price * random.random_range(0.8..1.3));
                writeln!(text, "{sku},{competitor},{day}T{hour:02}:00:00Z,{price:.2}").expect("a text grows");
            }
        }
    }
    text
}

fn signals() -> String {
    let mut random = StdRng::seed_from_u64(8);
    let mut text = "key,starts_on,ends_on,value\n".to_owned();
    for key in ["GB-ENG", "US-DC"] {
        for week in 0..SIGNALLED_WEEKS {
            let first = day("2009-01-04") + Days::new(7 * week);
            let value = random.random_range(0..=100);
            writeln!(text, "{key},{first},{},{value}", first + Days::new(6)).expect("a text grows");
        }
    }
    text
}

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}
