//! `ingest`: feeds from Kafka into their tables; `ingest accept-log`: the operator's word for a log that the table does not know.

use std::sync::Arc;
use std::time::Duration;

use ::lake::LakeOptions;
use api::Routes;
use clap::{Args as ClapArgs, Subcommand};
use domain::ids::Pipeline;
use domain::{Error, Feed, Result};
use ingest::accept_log::{AcceptFrom, accept_log};
use ingest::pipeline::{self, ErrorBudgetOptions, GroupOptions, IngestOptions};

use crate::config::Config;
use crate::{serve, wire};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// The feeds, separated by commas [default: all, each once its topic is there].
    #[arg(long, value_delimiter = ',')]
    feeds: Vec<String>,
    /// Ends once every topic was read to its end and committed; with ingest.group, the partitions that this process owns once the group is settled.
    #[arg(long)]
    until_end: bool,
    /// Where /livez, /readyz, /metrics and /version are served meanwhile, an address of the loopback [default: nowhere].
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lets a feed go on whose topic is another log than the table knows, or whose position lies outside the log.
    AcceptLog {
        /// The topic.
        topic: String,
        /// Only this partition; the others keep their positions.
        #[arg(long)]
        partition: Option<i32>,
        /// Where it goes on: earliest, latest or an offset.
        #[arg(long)]
        from: AcceptFrom,
    },
}

pub(crate) async fn run(config: &Config, args: Args) -> Result<()> {
    let pipeline = Pipeline::new(config.ingest.pipeline.clone())?;
    let kafka = wire::kafka(config)?;
    if let Some(Action::AcceptLog { topic, partition, from }) = args.action {
        let known = |feed: &Feed| feed.topic(&kafka.prefix) == topic;
        let feed = Feed::ALL.into_iter().find(known).ok_or_else(|| {
            let topics: Vec<_> = Feed::ALL.into_iter().map(|feed| feed.topic(&kafka.prefix)).collect();
            Error::invalid(format!("`{topic}` is not a feed's topic: choose one of {}", topics.join(", ")))
        })?;
        let lake = wire::lake(config, LakeOptions::Write).await?;
        let report = accept_log(&kafka, lake, &pipeline, feed, partition, from).await?;
        let positions: Vec<_> =
            report.positions.iter().map(|(partition, offset)| format!("{partition}: {offset}")).collect();
        eprintln!(
            "topic {topic} is now log {}; next offsets by partition: {}",
            report.number,
            positions.join(", ")
        );
        return Ok(());
    }
    let feeds = feeds(&args.feeds)?;
    let mut options = options(config, pipeline, args.until_end);
    options.awaits_topics = args.feeds.is_empty();
    // Whoever is told to end while it starts ends as well as one that reads.
    let shutdown = wire::shutdown();
    let lake = tokio::select! {
        lake = wire::lake(config, LakeOptions::Write) => lake?,
        () = shutdown.cancelled() => {
            eprintln!("told to end before anything was read");
            return Ok(());
        }
    };
    let report = match args.listen {
        None => pipeline::run(&feeds, &kafka, lake, &options, shutdown).await?,
        Some(listen) => {
            let metrics = wire::metrics()?;
            let listener = api::bind(&listen).await?;
            let read = async {
                let report =
                    pipeline::run(&feeds, &kafka, Arc::clone(&lake) as _, &options, shutdown.clone()).await;
                // The end of reading, good or bad, is the end of the process.
                shutdown.cancel();
                report
            };
            let served = serve::http(
                listener,
                serve::state(Arc::clone(&lake), metrics, shutdown.clone())?,
                Routes::Operations,
            );
            let (report, served) = tokio::join!(read, served);
            served.and(report)?
        }
    };
    eprintln!(
        "{} rows and {} dead letters in {} commits; {} batches dropped and read again",
        report.rows, report.dead_letters, report.commits, report.dropped
    );
    Ok(())
}

/// The feeds of these names; none named means all.
pub(crate) fn feeds(names: &[String]) -> Result<Vec<Feed>> {
    if names.is_empty() {
        return Ok(Feed::ALL.to_vec());
    }
    names.iter().map(|name| Feed::from_name(name)).collect()
}

/// The settings of `ingest.*`.
pub(crate) fn options(config: &Config, pipeline: Pipeline, until_end: bool) -> IngestOptions {
    let ingest = &config.ingest;
    IngestOptions {
        pipeline,
        group: (!ingest.group.is_empty()).then(|| GroupOptions {
            name: ingest.group.clone(),
            instance: (!ingest.group_instance.is_empty()).then(|| ingest.group_instance.clone()),
        }),
        flush: Duration::from_millis(ingest.flush_ms),
        flush_bytes: ingest.flush_bytes,
        memory_cap_bytes: ingest.memory_cap_bytes,
        duplicate_index_bytes: ingest.duplicate_index_bytes,
        small_files_cap: config.maintenance.small_files_cap,
        batch_age: Duration::from_secs(ingest.batch_seconds),
        until_end,
        awaits_topics: false,
        stall_timeout: Duration::from_secs(ingest.stall_seconds),
        error_budget: ErrorBudgetOptions {
            share: ingest.error_budget,
            window: Duration::from_secs(ingest.error_budget_seconds),
            least_records: ingest.error_budget_records,
            pause_on_invalid_tenant: ingest.pause_on_invalid_tenant,
        },
    }
}
