//! Instants as UTC microseconds, their RFC 3339 text, and the month that a row is filed under.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// The earliest instant that a record may state: 1990-01-01T00:00:00Z.
pub const EARLIEST: Micros = 631_152_000_000_000;

/// Records of things that happened may lie this far ahead of the clock, for tills whose clock runs fast.
pub const FUTURE_TOLERANCE: TimeDelta = TimeDelta::days(2);

/// Plans and forecasts may lie this far ahead of the clock.
pub const PLANNING_HORIZON: TimeDelta = TimeDelta::days(3 * 365 + 1);

/// The current instant.
#[must_use]
pub fn now() -> Micros {
    Utc::now().timestamp_micros()
}

/// Reads an RFC 3339 instant with its offset; digits beyond microseconds are cut.
#[must_use]
pub fn parse_instant(text: &str) -> Option<Micros> {
    DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.timestamp_micros())
}

/// The instant as RFC 3339 text in UTC.
#[must_use]
pub fn format_instant(instant: Micros) -> String {
    DateTime::from_timestamp_micros(instant)
        .map_or_else(|| instant.to_string(), |t| t.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

/// The UTC day of an instant.
#[must_use]
pub fn day(instant: Micros) -> NaiveDate {
    DateTime::from_timestamp_micros(instant).unwrap_or_default().date_naive()
}

/// The first instant of a day in UTC.
#[must_use]
pub fn start_of(day: NaiveDate) -> Micros {
    day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros()
}

/// The UTC month `YYYY-MM` of an instant: the partition value `period` of the feed tables.
#[must_use]
pub fn period(instant: Micros) -> String {
    month(day(instant))
}

/// The month `YYYY-MM` of a day.
#[must_use]
pub fn month(day: NaiveDate) -> String {
    format!("{:04}-{:02}", day.year(), day.month())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_keep_their_offset_and_period_is_utc() {
        let instant = parse_instant("2011-01-01T00:30:00+01:00").expect("valid");
        assert_eq!(format_instant(instant), "2010-12-31T23:30:00Z");
        assert_eq!(period(instant), "2010-12");
        assert_eq!(parse_instant("2011-01-01 00:30"), None);
        assert_eq!(parse_instant("2011-02-30T00:00:00Z"), None);
        assert_eq!(EARLIEST, parse_instant("1990-01-01T00:00:00Z").expect("valid"));
    }
}
