//! JSON lines: one object on each line; columns are keys, and those of objects within it are joined by dots (`item.sku`).
//!
//! The file does not state its columns. They are learned from its first objects, so that a mistyped name is found before a record is sent.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Column, Columns, Reading, Row, Rows, Source};
use crate::files::Stream;

/// Columns are learned from so many objects, or from fewer that make up [`SAMPLE_BYTES`].
const SAMPLE_OBJECTS: usize = 1000;
const SAMPLE_BYTES: usize = 4 << 20;
/// How deep objects within objects are looked at for columns.
const SAMPLE_DEPTH: usize = 8;
/// A longer line is no record: the file is one JSON array, say.
const MAX_LINE_BYTES: usize = 16 << 20;

struct JsonLines {
    lines: Lines,
    sample: Vec<Line>,
    columns: Columns,
    read: Arc<AtomicU64>,
    size_bytes: u64,
}

pub(super) fn open(file: Stream) -> Result<impl Source, String> {
    let mut lines = Lines { content: BufReader::new(file.content), number: 0, bytes: Vec::new() };
    let (mut sample, mut bytes, mut learned) = (Vec::new(), 0, Learned::default());
    while sample.len() < SAMPLE_OBJECTS
        && bytes < SAMPLE_BYTES
        && let Some((number, text)) = lines.next()?
    {
        learned.read(text).map_err(|error| line_fault(number, &error))?;
        bytes += text.len();
        sample.push(Line { number, text: text.to_owned() });
    }
    if sample.is_empty() {
        return Err("it holds no JSON object".to_owned());
    }
    let columns = Columns { list: learned.list, sampled: Some(sample.len()) };
    Ok(JsonLines { lines, sample, columns, read: file.read, size_bytes: file.size_bytes })
}

/// Columns in the order in which they appear. One that holds nothing but arrays cannot be read.
#[derive(Default)]
struct Learned {
    list: Vec<Column>,
    /// Where a column stands in the list.
    places: HashMap<String, usize>,
}

impl Learned {
    fn read(&mut self, line: &str) -> serde_json::Result<()> {
        let mut learn = |path: &str, json: &str| {
            let nested = match json.as_bytes() {
                [b'{', ..] if path.matches('.').count() < SAMPLE_DEPTH => return Ok(true),
                [b'{', ..] => Some("object"),
                [b'[', ..] => Some("array"),
                _ => None,
            };
            let reading = nested.map_or(Reading::Text, |kind| Reading::Unreadable(kind.to_owned()));
            match self.places.get(path) {
                Some(&at) if reading == Reading::Text => self.list[at].reading = reading,
                Some(_) => {}
                None => {
                    self.places.insert(path.to_owned(), self.list.len());
                    self.list.push(Column { name: path.to_owned(), reading });
                }
            }
            Ok(false)
        };
        visit(line, "", &mut learn)
    }
}

impl Source for JsonLines {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn rows(self: Box<Self>, columns: &[String]) -> Result<Box<dyn Rows>, String> {
        let mut wanted = HashMap::<String, Wanted>::new();
        for (at, name) in columns.iter().enumerate() {
            wanted.entry(name.clone()).or_default().column = Some(at);
            for (dot, _) in name.match_indices('.') {
                wanted.entry(name[..dot].to_owned()).or_default().within = true;
            }
        }
        Ok(Box::new(JsonRows {
            sample: self.sample.into_iter(),
            lines: self.lines,
            objects: Objects { columns: columns.len(), wanted },
            read: self.read,
        }))
    }
}

struct JsonRows {
    /// Lines that were read to learn the columns.
    sample: std::vec::IntoIter<Line>,
    lines: Lines,
    objects: Objects,
    read: Arc<AtomicU64>,
}

impl Rows for JsonRows {
    fn read(&mut self, row: &mut Row) -> Result<bool, String> {
        if let Some(line) = self.sample.next() {
            return self.objects.read(line.number, &line.text, row).map(|()| true);
        }
        match self.lines.next()? {
            Some((number, text)) => self.objects.read(number, text, row).map(|()| true),
            None => Ok(false),
        }
    }

    fn read_bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

/// What is wanted of a key.
#[derive(Default)]
struct Wanted {
    /// Its value, for this column.
    column: Option<usize>,
    /// Values of the object that it holds.
    within: bool,
}

/// How objects become rows.
struct Objects {
    columns: usize,
    /// By the keys' path.
    wanted: HashMap<String, Wanted>,
}

impl Objects {
    fn read(&self, number: u64, line: &str, row: &mut Row) -> Result<(), String> {
        row.clear(self.columns);
        let mut take = |path: &str, json: &str| {
            let Some(wanted) = self.wanted.get(path) else { return Ok(false) };
            if let Some(column) = wanted.column {
                if row.text(column).is_some() {
                    return Err(format!("`{path}` stands there twice"));
                }
                set(row, column, json).map_err(|error| format!("`{path}`: {error}"))?;
            }
            Ok(wanted.within && json.starts_with('{'))
        };
        visit(line, "", &mut take).map_err(|error| line_fault(number, &error))
    }
}

/// Sets a column from a JSON value: numbers keep the digits that were written.
fn set(row: &mut Row, column: usize, json: &str) -> serde_json::Result<()> {
    match json.as_bytes() {
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => row.set(column, &json[1..json.len() - 1]),
        [b'"', ..] => row.set(column, &serde_json::from_str::<String>(json)?),
        [b'{' | b'[', ..] => row.set_json(column, json),
        b"null" => {}
        _ => row.set(column, json),
    }
    Ok(())
}

struct Line {
    number: u64,
    text: String,
}

/// Lines that are not blank.
struct Lines {
    content: BufReader<Box<dyn Read + Send>>,
    number: u64,
    bytes: Vec<u8>,
}

impl Lines {
    fn next(&mut self) -> Result<Option<(u64, &str)>, String> {
        loop {
            self.number += 1;
            self.bytes.clear();
            let mut bounded = (&mut self.content).take(MAX_LINE_BYTES as u64 + 1);
            let read = bounded.read_until(b'\n', &mut self.bytes);
            if read.map_err(|error| format!("line {}: {error}", self.number))? == 0 {
                return Ok(None);
            }
            if self.bytes.len() > MAX_LINE_BYTES {
                return Err(line_fault(self.number, &format!("is longer than {MAX_LINE_BYTES} bytes")));
            }
            if !self.bytes.iter().all(u8::is_ascii_whitespace) {
                break;
            }
        }
        let text = std::str::from_utf8(&self.bytes).map_err(|error| line_fault(self.number, &error))?;
        Ok(Some((self.number, text.trim_start_matches('\u{feff}').trim_end())))
    }
}

fn line_fault(number: u64, what: &dyn fmt::Display) -> String {
    let what = what.to_string();
    // The parser counts lines within what it was given, which is one line.
    let what = what.split(" at line 1 ").next().unwrap_or_default();
    format!("line {number}: {what} (each line must hold one whole JSON object)")
}

/// Told of each value in an object, by the path of its keys and as it is written; answers whether to go on into it.
type OnValue<'a> = dyn FnMut(&str, &str) -> Result<bool, String> + 'a;

fn visit(json: &str, prefix: &str, on_value: &mut OnValue<'_>) -> serde_json::Result<()> {
    let mut parser = serde_json::Deserializer::from_str(json);
    (&mut parser).deserialize_map(Object { prefix, on_value })?;
    parser.end()
}

struct Object<'a, 'b> {
    prefix: &'a str,
    on_value: &'a mut OnValue<'b>,
}

/// A key, borrowed from the line unless it holds escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            let path = if self.prefix.is_empty() { key } else { format!("{}.{key}", self.prefix).into() };
            if (self.on_value)(&path, value.get()).map_err(A::Error::custom)? {
                visit(value.get(), &path, self.on_value).map_err(A::Error::custom)?;
            }
        }
        Ok(())
    }
}
