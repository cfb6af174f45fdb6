//! `models`: which models were made, which of them are served, and the operator's word on it.

use std::collections::HashMap;

use clap::{Args, Subcommand};
use domain::ports::{Blobs as _, ModelRegistry as _};
use domain::registry::{ModelAction, ModelEvent, ModelHistory};
use domain::{Error, ErrorKind, Result, civil};
use lake::LakeOptions;
use models::registry::{Change, artefact, named, promote, rollback};
use serde_json::{Value, json};

use crate::config::Config;
use crate::report::{Form, Output, write_json, write_record, write_rows, write_text};
use crate::wire;

/// Digits of a version that tables show, and enough for other commands.
const SHOWN_DIGITS: usize = 12;

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Lists the model versions of businesses, the newest first, and which of them are served.
    List {
        /// Only this business.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Shows all that is known of a model version.
    Show {
        /// The version, or its first digits, eight at least.
        version: String,
        #[command(flatten)]
        output: Output,
    },
    /// Serves a model version from now on, of its business.
    Promote {
        /// The version, or its first digits, eight at least.
        version: String,
        #[command(flatten)]
        said: Said,
    },
    /// Serves again what a business was served before its present version.
    Rollback {
        /// The business.
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        said: Said,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Said {
    /// Why, for those who read the history.
    #[arg(long, default_value = "by hand")]
    reason: String,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(config: &Config, action: Action) -> Result<()> {
    match action {
        Action::List { tenant, output } => list(config, tenant.as_deref(), output.form).await,
        Action::Show { version, output } => show(config, &version, output.form).await,
        Action::Promote { version, said } => {
            let lake = wire::lake(config, LakeOptions::Upkeep).await?;
            changed(&promote(&version, &said.reason, lake.as_ref()).await?, said.output.form)
        }
        Action::Rollback { tenant, said } => {
            let lake = wire::lake(config, LakeOptions::Upkeep).await?;
            changed(&rollback(&tenant, &said.reason, lake.as_ref()).await?, said.output.form)
        }
    }
}

async fn list(config: &Config, tenant: Option<&str>, form: Form) -> Result<()> {
    let history = wire::lake(config, LakeOptions::Read).await?.model_history(tenant).await?;
    let mut newest: HashMap<&str, &ModelEvent> = HashMap::new();
    history.events.iter().for_each(|event| {
        newest.insert(&event.model_version, event);
    });
    let mut newest: Vec<&ModelEvent> = newest.into_values().collect();
    newest.sort_unstable_by_key(|event| std::cmp::Reverse(event.number));
    if let (true, Some(tenant)) = (newest.is_empty(), tenant) {
        let message = format!("no model was made for a business `{tenant}`: run `forecast run` first");
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    let rows: Vec<Value> = newest.into_iter().map(|event| row(event, &history, form)).collect();
    let columns =
        ["tenant", "model_version", "status", "origin", "wape", "naive_wape", "coverage_80", "at", "reason"];
    write_rows(form, &columns, &rows)
}

fn row(event: &ModelEvent, history: &ModelHistory, form: Form) -> Value {
    let figure = |value: Option<f64>| match form {
        Form::Json => json!(value),
        Form::Table => json!(value.map(|value| format!("{value:.4}"))),
    };
    let version = match form {
        Form::Json => event.model_version.as_str(),
        Form::Table => short(&event.model_version),
    };
    json!({
        "tenant": event.tenant,
        "model_version": version,
        "status": status(event, history),
        "parent": event.parent,
        "origin": event.origin.map(|day| day.to_string()),
        "wape": figure(event.backtest.wape),
        "naive_wape": figure(event.backtest.naive_wape),
        "coverage_80": figure(event.backtest.coverage_80),
        "at": civil::format_instant(event.at),
        "reason": event.reason,
    })
}

/// What a version is by now, by its last event.
fn status(event: &ModelEvent, history: &ModelHistory) -> &'static str {
    match event.action {
        _ if history.served(&event.tenant) == Some(&event.model_version) => "served",
        ModelAction::Promoted => "served before",
        ModelAction::Held => "held",
        ModelAction::RolledBack => "rolled back",
    }
}

fn short(version: &str) -> &str {
    version.get(..SHOWN_DIGITS).unwrap_or(version)
}

async fn show(config: &Config, version: &str, form: Form) -> Result<()> {
    let lake = wire::lake(config, LakeOptions::Read).await?;
    let history = lake.model_history(None).await?;
    let event = named(version, &history)?;
    let manifest = artefact(&event.model_version, "manifest.json");
    let bytes = lake.get(&manifest).await?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("{manifest} is gone: nothing more is known of this version"))
    })?;
    let failed = |error: serde_json::Error| Error::internal(format!("{manifest}: {error}"));
    let mut told: serde_json::Map<String, Value> = serde_json::from_slice(&bytes).map_err(failed)?;
    if let Some(Value::Object(identity)) = told.remove("identity") {
        told.extend(identity);
    }
    if form == Form::Table {
        // Figures that only models read.
        told.remove("selection");
    }
    let of_version = history.events.iter().filter(|other| other.model_version == event.model_version);
    let events = of_version.map(|event| {
        let at = civil::format_instant(event.at);
        json!({ "at": at, "action": event.action.name(), "reason": event.reason })
    });
    told.insert("status".to_owned(), status(&event, &history).into());
    told.insert("events".to_owned(), events.collect());
    write_record(form, told.into_iter().collect())
}

fn changed(change: &Change, form: Form) -> Result<()> {
    let Change { tenant, served, was } = change;
    match form {
        Form::Json => write_json(&json!({ "tenant": tenant, "served": served, "was": was })),
        Form::Table if was.as_ref() == Some(served) => {
            write_text(&format!("{tenant}: {} is served already\n", short(served)))
        }
        Form::Table => {
            let was = was.as_deref().map_or("none", short);
            write_text(&format!("{tenant}: {} is served from now on, before it {was}\n", short(served)))
        }
    }
}
