//! CSV: columns by the names of the header.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Column, Columns, Row, Rows, Source};
use crate::files::Stream;

struct Csv {
    reader: csv::Reader<Box<dyn Read + Send>>,
    columns: Columns,
    read: Arc<AtomicU64>,
    size_bytes: u64,
}

pub(super) fn open(file: Stream, delimiter: u8) -> Result<impl Source, String> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(file.content);
    let header = reader.headers().map_err(|error| {
        format!("its header cannot be read as CSV, which it is by the mapping's file_format: {error}")
    })?;
    let list = header.iter().map(|name| Column::text(name.trim_start_matches('\u{feff}'))).collect();
    let columns = Columns { list, sampled: None };
    Ok(Csv { reader, columns, read: file.read, size_bytes: file.size_bytes })
}

impl Source for Csv {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn rows(self: Box<Self>, columns: &[String]) -> Result<Box<dyn Rows>, String> {
        let find = |name: &String| self.columns.list.iter().position(|column| column.name == *name);
        let columns = columns.iter().map(find).collect();
        Ok(Box::new(CsvRows {
            reader: self.reader,
            record: csv::StringRecord::new(),
            columns,
            read: self.read,
        }))
    }
}

struct CsvRows {
    reader: csv::Reader<Box<dyn Read + Send>>,
    record: csv::StringRecord,
    /// Where the wanted columns stand in a record.
    columns: Vec<Option<usize>>,
    read: Arc<AtomicU64>,
}

impl Rows for CsvRows {
    fn read(&mut self, row: &mut Row) -> Result<bool, String> {
        if !self.reader.read_record(&mut self.record).map_err(|error| error.to_string())? {
            return Ok(false);
        }
        row.clear(self.columns.len());
        for (at, column) in self.columns.iter().enumerate() {
            let value = column.and_then(|column| self.record.get(column));
            row.set(at, value.unwrap_or_default());
        }
        Ok(true)
    }

    fn read_bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}
