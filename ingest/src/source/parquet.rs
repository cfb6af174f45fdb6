//! Parquet: columns by the names of the schema, read batch by batch, each value by the text that states it exactly.

use std::fs::File;
use std::sync::Arc;

use arrow::compute::{CastOptions, cast_with_options};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, cast::AsArray};
use arrow_schema::{ArrowError, DataType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{Column, Columns, Reading, Row, Rows, Source};

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 4096;

struct Parquet {
    builder: ParquetRecordBatchReaderBuilder<File>,
    columns: Columns,
    size_bytes: u64,
}

pub(super) fn open(file: File, size_bytes: u64) -> Result<impl Source, String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| {
        format!("it cannot be read as Parquet, which it is by the mapping's file_format: {error}")
    })?;
    let column = |field: &Arc<arrow_schema::Field>| Column {
        name: field.name().clone(),
        reading: reading(field.data_type()),
    };
    let list = builder.schema().fields().iter().map(column).collect();
    Ok(Parquet { builder, columns: Columns { list, sampled: None }, size_bytes })
}

fn reading(data_type: &DataType) -> Reading {
    match data_type {
        DataType::Timestamp(_, None) => Reading::LocalTime,
        DataType::Timestamp(_, Some(_)) => Reading::Instant,
        DataType::Dictionary(_, values) => reading(values),
        DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Reading::Text,
        DataType::Date32 | DataType::Date64 | DataType::Time32(_) | DataType::Time64(_) => Reading::Text,
        numeric if numeric.is_numeric() => Reading::Text,
        other => Reading::Unreadable(other.to_string()),
    }
}

impl Source for Parquet {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn rows(self: Box<Self>, columns: &[String]) -> Result<Box<dyn Rows>, String> {
        let find = |name: &String| self.columns.list.iter().position(|column| column.name == *name);
        let wanted: Vec<Option<usize>> = columns.iter().map(find).collect();
        let mask = ProjectionMask::roots(self.builder.parquet_schema(), wanted.iter().flatten().copied());
        let total_rows = self.builder.metadata().file_metadata().num_rows().unsigned_abs();
        let reader = self.builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        Ok(Box::new(ParquetRows {
            reader: reader.map_err(|error| error.to_string())?,
            columns: columns.to_vec(),
            batch: Vec::new(),
            batch_rows: 0,
            next: 0,
            read_rows: 0,
            total_rows,
            size_bytes: self.size_bytes,
        }))
    }
}

struct ParquetRows {
    reader: ParquetRecordBatchReader,
    columns: Vec<String>,
    /// The wanted columns of the current batch as text.
    batch: Vec<Option<StringArray>>,
    batch_rows: usize,
    /// The next row within the batch.
    next: usize,
    read_rows: u64,
    total_rows: u64,
    size_bytes: u64,
}

impl ParquetRows {
    /// Decodes the next batch; `false` at the end.
    fn advance(&mut self) -> Result<bool, String> {
        let failed = |error: ArrowError| {
            format!("one of the rows behind row {} cannot be read: {error}", self.read_rows)
        };
        let Some(batch) = self.reader.next().transpose().map_err(failed)? else { return Ok(false) };
        let text = |name: &String| batch.column_by_name(name).map(as_text).transpose();
        self.batch = self.columns.iter().map(text).collect::<Result<_, _>>().map_err(failed)?;
        (self.batch_rows, self.next) = (RecordBatch::num_rows(&batch), 0);
        Ok(true)
    }
}

impl Rows for ParquetRows {
    fn read(&mut self, row: &mut Row) -> Result<bool, String> {
        while self.next == self.batch_rows {
            if !self.advance()? {
                return Ok(false);
            }
        }
        row.clear(self.batch.len());
        for (at, column) in self.batch.iter().enumerate() {
            if let Some(column) = column
                && column.is_valid(self.next)
            {
                row.set(at, column.value(self.next));
            }
        }
        self.next += 1;
        self.read_rows += 1;
        Ok(true)
    }

    /// Estimated: rows are taken to be of one size.
    fn read_bytes(&self) -> u64 {
        let bytes =
            u128::from(self.size_bytes) * u128::from(self.read_rows) / u128::from(self.total_rows.max(1));
        u64::try_from(bytes).unwrap_or(self.size_bytes)
    }
}

/// The values as text: decimals with their scale, floats by the shortest text that reads back the same, dates and times in ISO 8601, instants in UTC.
fn as_text(values: &ArrayRef) -> Result<StringArray, ArrowError> {
    let cast = |values: &ArrayRef, to: &DataType| {
        cast_with_options(values, to, &CastOptions { safe: false, ..CastOptions::default() })
    };
    let values = match values.data_type() {
        DataType::Dictionary(_, of) => &cast(values, of)?,
        _ => values,
    };
    let values = match values.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            &cast(values, &DataType::Timestamp(*unit, Some("+00:00".into())))?
        }
        DataType::Date64 => &cast(values, &DataType::Date32)?,
        _ => values,
    };
    Ok(cast(values, &DataType::Utf8)?.as_string::<i32>().clone())
}
