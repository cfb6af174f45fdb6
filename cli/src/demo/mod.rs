//! `demo`: real sales through Kafka into the lake, and what can be asked there, in one command.
//!
//! By itself it needs nothing: the broker is embedded and the lake is a folder. With `kafka.brokers` and `lake.root` set, it runs on real servers.

#[cfg(feature = "embedded")]
mod broker;
mod load;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::ids::Pipeline;
use domain::ports::{Append as _, Snapshots as _};
use domain::{Error, ErrorKind, Feed, Principal, Result};
use engine::{Limits, Output, write_output};
use ingest::kafka::KafkaConfig;
use ingest::kafka::admin::Admin;
use ingest::mapping::Parameters;
use ingest::pipeline;
use ingest::produce::ProduceOptions;
use lake::{Lake, LakeOptions};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, EMBEDDED, Listen};
use crate::{forecast, forecasting, produce, serve, wire};
use load::{Load, LoadState};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder with the data and its mapping.
    #[arg(long, default_value = "demo")]
    data: PathBuf,
    /// Ends after the summary.
    #[arg(long)]
    once: bool,
    /// Removes what a demo has left in this lake, its topic included, and begins anew.
    #[arg(long)]
    reset: bool,
    #[command(flatten)]
    pub(crate) listen: Listen,
}

const PARTITIONS: i32 = 4;

/// The businesses that the mappings assign; the first is asked for in the examples.
const TENANTS: [&str; 2] = ["gift-uk", "bikeshare"];

/// What is sent, in this order: files, each with its mapping.
const SOURCES: [(&str, &str); 9] = [
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

fn sources(data: &Path) -> Vec<ProduceOptions> {
    let source = |(file, map)| ProduceOptions {
        file: data.join(file),
        map: data.join(map),
        parameters: Parameters::new(),
        feeds: Vec::new(),
        rate: None,
        partitions: PARTITIONS,
    };
    SOURCES.into_iter().map(source).collect()
}

/// How long the ingest may take to catch up with what was produced.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn run(config: &Config, args: Args) -> Result<()> {
    let begun = Instant::now();
    let (metrics, shutdown) = (wire::metrics()?, wire::shutdown());
    // A port that is taken is told before the work, not after it.
    let listener = if args.once { None } else { Some(api::bind(&config.http.listen).await?) };
    let sources = sources(&args.data);
    let load = Load::of(sources.iter().map(|source| source.file.as_path()))?;
    let lake = prepared_lake(config, &load, args.reset).await?;
    let is_loaded = load.state(lake.as_ref()).await? == LoadState::Complete;
    if is_loaded {
        eprintln!("the data is in the lake already: nothing is sent again");
    } else {
        fill(config, &load, &lake, sources, &shutdown).await?;
    }
    if shutdown.is_cancelled() {
        return Err(Error::new(ErrorKind::Cancelled, "stopped; the next `demo` says how it goes on"));
    }
    let _ = wire::marts(Arc::clone(&lake))?.refresh().await?;
    summary(Arc::clone(&lake)).await?;
    if is_loaded && lake.newest_version("ops.model_versions").await? > 0 {
        eprintln!("it was forecast, too; `forecast run` does so anew");
    } else {
        forecast::run_for_all(config).await?;
        forecast::recommend_for_all(config).await?;
    }
    eprintln!("ready after {:.1} s", begun.elapsed().as_secs_f64());
    invite(config);
    match listener {
        None => Ok(()),
        Some(listener) => {
            let jobs = forecasting::runner(&lake);
            let state = serve::state(lake, metrics, shutdown.clone())?.with_jobs(Arc::new(jobs.clone()));
            let served = async {
                let served = serve::http(listener, state, api::Routes::All).await;
                shutdown.cancel();
                served
            };
            tokio::join!(served, jobs.run(shutdown.clone())).0
        }
    }
}

/// Opens the lake, without what an unfinished or unwanted load has left.
async fn prepared_lake(config: &Config, load: &Load, reset: bool) -> Result<Arc<Lake>> {
    let lake = wire::lake(config, LakeOptions::Write).await?;
    let state = load.state(lake.as_ref()).await?;
    if !reset && state != LoadState::Begun {
        return Ok(lake);
    }
    let is_own = config.kafka.brokers == EMBEDDED && lake.store().folder().is_some();
    if !reset && !is_own {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "an earlier demo was cut off while it filled {}, and {} still holds what it had sent: run `intellicartel demo --reset` to remove both and begin anew",
                config.lake.root, config.kafka.brokers
            ),
        ));
    }
    if state == LoadState::New {
        return Ok(lake);
    }
    refuse_others(&lake).await?;
    eprintln!(
        "{}: {} is built anew",
        if reset { "reset" } else { "an earlier demo was cut off" },
        config.lake.root
    );
    if config.kafka.brokers != EMBEDDED {
        let kafka = wire::kafka(config)?;
        let admin = Admin::new(&kafka)?;
        for feed in Feed::ALL {
            admin.delete_topic(&feed.topic(&kafka.prefix)).await?;
        }
    }
    lake.store().clear().await?;
    wire::lake(config, LakeOptions::Write).await
}

/// A lake that holds more than the demo's businesses is not emptied.
async fn refuse_others(lake: &Arc<Lake>) -> Result<()> {
    let own = TENANTS.join("', '");
    let query = format!("SELECT DISTINCT tenant FROM curated.sales WHERE tenant NOT IN ('{own}') LIMIT 1");
    let mut others = Vec::new();
    let session = wire::engine(Arc::clone(lake))?.session(Principal::Operator);
    let answer = session.query(&query, Limits::default()).await?;
    if write_output(answer, Output::Csv, &mut others).await?.rows == 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        "the lake holds the sales of other businesses too, and a reset would remove them: choose another lake.root",
    ))
}

/// Sends the files and takes them in, side by side.
async fn fill(
    config: &Config,
    load: &Load,
    lake: &Arc<Lake>,
    sources: Vec<ProduceOptions>,
    shutdown: &CancellationToken,
) -> Result<()> {
    let kafka = kafka(config).await?;
    load.begin(lake.as_ref()).await?;
    let admin = Admin::new(&kafka)?;
    for feed in Feed::ALL {
        admin.ensure_topic(&feed.topic(&kafka.prefix), PARTITIONS).await?;
    }
    let pipeline = Pipeline::new(config.ingest.pipeline.clone())?;
    let mut options = crate::ingest::options(config, pipeline.clone(), false);
    // A topic that a reset has deleted may still be on its way out; sending creates it anew.
    options.awaits_topics = true;
    let stop = shutdown.child_token();
    let taken_in = tokio::spawn({
        let (kafka, lake, stop) = (kafka.clone(), Arc::clone(lake), stop.clone());
        async move { pipeline::run(&Feed::ALL, &kafka, lake, &options, stop).await }
    });
    let sent = send(&kafka, sources, shutdown).await;
    let caught_up = match &sent {
        Ok(Some(acknowledged)) => catch_up(lake, &pipeline, &kafka, *acknowledged, &taken_in).await,
        _ => Ok(()),
    };
    stop.cancel();
    let taken_in = taken_in.await.map_err(|error| Error::internal(format!("ingest: {error}")))??;
    caught_up?;
    let Some(acknowledged) = sent? else { return Ok(()) };
    eprintln!(
        "{acknowledged} records acknowledged; {} rows and {} dead letters in {} commits",
        taken_in.rows, taken_in.dead_letters, taken_in.commits
    );
    load.complete(lake.as_ref()).await
}

/// Sends files one after the other, and gives the number of records; none when it was stopped.
async fn send(
    kafka: &KafkaConfig,
    sources: Vec<ProduceOptions>,
    shutdown: &CancellationToken,
) -> Result<Option<u64>> {
    let mut acknowledged = 0;
    for source in sources {
        eprintln!("sending {} through {}", source.file.display(), kafka.brokers);
        let report = produce::with_progress(kafka, source, shutdown.clone()).await?;
        if report.cancelled {
            return Ok(None);
        }
        acknowledged += report.acknowledged;
    }
    Ok(Some(acknowledged))
}

/// The cluster of the settings, or one of our own.
async fn kafka(config: &Config) -> Result<KafkaConfig> {
    if config.kafka.brokers != EMBEDDED {
        return wire::kafka(config);
    }
    #[cfg(feature = "embedded")]
    let brokers = broker::start().await?;
    #[cfg(not(feature = "embedded"))]
    let brokers: String = return Err(Error::invalid(
        "this build has no embedded broker: set kafka.brokers, or build with the cargo feature `embedded`",
    ));
    Ok(KafkaConfig { brokers, prefix: config.kafka.prefix.clone(), embedded: true })
}

/// Waits until the tables' positions cover what was acknowledged.
async fn catch_up(
    lake: &Arc<Lake>,
    pipeline: &Pipeline,
    kafka: &KafkaConfig,
    acknowledged: u64,
    ingest: &tokio::task::JoinHandle<Result<pipeline::IngestReport>>,
) -> Result<()> {
    let begun = Instant::now();
    loop {
        let mut position = 0;
        for feed in Feed::ALL {
            let state = lake.topic_state(feed, pipeline, &feed.topic(&kafka.prefix)).await?;
            let current = state.current(pipeline.as_str()).map(|log| log.number);
            let of_current = state.next_offsets.iter().filter(|((log, _), _)| Some(*log) == current);
            position += of_current.map(|(_, next)| next).sum::<i64>();
        }
        // An ingest that ended has an error to tell.
        if position.unsigned_abs() >= acknowledged || ingest.is_finished() {
            return Ok(());
        }
        if begun.elapsed() > CATCH_UP_PATIENCE {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "{position} of {acknowledged} records were taken in within {} s",
                    CATCH_UP_PATIENCE.as_secs()
                ),
            ));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const TOTALS: &str = "SELECT tenant, store, count(*) AS rows, sum(quantity) AS units, sum(quantity * unit_price) AS revenue, \
currency, min(occurred_at) AS first_sale, max(occurred_at) AS last_sale FROM curated.sales GROUP BY tenant, store, currency ORDER BY tenant, store, currency";

const DAYS: &str = "SELECT tenant, store, count(*) AS business_days, sum(sale_lines) AS sale_lines, sum(units) AS units, sum(returned_units) AS returned, \
count(temp_mean_c) AS with_weather, count(holiday) AS holidays, max(date) AS last_day FROM marts.store_days GROUP BY tenant, store ORDER BY tenant, store";

async fn summary(lake: Arc<Lake>) -> Result<()> {
    let session = wire::engine(lake)?.session(Principal::Operator);
    for question in [TOTALS, DAYS] {
        let answer = session.query(question, Limits::default()).await?;
        let _ = write_output(answer, Output::Table, &mut std::io::stdout()).await?;
    }
    Ok(())
}

/// What to type next.
fn invite(config: &Config) {
    let program = std::env::args().next().unwrap_or_else(|| "intellicartel".to_owned());
    eprintln!("the lake is {}; ask it, for instance:", config.lake.root);
    eprintln!(
        "  {program} sql \"SELECT period, sum(quantity * unit_price) FROM curated.sales GROUP BY period ORDER BY period\""
    );
    eprintln!(
        "  {program} sql \"SELECT date, units, temp_mean_c, condition, holiday FROM marts.daily_demand WHERE store = 'washington-dc' ORDER BY date DESC LIMIT 7\""
    );
    eprintln!(
        "  {program} sql \"SELECT forecast_date, mean, q100, q900 FROM marts.served_forecasts WHERE sku = '85123A' ORDER BY 1 LIMIT 7\""
    );
    eprintln!(
        "  {program} sql \"SELECT forecast_date, mean, q100, q900, total_q900 FROM marts.served_forecasts WHERE level = 'business' AND tenant = 'gift-uk' ORDER BY 1 LIMIT 7\""
    );
    eprintln!(
        "  {program} sql \"SELECT rank, sku, order_quantity, order_cost, expected_profit, reason FROM marts.recommendations WHERE status = 'order' ORDER BY rank LIMIT 5\""
    );
    let business = format!("curl -H 'X-Intellicartel-Tenant: {}'", TENANTS[0]);
    let listen = &config.http.listen;
    eprintln!("and as the business {} over HTTP:", TENANTS[0]);
    eprintln!("  {business} 'http://{listen}/api/v1/forecast/predictions?sku=85123A&per_page=7'");
    eprintln!("  {business} 'http://{listen}/api/v1/forecast/recommendations?status=order&per_page=5'");
    eprintln!(
        "  {business} -H 'Content-Type: application/json' -d '{{\"sql\": \"SELECT sku, sum(quantity) AS units FROM curated.sales GROUP BY sku ORDER BY units DESC\", \"limit\": 5}}' http://{listen}/api/v1/data/sql"
    );
}
