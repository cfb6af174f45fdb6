//! Periods and how far they lie apart, in pandas' words.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, TimeDelta, Weekday};
use domain::Error;
use serde::{Serialize, Serializer};

/// A period: a step, or the microseconds from 1970 to its beginning.
pub type Period = i64;

/// The distance of two neighbouring periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frequency {
    /// Whole numbers, so far apart.
    Steps(i64),
    /// Hours.
    Hourly,
    /// Days.
    Daily,
    /// Weeks, named by a day of theirs.
    Weekly(Weekday),
    /// Months, by their first days.
    MonthStart,
}

const DAY: i64 = 86_400_000_000;

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("W-MON", Weekday::Mon),
    ("W-TUE", Weekday::Tue),
    ("W-WED", Weekday::Wed),
    ("W-THU", Weekday::Thu),
    ("W-FRI", Weekday::Fri),
    ("W-SAT", Weekday::Sat),
    ("W-SUN", Weekday::Sun),
];

impl FromStr for Frequency {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Ok(steps @ 1..) = text.parse() {
            return Ok(Self::Steps(steps));
        }
        let weekly = WEEKDAYS.into_iter().find(|(name, _)| *name == text);
        match (text, weekly) {
            ("h" | "H", _) => Ok(Self::Hourly),
            ("D", _) => Ok(Self::Daily),
            ("W", _) => Ok(Self::Weekly(Weekday::Sun)),
            (_, Some((_, day))) => Ok(Self::Weekly(day)),
            ("MS", _) => Ok(Self::MonthStart),
            _ => Err(Error::invalid(format!(
                "`{text}` is no frequency: give h, D, W-MON to W-SUN, MS, or a whole number for periods that are steps"
            ))),
        }
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{steps}"),
            Self::Hourly => f.write_str("h"),
            Self::Daily => f.write_str("D"),
            Self::Weekly(day) => {
                let name = WEEKDAYS.iter().find(|(_, of)| of == day).map_or("W", |(name, _)| name);
                f.write_str(name)
            }
            Self::MonthStart => f.write_str("MS"),
        }
    }
}

impl Serialize for Frequency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Frequency {
    /// The period that a text names.
    ///
    /// # Errors
    /// What is expected.
    pub fn parse(self, text: &str) -> Result<Period, String> {
        if let Self::Steps(_) = self {
            return text.parse().map_err(|_| format!("`{text}` is no whole number, as --freq {self} says"));
        }
        let date =
            NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|date| date.and_hms_opt(0, 0, 0));
        let time = || {
            ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"]
                .iter()
                .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        };
        let instant = || DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.naive_utc());
        let at = date.or_else(time).or_else(instant);
        let at = at.ok_or_else(|| {
            format!("`{text}` is no date; write it like 2024-12-31, or with a time like 2024-12-31 23:00:00")
        })?;
        let begins = match self {
            Self::Weekly(day) => at.weekday() == day,
            Self::MonthStart => at.day() == 1,
            _ => true,
        };
        if !begins {
            return Err(format!("`{text}` begins no period, as --freq {self} says where they begin"));
        }
        Ok(at.and_utc().timestamp_micros())
    }

    /// The frequency of instants that series have, each of which holds them ascending.
    ///
    /// # Errors
    /// What is expected.
    pub fn among<'a>(series: impl Iterator<Item = &'a [Period]> + Clone) -> Result<Self, String> {
        let all = || series.clone().flatten().copied();
        if all().any(|at| at % (DAY / 24) != 0) {
            return Err("times are hours, days, weeks or months: cut them by date_trunc".to_owned());
        }
        if all().any(|at| at % DAY != 0) {
            return Ok(Self::Hourly);
        }
        let gaps = || series.clone().flat_map(|times| times.windows(2).map(|pair| pair[1] - pair[0]));
        let begins_month = |at: Period| time_of(at).is_some_and(|at| at.day() == 1);
        let has_gaps = gaps().next().is_some();
        if has_gaps && gaps().all(|gap| gap >= 28 * DAY) && all().all(begins_month) {
            return Ok(Self::MonthStart);
        }
        let first = all().next().unwrap_or_default();
        if has_gaps && all().all(|at| (at - first) % (7 * DAY) == 0) {
            return Ok(Self::Weekly(time_of(first).map_or(Weekday::Mon, |at| at.weekday())));
        }
        Ok(Self::Daily)
    }

    /// Periods of the season that is looked for where none is named: a day of hours, a week of days, a year of weeks or months.
    #[must_use]
    pub fn season(self) -> usize {
        match self {
            Self::Hourly => 24,
            Self::Daily => 7,
            Self::Weekly(_) => 52,
            Self::MonthStart => 12,
            Self::Steps(_) => 1,
        }
    }

    /// The next period.
    #[must_use]
    pub fn after(self, period: Period) -> Period {
        match self {
            Self::Steps(steps) => period.saturating_add(steps),
            Self::Hourly => period + DAY / 24,
            Self::Daily => period + DAY,
            Self::Weekly(_) => period + 7 * DAY,
            Self::MonthStart => {
                let next = time_of(period).and_then(|at| at.checked_add_months(Months::new(1)));
                next.map_or(period + 31 * DAY, |next| next.and_utc().timestamp_micros())
            }
        }
    }

    /// As text: a step, a date, or a date and a time.
    #[must_use]
    pub fn show(self, period: Period) -> String {
        match (self, self.time_of(period)) {
            (_, None) => period.to_string(),
            (_, Some(at)) if period.rem_euclid(DAY) == 0 => at.date().to_string(),
            (_, Some(at)) => at.to_string(),
        }
    }

    /// The wall time at which a period begins; of steps there is none.
    #[must_use]
    pub fn time_of(self, period: Period) -> Option<NaiveDateTime> {
        if let Self::Steps(_) = self { None } else { time_of(period) }
    }

    /// The place of a period in its season of the calendar: the weekday of a day (Monday is 0), else the ISO week; of steps there is none.
    #[must_use]
    pub fn season_of(self, period: Period) -> Option<u32> {
        match self {
            Self::Daily => self.time_of(period).map(|at| at.weekday().num_days_from_monday()),
            _ => self.time_of(period).map(|at| at.iso_week().week()),
        }
    }
}

/// The wall time of a period.
fn time_of(period: Period) -> Option<NaiveDateTime> {
    DateTime::UNIX_EPOCH.naive_utc().checked_add_signed(TimeDelta::microseconds(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_shown_and_followed_by_the_next() {
        for (frequency, text, next, season) in [
            ("D", "2024-02-28", "2024-02-29", Some(2)),
            ("h", "2024-12-31 23:00:00", "2025-01-01", Some(1)),
            ("W-MON", "2024-12-30", "2025-01-06", Some(1)),
            ("MS", "2024-12-01", "2025-01-01", Some(48)),
            ("2", "7", "9", None),
        ] {
            let frequency: Frequency = frequency.parse().expect("a frequency");
            let period = frequency.parse(text).expect("a period");
            assert_eq!((frequency.show(period).as_str(), frequency.season_of(period)), (text, season));
            assert_eq!(frequency.show(frequency.after(period)), next);
            assert_eq!(frequency.to_string().parse::<Frequency>().expect("a frequency"), frequency);
        }
        let told = "`2024-12-31` begins no period, as --freq W-MON says where they begin";
        assert_eq!(Frequency::Weekly(Weekday::Mon).parse("2024-12-31"), Err(told.to_owned()));
        assert!(Frequency::MonthStart.parse("2024-12-31").is_err());
        let zoned = Frequency::Hourly.parse("2024-12-31T23:00:00Z");
        assert_eq!(zoned, Frequency::Hourly.parse("2024-12-31 23:00:00"));
        assert!(
            "5min".parse::<Frequency>().is_err()
                && "0".parse::<Frequency>().is_err()
                && "-1".parse::<Frequency>().is_err()
        );
    }
}
