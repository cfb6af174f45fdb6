//! `forecast backtest`: models over the last origins of any file of series, with the flags, definitions and JSON keys of the usual Python scripts.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use clap::Args;
use cpu_time::ProcessTime;
use domain::{Error, ErrorKind, Result};
use indicatif::ProgressBar;
use ingest::source::{self, FileFormat, Row};
use models::backtest::{Evaluation, ModelReport, evaluate, windows, write_parquet};
use models::candidates::{Candidate, Frame};
use models::panel::{Covariate, Frequency, LongTable, LongTableBuilder, MOST_ROWS, Role, Settings, Window};
use models::{boost, tide};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// The columns that every file has.
const KEY: [&str; 3] = ["unique_id", "ds", "y"];

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Backtest {
    /// CSV, JSON lines or Parquet, plain, gzip or xz: unique_id, ds, y, and covariates that are known for the future unless flags say otherwise.
    #[arg(long)]
    input: PathBuf,
    /// Where the report goes, as JSON.
    #[arg(long)]
    out: PathBuf,
    /// Distance of two periods: h, D, W-MON to W-SUN, MS, or a whole number for periods that are steps.
    #[arg(long)]
    freq: Frequency,
    /// Periods in a season.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    season: u32,
    /// Periods ahead.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    horizon: u32,
    /// Origins; the last one lies a horizon before the end.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    windows: u32,
    /// Periods from one origin to the next [default: a horizon]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    step: Option<u32>,
    /// Models, with commas between.
    #[arg(long, value_delimiter = ',', default_value = "SeasonalNaive,ETS,GroupMedian")]
    models: Vec<String>,
    /// Columns that are constant for each series: categories or numbers.
    #[arg(long = "static", value_delimiter = ',')]
    r#static: Vec<String>,
    /// Columns that say what really came, like weather.
    #[arg(long, value_delimiter = ',')]
    oracle: Vec<String>,
    /// Columns that are not read.
    #[arg(long, value_delimiter = ',')]
    ignore: Vec<String>,
    /// Columns that models look at around a period, too: known ones, with lag and lead.
    #[arg(long, value_delimiter = ',')]
    shift: Vec<String>,
    /// Levels of intervals, in per cent. Every model gives those that there are, whichever are named.
    #[arg(long, value_delimiter = ',', default_value = "20,40,60,80,95", value_parser = level)]
    levels: Vec<u8>,
    /// The known column that is 0 where a series is closed: there each forecast is 0, and rows with 1 are measured a second time.
    #[arg(long)]
    mask: Option<String>,
    /// Forecasts below 0 become 0.
    #[arg(long)]
    clip0: bool,
    /// Rows that a series needs before an origin [default: two seasons, one where a season has more than 24 periods]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    min_train: Option<u32>,
    /// Columns that part a series' past into like periods, beside the season of the calendar, for GroupMedian and models of many series.
    #[arg(long, value_delimiter = ',')]
    median_by: Vec<String>,
    /// How forests are grown: trees, rate, leaves, with commas between.
    #[arg(long, default_value = "400,0.05,15", value_parser = Growth::from_str)]
    boost: Growth,
    /// What the rows in a leaf of a forest's trees weigh together, at least; the mean row weighs 1.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    boost_min_leaf: u32,
    /// How nets learn: steps and rate, with a comma between.
    #[arg(long, default_value = "1500,0.002", value_parser = Pace::from_str)]
    net: Pace,
    /// The last rows of each series that are left out, as if they had not happened yet: for choosing settings.
    #[arg(long, default_value_t = 0)]
    holdback: u32,
    /// The first series only [default: all]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    max_series: Option<u32>,
    /// Threads [default: one for each core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    jobs: Option<u16>,
    /// Where every forecast goes, as Parquet.
    #[arg(long)]
    save_pred: Option<PathBuf>,
}

/// Trees, rate and leaves of a forest.
#[derive(Debug, Clone, Copy, Serialize)]
struct Growth(u16, f32, u16);

impl FromStr for Growth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').collect();
        let parsed = match parts.as_slice() {
            [trees, rate, leaves] => trees.parse().ok().zip(rate.parse().ok()).zip(leaves.parse().ok()),
            _ => None,
        };
        match parsed {
            Some(((trees @ 1..=10_000, rate), leaves @ 2..=1_024)) if rate > 0.0 && rate <= 1.0 => {
                Ok(Self(trees, rate, leaves))
            }
            _ => Err("give 1 to 10000 trees, a rate above 0 up to 1, and 2 to 1024 leaves, like 400,0.05,15"
                .to_owned()),
        }
    }
}

/// Steps and rate of a net.
#[derive(Debug, Clone, Copy, Serialize)]
struct Pace(u32, f64);

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(',').and_then(|(steps, rate)| steps.parse().ok().zip(rate.parse().ok()));
        match parsed {
            Some((steps @ 1..=100_000, rate)) if rate > 0.0 && rate <= 0.1 => Ok(Self(steps, rate)),
            _ => Err("give 1 to 100000 steps and a rate above 0 up to 0.1, like 1500,0.002".to_owned()),
        }
    }
}

/// The levels of the quantiles that every forecast has.
fn level(text: &str) -> Result<u8, String> {
    let level = text.parse().ok().filter(|level| [20, 40, 60, 80, 95].contains(level));
    level.ok_or_else(|| "there are intervals of 20, 40, 60, 80 and 95 per cent".to_owned())
}

#[derive(Serialize)]
struct Report<'a> {
    dataset: String,
    config: &'a Backtest,
    series: usize,
    rows: usize,
    missing: usize,
    windows: Vec<WindowReport>,
    models: BTreeMap<&'a str, ModelReport>,
    load_and_split_s: f64,
    total_s: f64,
    env: Environment,
}

/// What a window is made of.
#[derive(Serialize)]
struct WindowReport {
    series: usize,
    train_rows: usize,
    first: String,
    last: String,
    scale_zero: usize,
}

#[derive(Serialize)]
struct Environment {
    intellicartel: &'static str,
    threads: usize,
}

/// Runs off the async threads for as long as it takes.
pub(super) async fn run(args: Backtest, bar: ProgressBar) -> Result<()> {
    let made = tokio::task::spawn_blocking(move || evaluate_all(&args, &bar)).await;
    made.map_err(|error| Error::internal(format!("the backtest did not end: {error}")))?
}

fn evaluate_all(args: &Backtest, bar: &ProgressBar) -> Result<()> {
    let begun = Instant::now();
    let candidates = args.models.iter().map(|name| Candidate::named(name)).collect::<Result<Vec<_>>>()?;
    check_folder("--out", &args.out)?;
    args.save_pred.as_ref().map_or(Ok(()), |path| check_folder("--save-pred", path))?;
    bar.set_message("reading");
    let mut table = read(args)?;
    if let Some(most) = args.max_series {
        table.keep_first(most as usize);
    }
    let longest = table.series.iter().map(|series| series.y.len()).max().unwrap_or_default();
    table.hold_back(args.holdback as usize);
    if table.series.is_empty() {
        let held = args.holdback;
        return Err(Error::invalid(format!(
            "--holdback {held} leaves nothing: the longest series has {longest} periods"
        )));
    }
    let settings = args.settings(&table)?;
    let windows = windows(&table, &settings)?;
    let empty = windows.iter().filter(|window| window.parts.is_empty()).count();
    if empty > 0 {
        let of = windows.len();
        bar.suspend(|| {
            eprintln!("no series is long enough for {empty} of {of} origins: nothing is measured there")
        });
    }
    let loaded = begun.elapsed();
    bar.set_length((candidates.len() * windows.len()) as u64);
    let mut evaluations: Vec<(&str, Evaluation)> = Vec::new();
    for candidate in candidates {
        bar.set_message(candidate.name());
        evaluations.push((
            candidate.name(),
            evaluate(candidate, &windows, &|| ProcessTime::now().as_duration(), &|| bar.inc(1)),
        ));
    }
    let report = Report {
        dataset: args.input.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        config: args,
        series: table.series.len(),
        rows: table.series.iter().map(|series| series.y.len()).sum(),
        missing: table.missing(),
        windows: windows.iter().map(WindowReport::of).collect(),
        models: evaluations.iter().map(|(name, made)| (*name, made.report(&settings))).collect(),
        load_and_split_s: loaded.as_secs_f64(),
        total_s: begun.elapsed().as_secs_f64(),
        env: Environment { intellicartel: env!("CARGO_PKG_VERSION"), threads: settings.jobs },
    };
    bar.finish_and_clear();
    let text = serde_json::to_string_pretty(&report).map_err(|error| Error::internal(error.to_string()))?;
    std::fs::write(&args.out, text + "\n").map_err(|error| unwritten("--out", &args.out, &error))?;
    if let Some(path) = &args.save_pred {
        let file = File::create(path).map_err(|error| unwritten("--save-pred", path, &error))?;
        let frames: Vec<(&str, &[Frame])> =
            evaluations.iter().map(|(name, made)| (*name, made.frames.as_slice())).collect();
        write_parquet(file, &table, &frames)?;
    }
    print(&report)
}

impl Backtest {
    fn settings(&self, table: &LongTable) -> Result<Settings> {
        let position = |flag: &str, name: &String| {
            table.covariate(name).ok_or_else(|| {
                Error::invalid(format!("{flag} {name}: the column is not among the covariates that are read"))
            })
        };
        let mask = self.mask.as_ref().map(|name| position("--mask", name)).transpose()?;
        if let Some(mask) = mask
            && table.covariates[mask].role != Role::Known
        {
            return Err(Error::invalid(
                "--mask: name a column that is known for the future, neither --static nor --oracle",
            ));
        }
        let positions = |flag: &str, names: &[String]| -> Result<Vec<usize>> {
            names.iter().map(|name| position(flag, name)).collect()
        };
        let median_by = positions("--median-by", &self.median_by)?;
        if let Some(at) = median_by.iter().find(|at| table.covariates[**at].role == Role::Oracle) {
            let name = &table.covariates[*at].name;
            return Err(Error::invalid(format!(
                "--median-by {name}: the column is --oracle, and no model may know its future"
            )));
        }
        let season = self.season as usize;
        let Growth(trees, rate, leaves) = self.boost;
        let Pace(steps, pace) = self.net;
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Settings {
            season,
            horizon: self.horizon as usize,
            windows: self.windows as usize,
            step: self.step.unwrap_or(self.horizon) as usize,
            min_train: self
                .min_train
                .map_or(if season <= 24 { 2 * season } else { season }, |rows| rows as usize),
            clip0: self.clip0,
            mask,
            median_by,
            shift: positions("--shift", &self.shift)?,
            boost: boost::Config {
                trees: usize::from(trees),
                rate,
                leaves: usize::from(leaves),
                min_leaf: self.boost_min_leaf as usize,
                ..boost::Config::default()
            },
            net: tide::Config { steps: steps as usize, rate: pace, ..tide::Config::default() },
            rows: MOST_ROWS,
            jobs: self.jobs.map_or_else(cores, usize::from),
        })
    }

    /// What the columns beyond the key are.
    fn covariates(&self, columns: &[String]) -> Result<Vec<Covariate>> {
        let flags = [("--static", &self.r#static), ("--oracle", &self.oracle), ("--ignore", &self.ignore)];
        for (flag, names) in flags {
            if let Some(name) =
                names.iter().find(|name| !columns.contains(name) || KEY.contains(&name.as_str()))
            {
                let others: Vec<_> =
                    columns.iter().map(String::as_str).filter(|column| !KEY.contains(column)).collect();
                return Err(Error::invalid(format!(
                    "{flag} {name}: the file's covariates are {}",
                    others.join(", ")
                )));
            }
        }
        let read =
            columns.iter().filter(|column| !KEY.contains(&column.as_str()) && !self.ignore.contains(column));
        let role = |name: &String| match name {
            _ if self.r#static.contains(name) => Role::Static,
            _ if self.oracle.contains(name) => Role::Oracle,
            _ => Role::Known,
        };
        Ok(read.map(|name| Covariate { name: name.clone(), role: role(name) }).collect())
    }
}

fn read(args: &Backtest) -> Result<LongTable> {
    let path = &args.input;
    let named = |what: String| Error::invalid(format!("--input {}: {what}", path.display()));
    let file = source::open("--input", path, format_of(path), b',', &CancellationToken::new())?;
    let columns: Vec<String> = file.columns().list.iter().map(|column| column.name.clone()).collect();
    if let Some(lacking) = KEY.into_iter().find(|name| !columns.iter().any(|column| column == name)) {
        return Err(named(format!("has no column {lacking}; its columns are {}", columns.join(", "))));
    }
    let covariates = args.covariates(&columns)?;
    let asked: Vec<String> = KEY
        .into_iter()
        .map(ToOwned::to_owned)
        .chain(covariates.iter().map(|covariate| covariate.name.clone()))
        .collect();
    let count = asked.len();
    let mut builder = LongTableBuilder::new(args.freq, covariates);
    let mut rows = file.rows(&asked).map_err(named)?;
    let mut row = Row::default();
    while rows.read(&mut row).map_err(named)? {
        let covariates = (KEY.len()..count).map(|column| row.text(column));
        builder
            .push(row.text(0), row.text(1), row.text(2), covariates)
            .map_err(|error| named(error.to_string()))?;
    }
    builder.finish().map_err(|error| named(error.to_string()))
}

fn format_of(path: &Path) -> FileFormat {
    let name = path.to_string_lossy().to_lowercase();
    let is =
        |ending: &str| ["", ".gz", ".xz"].iter().any(|packing| name.ends_with(&format!("{ending}{packing}")));
    if is(".parquet") {
        FileFormat::Parquet
    } else if is(".jsonl") || is(".ndjson") {
        FileFormat::JsonLines
    } else {
        FileFormat::Csv
    }
}

/// What is made in an hour must not be lost to a mistyped folder.
fn check_folder(flag: &str, path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() && !path.is_dir() {
        return Ok(());
    }
    Err(Error::invalid(format!("{flag} {}: give a file in a folder that is there", path.display())))
}

fn unwritten(flag: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{flag} {}: {error}", path.display()))
}

impl WindowReport {
    fn of(window: &Window<'_>) -> Self {
        let frequency = window.table.frequency;
        let parts = || window.parts.iter();
        let first = parts().map(|part| window.series(part).periods[part.known]).min();
        let last =
            parts().map(|part| window.series(part).periods[part.known + window.settings.horizon - 1]).max();
        let shown = |period: Option<_>| period.map(|period| frequency.show(period)).unwrap_or_default();
        Self {
            series: window.parts.len(),
            train_rows: parts().map(|part| part.known).sum(),
            first: shown(first),
            last: shown(last),
            scale_zero: parts().filter(|part| part.scale.is_nan() || part.scale <= 0.0).count(),
        }
    }
}

/// The chief measures, as a table.
fn print(report: &Report<'_>) -> Result<()> {
    let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    let mut text = format!(
        "{:<16} {:>8} {:>8} {:>8} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8}\n",
        "model", "MASE", "WAPE", "bias", "mean_bias", "SQL", "cov80", "cov95", "wall s", "CPU s"
    );
    for (name, model) in &report.models {
        let all = &model.all;
        let of = all.of_quantiles.as_ref();
        text += &format!(
            "{name:<16} {:>8} {:>8} {:>8} {:>10} {:>8} {:>8} {:>8} {:>8.2} {:>8.2}\n",
            figure(all.mase),
            figure(all.wape),
            figure(all.bias),
            figure(all.mean_bias),
            figure(of.map(|of| of.sql)),
            figure(of.map(|of| of.cov80)),
            figure(of.map(|of| of.cov95)),
            model.wall_s,
            model.cpu_s
        );
    }
    super::write(&text)
}
