//! Answers as bytes: a table for people; CSV, JSON and Arrow for programs, which are written as the rows come.

mod csv;

use std::io::{self, Write};

use ::arrow::ipc::writer::StreamWriter;
use ::arrow::json::WriterBuilder;
use ::arrow::json::writer::JsonArray;
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
    /// An array of objects, in which a null stands as such; decimals are exact, instants RFC 3339.
    Json,
    /// RFC 4180 with a header. Texts that a spreadsheet would take for a formula get an apostrophe in front; numbers stay as they are.
    Csv,
    /// Arrow's IPC stream; its schema comes first, so that an answer without rows has its columns.
    Arrow,
}

/// Writes an answer to its end.
///
/// # Errors
/// Those of the query, after the rows that came before; [`ErrorKind::Cancelled`] when nobody reads any more; those of writing.
pub async fn write_output(answer: Answer, output: Output, to: &mut (dyn Write + Send)) -> Result<Summary> {
    let mut to = Reader { to, has_left: false };
    let written = write(answer, output, &mut to).await;
    // The writers keep the text of an error and not what it was.
    match written {
        Err(_) if to.has_left => Err(Error::new(ErrorKind::Cancelled, "nobody reads the answer any more")),
        written => written,
    }
}

async fn write(answer: Answer, output: Output, to: &mut Reader<'_>) -> Result<Summary> {
    let Answer { schema, mut stream, summary, .. } = answer;
    let empty = RecordBatch::new_empty(schema);
    match output {
        Output::Table => write_table(empty, &mut stream, to).await?,
        Output::Json => {
            let nulls = WriterBuilder::new().with_explicit_nulls(true);
            let mut writer = nulls.build::<_, JsonArray>(&mut *to);
            while let Some(batch) = stream.next().await {
                writer.write(&batch?).map_err(failed)?;
            }
            writer.finish().map_err(failed)?;
            writeln!(to).map_err(failed)?;
        }
        Output::Csv => {
            csv::check(&empty.schema())?;
            let mut writer = CsvWriter::new(&mut *to);
            writer.write(&empty).map_err(failed)?;
            while let Some(batch) = stream.next().await {
                writer.write(&batch?).map_err(failed)?;
            }
        }
        Output::Arrow => {
            let mut writer = StreamWriter::try_new(&mut *to, &empty.schema()).map_err(failed)?;
            while let Some(batch) = stream.next().await {
                writer.write(&batch?).map_err(failed)?;
            }
            writer.finish().map_err(failed)?;
        }
    }
    to.flush().map_err(failed)?;
    summary.get().cloned().ok_or_else(broke_off)
}

async fn write_table(empty: RecordBatch, stream: &mut AnswerStream, to: &mut Reader<'_>) -> Result<()> {
    let mut batches = vec![empty];
    while let Some(batch) = stream.next().await {
        batches.push(batch?);
    }
    let table = pretty_format_batches(&batches).map_err(failed)?;
    writeln!(to, "{table}").map_err(failed)
}

fn failed(error: impl std::error::Error) -> Error {
    Error::internal(format!("writing the answer: {error}"))
}

/// Who reads the answer, and whether it left before the end.
struct Reader<'a> {
    to: &'a mut (dyn Write + Send),
    has_left: bool,
}

impl Reader<'_> {
    fn note<T>(&mut self, written: io::Result<T>) -> io::Result<T> {
        written.inspect_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                self.has_left = true;
            }
        })
    }
}

impl Write for Reader<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.to.flush();
        self.note(flushed)
    }
}
