//! `forecast override`: what a planner expects of days in the model's place, kept beside what the model expects.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::NaiveDate;
use clap::Args;
use domain::planning::Override;
use domain::ports::{OverrideSink as _, Tables as _};
use domain::principal::Principal;
use domain::{Error, ErrorKind, Result, civil};
use lake::LakeOptions;
use serde_json::{Value, json};

use super::Article;
use crate::config::Config;
use crate::report::{Output, write_rows};
use crate::wire;

#[derive(Debug, Args)]
pub(super) struct Said {
    #[command(flatten)]
    article: Article,
    /// A day that is forecast, and the net units that are expected of it, or `model`: the model is to be followed again. May be given again.
    #[arg(long = "day", required = true, value_parser = day, value_name = "DATE=UNITS")]
    days: Vec<(NaiveDate, Option<f64>)>,
    /// Who says so.
    #[arg(long, value_parser = text)]
    author: String,
    /// Why.
    #[arg(long, value_parser = text)]
    reason: String,
    #[command(flatten)]
    output: Output,
}

fn day(text: &str) -> std::result::Result<(NaiveDate, Option<f64>), String> {
    let expected = || format!("`{text}` is not like 2011-12-24=150, or 2011-12-24=model");
    let (date, units) = text.split_once('=').ok_or_else(expected)?;
    let date = date.parse().map_err(|_| expected())?;
    if units == "model" {
        return Ok((date, None));
    }
    let units = units.parse().ok().filter(|units: &f64| units.is_finite() && *units >= 0.0);
    units.map(|units| (date, Some(units))).ok_or_else(|| format!("{}, with 0 units or more", expected()))
}

fn text(text: &str) -> std::result::Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("it must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

pub(super) async fn run(config: &Config, args: Said) -> Result<()> {
    let lake = wire::lake(config, LakeOptions::Write).await?;
    let Article { tenant, store, sku } = &args.article;
    let whose = Principal::tenant(tenant.clone())?;
    let served = wire::series(Arc::clone(&lake))?.served_days(&whose, store, sku).await?;
    let Some((first, last)) = served.first().zip(served.last()) else {
        let message = format!("there is no forecast of `{sku}` in the store `{store}`");
        return Err(Error::new(ErrorKind::NotFound, message));
    };
    let (mut overrides, mut faults, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (date, units) in &args.days {
        let Some(day) = served.iter().find(|day| day.date == *date) else {
            faults.push(format!("{date} is not forecast: give days from {} to {}", first.date, last.date));
            continue;
        };
        if !seen.insert(date) {
            faults.push(format!("{date} is given twice"));
        }
        overrides.push(Override {
            tenant: tenant.clone(),
            store: store.clone(),
            sku: sku.clone(),
            forecast_date: *date,
            units: *units,
            author: args.author.clone(),
            reason: args.reason.clone(),
            at: civil::now(),
            model_version: day.model_version.clone(),
            origin: day.origin,
            mean: day.mean,
        });
    }
    if !faults.is_empty() {
        return Err(Error::invalid(faults.join("; ")));
    }
    lake.add_overrides(&overrides).await?;
    let row = |of: &Override| -> Value {
        let units = of.units.map_or_else(|| json!("the model's"), |units| json!(units));
        json!({ "forecast_date": of.forecast_date.to_string(), "model": of.mean, "planner": units })
    };
    let rows: Vec<Value> = overrides.iter().map(row).collect();
    write_rows(args.output.form, &["forecast_date", "model", "planner"], &rows)
}
