//! Reports on stdout: one list of objects, as a table for people or as JSON for programs.

use std::io::Write;

use clap::ValueEnum;
use domain::{Error, Result};
use serde_json::Value;

/// Exit status of what was done or answered in part, or needs a hand.
pub(crate) const PARTIAL: u8 = 3;

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Text in columns.
    Table,
    /// JSON, all of it.
    Json,
}

/// `--output`, as every command that reports takes it.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Output {
    /// How the report is written.
    #[arg(long = "output", value_enum, default_value = "table", value_name = "FORM")]
    pub(crate) form: Form,
}

/// Writes rows: as JSON an array of objects, as a table a line each under these columns.
pub(crate) fn write_rows(form: Form, columns: &[&str], rows: &[Value]) -> Result<()> {
    match form {
        Form::Json => write_json(&Value::from(rows)),
        Form::Table => {
            let header = columns.iter().map(|&name| name.to_owned()).collect();
            let lines = rows.iter().map(|row| columns.iter().map(|&name| one_line(&row[name])).collect());
            write_text(&aligned(&std::iter::once(header).chain(lines).collect::<Vec<_>>()))
        }
    }
}

/// Writes one object: as JSON as it is, as a table a line for each field, in this order.
pub(crate) fn write_record(form: Form, fields: Vec<(String, Value)>) -> Result<()> {
    match form {
        Form::Json => write_json(&Value::Object(fields.into_iter().collect())),
        Form::Table => {
            let lines = fields.into_iter().map(|(name, value)| vec![name, text(&value)]);
            write_text(&aligned(&lines.collect::<Vec<_>>()))
        }
    }
}

/// Writes JSON on stdout.
pub(crate) fn write_json(value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::internal(error.to_string()))?;
    write_text(&(text + "\n"))
}

/// Writes text on stdout.
pub(crate) fn write_text(text: &str) -> Result<()> {
    let mut to = std::io::stdout().lock();
    let written = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    written.map_err(|error| Error::internal(format!("writing the report: {error}")))
}

/// A value as people read it, nothing for null. Control characters, which a terminal would obey, are shown by their names; line breaks stay.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escaped(text, |letter| !matches!(letter, '\n' | '\t')),
        other => other.to_string(),
    }
}

/// A value that must not break its line either.
fn one_line(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        other => text(other),
    }
}

/// A text on one line, without control characters.
pub(crate) fn printable(text: &str) -> String {
    escaped(text, |_| true)
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() && is_escaped(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Lines whose cells stand under each other, two spaces apart.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        for (at, cell) in line.iter().enumerate() {
            text.push_str(cell);
            // The last cell may be a record of ten megabytes; nothing stands behind it that would need its width.
            if at + 1 < columns {
                let missing = widths[at].saturating_sub(cell.chars().count()) + 2;
                text.extend(std::iter::repeat_n(' ', missing));
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_no_cell_breaks_out() {
        let lines = vec![vec!["a".to_owned(), "b".to_owned()], vec!["long".to_owned(), String::new()]];
        assert_eq!(aligned(&lines), "a     b\nlong\n");
        let hostile = Value::from("red \u{1b}[31m\nline");
        assert_eq!(one_line(&hostile), "red \\u{1b}[31m\\nline");
        assert_eq!(text(&hostile), "red \\u{1b}[31m\nline");
        assert_eq!(text(&Value::Null), "");
    }
}
