//! `forecast what-if`: what the model that is served would forecast of an article if days were planned otherwise.

use chrono::NaiveDate;
use clap::Args;
use domain::Result;
use domain::forecast::INTERVAL_80;
use domain::principal::Principal;
use domain::what_if::{Change, Expected, Outcomes, Question, WhatIf as _};
use lake::LakeOptions;
use serde_json::{Value, json};

use super::Article;
use crate::config::Config;
use crate::report::{Form, Output, write_json, write_rows, write_text};
use crate::wire;

#[derive(Debug, Args)]
pub(super) struct WhatIf {
    #[command(flatten)]
    article: Article,
    /// A day, and what is to be otherwise on it: closed, promotion, holiday and school_holiday, yes or no; temp_mean_c in degrees; precipitation_mm. May be
    /// given again.
    #[arg(long = "day", required = true, value_parser = day, value_name = "DATE:WHAT=VALUE,...")]
    days: Vec<(NaiveDate, Change)>,
    #[command(flatten)]
    output: Output,
}

/// A day like `2011-12-24:promotion=yes,temp_mean_c=4.5`.
fn day(text: &str) -> std::result::Result<(NaiveDate, Change), String> {
    let example = "like 2011-12-24:promotion=yes,temp_mean_c=4.5";
    let (date, changes) =
        text.split_once(':').ok_or_else(|| format!("expected a day and a change, {example}"))?;
    let date = date.parse().map_err(|_| format!("`{date}` is not a day, {example}"))?;
    let mut change = Change::default();
    for part in changes.split(',') {
        let (name, value) =
            part.split_once('=').ok_or_else(|| format!("`{part}` is not a change, {example}"))?;
        let is_so = || match value {
            "yes" => Ok(Some(true)),
            "no" => Ok(Some(false)),
            _ => Err(format!("{name}: `{value}` is neither yes nor no")),
        };
        let figure = |least: f64, most: f64| {
            let figure = value.parse().ok().filter(|figure| (least..=most).contains(figure));
            figure
                .map(Some)
                .ok_or_else(|| format!("{name}: `{value}` is not a number from {least} to {most}"))
        };
        match name {
            "closed" => change.is_closed = is_so()?,
            "promotion" => change.is_promotion = is_so()?,
            "holiday" => change.is_holiday = is_so()?,
            "school_holiday" => change.is_school_holiday = is_so()?,
            "temp_mean_c" => change.temp_mean_c = figure(-90.0, 60.0)?,
            "precipitation_mm" => change.precipitation_mm = figure(0.0, 2_000.0)?,
            _ => {
                return Err(format!(
                    "`{name}` is none of closed, promotion, holiday, school_holiday, temp_mean_c and precipitation_mm"
                ));
            }
        }
    }
    Ok((date, change))
}

pub(super) async fn run(config: &Config, args: WhatIf) -> Result<()> {
    let WhatIf { article: Article { tenant, store, sku }, days, output } = args;
    let lake = wire::lake(config, LakeOptions::Read).await?;
    let question = Question { store, sku, changes: days };
    let answer = wire::served_models(lake)?.what_if(&Principal::tenant(tenant)?, &question).await?;
    show(&answer, output.form)
}

fn show(answer: &Outcomes, form: Form) -> Result<()> {
    let rows: Vec<Value> =
        answer.days.iter().map(|day| row(day.date, &day.planned, &day.changed, form)).collect();
    if form == Form::Json {
        return write_json(&json!({
            "model_version": answer.model_version,
            "origin": answer.origin.to_string(),
            "fallback": answer.fallback,
            "days": rows,
        }));
    }
    let columns = ["forecast_date", "planned", "changed", "difference", "planned_80", "changed_80"];
    write_rows(form, &columns, &rows)?;
    let sum = |of: fn(&domain::what_if::Outcome) -> f64| answer.days.iter().map(of).sum::<f64>();
    let (planned, changed) = (sum(|day| day.planned.mean), sum(|day| day.changed.mean));
    write_text(&format!(
        "\n{planned:.1} units as it is planned, {changed:.1} as it would be: {:+.1}\n",
        changed - planned
    ))
}

fn row(date: NaiveDate, planned: &Expected, changed: &Expected, form: Form) -> Value {
    let bounds = |of: &Expected| (of.quantiles[INTERVAL_80.0], of.quantiles[INTERVAL_80.1]);
    let ((low, high), (low_changed, high_changed)) = (bounds(planned), bounds(changed));
    match form {
        Form::Json => json!({
            "forecast_date": date.to_string(),
            "planned": { "mean": planned.mean, "quantiles": planned.quantiles },
            "changed": { "mean": changed.mean, "quantiles": changed.quantiles },
        }),
        Form::Table => json!({
            "forecast_date": date.to_string(),
            "planned": format!("{:.2}", planned.mean),
            "changed": format!("{:.2}", changed.mean),
            "difference": format!("{:+.2}", changed.mean - planned.mean),
            "planned_80": format!("{low:.1} to {high:.1}"),
            "changed_80": format!("{low_changed:.1} to {high_changed:.1}"),
        }),
    }
}
