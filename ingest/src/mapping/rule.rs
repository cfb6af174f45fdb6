//! One field's rule: where its value comes from and how its text becomes JSON.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use chrono::format::{Item, StrftimeItems};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use regex::Regex;
use serde::Deserialize;

use super::Parameters;
use super::section::joined;
use crate::source::{LOCAL_TIME_FORMAT, Reading, Row};

/// Local times that needed a decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LocalTimes {
    /// Did not exist, and were moved forward an hour.
    pub moved: u64,
    /// Stood for two instants, of which the first was taken.
    pub ambiguous: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Transform {
    Trim,
    Upper,
    Lower,
}

const FORMAT_AND_ZONE: &str =
    "format and time_zone go together; time_zone alone is for timestamps of Parquet";

/// A rule as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleText {
    column: Option<String>,
    #[serde(default)]
    pub(super) optional: bool,
    constant: Option<toml::Value>,
    parameter: Option<String>,
    ordinal_within: Option<Vec<String>>,
    template: Option<String>,
    extract: Option<String>,
    #[serde(default)]
    transforms: Vec<Transform>,
    format: Option<String>,
    time_zone: Option<String>,
    date_format: Option<String>,
    #[serde(default)]
    decimal_comma: bool,
    values: Option<BTreeMap<String, String>>,
    negative: Option<String>,
    otherwise: Option<String>,
}

/// A rule bound to columns.
#[derive(Debug)]
pub(super) enum Rule {
    /// The same JSON in each record.
    Constant(String),
    Ordinal {
        columns: Vec<usize>,
        seen: HashMap<String, u64>,
    },
    Template(Vec<Piece>),
    Column {
        column: usize,
        extract: Option<Regex>,
        read: Read,
    },
}

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Column(usize),
}

/// How a column's text is read.
#[derive(Debug)]
pub(super) enum Read {
    Text(Vec<Transform>),
    Instant { format: String, time_zone: Tz },
    Day { format: String },
    DecimalComma,
    Values { values: BTreeMap<String, String>, otherwise: Option<String> },
    BySign { negative: String, otherwise: String },
}

/// Told a column's name and whether it may be absent, gives its place in a row and how it reads.
pub(super) type Find<'a> = dyn FnMut(&str, bool) -> Result<(usize, Reading), String> + 'a;

impl RuleText {
    /// What is wrong with the rule, and the fix.
    pub(super) fn check(&self) -> Result<(), String> {
        let sources = [
            self.column.is_some(),
            self.constant.is_some(),
            self.parameter.is_some(),
            self.ordinal_within.is_some(),
            self.template.is_some(),
        ];
        if sources.iter().filter(|given| **given).count() != 1 {
            return Err(
                "give exactly one of column, constant, parameter, ordinal_within, template".to_owned()
            );
        }
        if self.format.is_some() && self.time_zone.is_none() {
            return Err(FORMAT_AND_ZONE.to_owned());
        }
        if self.negative.is_some() && self.otherwise.is_none() {
            return Err("negative and otherwise go together".to_owned());
        }
        if self.otherwise.is_some() && self.negative.is_none() && self.values.is_none() {
            return Err("otherwise goes with negative or values".to_owned());
        }
        let readings = [
            !self.transforms.is_empty(),
            self.time_zone.is_some(),
            self.date_format.is_some(),
            self.decimal_comma,
            self.values.is_some(),
            self.negative.is_some(),
        ];
        let count = readings.into_iter().filter(|given| *given).count();
        if (self.optional || self.extract.is_some() || count > 0) && self.column.is_none() {
            return Err(
                "optional, extract, transforms, time_zone, date_format, decimal_comma, values and negative need a column"
                    .to_owned(),
            );
        }
        if count > 1 {
            return Err(
                "transforms, time_zone, date_format, decimal_comma, values and negative exclude each other: give one of them"
                    .to_owned(),
            );
        }
        if matches!(
            self.constant,
            Some(toml::Value::Array(_) | toml::Value::Table(_) | toml::Value::Datetime(_))
        ) {
            return Err("constant: give a text, a number, true or false".to_owned());
        }
        if let Some(zone) = &self.time_zone {
            zone.parse::<Tz>()
                .map_err(|_| format!("time_zone `{zone}` is not an IANA name like Europe/London"))?;
        }
        for format in [&self.format, &self.date_format].into_iter().flatten() {
            if StrftimeItems::new(format).any(|item| matches!(item, Item::Error)) {
                return Err(format!("format `{format}` is not a date format like %Y-%m-%d %H:%M"));
            }
        }
        if let Some(pattern) = &self.extract {
            expression(pattern)?;
        }
        if let Some(template) = &self.template {
            pieces(template)?;
        }
        Ok(())
    }

    /// Looks the columns up.
    pub(super) fn bind(self, find: &mut Find<'_>, parameters: &Parameters) -> Result<Rule, String> {
        if let Some(constant) = self.constant {
            return Ok(Rule::Constant(constant_json(&constant)));
        }
        if let Some(name) = self.parameter {
            let value = parameters.get(&name);
            let value = value.ok_or_else(|| format!("give its value by --param {name}=VALUE"))?;
            return Ok(Rule::Constant(serde_json::Value::from(value.as_str()).to_string()));
        }
        if let Some(columns) = self.ordinal_within {
            let place = |column: &String| find(column, false).map(|(at, _)| at);
            let columns = columns.iter().map(place).collect::<Result<_, _>>()?;
            return Ok(Rule::Ordinal { columns, seen: HashMap::new() });
        }
        if let Some(template) = &self.template {
            let bind = |(text, is_column): (String, bool)| match is_column {
                false => Ok(Piece::Text(text)),
                true => find(&text, false).map(|(at, _)| Piece::Column(at)),
            };
            return Ok(Rule::Template(pieces(template)?.into_iter().map(bind).collect::<Result<_, _>>()?));
        }
        let name = self.column.clone().unwrap_or_default();
        let (column, reading) = find(&name, self.optional)?;
        let extract = self.extract.as_deref().map(expression).transpose()?;
        self.read(&name, reading).map(|read| Rule::Column { column, extract, read })
    }

    /// How the column is read, given what it holds.
    fn read(self, name: &str, reading: Reading) -> Result<Read, String> {
        let time_zone = self.time_zone.as_ref().and_then(|zone| zone.parse::<Tz>().ok());
        match (reading, self.format, time_zone) {
            (Reading::Absent, ..) => Ok(Read::Text(self.transforms)),
            (Reading::Unreadable(what), ..) => Err(format!(
                "column `{name}` is of type {what}; a mapping reads texts, numbers, booleans, dates and times"
            )),
            (Reading::LocalTime, None, Some(time_zone)) => {
                Ok(Read::Instant { format: LOCAL_TIME_FORMAT.to_owned(), time_zone })
            }
            (Reading::LocalTime, ..) => Err(format!(
                "column `{name}` holds local times: say where, like time_zone = \"Europe/London\", and nothing else"
            )),
            (Reading::Instant | Reading::Text, None, None) => {
                Ok(match (self.negative, self.values, self.date_format, self.otherwise) {
                    (Some(negative), _, _, Some(otherwise)) => Read::BySign { negative, otherwise },
                    (_, Some(values), _, otherwise) => Read::Values { values, otherwise },
                    (_, _, Some(format), _) => Read::Day { format },
                    _ if self.decimal_comma => Read::DecimalComma,
                    _ => Read::Text(self.transforms),
                })
            }
            (Reading::Instant, ..) => {
                Err(format!("column `{name}` holds instants in UTC: leave out format and time_zone"))
            }
            (Reading::Text, Some(format), Some(time_zone)) => Ok(Read::Instant { format, time_zone }),
            (Reading::Text, ..) => Err(FORMAT_AND_ZONE.to_owned()),
        }
    }
}

/// A constant as JSON.
fn constant_json(constant: &toml::Value) -> String {
    match constant {
        toml::Value::String(text) => serde_json::Value::from(text.as_str()).to_string(),
        other => other.to_string(),
    }
}

/// The pattern of `extract`, which names the wanted part by a group.
fn expression(pattern: &str) -> Result<Regex, String> {
    let expression = Regex::new(pattern).map_err(|error| format!("extract: {error}"))?;
    if expression.captures_len() != 2 {
        return Err(format!("extract `{pattern}`: put the wanted part into one pair of parentheses"));
    }
    Ok(expression)
}

/// A template's pieces: texts, and columns in braces.
fn pieces(template: &str) -> Result<Vec<(String, bool)>, String> {
    let fault = || format!("template `{template}`: write columns in braces, like receipt-{{Invoice}}");
    let (mut pieces, mut rest) = (Vec::new(), template);
    while let Some((text, from_column)) = rest.split_once('{') {
        let (column, behind) = from_column.split_once('}').ok_or_else(fault)?;
        if column.is_empty() || column.contains('{') || text.contains('}') {
            return Err(fault());
        }
        pieces.extend([(text.to_owned(), false), (column.to_owned(), true)]);
        rest = behind;
    }
    if rest.contains('}') || pieces.is_empty() {
        return Err(fault());
    }
    pieces.push((rest.to_owned(), false));
    Ok(pieces)
}

impl Rule {
    /// The field's value as JSON; `None` leaves it out.
    pub(super) fn apply(&mut self, row: &Row, local_times: &mut LocalTimes) -> Option<String> {
        let json = |text: &str| Some(serde_json::Value::from(text).to_string());
        match self {
            Self::Constant(constant) => Some(constant.clone()),
            Self::Ordinal { columns, seen } => {
                let count = seen.entry(joined(row, columns)).or_insert(0);
                *count += 1;
                Some(count.to_string())
            }
            Self::Template(pieces) => {
                let text = pieces.iter().map(|piece| match piece {
                    Piece::Text(text) => Some(text.as_str()),
                    Piece::Column(at) => row.text(*at),
                });
                json(&text.collect::<Option<String>>()?)
            }
            Self::Column { column, extract, read } => {
                // What is no text cannot be read by a rule, and is passed on as it stands.
                if let Some(value) = row.json(*column) {
                    return Some(value.to_owned());
                }
                let whole = row.text(*column)?;
                let part = match extract {
                    None => whole,
                    Some(expression) => match expression.captures(whole).and_then(|found| found.get(1)) {
                        Some(part) => part.as_str(),
                        None => return json(whole),
                    },
                };
                let text = read.apply(part, local_times);
                (!text.is_empty()).then(|| json(&text)).flatten()
            }
        }
    }
}

impl Read {
    /// The text as the record has it; one that cannot be read so stays as it is.
    fn apply<'a>(&'a self, text: &'a str, local_times: &mut LocalTimes) -> Cow<'a, str> {
        match self {
            Self::Text(transforms) => transforms.iter().fold(Cow::Borrowed(text), |text, transform| {
                Cow::Owned(match transform {
                    Transform::Trim => text.trim().to_owned(),
                    Transform::Upper => text.to_uppercase(),
                    Transform::Lower => text.to_lowercase(),
                })
            }),
            Self::Instant { format, time_zone } => match local_time(text, format) {
                Some(local) => Cow::Owned(to_utc(local, *time_zone, local_times)),
                None => Cow::Borrowed(text),
            },
            Self::Day { format } => match NaiveDate::parse_from_str(text, format) {
                Ok(day) => Cow::Owned(day.to_string()),
                Err(_) => Cow::Borrowed(text),
            },
            Self::DecimalComma => decimal_point(text),
            Self::Values { values, otherwise } => {
                Cow::Borrowed(values.get(text).or(otherwise.as_ref()).map_or(text, String::as_str))
            }
            Self::BySign { negative, otherwise } => {
                Cow::Borrowed(if text.trim_start().starts_with('-') { negative } else { otherwise })
            }
        }
    }
}

/// A local time; a form without a time of day means midnight.
fn local_time(text: &str, format: &str) -> Option<NaiveDateTime> {
    let day = || NaiveDate::parse_from_str(text, format).map(|day| day.and_time(NaiveTime::MIN));
    NaiveDateTime::parse_from_str(text, format).or_else(|_| day()).ok()
}

/// A number with a decimal comma, and points or blanks between thousands, as JSON has it. Points anywhere else leave it as it stands.
fn decimal_point(text: &str) -> Cow<'_, str> {
    let (whole, fraction) = text.split_once(',').map_or((text, None), |(whole, part)| (whole, Some(part)));
    let mut groups = whole.split(['.', ' ', '\u{a0}', '\u{202f}']);
    let first = groups.next().unwrap_or_default();
    let groups: Vec<&str> = groups.collect();
    let are_thousands = groups.iter().all(|group| group.len() == 3);
    if !are_thousands || fraction.is_some_and(|part| part.is_empty() || part.contains(['.', ','])) {
        return Cow::Borrowed(text);
    }
    let whole = first.to_owned() + &groups.concat();
    Cow::Owned(fraction.map_or(whole.clone(), |part| format!("{whole}.{part}")))
}

fn to_utc(local: NaiveDateTime, time_zone: Tz, local_times: &mut LocalTimes) -> String {
    use chrono::LocalResult as R;
    let instant = match time_zone.from_local_datetime(&local) {
        R::Single(instant) => instant.with_timezone(&Utc),
        R::Ambiguous(first, _) => {
            local_times.ambiguous += 1;
            first.with_timezone(&Utc)
        }
        R::None => {
            local_times.moved += 1;
            let moved = time_zone.from_local_datetime(&(local + TimeDelta::hours(1))).earliest();
            // A gap longer than an hour exists nowhere today; the time is then taken as UTC rather than lost.
            moved.map_or_else(|| local.and_utc(), |instant| instant.with_timezone(&Utc))
        }
    };
    instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
