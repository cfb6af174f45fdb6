//! Events: what happens on known days in a region: holidays, matches, closures.

use super::Definition;
use super::record::{FeedRecord, Optional, Required, record};
use crate::civil::{self, Micros};
use crate::fields::{Fields, Reject, RejectClass};
use crate::kinds::{Choice, Choices, Happened, Identifier, PlannedDay, Text, Whole};
use crate::scope::TableScope;

pub(super) const DEFINITION: Definition = Definition {
    natural_key: &["tenant", "event_id"],
    kafka_key: &["tenant", "event_id"],
    scope: TableScope::TenantOrPublic,
    indexed_texts: &["tenant", "region", "kind"],
    clustering: &["tenant", "region", "starts_on", "event_id"],
    ..Definition::of::<EventColumns>("events", COMMENT)
};

const COMMENT: &str = "What happens on known days in a region, both ends included. Without a tenant an event holds for all businesses. An event of a \
region holds in its parts too: DE in DE-BE. The region store/{store} is that one store of the tenant, and a closure there closes it. \
Of records with the same event_id the one issued last holds.";

/// What kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventKind {
    /// A public holiday.
    Holiday,
    /// A day of school holidays.
    SchoolHoliday,
    /// A match or race.
    Sports,
    /// A concert.
    Concert,
    /// A promotion of the business.
    Promotion,
    /// A store that does not open.
    Closure,
    /// Anything else.
    Other,
}

impl Choices for EventKind {
    const ALL: &'static [Self] = &[
        Self::Holiday,
        Self::SchoolHoliday,
        Self::Sports,
        Self::Concert,
        Self::Promotion,
        Self::Closure,
        Self::Other,
    ];
    const EXPECTED: &'static str =
        "`holiday`, `school_holiday`, `sports`, `concert`, `promotion`, `closure` or `other`";

    fn as_str(self) -> &'static str {
        match self {
            Self::Holiday => "holiday",
            Self::SchoolHoliday => "school_holiday",
            Self::Sports => "sports",
            Self::Concert => "concert",
            Self::Promotion => "promotion",
            Self::Closure => "closure",
            Self::Other => "other",
        }
    }
}

record! {
    /// Something that happens on known days.
    Event, EventColumns {
        tenant: Optional<Identifier> = "Business that the row belongs to; null: all",
        event_id: Required<Text> = "Event, unique within the tenant",
        kind: Required<Choice<EventKind>> = "`holiday`, `school_holiday`, `sports`, `concert`, `promotion`, `closure` or `other`",
        name: Required<Text> = "Name for people",
        region: Required<Text> = "Where it happens, as stores name it in their `region`; store/{store} is one store",
        starts_on: Required<PlannedDay> = "First day",
        ends_on: Required<PlannedDay> = "Last day",
        expected_attendance: Optional<Whole<0, 10_000_000_000>> = "People who are expected",
        issued_at: Optional<Happened> = "When the record was issued; without it, Kafka's timestamp counts",
    }
}

/// The region of a single store.
const STORE_REGION: &str = "store/";

impl FeedRecord for EventColumns {
    fn complete(event: &mut Event<'_>, fields: &Fields<'_>, _: Micros) -> Result<(), Reject> {
        not_null_tenant(event.tenant.is_some(), fields)?;
        ends_after_start(event.starts_on, event.ends_on)?;
        let store = event.region.strip_prefix(STORE_REGION);
        if store.is_some() && event.tenant.is_none() {
            let expected = "the business whose store it is, as region names one";
            return Err(Reject::field(RejectClass::Inconsistent, "tenant", None, expected));
        }
        if store.is_some_and(|store| !crate::ids::is_identifier(store)) {
            let expected = "store/ and the name of a store";
            return Err(Reject::field(RejectClass::OutOfRange, "region", Some(&event.region), expected));
        }
        Ok(())
    }

    fn own_time(event: &Event<'_>) -> Micros {
        event.issued_at.unwrap_or_else(|| civil::start_of(event.starts_on))
    }

    fn filed_at(event: &Event<'_>) -> Option<Micros> {
        Some(civil::start_of(event.starts_on))
    }
}

/// Who means all businesses leaves the tenant out. A null is a till that lost its name, whose record must not become public.
pub(super) fn not_null_tenant(is_stated: bool, fields: &Fields<'_>) -> Result<(), Reject> {
    if !is_stated && fields.states(TableScope::TENANT) {
        let expected = "a business; what holds for all businesses leaves the field out";
        return Err(Reject::field(RejectClass::MissingField, TableScope::TENANT, Some("null"), expected));
    }
    Ok(())
}

pub(super) fn ends_after_start(starts: chrono::NaiveDate, ends: chrono::NaiveDate) -> Result<(), Reject> {
    if ends < starts {
        let expected = format!("no day before starts_on, {starts}");
        return Err(Reject::field(RejectClass::Inconsistent, "ends_on", Some(&ends.to_string()), expected));
    }
    Ok(())
}
