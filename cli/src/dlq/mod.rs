//! `dlq`: the dead letters, what became of them, and their replay. A letter is *resolved* once its coordinates stand in its feed's table, else it is
//! *dead*.

mod export;
mod filter;
mod list;
mod replay;
mod show;

use std::process::ExitCode;

use ::lake::LakeOptions;
use clap::Subcommand;
use domain::Result;

use crate::config::Config;
use crate::wire;

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Lists dead letters, newest first.
    List(list::Args),
    /// Shows a dead letter whole: the record's bytes as text where they are UTF-8, else in hexadecimal.
    Show(show::Args),
    /// Writes dead letters to a file as JSON lines, to be mended by hand and given to `replay --edit`.
    Export(export::Args),
    /// Decodes dead letters again, as they are or mended, and adds those that are right now to their feed's table.
    Replay(replay::Args),
}

pub(crate) async fn run(config: &Config, action: Action) -> Result<ExitCode> {
    match action {
        Action::List(args) => list::run(&*wire::lake(config, LakeOptions::Read).await?, args).await?,
        Action::Show(args) => show::run(wire::lake(config, LakeOptions::Read).await?, args).await?,
        Action::Export(args) => export::run(&*wire::lake(config, LakeOptions::Read).await?, args).await?,
        Action::Replay(args) => return replay::run(config, args).await,
    }
    Ok(ExitCode::SUCCESS)
}
