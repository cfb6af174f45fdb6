//! A section of a mapping: which rows become a record of its feed, and the rules of the record's fields.

use std::collections::HashSet;

use domain::Feed;
use serde::Deserialize;

use super::Parameters;
use super::rule::{Find, LocalTimes, Rule, RuleText};
use crate::source::Row;

/// What separates the values of several columns in a key; texts of files hardly hold it.
pub(super) const SEPARATOR: &str = "\u{1f}";

/// A section as it is written.
#[derive(Debug)]
pub(super) struct SectionText {
    pub(super) feed: Feed,
    when: Vec<ConditionText>,
    once_per: Vec<String>,
    rules: Vec<(String, RuleText)>,
}

/// A condition as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionText {
    column: String,
    is: Option<Texts>,
    is_not: Option<Texts>,
}

/// One text or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

impl Texts {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Several(texts) => texts,
        }
    }
}

/// A section bound to columns.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) feed: Feed,
    when: Vec<Condition>,
    once_per: Vec<usize>,
    seen: HashSet<String>,
    rules: Vec<(String, Rule)>,
}

#[derive(Debug)]
struct Condition {
    column: usize,
    texts: Vec<String>,
    is_one: bool,
}

impl SectionText {
    /// Reads a section; what is wrong with it goes on from the section's name.
    pub(super) fn checked(feed: Feed, text: toml::Value) -> Result<Self, String> {
        let toml::Value::Table(mut fields) = text else { return Err(": give a table of fields".to_owned()) };
        let when = match fields.remove("when") {
            None => Vec::new(),
            Some(toml::Value::Array(conditions)) => {
                conditions.into_iter().map(condition).collect::<Result<_, _>>()?
            }
            Some(one) => vec![condition(one)?],
        };
        let once_per = match fields.remove("once_per") {
            None => Vec::new(),
            Some(columns) => columns
                .try_into()
                .map_err(|_| ".once_per: give a list of columns, like [\"Store\"]".to_owned())?,
        };
        let mut rules = Vec::new();
        for (field, value) in fields {
            let rule: RuleText = value.try_into().map_err(|error| format!(".{field}: {error}"))?;
            rule.check().map_err(|what| format!(".{field}: {what}"))?;
            if rule.optional && feed.required_fields().any(|required| required == field) {
                return Err(format!(".{field}: every record needs it, so its column cannot be optional"));
            }
            rules.push((field, rule));
        }
        let is_missing = |field: &&str| !rules.iter().any(|(name, _)| name == field);
        let missing: Vec<_> = feed.required_fields().filter(is_missing).collect();
        if !missing.is_empty() {
            return Err(format!(" lacks a rule for {}: every record needs them", missing.join(", ")));
        }
        Ok(Self { feed, when, once_per, rules })
    }

    /// Looks the columns up; a fault goes on from the feed's name.
    pub(super) fn bind(self, find: &mut Find<'_>, parameters: &Parameters) -> Result<Section, String> {
        let mut when = Vec::new();
        for condition in self.when {
            let (column, _) = find(&condition.column, false).map_err(|fault| format!(".when: {fault}"))?;
            let (texts, is_one) = match (condition.is, condition.is_not) {
                (Some(texts), _) => (texts.into_list(), true),
                (None, texts) => (texts.map(Texts::into_list).unwrap_or_default(), false),
            };
            when.push(Condition { column, texts, is_one });
        }
        let once_per = self.once_per.iter().map(|column| find(column, false).map(|(at, _)| at));
        let once_per = once_per.collect::<Result<_, _>>().map_err(|fault| format!(".once_per: {fault}"))?;
        let mut rules = Vec::new();
        for (field, rule) in self.rules {
            let bound = rule.bind(find, parameters).map_err(|fault| format!(".{field}: {fault}"))?;
            rules.push((field, bound));
        }
        Ok(Section { feed: self.feed, when, once_per, seen: HashSet::new(), rules })
    }
}

fn condition(text: toml::Value) -> Result<ConditionText, String> {
    let condition: ConditionText = text.try_into().map_err(|error| format!(".when: {error}"))?;
    match (&condition.is, &condition.is_not) {
        (Some(_), None) | (None, Some(_)) => Ok(condition),
        _ => Err(".when: give one of is and is_not beside the column".to_owned()),
    }
}

impl Section {
    /// The record of a row as JSON; none when the section does not take the row.
    pub(super) fn record(&mut self, row: &Row, local_times: &mut LocalTimes) -> Option<String> {
        let holds = |condition: &Condition| {
            let text = row.text(condition.column).unwrap_or_default();
            condition.texts.iter().any(|wanted| wanted == text) == condition.is_one
        };
        if !self.when.iter().all(holds) {
            return None;
        }
        if !self.once_per.is_empty() && !self.seen.insert(joined(row, &self.once_per)) {
            return None;
        }
        let mut json = String::with_capacity(384);
        for (field, rule) in &mut self.rules {
            let Some(value) = rule.apply(row, local_times) else { continue };
            json.push(if json.is_empty() { '{' } else { ',' });
            json.push_str(&serde_json::Value::from(field.as_str()).to_string());
            json.push(':');
            json.push_str(&value);
        }
        Some(if json.is_empty() { "{}".to_owned() } else { json + "}" })
    }
}

/// The values of several columns as one key.
pub(super) fn joined(row: &Row, columns: &[usize]) -> String {
    let parts: Vec<&str> = columns.iter().map(|at| row.text(*at).unwrap_or_default()).collect();
    parts.join(SEPARATOR)
}
