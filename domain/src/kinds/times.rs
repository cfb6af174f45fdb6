//! The kinds of times: instants and days, each within its bounds.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{Date32Builder, TimestampMicrosecondBuilder};
use arrow_array::types::Date32Type;
use arrow_schema::DataType;
use chrono::NaiveDate;

use super::{FieldKind, text};
use crate::civil::{self, Micros};
use crate::fields::{Reject, RejectClass};
use crate::table;

/// How far a time may lie ahead of the clock.
fn latest(now: Micros, is_planned: bool) -> Micros {
    let ahead = if is_planned { civil::PLANNING_HORIZON } else { civil::FUTURE_TOLERANCE };
    now.saturating_add(ahead.num_microseconds().unwrap_or(0))
}

fn instant(name: &'static str, raw: &str, latest: Micros) -> Result<Micros, Reject> {
    let expected = "an RFC 3339 instant with its offset, like 2026-11-25T09:30:00Z";
    let written = text(name, raw, expected)?;
    let instant = civil::parse_instant(&written)
        .ok_or_else(|| Reject::field(RejectClass::OutOfRange, name, Some(raw), expected))?;
    if !(civil::EARLIEST..=latest).contains(&instant) {
        let expected = format!("an instant from 1990-01-01T00:00:00Z to {}", civil::format_instant(latest));
        return Err(Reject::field(RejectClass::OutOfRange, name, Some(raw), expected));
    }
    Ok(instant)
}

/// The instant at which something happened, two days ahead of the clock at most.
#[derive(Debug)]
pub struct Happened;

impl FieldKind for Happened {
    type Value<'a> = Micros;
    type Builder = TimestampMicrosecondBuilder;
    const EXPECTED: &'static str = "an RFC 3339 instant with its offset, like 2026-11-25T09:30:00Z";

    fn data_type() -> DataType {
        table::timestamp()
    }

    fn parse(name: &'static str, raw: &str, now: Micros) -> Result<Micros, Reject> {
        instant(name, raw, latest(now, false))
    }

    fn builder() -> TimestampMicrosecondBuilder {
        TimestampMicrosecondBuilder::new()
    }

    fn append(builder: &mut TimestampMicrosecondBuilder, value: Option<&Micros>) {
        builder.append_option(value.copied());
    }

    fn write(value: &Micros, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn finish(builder: &mut TimestampMicrosecondBuilder) -> ArrayRef {
        Arc::new(builder.finish().with_timezone("UTC"))
    }
}

/// The kinds that are days: from a first year on, and so far ahead of the clock.
macro_rules! day_kind {
    ($(#[$meta:meta])* $kind:ident, $first_year:literal, $is_planned:literal) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $kind;

        impl FieldKind for $kind {
            type Value<'a> = NaiveDate;
            type Builder = Date32Builder;
            const EXPECTED: &'static str = "a day like 2026-11-25";

            fn data_type() -> DataType {
                DataType::Date32
            }

            fn parse(name: &'static str, raw: &str, now: Micros) -> Result<NaiveDate, Reject> {
                day(name, raw, $first_year, civil::day(latest(now, $is_planned)))
            }

            fn builder() -> Date32Builder {
                Date32Builder::new()
            }

            fn append(builder: &mut Date32Builder, value: Option<&NaiveDate>) {
                builder.append_option(value.map(|day| Date32Type::from_naive_date(*day)));
            }

            fn write(value: &NaiveDate, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&Date32Type::from_naive_date(*value).to_le_bytes());
            }
        }
    };
}

day_kind!(
    /// A day of the past, or two ahead of the clock at most.
    PastDay,
    1990,
    false
);
day_kind!(
    /// A day that may lie three years ahead.
    PlannedDay,
    1990,
    true
);
day_kind!(
    /// A day in the life of a business, which may be an old one.
    LifeDay,
    1800,
    true
);

fn day(name: &'static str, raw: &str, first_year: i32, last: NaiveDate) -> Result<NaiveDate, Reject> {
    let refused = |expected: String| Reject::field(RejectClass::OutOfRange, name, Some(raw), expected);
    let written = text(name, raw, "a day like 2026-11-25")?;
    let is_written_so = written.len() == 10;
    let day = NaiveDate::parse_from_str(&written, "%Y-%m-%d").ok().filter(|_| is_written_so);
    let day = day.ok_or_else(|| refused("a day like 2026-11-25".to_owned()))?;
    let first = NaiveDate::from_ymd_opt(first_year, 1, 1).unwrap_or(NaiveDate::MIN);
    if !(first..=last).contains(&day) {
        return Err(refused(format!("a day from {first} to {last}")));
    }
    Ok(day)
}
