//! Events per CPU-second, wall time and memory of ingest over the whole of Online Retail II, in turn with a bare loop in Rust and a loop in Python.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::place::{Ground, Place, server, service};
use crate::setting;
use crate::usage::{Usage, cpu_seconds, measured};

/// Lines of the file.
const EVENTS: u32 = 1_067_371;

/// The contenders, in the order in which each round runs them.
const CONTENDERS: [&str; 4] = ["ingest, folder", "ingest, SeaweedFS", "bare loop in Rust", "loop in Python"];

/// What a contender took in a round.
struct Run {
    usage: Usage,
    broker_cpu_seconds: f64,
}

pub(crate) fn run() {
    let rounds = setting("ROUNDS", 3);
    let prefix = filled_topic();
    let mut runs: Vec<Vec<Run>> = CONTENDERS.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for (contender, runs) in CONTENDERS.iter().zip(&mut runs) {
            eprintln!("round {round} of {rounds}: {contender}");
            runs.push(once(contender, &prefix));
        }
    }
    println!("\n## Throughput: {EVENTS} sales of Online Retail II, median of {rounds} rounds in turn\n");
    println!(
        "| | events per CPU-second | wall s | CPU s | peak MiB | CPU s of the broker |\n|---|---|---|---|---|---|"
    );
    let per_cpu_second: Vec<f64> =
        CONTENDERS.iter().zip(&mut runs).map(|(name, runs)| row(name, runs)).collect();
    println!(
        "\ningest on a folder reaches {:.0} % of the bare loop and {:.1} times the loop in Python, per CPU-second.",
        100.0 * per_cpu_second[0] / per_cpu_second[2],
        per_cpu_second[0] / per_cpu_second[3]
    );
}

/// Prints a contender's median round, and gives its events per CPU-second.
fn row(name: &str, runs: &mut [Run]) -> f64 {
    runs.sort_by(|a, b| a.usage.cpu_seconds.total_cmp(&b.usage.cpu_seconds));
    let Run { usage, broker_cpu_seconds } = &runs[runs.len() / 2];
    let rate = f64::from(EVENTS) / usage.cpu_seconds;
    println!(
        "| {name} | {rate:.0} | {:.2} | {:.2} | {:.0} | {broker_cpu_seconds:.2} |",
        usage.wall.as_secs_f64(),
        usage.cpu_seconds,
        usage.peak_mib
    );
    rate
}

/// The whole file in a topic of its own; gives the topic's prefix.
fn filled_topic() -> String {
    let place = Place::new(Ground::Folder, &Place::fresh_prefix());
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo");
    let path = |name: &str| demo.join(name).to_string_lossy().into_owned();
    let (file, map) = (path("online_retail.csv.xz"), path("online_retail_ii.toml"));
    let begun = Instant::now();
    let usage = measured(place.start(&["produce", "sales", "--file", &file, "--map", &map]), begun);
    eprintln!("produced in {:.1} s", usage.wall.as_secs_f64());
    place.prefix
}

fn once(contender: &str, prefix: &str) -> Run {
    let ground = if contender == CONTENDERS[1] { Ground::S3 } else { Ground::Folder };
    let place = Place::new(ground, prefix);
    let broker = server("kafka");
    let before = cpu_seconds(broker);
    let begun = Instant::now();
    let child = match contender {
        "bare loop in Rust" => {
            let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
            command.arg("bare").arg(place.topic()).arg(place.folder());
            place.spawn(command)
        }
        "loop in Python" => {
            let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/loop.py");
            let mut command = Command::new(service("INTELLICARTEL_BENCH_PYTHON"));
            command.arg(script).arg(place.topic()).arg(place.folder().join("table"));
            place.spawn(command)
        }
        _ => place.start(&["ingest", "--feeds", "sales", "--until-end"]),
    };
    let usage = measured(child, begun);
    Run { usage, broker_cpu_seconds: cpu_seconds(broker) - before }
}
