//! `dlq replay`: dead letters decoded again, as they are, edited by hand or changed by a map.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use ::ingest::replay::{Edits, Example, Mend, MendingMap, ReplayOptions, ReplayReport, replay};
use ::lake::LakeOptions;
use domain::replay::{LetterFilter, PlaceRange};
use domain::{Error, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::filter::Filter;
use crate::config::Config;
use crate::report::{Form, Output, PARTIAL, printable, write_json, write_text};
use crate::wire;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// JSON lines with the mended records, as `dlq export` writes them; only these letters are replayed.
    #[arg(long, value_name = "FILE", conflicts_with = "map")]
    edit: Option<PathBuf>,
    /// A mending map (TOML): changes that are made to the fields of each record; only letters of its feeds are replayed.
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Says what would land and what would not; writes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Letters of one commit at most.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    piece: u32,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(config: &Config, args: Args) -> Result<ExitCode> {
    let mend = match (&args.edit, &args.map) {
        (Some(edit), _) => Mend::Edits(Edits::load(edit)?),
        (_, Some(map)) => Mend::Map(MendingMap::load(map)?),
        (None, None) => Mend::AsTheyAre,
    };
    let filter = narrowed(args.filter.letters()?, &mend)?;
    // A dry run must not need more rights than reading.
    let options = if args.dry_run { LakeOptions::Read } else { LakeOptions::Upkeep };
    let lake = wire::lake(config, options).await?;
    let selection = domain::ports::Letters::select(&*lake, &filter).await?;
    let bar = bar();
    let options = ReplayOptions { is_dry_run: args.dry_run, piece_letters: args.piece as usize };
    let told = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let report = replay(&*selection, &mend, options, &wire::shutdown(), told).await;
    bar.finish_and_clear();
    let report = report?;
    match args.output.form {
        Form::Json => write_json(&as_json(&report, args.dry_run))?,
        Form::Table => write_text(&as_text(&report, args.dry_run))?,
    }
    let is_whole = report.refused == 0 && report.ahead == 0 && report.unmatched == 0 && !report.is_cut_off;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(PARTIAL) })
}

/// The filter, to the letters that the mend says anything about.
fn narrowed(mut filter: LetterFilter, mend: &Mend) -> Result<LetterFilter> {
    match mend {
        Mend::AsTheyAre => {}
        Mend::Edits(_) if filter.places.is_some() => {
            return Err(Error::invalid("--edit names its records itself: leave out RECORD"));
        }
        Mend::Edits(edits) => filter.places = Some(edits.places().map(PlaceRange::from).collect()),
        Mend::Map(map) if filter.feeds.is_empty() => filter.feeds = map.feeds().collect(),
        Mend::Map(map) => {
            if let Some(feed) = filter.feeds.iter().find(|feed| map.feeds().all(|of_map| of_map != **feed)) {
                return Err(Error::invalid(format!("--map changes nothing of feed {}", feed.name())));
            }
        }
    }
    Ok(filter)
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} letters, {per_sec}, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn as_json(report: &ReplayReport, is_dry_run: bool) -> Value {
    let example = |example: &Example| json!({"record": example.place.to_string(), "value": example.value, "reason": example.reason});
    let examples = |of: &[Example]| of.iter().map(example).collect::<Vec<_>>();
    json!({
        "dry_run": is_dry_run,
        "landed": report.landed,
        "refused": report.refused,
        "resolved_by_others": report.resolved_by_others,
        "ahead": report.ahead,
        "unmatched": report.unmatched,
        "commits": report.commits,
        "cut_off": report.is_cut_off,
        "reasons": report.reasons.iter().map(|(reason, count)| json!({"reason": reason, "letters": count})).collect::<Vec<_>>(),
        "landed_examples": examples(&report.landed_examples),
        "refused_examples": examples(&report.refused_examples),
        "unmatched_examples": report.unmatched_examples.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn as_text(report: &ReplayReport, is_dry_run: bool) -> String {
    let mut lines = Vec::new();
    let (lands, fails) =
        if is_dry_run { ("would land", "would be refused again") } else { ("landed", "refused again") };
    lines.push(if is_dry_run {
        format!("dry run, nothing is written: {} {lands}, {} {fails}", report.landed, report.refused)
    } else {
        format!("{} {lands} in {} commits, {} {fails}", report.landed, report.commits, report.refused)
    });
    if report.resolved_by_others > 0 {
        lines.push(format!("{} were resolved by another replay in the meantime", report.resolved_by_others));
    }
    if report.ahead > 0 {
        lines.push(format!(
            "{} were left alone: their feed's position has not passed them; run `intellicartel ingest`, then replay again",
            report.ahead
        ));
    }
    if report.unmatched > 0 {
        lines.push(format!(
            "{} records of the edit file are no dead letters, or are resolved:",
            report.unmatched
        ));
        lines.extend(report.unmatched_examples.iter().map(|place| format!("  {place}")));
    }
    if report.is_cut_off {
        lines.push("stopped before the end: run it again to go on".to_owned());
    }
    lines.extend(report.reasons.iter().map(|(reason, count)| format!("  {count} {reason}")));
    for (title, examples) in [(lands, &report.landed_examples), (fails, &report.refused_examples)] {
        if (is_dry_run || title == fails) && !examples.is_empty() {
            lines.push(format!("first that {}:", if is_dry_run { title } else { "were refused again" }));
            for Example { place, value, reason } in examples {
                lines.push(format!("  {place}  {}", printable(value)));
                lines.extend(reason.iter().map(|reason| format!("    {}", printable(reason))));
            }
        }
    }
    lines.join("\n") + "\n"
}
