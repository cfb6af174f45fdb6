//! `dlq list`: letters with their status, newest first.

use clap::ValueEnum;
use domain::ports::Letters;
use domain::replay::{LetterStatus, StoredLetter};
use domain::{Result, civil};
use serde_json::{Value, json};

use super::filter::Filter;
use crate::report::{Output, write_rows};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Only letters of which this became.
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Letters at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Status {
    /// In no table but that of the letters.
    Dead,
    /// In its feed's table.
    Resolved,
}

/// Bytes of records that are held at a time; a list shows none of them.
const READ_BYTES: usize = 64 << 20;

const COLUMNS: [&str; 11] = [
    "record",
    "status",
    "feed",
    "error_class",
    "field",
    "value",
    "expected",
    "tenant",
    "store",
    "attempt",
    "_ingested_at",
];

pub(crate) async fn run(letters: &dyn Letters, args: Args) -> Result<()> {
    let selection = letters.select(&args.filter.letters()?).await?;
    let entries = selection.entries();
    let status = args.status.map(|status| match status {
        Status::Dead => LetterStatus::Dead,
        Status::Resolved => LetterStatus::Resolved,
    });
    let is_wanted = |at: &usize| status.is_none_or(|status| entries[*at].status == status);
    let mut wanted: Vec<usize> = (0..entries.len()).filter(is_wanted).collect();
    let age = |at: &usize| (entries[*at].ingested_at, &entries[*at].place);
    wanted.sort_unstable_by(|a, b| age(b).cmp(&age(a)));
    wanted.truncate(args.limit as usize);
    let shown = wanted.clone();
    wanted.sort_unstable();
    let mut rows = std::collections::HashMap::new();
    while !wanted.is_empty() {
        let read = selection.read(&wanted, READ_BYTES).await?;
        let places = wanted.drain(..read.len()).collect::<Vec<_>>();
        for (at, letter) in places.into_iter().zip(read) {
            rows.insert(at, row(&letter, entries[at].status));
        }
    }
    let rows: Vec<Value> = shown.iter().filter_map(|at| rows.remove(at)).collect();
    write_rows(args.output.form, &COLUMNS, &rows)
}

fn row(letter: &StoredLetter, status: LetterStatus) -> Value {
    json!({
        "record": letter.place.to_string(),
        "status": status.as_str(),
        "feed": letter.feed.name(),
        "error_class": letter.error_class,
        "field": letter.field,
        "value": letter.value,
        "expected": letter.expected,
        "tenant": letter.tenant,
        "store": letter.store,
        "pipeline": letter.pipeline,
        "attempt": letter.attempt,
        "_topic": letter.place.topic.as_ref(),
        "_log": letter.place.log,
        "_partition": letter.place.partition,
        "_offset": letter.place.offset,
        "_timestamp": letter.timestamp.map(civil::format_instant),
        "_ingested_at": civil::format_instant(letter.ingested_at),
    })
}
