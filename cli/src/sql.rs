//! `sql`: a question, answered on stdout.

use ::lake::LakeOptions;
use clap::ValueEnum;
use domain::Result;
use engine::{Output, write_output};

use crate::config::Config;
use crate::wire;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The question, like "SELECT count(*) FROM curated.sales"; an earlier version is curated."sales@12".
    query: String,
    /// How the answer is written.
    #[arg(long, value_enum, default_value = "table")]
    output: Form,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    Table,
    Json,
    Csv,
}

pub(crate) async fn run(config: &Config, args: Args) -> Result<()> {
    let lake = wire::lake(config, LakeOptions::Read).await?;
    let answer = wire::engine(lake)?.query(&args.query).await?;
    let output = match args.output {
        Form::Table => Output::Table,
        Form::Json => Output::Json,
        Form::Csv => Output::Csv,
    };
    write_output(answer, output, &mut std::io::stdout()).await.map(|_| ())
}
