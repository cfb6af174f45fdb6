//! The calendar of a period.

use chrono::{Datelike, Timelike};

use super::Row;
use crate::panel::{Frequency, Period};

pub(super) fn tell(row: &mut Row, frequency: Frequency, period: Period) {
    let Some(at) = frequency.time_of(period) else { return };
    if frequency == Frequency::Hourly {
        row.push("hour", f64::from(at.hour()));
    }
    if matches!(frequency, Frequency::Hourly | Frequency::Daily) {
        row.push("weekday", f64::from(at.weekday().num_days_from_monday()));
    }
    if frequency != Frequency::MonthStart {
        row.push("day of month", f64::from(at.day()));
        row.push("days left in month", f64::from(at.num_days_in_month()) - f64::from(at.day()));
        row.push("day of year", f64::from(at.ordinal()));
    }
    row.push("month", f64::from(at.month()));
}
