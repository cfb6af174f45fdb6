//! `forecast`: series out of the lake, forecasts into it. What was made of each business goes to stdout, progress to stderr.

mod backtest;
mod planning;
mod recommend;
mod what_if;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use domain::forecast::SeriesSet;
use domain::ports::Tables;
use domain::principal::{Principal, StoreScope};
use domain::{Error, ErrorKind, Result};
use indicatif::{ProgressBar, ProgressStyle};
use lake::{Lake, LakeOptions};
use models::drift::Found;
use models::forecast::{
    Counts, ForecastConfig, Forecasts, Learning, Published, Stage, Timings, by_tenant, forecast, publish,
};
use models::registry::before;
use serde::Serialize;

use crate::config::Config;
use crate::jobs::Progress;
use crate::wire;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Brings the daily marts up to date, and forecasts every article of every store, its categories, the store and the business from them into
    /// marts.forecasts, where they are served unless something speaks against it. Run again on the same sales, it leaves the same rows.
    Run {
        /// Days ahead.
        #[arg(long, default_value_t = 28, value_parser = clap::value_parser!(u16).range(1..=365))]
        horizon: u16,
        /// Only this business [default: all, a model for each].
        #[arg(long)]
        tenant: Option<String>,
        /// Learns from fewer rows in fewer steps: less accurate, in a fraction of the time.
        #[arg(long)]
        quick: bool,
        /// Lets new weights and calibration challenge those of the model that is served, even if these are younger than four weeks.
        #[arg(long)]
        search: bool,
        /// How the summary is written.
        #[arg(long, value_enum, default_value = "table")]
        output: Form,
    },
    /// Decides what to order from the newest forecasts and the stock, into marts.recommendations, and scores what articles are at risk of, into
    /// marts.risk_scores. Run again on the same data, it leaves the same rows.
    Recommend(recommend::Recommend),
    /// Tells what the model that is served would forecast of an article if days were planned otherwise, or their weather forecast otherwise.
    WhatIf(what_if::WhatIf),
    /// Keeps what a planner expects of days of an article in the model's place: orders follow it, and marts.override_value tells what it was worth.
    Override(planning::Said),
    /// Measures models on the last origins of a file of series.
    Backtest(Box<backtest::Backtest>),
}

/// Which article of which business.
#[derive(Debug, ClapArgs)]
struct Article {
    /// The business.
    #[arg(long)]
    tenant: String,
    /// The store.
    #[arg(long)]
    store: String,
    /// The article.
    #[arg(long)]
    sku: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    Table,
    Json,
}

/// What a run made of one business.
#[derive(Debug, Serialize)]
struct Summary {
    tenant: String,
    #[serde(flatten)]
    series: Counts,
    /// Categories, stores and the business.
    sums: usize,
    horizon_days: usize,
    first_origin: String,
    last_origin: String,
    model_version: String,
    parent: Option<String>,
    selection: String,
    is_served: bool,
    reason: String,
    manifest: String,
    wape: Option<f64>,
    naive_wape: Option<f64>,
    coverage_80: Option<f64>,
    backtest_n: usize,
    drift: String,
    business_wape: Option<f64>,
    business_coverage_80: Option<f64>,
    rows_written: u64,
    rows_replaced: u64,
    table_version: u64,
}

/// Forecasts every business 28 days ahead by models that learn quickly, and prints the summary as a table.
pub(crate) async fn run_for_all(config: &Config) -> Result<()> {
    let action = Action::Run { horizon: 28, tenant: None, quick: true, search: false, output: Form::Table };
    run(config, Args { action }).await
}

/// Decides for every business that has a stock, and prints what to order first.
pub(crate) async fn recommend_for_all(config: &Config) -> Result<()> {
    run(config, Args { action: Action::Recommend(recommend::Recommend::of_all()) }).await
}

pub(crate) async fn run(config: &Config, args: Args) -> Result<()> {
    let (horizon, tenant, quick, search, output) = match args.action {
        Action::Run { horizon, tenant, quick, search, output } => (horizon, tenant, quick, search, output),
        Action::Recommend(args) => {
            return recommend::run(config, args, bar("refreshing the daily marts")).await;
        }
        Action::Override(args) => return planning::run(config, args).await,
        Action::WhatIf(args) => return what_if::run(config, args).await,
        Action::Backtest(args) => return backtest::run(*args, bar("reading")).await,
    };
    let principal = match &tenant {
        Some(tenant) => Principal::tenant(tenant.clone())?,
        None => Principal::Operator,
    };
    let bar = bar("refreshing the daily marts");
    let learning = if quick { Learning::QUICK } else { Learning::FULL };
    let chosen = ForecastConfig { horizon_days: usize::from(horizon), learning, search };
    let summaries = run_all(config, &principal, chosen, &bar).await;
    bar.finish_and_clear();
    print(&summaries?, output)
}

fn bar(message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = "{bar:30} {percent:>3} %  {msg}  ETA {eta}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.set_message(message);
    bar
}

async fn run_all(
    config: &Config,
    principal: &Principal,
    chosen: ForecastConfig,
    bar: &ProgressBar,
) -> Result<Vec<Summary>> {
    let lake = wire::lake(config, LakeOptions::Write).await?;
    let _ = wire::marts(Arc::clone(&lake))?.refresh().await?;
    bar.set_message("reading marts.item_days");
    let begun = Instant::now();
    let set = wire::series(Arc::clone(&lake))?.daily_series(principal, chosen.horizon_days).await?;
    let read_ms = millis(begun);
    if set.series.is_empty() {
        let whose = match principal {
            Principal::Operator => String::new(),
            Principal::Tenant { tenant, .. } => format!(" of `{tenant}`"),
        };
        return Err(nothing_sold(&whose));
    }
    let tables = wire::series(Arc::clone(&lake))?;
    let tenants = by_tenant(set);
    let count = tenants.len();
    bar.set_length((count * Stage::ALL.len()) as u64);
    let mut summaries = Vec::with_capacity(count);
    for (tenant, set) in tenants {
        let (shown, of) = (bar.clone(), tenant.clone());
        let show = move |stage: Stage| {
            shown.set_message(format!("{of}: {}", stage.name()));
            shown.inc(1);
        };
        let made = run_one(&lake, &tables, tenant.clone(), set, chosen, read_ms, show).await;
        summaries.push(made.map_err(|error| {
            let done = summaries.len();
            Error::new(
                error.kind(),
                format!("business `{tenant}`: {error} ({done} of {count} businesses were written)"),
            )
        })?);
    }
    Ok(summaries)
}

/// Brings the marts up to date and forecasts one business, as a job does it.
pub(crate) async fn run_business(
    lake: Arc<Lake>,
    tenant: String,
    chosen: ForecastConfig,
    progress: Progress,
) -> Result<serde_json::Value> {
    progress("refreshing the daily marts", 0.0);
    let refreshed = wire::marts(Arc::clone(&lake))?.refresh().await;
    // Another process refreshes them too.
    if let Err(error) = refreshed
        && error.kind() != ErrorKind::Conflict
    {
        return Err(error);
    }
    progress("reading series", 0.05);
    let begun = Instant::now();
    let tables = wire::series(Arc::clone(&lake))?;
    let set = tables.daily_series(&Principal::tenant(tenant.clone())?, chosen.horizon_days).await?;
    if set.series.is_empty() {
        return Err(nothing_sold(&format!(" of `{tenant}`")));
    }
    let share = |stage: Stage| 0.1 + 0.85 * stage as u8 as f64 / Stage::ALL.len() as f64;
    let show = move |stage: Stage| progress(stage.name(), share(stage));
    let summary = run_one(&lake, &tables, tenant, set, chosen, millis(begun), show).await?;
    serde_json::to_value(summary).map_err(|error| Error::internal(error.to_string()))
}

fn nothing_sold(whose: &str) -> Error {
    let message = format!(
        "marts.item_days holds no sales{whose}: `produce` and `ingest` some, and a record in `stores` for each store, first"
    );
    Error::new(ErrorKind::NotFound, message)
}

async fn run_one(
    lake: &Lake,
    tables: &dyn Tables,
    tenant: String,
    set: SeriesSet,
    mut config: ForecastConfig,
    read_ms: u64,
    show: impl Fn(Stage) + Send + 'static,
) -> Result<Summary> {
    let begun = Instant::now();
    let drift = Found::of(&tables.forecast_days(&tenant).await?);
    // What was chosen while sales were others may not be right any more.
    config.search |= matches!(drift, Found::Drifted { .. });
    let before = before(&tenant, &set.lake_versions, config, lake, lake).await?;
    let whose = Principal::Tenant { tenant, stores: StoreScope::All };
    let make = move || forecast(&set, &whose, config, &before, &show);
    let made = tokio::task::spawn_blocking(make).await;
    let made = made.map_err(|error| Error::internal(format!("the forecast did not end: {error}")))??;
    let timings = Timings { read_ms, forecast_ms: millis(begun) };
    let mut summary = Summary::of(&made, config);
    let Published { manifest, written, verdict } = publish(made, timings, lake, lake, lake).await?;
    summary.manifest = manifest;
    summary.drift = drift.to_string();
    summary.is_served = verdict.is_served;
    summary.reason = verdict.reason;
    summary.rows_written = written.rows;
    summary.rows_replaced = written.replaced_rows;
    summary.table_version = written.version;
    Ok(summary)
}

impl Summary {
    /// Of forecasts that are not stored yet.
    fn of(made: &Forecasts, config: ForecastConfig) -> Self {
        let origin = |of: fn((chrono::NaiveDate, chrono::NaiveDate)) -> chrono::NaiveDate| {
            made.origins.map(of).map(|day| day.to_string()).unwrap_or_default()
        };
        Self {
            tenant: made.tenant.clone(),
            series: made.counts,
            sums: made.forecasts.len() - made.counts.series,
            horizon_days: config.horizon_days,
            first_origin: origin(|(first, _)| first),
            last_origin: origin(|(_, last)| last),
            model_version: made.model_version.clone(),
            parent: made.parent.clone(),
            selection: made.way.describe(made.selection.as_ref()),
            is_served: false,
            reason: String::new(),
            manifest: String::new(),
            wape: made.backtest.wape,
            naive_wape: made.backtest.naive_wape,
            coverage_80: made.backtest.coverage_80,
            backtest_n: made.backtest.n,
            drift: String::new(),
            business_wape: made.of_business.wape,
            business_coverage_80: made.of_business.coverage_80,
            rows_written: 0,
            rows_replaced: 0,
            table_version: 0,
        }
    }

    /// Names and values, a line each.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let Counts { series, model, sparse } = self.series;
        let figure =
            |value: Option<f64>| value.map_or_else(|| "not measured".to_owned(), |v| format!("{v:.4}"));
        let origin = if self.first_origin == self.last_origin {
            self.last_origin.clone()
        } else {
            format!("{} to {}, by store", self.first_origin, self.last_origin)
        };
        vec![
            ("tenant", self.tenant.clone()),
            ("articles", series.to_string()),
            ("  by the model", model.to_string()),
            ("  by their days (hardly sell, new)", sparse.to_string()),
            ("categories, stores, business", self.sums.to_string()),
            ("origin", origin),
            ("horizon", format!("{} days", self.horizon_days)),
            ("model version", self.model_version.clone()),
            ("  weights and calibration", self.selection.clone()),
            ("  served", if self.is_served { "yes".to_owned() } else { format!("no: {}", self.reason) }),
            ("WAPE of past forecasts", figure(self.wape)),
            ("WAPE of the seasonal naive", figure(self.naive_wape)),
            ("coverage of the 80 % interval", figure(self.coverage_80)),
            ("past forecast days compared", self.backtest_n.to_string()),
            ("WAPE of the business as a whole", figure(self.business_wape)),
            ("  coverage of its 80 % interval", figure(self.business_coverage_80)),
            ("drift of what came", self.drift.clone()),
            ("rows written", self.rows_written.to_string()),
            ("rows replaced", self.rows_replaced.to_string()),
            ("version of marts.forecasts", self.table_version.to_string()),
        ]
    }
}

fn print(summaries: &[Summary], output: Form) -> Result<()> {
    let text = match output {
        Form::Json => {
            serde_json::to_string(summaries).map_err(|error| Error::internal(error.to_string()))? + "\n"
        }
        Form::Table => {
            let block = |summary: &Summary| -> String {
                summary.lines().into_iter().map(|(name, value)| format!("{name:34} {value}\n")).collect()
            };
            summaries.iter().map(block).collect::<Vec<_>>().join("\n")
        }
    };
    write(&text)
}

fn write(text: &str) -> Result<()> {
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Error::internal(format!("writing the summary: {error}")))
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
