//! Which dead letters a command is about, as flags.

use chrono::{NaiveDate, TimeDelta};
use clap::Args;
use domain::civil::{self, Micros};
use domain::replay::{LetterFilter, PlaceRange};
use domain::{Feed, Result};

/// The flags that choose letters; all that are given must hold.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Only these records, each as TOPIC/LOG/PARTITION/OFFSET or TOPIC/LOG/PARTITION/FIRST-LAST.
    #[arg(value_name = "RECORD")]
    records: Vec<PlaceRange>,
    /// Only of this feed.
    #[arg(long)]
    feed: Option<String>,
    /// Only with this kind of fault, like missing_field; of a letter that was replayed, the fault that it met last.
    #[arg(long)]
    class: Option<String>,
    /// Only those taken in since this day (YYYY-MM-DD, UTC) or instant (RFC 3339).
    #[arg(long, value_parser = since)]
    since: Option<Micros>,
    /// Only those taken in before this instant, or up to the end of this day.
    #[arg(long, value_parser = until)]
    until: Option<Micros>,
    /// Only of this business, as far as the record states a valid one.
    #[arg(long)]
    tenant: Option<String>,
}

impl Filter {
    pub(crate) fn letters(self) -> Result<LetterFilter> {
        let feed = self.feed.as_deref().map(Feed::from_name).transpose()?;
        Ok(LetterFilter {
            feeds: feed.into_iter().collect(),
            class: self.class,
            since: self.since,
            until: self.until,
            tenant: self.tenant,
            places: (!self.records.is_empty()).then_some(self.records),
        })
    }
}

const FORM: &str = "write a day like 2026-01-31, or an instant like 2026-01-31T08:00:00Z";

fn midnight(day: NaiveDate) -> Option<Micros> {
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
}

fn day(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

fn since(text: &str) -> Result<Micros, String> {
    civil::parse_instant(text).or_else(|| day(text).and_then(midnight)).ok_or_else(|| FORM.to_owned())
}

fn until(text: &str) -> Result<Micros, String> {
    let next_day = || day(text)?.checked_add_signed(TimeDelta::days(1)).and_then(midnight);
    civil::parse_instant(text).or_else(next_day).ok_or_else(|| FORM.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_on_both_sides() {
        assert_eq!(since("2026-01-31"), since("2026-01-31T00:00:00Z"));
        assert_eq!(until("2026-01-31"), until("2026-02-01T00:00:00Z"));
        assert_eq!(since("2026-01-31T08:00:00Z"), until("2026-01-31T08:00:00Z"));
        for wrong in ["31/01/2026", "2026-02-30", "yesterday"] {
            assert!(since(wrong).is_err() && until(wrong).is_err(), "{wrong}");
        }
    }
}
