//! Business days: the days of a time zone, across the hours that it skips or repeats.

use chrono::{NaiveDate, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::civil::Micros;
use crate::error::{Error, Result};

/// A time zone of the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Zone(Tz);

impl Zone {
    /// A zone by its name, like `Europe/London`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a name that the database does not hold.
    pub fn parse(name: &str) -> Result<Self> {
        let zone = name.parse::<Tz>();
        zone.map(Self).map_err(|_| Error::invalid(format!("`{name}` is no time zone of the IANA database")))
    }

    /// Its name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The day that it was, or is, at an instant.
    #[must_use]
    pub fn day(self, instant: Micros) -> NaiveDate {
        self.0.timestamp_micros(instant).earliest().map_or(NaiveDate::MIN, |local| local.date_naive())
    }

    /// The first instant of a day. A day that the zone skipped begins where the next one does.
    #[must_use]
    pub fn start(self, day: NaiveDate) -> Micros {
        let midnight = day.and_time(NaiveTime::MIN);
        // Clocks are moved by half hours and hours, and once by a whole day.
        let begun = (0..=48).find_map(|halves| {
            let local = midnight.checked_add_signed(TimeDelta::minutes(30 * halves))?;
            self.0.from_local_datetime(&local).earliest()
        });
        begun.map_or_else(|| midnight.and_utc().timestamp_micros(), |begun| begun.timestamp_micros())
    }

    /// A day's first instant, and that of the day behind it.
    #[must_use]
    pub fn bounds(self, day: NaiveDate) -> (Micros, Micros) {
        (self.start(day), self.start(day.succ_opt().unwrap_or(day)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::civil::parse_instant;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn days_have_as_many_hours_as_their_zone_gives_them() {
        for (zone, day, hours) in [
            ("Europe/Berlin", "2014-03-30", 23),
            ("Europe/Berlin", "2014-10-26", 25),
            ("Europe/Berlin", "2014-06-01", 24),
            ("America/Sao_Paulo", "2018-11-04", 23),
            ("America/Sao_Paulo", "2018-02-17", 25),
            ("America/Havana", "2019-03-10", 23),
            ("Pacific/Apia", "2011-12-30", 0),
        ] {
            let (from, to) = Zone::parse(zone).expect("a zone").bounds(date(day));
            assert_eq!((to - from) / 3_600_000_000, hours, "{zone} {day}");
        }
    }

    #[test]
    fn an_instant_lies_within_the_bounds_of_its_day() {
        for name in
            ["Europe/London", "America/New_York", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia"]
        {
            let zone = Zone::parse(name).expect("a zone");
            let first = parse_instant("2011-01-01T00:30:00Z").expect("an instant");
            for instant in (0..24 * 900).map(|hours| first + hours * 3_600_000_000) {
                let (from, to) = zone.bounds(zone.day(instant));
                assert!((from..to).contains(&instant), "{name} {instant}");
            }
        }
        assert!(Zone::parse("Europe/Lundon").expect_err("none").to_string().contains("Europe/Lundon"));
    }
}
