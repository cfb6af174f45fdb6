//! Weather: a day at a place, as it was observed or forecast.

use chrono::TimeDelta;

use super::Definition;
use super::record::{FeedRecord, Optional, Required, record};
use crate::civil::{self, FUTURE_TOLERANCE, Micros};
use crate::fields::{Fields, Reject, RejectClass};
use crate::kinds::{Choice, Choices, Happened, Measure, PlannedDay, Text, Words};
use crate::scope::TableScope;

pub(super) const DEFINITION: Definition = Definition {
    natural_key: &["location", "observed_for", "kind", "issued_at"],
    kafka_key: &["location", "observed_for", "kind", "issued_at"],
    scope: TableScope::Public,
    indexed_texts: &["location", "kind"],
    clustering: &["location", "observed_for", "kind", "issued_at"],
    ..Definition::of::<WeatherColumns>("weather", COMMENT)
};

const COMMENT: &str = "Weather of a day at a place, for all businesses. For past days the observation issued last holds, for days to come the \
forecast issued last. An observation that does not say when it was issued counts as issued at the end of its day, UTC.";

/// Whether the weather was seen or foretold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WeatherKind {
    /// Seen.
    Observed,
    /// Foretold.
    Forecast,
}

impl Choices for WeatherKind {
    const ALL: &'static [Self] = &[Self::Observed, Self::Forecast];
    const EXPECTED: &'static str = "`observed` or `forecast`";

    fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Forecast => "forecast",
        }
    }
}

/// Degrees Celsius that were ever measured lie between these, with room.
type Temperature = Measure<-100, 70>;

record! {
    /// The weather of a day at a place.
    Weather, WeatherColumns {
        location: Required<Text> = "Place, as stores name it in their `location`",
        observed_for: Required<PlannedDay> = "Day at the place that the weather is of",
        kind: Required<Choice<WeatherKind>> = "`observed` or `forecast`",
        temp_mean_c: Optional<Temperature> = "Mean temperature in degrees Celsius; the middle of minimum and maximum where none was sent",
        temp_min_c: Required<Temperature> = "Lowest temperature in degrees Celsius",
        temp_max_c: Required<Temperature> = "Highest temperature in degrees Celsius",
        precipitation_mm: Required<Measure<0, 5_000>> = "Rain, and snow as water, in millimetres",
        wind_kmh: Optional<Measure<0, 600>> = "Mean wind in km/h",
        humidity: Optional<Measure<0, 100>> = "Mean relative humidity in per cent",
        condition: Optional<Words> = "The weather in a word, as its source has it",
        issued_at: Optional<Happened> = "When observation or forecast was issued",
    }
}

/// A day begins up to 14 hours before it does in UTC and ends up to 12 hours after, according to the place.
const LAST_END: TimeDelta = TimeDelta::hours(36);

impl FeedRecord for WeatherColumns {
    fn complete(weather: &mut Weather<'_>, _: &Fields<'_>, now: Micros) -> Result<(), Reject> {
        if weather.temp_min_c > weather.temp_max_c {
            let (least, most) = (weather.temp_min_c.to_string(), weather.temp_max_c);
            let expected = format!("no temperature above temp_max_c, {most}");
            return Err(Reject::field(RejectClass::Inconsistent, "temp_min_c", Some(&least), expected));
        }
        weather.temp_mean_c.get_or_insert(weather.temp_min_c.midpoint(weather.temp_max_c));
        let begins = civil::start_of(weather.observed_for);
        let is_to_come = begins > now.saturating_add(FUTURE_TOLERANCE.num_microseconds().unwrap_or(0));
        if weather.kind == WeatherKind::Observed && is_to_come {
            let day = weather.observed_for.to_string();
            let expected = "a day that has begun: what is to come is a `forecast`";
            return Err(Reject::field(RejectClass::Inconsistent, "observed_for", Some(&day), expected));
        }
        match (weather.kind, weather.issued_at) {
            (WeatherKind::Forecast, None) => {
                let expected = "the instant at which the forecast was issued";
                Err(Reject::field(RejectClass::MissingField, "issued_at", None, expected))
            }
            (WeatherKind::Forecast, Some(issued))
                if issued > begins.saturating_add(LAST_END.num_microseconds().unwrap_or(0)) =>
            {
                let day = weather.observed_for;
                let expected = format!("an instant before the end of {day}: what comes later is no forecast");
                let issued = civil::format_instant(issued);
                Err(Reject::field(RejectClass::Inconsistent, "issued_at", Some(&issued), expected))
            }
            (WeatherKind::Observed, None) => {
                let ends = TimeDelta::days(1).num_microseconds().unwrap_or(0);
                weather.issued_at = Some(begins.saturating_add(ends));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn own_time(weather: &Weather<'_>) -> Micros {
        weather.issued_at.unwrap_or_else(|| civil::start_of(weather.observed_for))
    }

    fn filed_at(weather: &Weather<'_>) -> Option<Micros> {
        Some(civil::start_of(weather.observed_for))
    }
}
