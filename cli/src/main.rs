//! The binary `intellicartel`: one file for each command; `wire.rs` alone joins the parts.

mod config;
mod demo;
mod dlq;
mod doctor;
mod forecast;
mod forecasting;
mod ingest;
mod jobs;
mod lake;
mod marts;
mod produce;
mod registry;
mod report;
mod serve;
mod sql;
mod status;
mod wire;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use domain::ErrorKind;

#[derive(Debug, Parser)]
#[command(
    name = "intellicartel",
    version,
    about = "Decision intelligence for retailers: Kafka to Delta, exactly once, SQL over it, and forecasts"
)]
struct Cli {
    /// The configuration file [default: intellicartel.toml, if there is one].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// A setting, above the environment and the file, like http.listen=127.0.0.1:8090; may be given again.
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    set: Vec<config::Setting>,
    /// How log lines are written to stderr; what is logged, RUST_LOG says.
    #[arg(long, global = true, value_enum, default_value = "text", env = "INTELLICARTEL_LOG_FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Streams real sales through Kafka into the lake and shows what can be asked there; needs nothing installed.
    Demo(demo::Args),
    /// Reads feeds from Kafka into their tables, each record exactly once.
    Ingest(ingest::Args),
    /// Replays a file to a feed's topic.
    Produce(produce::Args),
    /// Asks a question in SQL, as the platform operator or as a business.
    Sql(sql::Args),
    /// Looks at tables and keeps them in shape, as the platform operator.
    #[command(subcommand)]
    Lake(lake::Action),
    /// Shows, mends and replays dead letters: records that no feed could take, as the platform operator.
    #[command(subcommand)]
    Dlq(dlq::Action),
    /// Makes the daily marts, as the platform operator; a serving process keeps them by itself.
    #[command(subcommand)]
    Marts(marts::Action),
    /// Forecasts demand.
    Forecast(forecast::Args),
    /// Shows the models that forecasts were made by, and says which of them is served, as the platform operator.
    #[command(subcommand)]
    Models(registry::Action),
    /// Serves HTTP over the lake, reads feeds into it and keeps it in shape: all in one process, or each in one of its own.
    Serve(serve::Args),
    /// Shows how feeds and tables are, and what needs a hand; exit status 3 says that something does.
    Status(report::Output),
    /// Shows the configuration as it is in effect, without its secrets.
    Config {
        #[command(subcommand)]
        action: Option<config::Action>,
    },
    /// Checks everything that this machine needs to run, and says how to mend what is amiss; changes nothing.
    Doctor(report::Output),
}

impl Command {
    /// The setting that a flag of the command's own gives.
    fn setting(&self) -> Option<config::Setting> {
        match self {
            Self::Demo(args) => args.listen.setting(),
            Self::Serve(args) => args.listen.setting(),
            _ => None,
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse_from(settings_first(std::env::args_os()));
    start_log(cli.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the async runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(cli));
    // Blocking calls that nobody waits for any more must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if error.kind() == ErrorKind::Invalid { 2 } else { 1 })
        }
    }
}

/// Warnings, and a line for each HTTP request, unless RUST_LOG says otherwise.
fn start_log(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let log = tracing_subscriber::fmt()
        .with_env_filter(
            filter.unwrap_or_else(|_| "warn,api=info,deltalake_core=error,buoyant_kernel=off".into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// The command line with every `--set` before the command: clap would let those behind it replace those before it.
fn settings_first(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = arguments.into_iter().peekable();
    let mut first: Vec<OsString> = arguments.next().into_iter().collect();
    let mut others = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            others.push(argument);
            break;
        }
        if argument == "--set"
            && let Some(setting) = arguments.next_if(|next| next != "--")
        {
            first.extend([argument, setting]);
        } else if argument.as_encoded_bytes().starts_with(b"--set=") {
            first.push(argument);
        } else {
            others.push(argument);
        }
    }
    first.into_iter().chain(others).chain(arguments).collect()
}

async fn run(cli: Cli) -> domain::Result<ExitCode> {
    let config =
        config::Config::load(cli.config.as_deref(), cli.set.into_iter().chain(cli.command.setting()))?;
    match cli.command {
        Command::Demo(args) => demo::run(&config, args).await?,
        Command::Ingest(args) => ingest::run(&config, args).await?,
        Command::Produce(args) => return produce::run(&config, args).await,
        Command::Sql(args) => return sql::run(&config, args).await,
        Command::Lake(action) => lake::run(&config, action).await?,
        Command::Dlq(action) => return dlq::run(&config, action).await,
        Command::Marts(action) => marts::run(&config, action).await?,
        Command::Forecast(args) => forecast::run(&config, args).await?,
        Command::Models(action) => registry::run(&config, action).await?,
        Command::Serve(args) => serve::run(&config, &args).await?,
        Command::Status(output) => return status::run(&config, output).await,
        Command::Config { .. } => config.print()?,
        Command::Doctor(output) => return doctor::run(&config, output).await,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_count_before_and_behind_the_command() {
        let typed = [
            "x",
            "--set",
            "a.b=1",
            "sql",
            "--set=a.b=2",
            "--limit",
            "3",
            "--set",
            "a.b=3",
            "--",
            "--set",
            "q",
        ];
        let moved = settings_first(typed.map(OsString::from));
        let expected = [
            "x",
            "--set",
            "a.b=1",
            "--set=a.b=2",
            "--set",
            "a.b=3",
            "sql",
            "--limit",
            "3",
            "--",
            "--set",
            "q",
        ];
        assert_eq!(moved, expected.map(OsString::from));
        assert_eq!(settings_first(["x", "serve", "--set"].map(OsString::from)), ["x", "serve", "--set"]);
    }
}
