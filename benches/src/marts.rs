//! What the daily marts cost: made from nothing beside DuckDB, which computes the same rows from the same files, and refreshed after changes of several sizes.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use chrono::{Days, NaiveDate};

use crate::feeds::{fill, ingest, produce};
use crate::place::{Ground, Place, service};
use crate::setting;
use crate::usage::{Usage, measured};

/// Late sales before a refresh, each on a day of its own.
const CHANGES: [u64; 5] = [0, 1, 10, 100, 1_000];

/// The store that they belong to has 3,268 days; this is one of its first.
const FIRST_DAY: &str = "2010-10-01";

pub(crate) fn run() {
    let rounds = setting("ROUNDS", 3);
    let place = Place::new(Ground::Folder, &Place::fresh_prefix());
    fill(&place);
    ingest(&place);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}: rebuild, then DuckDB in full");
        ours.push(marts(&place, "rebuild"));
        theirs.push(duckdb(&place, "compute"));
    }
    duckdb(&place, "compare");
    println!("\n## Daily marts: all rows, median of {rounds} rounds in turn; both make the same rows\n");
    println!("| | wall s | CPU s | peak MiB |\n|---|---|---|---|");
    row("`marts rebuild`", &mut ours);
    let full = row("DuckDB in full", &mut theirs);
    println!("\n## Daily marts: refresh after late sales, each on a day of its own, median of {rounds}\n");
    println!("| | wall s | CPU s | peak MiB |\n|---|---|---|---|");
    let mut sent = 0;
    for late in CHANGES {
        let mut runs: Vec<Usage> = (0..rounds).map(|_| refreshed_after(&place, late, &mut sent)).collect();
        let wall = row(&format!("{late} late sales"), &mut runs);
        eprintln!("{late} late sales: {:.0} % of DuckDB in full", 100.0 * wall / full);
    }
    duckdb(&place, "compute");
    duckdb(&place, "compare");
    println!("\nThe refreshed marts equal what DuckDB computes in full.");
}

/// Prints the run of median CPU time, and gives its wall time in seconds.
fn row(name: &str, runs: &mut [Usage]) -> f64 {
    runs.sort_by(|a, b| a.cpu_seconds.total_cmp(&b.cpu_seconds));
    let usage = runs[runs.len() / 2];
    let wall = usage.wall.as_secs_f64();
    println!("| {name} | {wall:.2} | {:.2} | {:.0} |", usage.cpu_seconds, usage.peak_mib);
    wall
}

fn marts(place: &Place, action: &str) -> Usage {
    let begun = Instant::now();
    measured(place.start(&["marts", action]), begun)
}

/// The peer: `compute` writes its marts beside the lake, `compare` fails unless the lake's equal them.
fn duckdb(place: &Place, action: &str) -> Usage {
    let mut command = Command::new(service("INTELLICARTEL_BENCH_PYTHON"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/marts.py"));
    command.arg(action).arg(place.folder().join("lake")).arg(place.folder());
    let begun = Instant::now();
    measured(place.spawn(command), begun)
}

fn refreshed_after(place: &Place, late: u64, sent: &mut u64) -> Usage {
    if late > 0 {
        let mut text = "transaction,occurred_at\n".to_owned();
        let first: NaiveDate = FIRST_DAY.parse().expect("a date");
        for day in 0..late {
            // Noon in Washington, on days that lie evenly in the span.
            let day = first + Days::new(day * 3_000 / late);
            writeln!(text, "late-{sent},{day}T16:00:00Z").expect("a text grows");
            *sent += 1;
        }
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = place.folder().join("late.csv");
        std::fs::write(&file, text).expect("a file in the folder");
        produce(place, &file, &own.join("feeds/late.toml"));
        ingest(place);
    }
    marts(place, "refresh")
}
