//! One field's rule: where its value comes from and how its text becomes JSON.

use std::collections::HashMap;

use chrono::format::{Item, StrftimeItems};
use chrono::{NaiveDateTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::Deserialize;

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
    constant: Option<String>,
    ordinal_within: Option<Vec<String>>,
    #[serde(default)]
    transforms: Vec<Transform>,
    format: Option<String>,
    time_zone: Option<String>,
    negative: Option<String>,
    otherwise: Option<String>,
}

/// A rule bound to columns.
#[derive(Debug)]
pub(super) enum Rule {
    Constant(String),
    Ordinal { columns: Vec<usize>, seen: HashMap<String, u64> },
    Text { column: usize, transforms: Vec<Transform> },
    Instant { column: usize, format: String, time_zone: Tz },
    BySign { column: usize, negative: String, otherwise: String },
}

/// Told a column's name and whether it may be absent, gives its place in a row and how it reads.
pub(super) type Find<'a> = dyn FnMut(&str, bool) -> Result<(usize, Reading), String> + 'a;

impl RuleText {
    /// What is wrong with the rule, and the fix.
    pub(super) fn check(&self) -> Result<(), String> {
        let sources = [self.column.is_some(), self.constant.is_some(), self.ordinal_within.is_some()];
        if sources.iter().filter(|given| **given).count() != 1 {
            return Err("give exactly one of column, constant, ordinal_within".to_owned());
        }
        if self.format.is_some() && self.time_zone.is_none() {
            return Err(FORMAT_AND_ZONE.to_owned());
        }
        if self.negative.is_some() != self.otherwise.is_some() {
            return Err("negative and otherwise go together".to_owned());
        }
        let column_only = self.optional
            || self.time_zone.is_some()
            || self.negative.is_some()
            || !self.transforms.is_empty();
        if column_only && self.column.is_none() {
            return Err("optional, transforms, time_zone and negative need a column".to_owned());
        }
        let readings = [self.time_zone.is_some(), self.negative.is_some(), !self.transforms.is_empty()];
        if readings.into_iter().filter(|given| *given).count() > 1 {
            return Err("transforms, time_zone and negative exclude each other: give one of them".to_owned());
        }
        if let Some(zone) = &self.time_zone {
            zone.parse::<Tz>()
                .map_err(|_| format!("time_zone `{zone}` is not an IANA name like Europe/London"))?;
        }
        if let Some(format) = &self.format
            && StrftimeItems::new(format).any(|item| matches!(item, Item::Error))
        {
            return Err(format!("format `{format}` is not a date format like %Y-%m-%d %H:%M"));
        }
        Ok(())
    }

    /// Looks the columns up.
    pub(super) fn bind(self, find: &mut Find<'_>) -> Result<Rule, String> {
        if let Some(constant) = self.constant {
            return Ok(Rule::Constant(serde_json::Value::from(constant).to_string()));
        }
        if let Some(columns) = self.ordinal_within {
            let place = |column: &String| find(column, false).map(|(at, _)| at);
            let columns = columns.iter().map(place).collect::<Result<_, _>>()?;
            return Ok(Rule::Ordinal { columns, seen: HashMap::new() });
        }
        let name = self.column.unwrap_or_default();
        let (column, reading) = find(&name, self.optional)?;
        let time_zone = self.time_zone.as_ref().and_then(|zone| zone.parse::<Tz>().ok());
        match (reading, self.format, time_zone) {
            (Reading::Absent, ..) => Ok(Rule::Text { column, transforms: self.transforms }),
            (Reading::Unreadable(what), ..) => Err(format!(
                "column `{name}` is of type {what}; a mapping reads texts, numbers, booleans, dates and times"
            )),
            (Reading::LocalTime, None, Some(time_zone)) => {
                Ok(Rule::Instant { column, format: LOCAL_TIME_FORMAT.to_owned(), time_zone })
            }
            (Reading::LocalTime, ..) => Err(format!(
                "column `{name}` holds local times: say where, like time_zone = \"Europe/London\", and nothing else"
            )),
            (Reading::Instant, None, None) | (Reading::Text, None, None) => {
                Ok(match (self.negative, self.otherwise) {
                    (Some(negative), Some(otherwise)) => Rule::BySign { column, negative, otherwise },
                    _ => Rule::Text { column, transforms: self.transforms },
                })
            }
            (Reading::Instant, ..) => {
                Err(format!("column `{name}` holds instants in UTC: leave out format and time_zone"))
            }
            (Reading::Text, Some(format), Some(time_zone)) => Ok(Rule::Instant { column, format, time_zone }),
            (Reading::Text, ..) => Err(FORMAT_AND_ZONE.to_owned()),
        }
    }
}

impl Rule {
    /// The field's value as JSON; `None` leaves it out.
    pub(super) fn apply(&mut self, row: &Row, local_times: &mut LocalTimes) -> Option<String> {
        let json = |text: &str| Some(serde_json::Value::from(text).to_string());
        // What is no text cannot be read by a rule, and is passed on as it stands.
        let as_it_stands = |column: &usize| row.json(*column).map(str::to_owned);
        match self {
            Self::Constant(constant) => Some(constant.clone()),
            Self::Ordinal { columns, seen } => {
                let parts: Vec<&str> = columns.iter().map(|at| row.text(*at).unwrap_or_default()).collect();
                let count = seen.entry(parts.join("\u{1f}")).or_insert(0);
                *count += 1;
                Some(count.to_string())
            }
            Self::Text { column, transforms } => {
                as_it_stands(column).or_else(|| {
                    let text = transforms.iter().fold(row.text(*column)?.to_owned(), |text, transform| {
                        match transform {
                            Transform::Trim => text.trim().to_owned(),
                            Transform::Upper => text.to_uppercase(),
                            Transform::Lower => text.to_lowercase(),
                        }
                    });
                    (!text.is_empty()).then(|| json(&text)).flatten()
                })
            }
            Self::Instant { column, format, time_zone } => as_it_stands(column).or_else(|| {
                let text = row.text(*column)?;
                match NaiveDateTime::parse_from_str(text, format) {
                    Ok(local) => json(&to_utc(local, *time_zone, local_times)),
                    Err(_) => json(text),
                }
            }),
            Self::BySign { column, negative, otherwise } => as_it_stands(column).or_else(|| {
                let is_negative = row.text(*column)?.trim_start().starts_with('-');
                json(if is_negative { negative } else { otherwise })
            }),
        }
    }
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
