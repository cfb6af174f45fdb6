//! How dead letters are mended before they are decoded again: not at all, by records that people edited, or by a mending map.
//!
//! A mending map is a TOML file of changes to fields:
//!
//! ```toml
//! [feeds.sales]
//! currency = { constant = "GBP" }                              # sets it
//! channel  = { constant = "till", when_absent = true }         # sets it where it is absent or null
//! sku      = { field = "article" }                             # takes the field `article`, which is there no more then
//! quantity = { values = { "twelve" = "12" } }                  # replaces these values; others stay
//! kind     = { field = "type", values = { "S" = "sale" } }     # both
//! note     = { drop = true }                                   # leaves it out
//! ```
//!
//! All rules look at the record as it was. Fields without a rule stay as they are, to the digit. `docs/guides/dead-letters.md` is the page for users.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use domain::fields::{Fields, Reject};
use domain::replay::{LetterEntry, Place, StoredLetter};
use domain::{Error, Feed, Result};
use serde::Deserialize;
use serde_json::value::RawValue;

/// How letters are mended.
#[derive(Debug)]
pub enum Mend {
    /// Not at all: the decoder of this release may take what an earlier one refused.
    AsTheyAre,
    /// Replaced by records that people edited; letters without one are left alone.
    Edits(Edits),
    /// Changed by a map; letters of feeds that it does not name are left alone.
    Map(MendingMap),
}

impl Mend {
    /// Whether it says anything about a letter.
    #[must_use]
    pub fn is_for(&self, letter: &LetterEntry) -> bool {
        match self {
            Self::AsTheyAre => true,
            Self::Edits(edits) => edits.records.contains_key(&letter.place),
            Self::Map(map) => map.feeds.contains_key(&letter.feed),
        }
    }

    /// The record that is decoded in the place of the letter's.
    ///
    /// # Errors
    /// A [`Reject`] when a map cannot be applied, because the record is not one JSON object.
    pub(super) fn apply(&self, letter: &StoredLetter) -> Result<Option<Vec<u8>>, Reject> {
        match self {
            Self::AsTheyAre => Ok(letter.raw_value.clone()),
            Self::Edits(edits) => Ok(edits.records.get(&letter.place).cloned()),
            Self::Map(map) => map.apply(letter.feed, letter.raw_value.as_deref()).map(Some),
        }
    }
}

/// Records by the place of their letter.
#[derive(Debug, Default)]
pub struct Edits {
    records: HashMap<Place, Vec<u8>>,
}

/// One line of an edit file. Other keys are for people: `dlq export` says in them what was wrong.
#[derive(Deserialize)]
struct EditLine<'a> {
    record: String,
    #[serde(borrow)]
    value: &'a RawValue,
}

impl Edits {
    /// Reads an edit file: JSON lines with `record`, as `TOPIC/LOG/PARTITION/OFFSET`, and `value`, the mended record. Blank lines are skipped.
    ///
    /// # Errors
    /// Naming the file, the line and the fix.
    pub fn load(path: &Path) -> Result<Self> {
        let named = |error: String| Error::invalid(format!("--edit {}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        Self::parse(&text).map_err(named)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut records = HashMap::new();
        for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
            let edit: EditLine<'_> = serde_json::from_str(text).map_err(|error| {
                format!(
                    "line {line}: write an object like {{\"record\": \"TOPIC/LOG/PARTITION/OFFSET\", \"value\": {{...}}}} ({error})"
                )
            })?;
            let place: Place =
                edit.record.parse().map_err(|error| format!("line {line}: record: {error}"))?;
            if records.insert(place, edit.value.get().as_bytes().to_vec()).is_some() {
                return Err(format!("line {line}: {} stands on an earlier line too: keep one", edit.record));
            }
        }
        Ok(Self { records })
    }

    /// The places that have a record.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.records.keys()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MapText {
    feeds: BTreeMap<String, toml::Table>,
}

/// A rule as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RuleText {
    constant: Option<toml::Value>,
    when_absent: bool,
    field: Option<String>,
    values: Option<BTreeMap<String, toml::Value>>,
    drop: bool,
}

/// Changes to the fields of records, by feed.
#[derive(Debug)]
pub struct MendingMap {
    feeds: BTreeMap<Feed, Vec<(String, Change)>>,
}

/// A checked rule; values are JSON tokens.
#[derive(Debug)]
enum Change {
    Set { token: String, when_absent: bool },
    Take { from: Option<String>, values: BTreeMap<String, String> },
    Drop,
}

impl MendingMap {
    /// Reads a mending map.
    ///
    /// # Errors
    /// Naming the file, the key and the fix.
    pub fn load(path: &Path) -> Result<Self> {
        let named = |error: String| Error::invalid(format!("--map {}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        Self::parse(&text).map_err(named)
    }

    /// Reads the text of a mending map.
    ///
    /// # Errors
    /// Naming the key and the fix.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text: MapText = toml::from_str(text).map_err(|error| error.to_string())?;
        if text.feeds.is_empty() {
            return Err("it changes no feed: add a section like [feeds.sales]".to_owned());
        }
        let mut feeds = BTreeMap::new();
        for (name, fields) in text.feeds {
            let feed = Feed::from_name(&name).map_err(|error| error.to_string())?;
            let rule = |(field, rule): (String, toml::Value)| {
                let rule = rule.try_into().map_err(|error: toml::de::Error| error.message().to_owned());
                let change = rule.and_then(RuleText::checked);
                change
                    .map(|change| (field.clone(), change))
                    .map_err(|fault| format!("feeds.{name}.{field}: {fault}"))
            };
            feeds.insert(feed, fields.into_iter().map(rule).collect::<Result<_, _>>()?);
        }
        Ok(Self { feeds })
    }

    /// The feeds that it changes.
    pub fn feeds(&self) -> impl Iterator<Item = Feed> + '_ {
        self.feeds.keys().copied()
    }

    fn apply(&self, feed: Feed, payload: Option<&[u8]>) -> Result<Vec<u8>, Reject> {
        let mut fields = Fields::read(payload)?;
        let changes = self.feeds.get(&feed).map(Vec::as_slice).unwrap_or_default();
        let mut json = String::with_capacity(payload.map_or(0, <[u8]>::len) + 64);
        for (name, change) in changes {
            if let Some(token) = change.token(name, &mut fields) {
                push_field(&mut json, name, &token);
            }
        }
        // A changed field must not come again among those that stay.
        for (name, _) in changes {
            fields.take(name);
        }
        let stays = fields.into_extra();
        let stays = stays.as_deref().map_or("", |object| &object[1..object.len() - 1]);
        let comma = if json.is_empty() || stays.is_empty() { "" } else { "," };
        Ok(format!("{{{json}{comma}{stays}}}").into_bytes())
    }
}

impl RuleText {
    fn checked(self) -> Result<Change, String> {
        let takes = self.field.is_some() || self.values.is_some();
        if [self.constant.is_some(), takes, self.drop].into_iter().filter(|given| *given).count() != 1 {
            return Err("give one of constant, field or values (or both of these), drop = true".to_owned());
        }
        if self.when_absent && self.constant.is_none() {
            return Err("when_absent goes with constant".to_owned());
        }
        if let Some(constant) = self.constant {
            return Ok(Change::Set { token: token(&constant)?, when_absent: self.when_absent });
        }
        if self.drop {
            return Ok(Change::Drop);
        }
        let values = self.values.unwrap_or_default().into_iter();
        let values =
            values.map(|(from, to)| Ok::<_, String>((from, token(&to)?))).collect::<Result<_, _>>()?;
        Ok(Change::Take { from: self.field, values })
    }
}

impl Change {
    /// The field's new value, or `None` to leave it out.
    fn token(&self, name: &str, fields: &mut Fields<'_>) -> Option<String> {
        match self {
            Self::Set { token, when_absent: false } => Some(token.clone()),
            Self::Set { token, .. } => Some(fields.take(name).map_or_else(|| token.clone(), str::to_owned)),
            Self::Take { from, values } => {
                let renamed = from.as_ref().and_then(|from| fields.take(from));
                let raw = renamed.or_else(|| fields.take(name))?;
                let text: Option<String> = serde_json::from_str(raw).ok();
                let replaced = values.get(text.as_deref().unwrap_or(raw));
                Some(replaced.cloned().unwrap_or_else(|| raw.to_owned()))
            }
            Self::Drop => None,
        }
    }
}

fn push_field(json: &mut String, name: &str, token: &str) {
    if !json.is_empty() {
        json.push(',');
    }
    json.push_str(&serde_json::Value::from(name).to_string());
    json.push(':');
    json.push_str(token);
}

fn token(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(serde_json::Value::from(text.as_str()).to_string()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(value) => Ok(value.to_string()),
        toml::Value::Float(_) => {
            Err("write a decimal as a text, like \"2.50\", so that its digits are kept".to_owned())
        }
        _ => Err("give a text, a whole number, true or false".to_owned()),
    }
}
