//! `produce`: a file to a feed's topic.

use std::path::PathBuf;

use domain::{Error, ErrorKind, Feed, Result};
use indicatif::{ProgressBar, ProgressStyle};
use ingest::kafka::KafkaConfig;
use ingest::produce::{ProduceOptions, ProduceReport, Progress, produce};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::wire;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The feed, like `sales`.
    feed: String,
    /// The source: CSV, JSON lines or Parquet, plain or compressed by gzip or xz.
    #[arg(long)]
    file: PathBuf,
    /// The mapping, which says what the source is and how its columns become records (docs/guides/mappings.md).
    #[arg(long)]
    map: PathBuf,
    /// Records a second at most.
    #[arg(long, value_parser = positive)]
    rate: Option<f64>,
    /// Partitions of a topic that has to be created.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: i32,
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "give a number above 0".to_owned())
}

pub(crate) async fn run(config: &Config, args: Args) -> Result<()> {
    let feed = Feed::from_name(&args.feed)?;
    let options =
        ProduceOptions { file: args.file, map: args.map, feed, rate: args.rate, partitions: args.partitions };
    let kafka = wire::kafka(config)?;
    let report = with_progress(&kafka, options, wire::shutdown()).await?;
    if report.cancelled {
        return Err(Error::new(
            ErrorKind::Cancelled,
            format!("stopped; {} records were acknowledged", report.acknowledged),
        ));
    }
    eprintln!("{} records acknowledged by {}", report.acknowledged, kafka.brokers);
    Ok(())
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
    let times = report.local_times;
    if times.moved + times.ambiguous > 0 {
        eprintln!(
            "local times: {} did not exist and were moved forward an hour, {} were ambiguous and took the first",
            times.moved, times.ambiguous
        );
    }
    Ok(report)
}
