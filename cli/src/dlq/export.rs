//! `dlq export`: dead letters as JSON lines, in the form that `dlq replay --edit` reads.

use std::fs::OpenOptions;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;

use domain::ports::Letters;
use domain::replay::{LetterStatus, StoredLetter};
use domain::{Error, Result};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::filter::Filter;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// The file that is written; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

/// Bytes of records that are held at a time.
const READ_BYTES: usize = 32 << 20;

#[derive(Serialize)]
struct Line {
    record: String,
    error: String,
    value: Option<Box<RawValue>>,
}

pub(crate) async fn run(letters: &dyn Letters, args: Args) -> Result<()> {
    let selection = letters.select(&args.filter.letters()?).await?;
    let entries = selection.entries();
    let mut dead: Vec<usize> =
        (0..entries.len()).filter(|at| entries[*at].status == LetterStatus::Dead).collect();
    let named = |error: std::io::Error| Error::invalid(format!("--file {}: {error}", args.file.display()));
    let file = OpenOptions::new().write(true).create_new(true).open(&args.file).map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            return Error::invalid(format!(
                "--file {} is there already, and may hold what someone has mended: name another",
                args.file.display()
            ));
        }
        named(error)
    })?;
    let mut file = BufWriter::new(file);
    let count = dead.len();
    while !dead.is_empty() {
        let read = selection.read(&dead, READ_BYTES).await?;
        dead.drain(..read.len());
        for letter in &read {
            let text = serde_json::to_string(&line(letter)?)
                .map_err(|error| Error::internal(format!("a line of JSON: {error}")))?;
            writeln!(file, "{text}").map_err(named)?;
        }
    }
    file.flush().map_err(named)?;
    eprintln!("{count} dead letters written to {}", args.file.display());
    Ok(())
}

/// The record as it stands, so that only its fault needs to be mended; what is no JSON is given as a text, and what is no text is left out.
fn line(letter: &StoredLetter) -> Result<Line> {
    let text = letter.raw_value.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let value = text.map(|text| {
        // Line breaks stand between tokens only: a JSON text cannot hold them as they are.
        let one_line = text.replace(['\n', '\r'], " ");
        RawValue::from_string(one_line).or_else(|_| to_raw_value(text))
    });
    let value = value.transpose().map_err(|error| Error::internal(format!("a record as JSON: {error}")))?;
    Ok(Line { record: letter.place.to_string(), error: letter.error_message.clone(), value })
}
