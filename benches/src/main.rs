//! Side-by-side runs against peers, and what an operator feels: throughput, recovery after `kill -9`, latency, the daily marts, a year of orders. Run by `make bench` in a release build
//! against real Kafka and S3; figures are printed as Markdown, to be recorded in `docs/reference/benchmarks.md` with machine and versions.
#![expect(clippy::print_stdout, reason = "its output is its figures")]

mod bare;
mod decisions;
mod feeds;
mod latency;
mod marts;
mod place;
mod recent;
mod recovery;
mod stream;
mod throughput;
mod usage;

use std::process::ExitCode;

const USAGE: &str = "usage: benches throughput|feeds|recovery|latency|recent|marts|decisions|all";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["throughput"] => throughput::run(),
        ["feeds"] => feeds::run(),
        ["recovery"] => recovery::run(),
        ["latency"] => latency::run(),
        ["recent"] => recent::run(),
        ["marts"] => marts::run(),
        ["decisions"] => decisions::run(),
        ["all"] => {
            throughput::run();
            feeds::run();
            recovery::run();
            latency::run();
            recent::run();
            marts::run();
        }
        // The peer in Rust is a process of its own, so that its memory and CPU time are its own.
        ["bare", topic, folder] => bare::run(topic, folder),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// A number from the environment, like `SECONDS`, or its default.
fn setting(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// The value that so many per cent of the values do not exceed.
fn percentile(sorted: &[f64], per_cent: usize) -> f64 {
    sorted[(sorted.len() * per_cent).div_ceil(100).saturating_sub(1)]
}
