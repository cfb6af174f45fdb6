//! Mapping files: how the rows of a source file become records of a feed.
//!
//! ```toml
//! file_format = "csv"                # or "json_lines", "parquet"
//! delimiter = ","                    # of CSV
//! history = true                     # the file tells of the past: _known_at is each record's own time
//!
//! [feeds.sales]
//! tenant         = { constant = "gift-uk" }
//! transaction_id = { column = "Invoice" }
//! line           = { ordinal_within = ["Invoice"] }     # 1, 2, ... within the invoice, over the whole file
//! sku            = { column = "StockCode", transforms = ["trim", "upper"] }
//! quantity       = { column = "Quantity" }
//! kind           = { column = "Quantity", negative = "return", otherwise = "sale" }
//! occurred_at    = { column = "InvoiceDate", format = "%m/%d/%Y %H:%M", time_zone = "Europe/London" }
//! promotion      = { column = "Promo", optional = true }  # no fault if the file has no such column
//! country        = { column = "Country" }               # a field that the feed does not know: kept in _extra
//! ```
//!
//! A feed may be filled by several sections, `[[feeds.events]]`, and a section by some of the rows (`when`, `once_per`).
//!
//! A value that a rule cannot read (a date of another form, say) is passed on as it stands, so that the record becomes a dead letter with its reason
//! and is not lost. Empty values are left out. Local times that do not exist move forward an hour, ambiguous ones take the first; both are counted.
//! `docs/guides/mappings.md` is the page for users.

mod rule;
mod section;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use domain::{Error, Feed, Result};
use serde::Deserialize;

use crate::source::{Columns, FileFormat, Reading, Row};

pub use rule::LocalTimes;
use section::{Section, SectionText};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingText {
    #[serde(default)]
    history: bool,
    #[serde(default)]
    file_format: FileFormat,
    delimiter: Option<char>,
    feeds: BTreeMap<String, toml::Value>,
}

/// A checked mapping.
#[derive(Debug)]
pub struct Mapping {
    /// Whether the records tell of the past.
    pub history: bool,
    /// The kind of file that it is for.
    pub file_format: FileFormat,
    /// What separates the columns of CSV.
    pub delimiter: u8,
    sections: Vec<SectionText>,
}

/// What a caller of a mapping says of the file: the values of `{ parameter = "name" }`.
pub type Parameters = BTreeMap<String, String>;

/// A mapping bound to the columns of one file.
#[derive(Debug)]
pub struct Mapper {
    history: bool,
    sections: Vec<Section>,
    local_times: LocalTimes,
}

/// A record ready to be produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedRecord {
    /// Its feed.
    pub feed: Feed,
    /// Its Kafka key; `None` when the record lacks a part of it, and will be a dead letter.
    pub key: Option<String>,
    /// The record as JSON.
    pub value: Vec<u8>,
    /// Whether it tells of the past.
    pub history: bool,
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// Naming the file, the key and the fix.
    pub fn load(path: &Path) -> Result<Self> {
        let named =
            |error: &dyn std::fmt::Display| Error::invalid(format!("--map {}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
        Self::parse(&text).map_err(|error| named(&error))
    }

    /// Reads the text of a mapping file.
    ///
    /// # Errors
    /// Naming the key and the fix.
    pub fn parse(text: &str) -> Result<Self> {
        let mapping: MappingText = toml::from_str(text).map_err(|error| Error::invalid(error.to_string()))?;
        if mapping.delimiter.is_some() && mapping.file_format != FileFormat::Csv {
            return Err(Error::invalid(
                "delimiter: only CSV has one; leave it out or set file_format = \"csv\"",
            ));
        }
        let delimiter = u8::try_from(mapping.delimiter.unwrap_or(',')).ok().filter(u8::is_ascii);
        let delimiter = delimiter.ok_or_else(|| Error::invalid("delimiter: give one ASCII character"))?;
        if mapping.feeds.is_empty() {
            return Err(Error::invalid("it maps no feed: add a section like [feeds.sales]"));
        }
        let mut sections = Vec::new();
        for (name, text) in mapping.feeds {
            let feed = Feed::from_name(&name)?;
            let (tables, is_list) = match text {
                toml::Value::Table(table) => (vec![toml::Value::Table(table)], false),
                toml::Value::Array(tables) => (tables, true),
                _ => {
                    return Err(Error::invalid(format!(
                        "feeds.{name}: write [feeds.{name}], or [[feeds.{name}]] for several"
                    )));
                }
            };
            for (at, table) in tables.into_iter().enumerate() {
                let place = if is_list { format!("feeds.{name}[{at}]") } else { format!("feeds.{name}") };
                let section = SectionText::checked(feed, table);
                sections.push(section.map_err(|fault| Error::invalid(format!("{place}{fault}")))?);
            }
        }
        Ok(Self { history: mapping.history, file_format: mapping.file_format, delimiter, sections })
    }

    /// The feeds that the mapping fills.
    #[must_use]
    pub fn feeds(&self) -> BTreeSet<Feed> {
        self.sections.iter().map(|section| section.feed).collect()
    }

    /// The mapping without the sections of other feeds; no feeds at all stand for every one.
    ///
    /// # Errors
    /// Naming a feed that it does not fill.
    pub fn only(mut self, feeds: &[Feed]) -> Result<Self> {
        let filled = self.feeds();
        if let Some(other) = feeds.iter().find(|feed| !filled.contains(feed)) {
            let names: Vec<_> = filled.into_iter().map(Feed::name).collect();
            return Err(Error::invalid(format!(
                "it does not fill feed {}, but {}",
                other.name(),
                names.join(", ")
            )));
        }
        self.sections.retain(|section| feeds.is_empty() || feeds.contains(&section.feed));
        Ok(self)
    }

    /// Binds the mapping to a file's columns. With the mapper come the columns that it wants to find in each row, in this order.
    ///
    /// # Errors
    /// Naming a column that the file does not have, and those that it has; or one whose type does not suit its rule.
    pub fn bind(self, columns: &Columns, parameters: &Parameters) -> Result<(Mapper, Vec<String>)> {
        let mut wanted = Vec::<String>::new();
        let mut find = |name: &str, optional: bool| {
            let reading = reading(columns, self.file_format, name, optional)?;
            let at = wanted.iter().position(|known| known == name).unwrap_or_else(|| {
                wanted.push(name.to_owned());
                wanted.len() - 1
            });
            Ok((at, reading))
        };
        let mut bind = |section: SectionText| {
            let name = section.feed.name();
            let bound = section.bind(&mut find, parameters);
            bound.map_err(|fault| Error::invalid(format!("feeds.{name}{fault}")))
        };
        let sections = self.sections.into_iter().map(&mut bind).collect::<Result<Vec<_>>>()?;
        Ok((Mapper { history: self.history, sections, local_times: LocalTimes::default() }, wanted))
    }
}

/// Names of columns that a message lists.
const SHOWN_COLUMNS: usize = 60;

/// How a column reads; the fault if the file lacks it or has two of that name.
fn reading(columns: &Columns, format: FileFormat, name: &str, optional: bool) -> Result<Reading, String> {
    let mut named = columns.list.iter().filter(|column| column.name == name);
    match (named.next(), named.next()) {
        (Some(column), None) => Ok(column.reading.clone()),
        (Some(_), Some(_)) => Err(format!("the file has more than one column `{name}`")),
        // What a file does not state, a later row may have.
        (None, _) if optional => Ok(columns.sampled.map_or(Reading::Absent, |_| Reading::Text)),
        (None, _) => {
            let names = columns.list.iter().take(SHOWN_COLUMNS).map(|column| column.name.as_str());
            let names = names.collect::<Vec<_>>().join(", ");
            let more = if columns.list.len() > SHOWN_COLUMNS { ", ..." } else { "" };
            let (among, fix) = match columns.sampled {
                Some(count) => (
                    format!(" in its first {count} objects"),
                    "; if later ones do, and not every record needs it, say optional = true",
                ),
                None => (String::new(), ""),
            };
            Err(format!("the file has no column `{name}`{among}; read as {format} it has {names}{more}{fix}"))
        }
    }
}

impl Mapper {
    /// The records of one row: one for each section that takes it.
    pub fn map(&mut self, row: &Row) -> Vec<MappedRecord> {
        let (history, local_times) = (self.history, &mut self.local_times);
        let record = |section: &mut Section| {
            let value = section.record(row, local_times)?;
            let feed = section.feed;
            Some(MappedRecord {
                feed,
                key: feed.key(value.as_bytes()).ok(),
                value: value.into_bytes(),
                history,
            })
        };
        self.sections.iter_mut().filter_map(record).collect()
    }

    /// Local times that did not exist or stood for two instants.
    #[must_use]
    pub fn local_times(&self) -> LocalTimes {
        self.local_times
    }
}
