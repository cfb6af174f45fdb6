//! Parameters of questions: texts as they come, so that all faults can be told at once, in our words.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use chrono::NaiveDate;

use super::envelope::Failure;

/// Rows of a page where nothing else is asked for, and at most.
const DEFAULT_PER_PAGE: u64 = 100;
pub(super) const MAX_PER_PAGE: u64 = 1_000;

/// What forecasts are about.
const SUBJECTS: [&str; 4] = ["sku", "category", "store", "business"];

/// Parameters as they were given; one that is not known is refused.
pub(super) fn given<T>(parameters: Result<Query<T>, QueryRejection>) -> Result<T, Failure> {
    let Query(parameters) = parameters.map_err(|rejection| {
        Failure::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", rejection.body_text())
    })?;
    Ok(parameters)
}

/// The faults that were found, by parameter.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(&'static str, String)>);

impl Faults {
    pub(super) fn add(&mut self, name: &'static str, what: String) {
        self.0.push((name, what));
    }

    /// Fails with all faults, if there are any.
    pub(super) fn check(self) -> Result<(), Failure> {
        if self.0.is_empty() { Ok(()) } else { Err(Failure::fields(&self.0)) }
    }

    fn date(&mut self, name: &'static str, text: Option<String>) -> Option<NaiveDate> {
        let text = text?;
        let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok();
        if date.is_none() {
            self.add(name, format!("`{text}` is not a date like 2011-12-24"));
        }
        date
    }

    /// The first and the last day of a span.
    pub(super) fn span(
        &mut self,
        from: Option<String>,
        to: Option<String>,
    ) -> (Option<NaiveDate>, Option<NaiveDate>) {
        let (from, to) = (self.date("from", from), self.date("to", to));
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            self.add("from", "it lies after `to`".to_owned());
        }
        (from, to)
    }

    pub(super) fn number(
        &mut self,
        name: &'static str,
        text: Option<String>,
        default: u64,
        (least, most): (u64, u64),
    ) -> u64 {
        let Some(text) = text else { return default };
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.unwrap_or_else(|| {
            self.add(name, format!("`{text}` is not a whole number from {least} to {most}"));
            default
        })
    }

    /// The number of a page, and how many rows it has.
    pub(super) fn page(&mut self, page: Option<String>, per_page: Option<String>) -> (u64, u64) {
        let page = self.number("page", page, 1, (1, 1_000_000));
        (page, self.number("per_page", per_page, DEFAULT_PER_PAGE, (1, MAX_PER_PAGE)))
    }

    /// The level that a forecast's subject is of: an article where nothing is said.
    pub(super) fn subject(&mut self, text: Option<String>) -> &'static str {
        self.one_of("subject", text, &SUBJECTS).unwrap_or(SUBJECTS[0])
    }

    /// One of some words; none where nothing is said.
    pub(super) fn one_of(
        &mut self,
        name: &'static str,
        text: Option<String>,
        words: &[&'static str],
    ) -> Option<&'static str> {
        let text = text?;
        let word = words.iter().copied().find(|word| *word == text);
        if word.is_none() {
            self.add(name, format!("`{text}` is none of {}", words.join(", ")));
        }
        word
    }
}

/// A condition that columns have values, where any are given.
pub(super) fn equal(given: impl IntoIterator<Item = (&'static str, Option<String>)>) -> String {
    let condition = |(column, value): (&str, Option<String>)| {
        Some(format!(" AND {column} = '{}'", value?.replace('\'', "''")))
    };
    given.into_iter().filter_map(condition).collect()
}
