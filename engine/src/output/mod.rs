//! Answers as text: a table for people, CSV and JSON for programs, which are written as the rows come.

mod csv;

use std::io::{ErrorKind as IoErrorKind, Write};

use ::arrow::json::ArrayWriter;
use ::arrow::record_batch::RecordBatch;
use ::arrow::util::pretty::pretty_format_batches;
use domain::{Error, ErrorKind, Result};
use futures::StreamExt;

use crate::answer::{Answer, AnswerStream};
use crate::limits::Summary;
use crate::runtime::broke_off;
use csv::CsvWriter;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// A table with borders; the whole answer is held to size its columns, so give its query [`crate::Limits`].
    Table,
    /// An array of objects; decimals are exact, instants RFC 3339.
    Json,
    /// RFC 4180 with a header. Texts that a spreadsheet would take for a formula get an apostrophe in front; numbers stay as they are.
    Csv,
}

/// Writes an answer to its end.
///
/// # Errors
/// Those of the query, after the rows that came before; [`ErrorKind::Cancelled`] when nobody reads any more; those of writing.
pub async fn write_output(answer: Answer, output: Output, to: &mut (dyn Write + Send)) -> Result<Summary> {
    let Answer { schema, mut stream, summary, .. } = answer;
    let empty = RecordBatch::new_empty(schema);
    match output {
        Output::Table => write_table(empty, &mut stream, to).await?,
        Output::Json => {
            let mut writer = ArrayWriter::new(&mut *to);
            while let Some(batch) = stream.next().await {
                writer.write(&batch?).map_err(failed)?;
            }
            writer.finish().map_err(failed)?;
            writeln!(to).map_err(failed)?;
        }
        Output::Csv => {
            let mut writer = CsvWriter::new(&mut *to);
            writer.write(&empty).map_err(failed)?;
            while let Some(batch) = stream.next().await {
                writer.write(&batch?).map_err(failed)?;
            }
        }
    }
    to.flush().map_err(failed)?;
    summary.get().cloned().ok_or_else(broke_off)
}

async fn write_table(
    empty: RecordBatch,
    stream: &mut AnswerStream,
    to: &mut (dyn Write + Send),
) -> Result<()> {
    let mut batches = vec![empty];
    while let Some(batch) = stream.next().await {
        batches.push(batch?);
    }
    let table = pretty_format_batches(&batches).map_err(failed)?;
    writeln!(to, "{table}").map_err(failed)
}

fn failed(error: impl std::error::Error + 'static) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        let is_closed =
            inner.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == IoErrorKind::BrokenPipe);
        if is_closed {
            return Error::new(ErrorKind::Cancelled, "nobody reads the answer any more");
        }
        cause = inner.source();
    }
    Error::internal(format!("writing the answer: {error}"))
}
