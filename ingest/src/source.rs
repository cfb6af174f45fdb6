//! What a file holds, as rows of texts: CSV, JSON lines or Parquet.
//!
//! A source tells its columns before its first row is read, so that a mapping can be checked against them. Of each row it gives the columns that were asked
//! for, as text or as nothing: an empty text, null, and what is not there are the same. No digit passes through a float that the file did not put there.

mod csv;
mod json_lines;
mod parquet;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::path::Path;

use domain::{Error, Result};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::files;

/// What kind of file a mapping is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// Lines of columns below a header.
    #[default]
    Csv,
    /// One JSON object on each line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csv => "CSV",
            Self::JsonLines => "JSON lines",
            Self::Parquet => "Parquet",
        })
    }
}

/// How a column's values read as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// As they are.
    Text,
    /// As RFC 3339 in UTC.
    Instant,
    /// As a time of day at a place that the file does not name, in the form [`LOCAL_TIME_FORMAT`].
    LocalTime,
    /// Not at all, being of this type.
    Unreadable(String),
    /// Not at all: the file has no such column, and its rule allows that.
    Absent,
}

/// The form of [`Reading::LocalTime`].
pub const LOCAL_TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.f";

/// A column of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name; for a value within JSON objects their keys, joined by dots.
    pub name: String,
    /// How it reads.
    pub reading: Reading,
}

impl Column {
    /// A column of texts.
    pub fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), reading: Reading::Text }
    }
}

/// The columns that a source knows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// In the order of the file.
    pub list: Vec<Column>,
    /// From how many of its first rows they were learned, if the file does not state them.
    pub sampled: Option<usize>,
}

/// A file whose columns are known, and whose rows are not read yet.
pub trait Source: Send {
    /// Its columns.
    fn columns(&self) -> &Columns;

    /// The file's size in bytes, as it lies there.
    fn size_bytes(&self) -> u64;

    /// Its rows, with the values of these columns in this order. A column that is not there gives nothing.
    ///
    /// # Errors
    /// What is wrong with the file, without its name.
    fn rows(self: Box<Self>, columns: &[String]) -> Result<Box<dyn Rows>, String>;
}

/// The rows of a file.
pub trait Rows: Send {
    /// Puts the next row in the place of `row`; `false` at the end.
    ///
    /// # Errors
    /// What is wrong with the row, and where it stands.
    fn read(&mut self, row: &mut Row) -> Result<bool, String>;

    /// How much of the file was read, in bytes of the file as it lies there.
    fn read_bytes(&self) -> u64;
}

/// Opens a file that a flag of the command line names. Only Parquet that is compressed as a whole takes long, as it is unpacked first; cancelling ends that.
///
/// # Errors
/// When it cannot be read or is of another format, naming flag and file.
pub fn open(
    flag: &str,
    path: &Path,
    format: FileFormat,
    delimiter: u8,
    cancel: &CancellationToken,
) -> Result<Box<dyn Source>> {
    let named = |fault: String| Error::invalid(format!("{flag} {}: {fault}", path.display()));
    Ok(match format {
        FileFormat::Csv => Box::new(csv::open(files::stream(flag, path)?, delimiter).map_err(named)?),
        FileFormat::JsonLines => Box::new(json_lines::open(files::stream(flag, path)?).map_err(named)?),
        FileFormat::Parquet => {
            let size_bytes = std::fs::metadata(path).map_err(|error| named(error.to_string()))?.len();
            Box::new(parquet::open(files::seekable(flag, path, cancel)?, size_bytes).map_err(named)?)
        }
    })
}

/// One row's values, in the order in which the columns were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    text: String,
    values: Vec<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Value {
    #[default]
    Nothing,
    Text(Range<usize>),
    Json(Range<usize>),
}

impl Row {
    /// Makes it a row of so many columns without a value.
    pub fn clear(&mut self, columns: usize) {
        self.text.clear();
        self.values.clear();
        self.values.resize(columns, Value::Nothing);
    }

    /// Sets a column's text.
    pub fn set(&mut self, column: usize, text: &str) {
        if !text.is_empty() {
            self.values[column] = Value::Text(self.append(text));
        }
    }

    /// Sets a column's value to a JSON object or array.
    pub fn set_json(&mut self, column: usize, json: &str) {
        self.values[column] = Value::Json(self.append(json));
    }

    fn append(&mut self, text: &str) -> Range<usize> {
        let from = self.text.len();
        self.text.push_str(text);
        from..self.text.len()
    }

    /// A column's value as text, never empty; that of an object or array is its JSON.
    #[must_use]
    pub fn text(&self, column: usize) -> Option<&str> {
        match &self.values[column] {
            Value::Nothing => None,
            Value::Text(range) | Value::Json(range) => Some(&self.text[range.clone()]),
        }
    }

    /// A column's value if it is a JSON object or array.
    #[must_use]
    pub fn json(&self, column: usize) -> Option<&str> {
        match &self.values[column] {
            Value::Json(range) => Some(&self.text[range.clone()]),
            Value::Nothing | Value::Text(_) => None,
        }
    }
}
