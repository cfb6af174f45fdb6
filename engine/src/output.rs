//! Answers as text, batch by batch: a table for people, CSV and JSON for programs.

use std::io::Write;

use arrow::csv::WriterBuilder;
use arrow::json::ArrayWriter;
use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::SendableRecordBatchStream;
use domain::{Error, Result};
use futures::StreamExt;

use crate::query_error;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// A table with borders; the whole answer is held to size its columns.
    Table,
    /// An array of objects; decimals are exact, instants RFC 3339.
    Json,
    /// RFC 4180 with a header.
    Csv,
}

/// Writes an answer; gives the number of rows.
///
/// # Errors
/// Those of the query, and of writing.
pub async fn write_output(
    mut answer: SendableRecordBatchStream,
    output: Output,
    to: &mut (dyn Write + Send),
) -> Result<u64> {
    let schema = answer.schema();
    let mut rows = 0;
    let failed = |error: &dyn std::fmt::Display| Error::internal(format!("writing the answer: {error}"));
    match output {
        Output::Table => {
            let mut batches = vec![RecordBatch::new_empty(schema)];
            while let Some(batch) = answer.next().await {
                batches.push(batch.map_err(query_error)?);
            }
            rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
            let table = pretty_format_batches(&batches).map_err(|error| failed(&error))?;
            writeln!(to, "{table}").map_err(|error| failed(&error))?;
        }
        Output::Json => {
            let mut writer = ArrayWriter::new(&mut *to);
            while let Some(batch) = answer.next().await {
                let batch = batch.map_err(query_error)?;
                rows += batch.num_rows() as u64;
                writer.write(&batch).map_err(|error| failed(&error))?;
            }
            writer.finish().map_err(|error| failed(&error))?;
            writeln!(to).map_err(|error| failed(&error))?;
        }
        Output::Csv => {
            let mut writer = WriterBuilder::new().with_header(true).build(&mut *to);
            writer.write(&RecordBatch::new_empty(schema)).map_err(|error| failed(&error))?;
            while let Some(batch) = answer.next().await {
                let batch = batch.map_err(query_error)?;
                rows += batch.num_rows() as u64;
                writer.write(&batch).map_err(|error| failed(&error))?;
            }
        }
    }
    to.flush().map_err(|error| failed(&error))?;
    Ok(rows)
}
