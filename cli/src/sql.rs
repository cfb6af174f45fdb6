//! `sql`: a question, answered on stdout.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use ::lake::LakeOptions;
use clap::ValueEnum;
use domain::{ErrorKind, Principal, Result};
use engine::{Cut, Limits, Output, write_output};

use crate::config::Config;
use crate::report::PARTIAL;
use crate::wire;

/// What a table for people holds at most: it is kept in memory to size its columns.
const TABLE_ROWS: u64 = 10_000;
const TABLE_BYTES: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The question, like "SELECT count(*) FROM curated.sales"; an earlier state is as_of('curated.sales', 12) or
    /// as_of('curated.sales', '2026-01-31T00:00:00Z').
    query: String,
    /// Asks as a business, limited to some of its stores or not, instead of as the platform operator.
    #[arg(long = "as", value_name = "TENANT[/STORE,...]", value_parser = |text: &str| Principal::parse(text))]
    principal: Option<Principal>,
    /// How the answer is written; a table ends after 10000 rows, the others have no end of their own.
    #[arg(long, value_enum, default_value = "table")]
    output: Form,
    /// Rows at most. A longer answer is cut, which stderr and exit status 3 tell.
    #[arg(long, value_name = "ROWS")]
    limit: Option<u64>,
    /// Seconds at most, from the question to the last row.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Json,
    Csv,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let given = text.parse().ok().filter(|seconds: &f64| *seconds > 0.0);
    given
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "give a number of seconds above 0".to_owned())
}

impl Args {
    fn limits(&self) -> Limits {
        let (rows, bytes) = match self.output {
            Form::Table => (Some(TABLE_ROWS), Some(TABLE_BYTES)),
            Form::Json | Form::Csv => (None, None),
        };
        let max_rows = rows.into_iter().chain(self.limit).min();
        Limits { max_rows, max_bytes: bytes, timeout: self.timeout }
    }

    /// What to do about an answer that was cut.
    fn advice(&self, cut: Cut) -> &'static str {
        match (self.output, cut) {
            (Form::Table, Cut::Rows(rows)) if self.limit != Some(rows) => {
                "a table holds no more; --output csv or json gives all"
            }
            (Form::Table, Cut::Bytes(_)) => "a table holds no more; --output csv or json gives all",
            _ => "--limit says how much is wanted",
        }
    }
}

pub(crate) async fn run(config: &Config, args: Args) -> Result<ExitCode> {
    let limits = args.limits();
    let lake = wire::lake(config, LakeOptions::Read).await?;
    let session = wire::engine(lake)?.session(args.principal.clone().unwrap_or(Principal::Operator));
    let output = match args.output {
        Form::Table => Output::Table,
        Form::Json => Output::Json,
        Form::Csv => Output::Csv,
    };
    let answer = session.query(&args.query, limits).await?;
    let mut stdout = std::io::BufWriter::new(std::io::stdout());
    let written = write_output(answer, output, &mut stdout).await;
    // Rows that came before an error are the caller's.
    let _ = stdout.flush();
    let summary = match written {
        // Whoever reads has seen enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::Cancelled => return Ok(ExitCode::SUCCESS),
        written => written?,
    };
    let Some(cut) = summary.truncated else { return Ok(ExitCode::SUCCESS) };
    eprintln!("truncated after {} rows by {cut}: {}", summary.rows, args.advice(cut));
    Ok(ExitCode::from(PARTIAL))
}
