//! CSV that a spreadsheet may open: no cell becomes a formula.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::csv::{Writer, WriterBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use domain::Error;

/// Refuses columns that have no place in a cell.
///
/// # Errors
/// [`domain::ErrorKind::Invalid`] naming the column.
pub(super) fn check(schema: &Schema) -> Result<(), Error> {
    let nested = schema.fields().iter().find(|field| field.data_type().is_nested());
    nested.map_or(Ok(()), |field| {
        Err(Error::invalid(format!(
            "column `{}` is of type {}, which CSV cannot hold: ask for JSON, or select its parts",
            field.name(),
            field.data_type()
        )))
    })
}

/// Writes batches as CSV, with a header before the first.
pub(super) struct CsvWriter<W: Write>(Writer<W>);

impl<W: Write> CsvWriter<W> {
    pub(super) fn new(to: W) -> Self {
        Self(WriterBuilder::new().with_header(true).build(to))
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.0.write(&escaped(batch)?)
    }
}

/// The batch with its texts and names made harmless.
fn escaped(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let name = escape(field.name()).unwrap_or_else(|| field.name().clone());
        let column = if is_text(field.data_type()) { escaped_texts(column)? } else { Arc::clone(column) };
        fields.push(Field::new(name, column.data_type().clone(), true));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn escaped_texts(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let texts = cast(column, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    if !texts.iter().flatten().any(|text| escape(text).is_some()) {
        return Ok(Arc::new(texts.clone()));
    }
    let escaped = texts.iter().map(|text| text.map(|text| escape(text).unwrap_or_else(|| text.to_owned())));
    Ok(Arc::new(escaped.collect::<StringArray>()))
}

/// The cell with an apostrophe in front, if a spreadsheet would take it for a formula.
fn escape(cell: &str) -> Option<String> {
    // Spreadsheets skip a tab or a carriage return before they look for the formula.
    let begins = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    (begins && !is_number(cell)).then(|| format!("'{cell}"))
}

fn is_number(cell: &str) -> bool {
    let digits = cell.bytes().any(|byte| byte.is_ascii_digit());
    let plain =
        cell.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    digits && plain && cell.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    fn written(texts: &[Option<&str>], name: &str) -> String {
        let texts: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..texts.len() as i64).map(|n| -n)));
        let batch = RecordBatch::try_from_iter([(name, texts), ("n", numbers)]).expect("a batch");
        let mut bytes = Vec::new();
        CsvWriter::new(&mut bytes).write(&batch).expect("CSV");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn formulas_become_texts_and_numbers_stay() {
        let cells =
            ["=1+1", "+x", "-5", "-1.5e3", "@SUM(A1)", "--1", "+inf", "\tx", "plain", "a=b", "-", "+44 20"];
        let mut cells: Vec<_> = cells.map(Some).to_vec();
        cells.push(None);
        let expected = "'=cmd,n\n'=1+1,0\n'+x,-1\n-5,-2\n-1.5e3,-3\n'@SUM(A1),-4\n'--1,-5\n'+inf,-6\n'\tx,-7\nplain,-8\na=b,-9\n'-,-10\n'+44 20,-11\n,-12\n";
        assert_eq!(written(&cells, "=cmd"), expected);
    }
}
