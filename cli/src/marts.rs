//! `marts`: the daily marts made by hand. `serve` keeps them by itself.

use clap::Subcommand;
use domain::Result;
use engine::marts::Refreshed;
use lake::LakeOptions;
use serde_json::{Value, json};

use crate::config::Config;
use crate::{report, wire};

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Brings the marts to the newest versions of the feeds; only days that changed are made anew.
    Refresh(report::Output),
    /// Makes the marts from nothing, from the newest versions of the feeds.
    Rebuild(report::Output),
}

pub(crate) async fn run(config: &Config, action: Action) -> Result<()> {
    let lake = wire::lake(config, LakeOptions::Upkeep).await?;
    let marts = wire::marts(lake)?;
    let (made, output) = match action {
        Action::Refresh(output) => (marts.refresh().await?, output),
        Action::Rebuild(output) => (marts.rebuild().await?, output),
    };
    let columns = [
        "mart",
        "version",
        "store_days",
        "whole_stores",
        "rows",
        "replaced_rows",
        "kept_rows",
        "rebuilt_because",
    ];
    report::write_rows(output.form, &columns, &made.iter().map(row).collect::<Vec<_>>())
}

fn row(made: &Refreshed) -> Value {
    json!({
        "mart": made.mart.qualified_name(),
        "version": made.version,
        "store_days": made.store_days,
        "whole_stores": made.whole_stores,
        "rows": made.rows,
        "replaced_rows": made.replaced_rows,
        "kept_rows": made.kept_rows,
        "rebuilt_because": made.rebuilt_because,
    })
}
