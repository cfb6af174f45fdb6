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
//! A value that a rule cannot read (a date of another form, say) is passed on as it stands, so that the record becomes a dead letter with its reason
//! and is not lost. Empty values are left out. Local times that do not exist move forward an hour, ambiguous ones take the first; both are counted.
//! `docs/guides/mappings.md` is the page for users.

mod rule;

use std::collections::BTreeMap;
use std::path::Path;

use domain::{Error, Feed, Result};
use serde::Deserialize;

use crate::source::{Columns, FileFormat, Reading, Row};

pub use rule::LocalTimes;
use rule::{Rule, RuleText};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingText {
    #[serde(default)]
    history: bool,
    #[serde(default)]
    file_format: FileFormat,
    delimiter: Option<char>,
    feeds: BTreeMap<String, toml::Table>,
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
    feeds: Vec<(Feed, Vec<(String, RuleText)>)>,
}

/// A mapping bound to the columns of one file.
#[derive(Debug)]
pub struct Mapper {
    history: bool,
    feeds: Vec<(Feed, Vec<(String, Rule)>)>,
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
        let feed = |(name, fields): (String, toml::Table)| {
            let feed = Feed::from_name(&name)?;
            let rules = checked_rules(feed, fields);
            rules.map(|rules| (feed, rules)).map_err(|fault| Error::invalid(format!("feeds.{name}{fault}")))
        };
        let feeds = mapping.feeds.into_iter().map(feed).collect::<Result<_>>()?;
        Ok(Self { history: mapping.history, file_format: mapping.file_format, delimiter, feeds })
    }

    /// The feeds that the mapping fills.
    pub fn feeds(&self) -> impl Iterator<Item = Feed> + '_ {
        self.feeds.iter().map(|(feed, _)| *feed)
    }

    /// Binds the mapping to a file's columns. With the mapper come the columns that it wants to find in each row, in this order.
    ///
    /// # Errors
    /// Naming a column that the file does not have, and those that it has; or one whose type does not suit its rule.
    pub fn bind(self, columns: &Columns) -> Result<(Mapper, Vec<String>)> {
        let mut wanted = Vec::<String>::new();
        let mut find = |name: &str, optional: bool| {
            let reading = reading(columns, self.file_format, name, optional)?;
            let at = wanted.iter().position(|known| known == name).unwrap_or_else(|| {
                wanted.push(name.to_owned());
                wanted.len() - 1
            });
            Ok((at, reading))
        };
        let mut feeds = Vec::new();
        for (feed, rules) in self.feeds {
            let mut bind = |(field, rule): (String, RuleText)| match rule.bind(&mut find) {
                Ok(rule) => Ok((field, rule)),
                Err(fault) => Err(Error::invalid(format!("feeds.{}.{field}: {fault}", feed.name()))),
            };
            feeds.push((feed, rules.into_iter().map(&mut bind).collect::<Result<Vec<_>>>()?));
        }
        Ok((Mapper { history: self.history, feeds, local_times: LocalTimes::default() }, wanted))
    }
}

/// A feed's rules; what is wrong with them goes on from the feed's name.
fn checked_rules(feed: Feed, fields: toml::Table) -> Result<Vec<(String, RuleText)>, String> {
    let mut rules = Vec::new();
    for (field, value) in fields {
        let rule: RuleText = value.try_into().map_err(|error| format!(".{field}: {error}"))?;
        rule.check().map_err(|what| format!(".{field}: {what}"))?;
        if rule.optional && feed.required_fields().contains(&field.as_str()) {
            return Err(format!(".{field}: every record needs it, so its column cannot be optional"));
        }
        rules.push((field, rule));
    }
    let needed: Vec<_> = feed
        .required_fields()
        .iter()
        .filter(|f| !rules.iter().any(|(name, _)| name == *f))
        .copied()
        .collect();
    if !needed.is_empty() {
        return Err(format!(" lacks a rule for {}: every record needs them", needed.join(", ")));
    }
    Ok(rules)
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
    /// The records of one row, one for each feed.
    pub fn map(&mut self, row: &Row) -> Vec<MappedRecord> {
        let (history, local_times) = (self.history, &mut self.local_times);
        let record = |(feed, rules): &mut (Feed, Vec<(String, Rule)>)| {
            let mut json = String::with_capacity(384);
            for (field, rule) in rules {
                let Some(value) = rule.apply(row, local_times) else { continue };
                json.push(if json.is_empty() { '{' } else { ',' });
                json.push_str(&serde_json::Value::from(field.as_str()).to_string());
                json.push(':');
                json.push_str(&value);
            }
            let json = if json.is_empty() { "{}".to_owned() } else { json + "}" };
            MappedRecord {
                feed: *feed,
                key: feed.key(json.as_bytes()).ok(),
                value: json.into_bytes(),
                history,
            }
        };
        self.feeds.iter_mut().map(record).collect()
    }

    /// Local times that did not exist or stood for two instants.
    #[must_use]
    pub fn local_times(&self) -> LocalTimes {
        self.local_times
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Column;

    const MAPPING: &str = r#"
        history = true
        [feeds.sales]
        tenant = { constant = "t" }
        store = { constant = "s" }
        transaction_id = { column = "Invoice" }
        line = { ordinal_within = ["Invoice"] }
        sku = { column = "Code", transforms = ["trim", "upper"] }
        quantity = { column = "Quantity" }
        unit_price = { column = "Price" }
        currency = { constant = "GBP" }
        kind = { column = "Quantity", negative = "return", otherwise = "sale" }
        occurred_at = { column = "Date", format = "%m/%d/%Y %H:%M", time_zone = "Europe/London" }
        customer = { column = "Customer" }
    "#;

    fn columns(names: &[&str]) -> Columns {
        Columns { list: names.iter().map(|name| Column::text(*name)).collect(), sampled: None }
    }

    fn map(rows: &[[&str; 6]]) -> (Vec<serde_json::Value>, LocalTimes) {
        let columns = columns(&["Invoice", "Code", "Quantity", "Price", "Date", "Customer"]);
        let (mut mapper, wanted) = Mapping::parse(MAPPING).expect("valid").bind(&columns).expect("bound");
        let values = rows.iter().flat_map(|texts| {
            let mut row = Row::default();
            row.clear(wanted.len());
            for (column, text) in columns.list.iter().zip(texts) {
                row.set(wanted.iter().position(|name| *name == column.name).expect("all are mapped"), text);
            }
            mapper.map(&row)
        });
        let values: Vec<_> =
            values.map(|record| serde_json::from_slice(&record.value).expect("json")).collect();
        (values, mapper.local_times())
    }

    #[test]
    fn rows_become_records_and_local_times_are_counted() {
        let (records, times) = map(&[
            ["7", " 85a ", "12", "6.95", "12/1/2009 7:45", "13085"],
            ["8", "1", "1", "1", "3/28/2010 1:30", ""],
            ["7", "85A", "-2", "6.95", "10/31/2010 1:30", "x"],
            ["7", "85A", "-2", "6.95", "31/31/2010", "x"],
        ]);
        assert_eq!(records[0]["sku"], "85A");
        assert_eq!(
            (&records[0]["line"], &records[2]["line"], &records[3]["line"]),
            (&1.into(), &2.into(), &3.into())
        );
        assert_eq!(records[0]["occurred_at"], "2009-12-01T07:45:00Z");
        assert_eq!(records[1]["occurred_at"], "2010-03-28T01:30:00Z", "moved forward to 02:30 summer time");
        assert_eq!(records[2]["occurred_at"], "2010-10-31T00:30:00Z", "the first of two");
        assert_eq!(records[3]["occurred_at"], "31/31/2010", "unreadable values go on to become dead letters");
        assert_eq!((&records[0]["kind"], &records[2]["kind"]), (&"sale".into(), &"return".into()));
        assert_eq!(records[1].get("customer"), None);
        assert_eq!(times, LocalTimes { moved: 1, ambiguous: 1 });
    }

    #[test]
    fn the_examples_of_the_guide_are_mappings() {
        let guide = include_str!("../../docs/guides/mappings.md");
        let examples = guide.split("```toml\n").skip(1).filter_map(|part| part.split("```").next());
        let formats: Vec<_> = examples.map(|text| Mapping::parse(text).expect(text).file_format).collect();
        assert_eq!(formats, [FileFormat::Csv, FileFormat::JsonLines, FileFormat::Parquet]);
    }

    #[test]
    fn faults_name_the_key_and_the_fix() {
        let fault =
            |from: &str, to: &str| Mapping::parse(&MAPPING.replace(from, to)).expect_err(to).to_string();
        assert!(fault("history", "histroy").contains("histroy"));
        assert!(fault("[feeds.sales]", "[feeds.sale]").contains("no feed `sale`"));
        assert!(fault("Europe/London", "Europe/Lundon").contains("Europe/Lundon"));
        assert!(fault("\"trim\"", "\"strip\"").contains("strip"));
        assert!(fault("currency = { constant = \"GBP\" }", "").contains("lacks a rule for currency"));
        assert!(fault("%H:%M", "%Q").contains("format"));
        let error = Mapping::parse(MAPPING)
            .expect("valid")
            .bind(&columns(&["Invoice", "Code"]))
            .expect_err("a column is missing")
            .to_string();
        assert!(error.contains("no column `") && error.contains("Invoice, Code"), "{error}");
    }
}
