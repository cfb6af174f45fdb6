//! `produce`: a file to a feed's topic.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use domain::{Error, ErrorKind, Feed, Result};
use indicatif::{ProgressBar, ProgressStyle};
use ingest::kafka::KafkaConfig;
use ingest::mapping::LocalTimes;
use ingest::preview::preview;
use ingest::produce::{ProduceOptions, ProduceReport, Progress, produce};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::report::{PARTIAL, escaped, write_text};
use crate::wire;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The feeds, separated by commas, of those that the mapping fills [default: all of them].
    #[arg(value_delimiter = ',')]
    feeds: Vec<String>,
    /// The source: CSV, JSON lines or Parquet, plain or compressed by gzip or xz.
    #[arg(long)]
    file: PathBuf,
    /// The mapping, which says what the source is and how its columns become records (docs/guides/mappings.md).
    #[arg(long)]
    map: PathBuf,
    /// The value of a parameter of the mapping, as NAME=VALUE; may be given several times.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Reads the whole file and shows what would become of it; sends nothing. Exit status 3 if records would be refused.
    #[arg(long)]
    dry_run: bool,
    /// Records a second at most.
    #[arg(long, value_parser = positive)]
    rate: Option<f64>,
    /// Partitions of topics that have to be created.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: i32,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "write it as NAME=VALUE".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "give a number above 0".to_owned())
}

pub(crate) async fn run(config: &Config, args: Args) -> Result<ExitCode> {
    let options = ProduceOptions {
        feeds: args.feeds.iter().map(|name| Feed::from_name(name)).collect::<Result<_>>()?,
        file: args.file,
        map: args.map,
        parameters: args.parameters.into_iter().collect(),
        rate: args.rate,
        partitions: args.partitions,
    };
    if args.dry_run {
        return dry_run(options).await;
    }
    let kafka = wire::kafka(config)?;
    let report = with_progress(&kafka, options, wire::shutdown()).await?;
    if report.cancelled {
        return Err(Error::new(
            ErrorKind::Cancelled,
            format!("stopped; {} records were acknowledged", report.acknowledged),
        ));
    }
    eprintln!("{} records acknowledged by {}", report.acknowledged, kafka.brokers);
    Ok(ExitCode::SUCCESS)
}

/// Shows what a file would become.
async fn dry_run(options: ProduceOptions) -> Result<ExitCode> {
    let preview = preview(options, wire::shutdown()).await?;
    let (taken, refused): (u64, u64) = (preview.taken.values().sum(), preview.refused.values().sum());
    let mut text = format!("the first {} of {taken} records:\n", preview.first_taken.len());
    for record in &preview.first_taken {
        let key = record.key.as_deref().unwrap_or_default();
        text += &format!("{} {key} {}\n", record.feed.name(), String::from_utf8_lossy(&record.value));
    }
    if refused > 0 {
        text += &format!("the first {} of {refused} that would be refused:\n", preview.first_refused.len());
    }
    for (row, record, reject) in &preview.first_refused {
        let value = String::from_utf8_lossy(&record.value);
        text += &format!("{} row {row}: {reject}\n    {value}\n", record.feed.name());
    }
    write_text(&escaped(&text, |letter| letter != '\n'))?;
    tell_local_times(preview.local_times);
    let counts = |counts: &BTreeMap<Feed, u64>| {
        let counts: Vec<_> = counts.iter().map(|(feed, count)| format!("{count} {}", feed.name())).collect();
        if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
    };
    eprintln!(
        "{} rows{}: {} would be taken, {} refused; nothing was sent",
        preview.rows,
        if preview.cancelled { " until it was stopped" } else { "" },
        counts(&preview.taken),
        counts(&preview.refused)
    );
    Ok(if refused > 0 { ExitCode::from(PARTIAL) } else { ExitCode::SUCCESS })
}

fn tell_local_times(times: LocalTimes) {
    if times.moved + times.ambiguous > 0 {
        eprintln!(
            "local times: {} did not exist and were moved forward an hour, {} were ambiguous and took the first",
            times.moved, times.ambiguous
        );
    }
}

/// Produces with a bar on stderr, and says there what was decided on the way.
pub(crate) async fn with_progress(
    kafka: &KafkaConfig,
    options: ProduceOptions,
    cancel: CancellationToken,
) -> Result<ProduceReport> {
    let bar = ProgressBar::new(0);
    let style = "{bar:30} {percent:>3} %  {msg}  ETA {eta}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    let shown = bar.clone();
    let begun = std::time::Instant::now();
    let progress = move |progress: Progress| {
        shown.set_length(progress.size_bytes);
        shown.set_position(progress.read_bytes);
        let rate = progress.records as f64 / begun.elapsed().as_secs_f64().max(0.001);
        shown.set_message(format!("{} records, {rate:.0}/s", progress.records));
    };
    let partitions = options.partitions;
    let result = produce(kafka, options, progress, cancel).await;
    bar.finish_and_clear();
    let report = result?;
    for topic in &report.created_topics {
        eprintln!("created topic {topic} with {partitions} partitions");
    }
    tell_local_times(report.local_times);
    Ok(report)
}
