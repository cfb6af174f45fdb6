//! Signals: figures for a range of days, like search interest, footfall or the price of fuel.

use super::Definition;
use super::events::{ends_after_start, not_null_tenant};
use super::record::{FeedRecord, Optional, Required, record};
use crate::civil::{self, Micros};
use crate::fields::{Fields, Reject};
use crate::kinds::{Happened, Identifier, Measure, PlannedDay, Text};
use crate::scope::TableScope;

pub(super) const DEFINITION: Definition = Definition {
    natural_key: &["tenant", "source", "key", "starts_on"],
    kafka_key: &["tenant", "source", "key", "starts_on"],
    scope: TableScope::TenantOrPublic,
    indexed_texts: &["tenant", "source", "key"],
    clustering: &["tenant", "source", "key", "starts_on"],
    ..Definition::of::<SignalColumns>("signals", COMMENT)
};

const COMMENT: &str = "Figures for ranges of days, both ends included: search interest, footfall, the price of fuel and the like. Without a tenant a \
signal holds for all businesses. Where ranges of one source and key overlap, a day has the value of the range that begins last. Of records with the \
same starts_on the one issued last holds.";

/// Larger figures than these are no signal.
type Figure = Measure<-1_000_000_000_000, 1_000_000_000_000>;

record! {
    /// A figure for a range of days.
    Signal, SignalColumns {
        tenant: Optional<Identifier> = "Business that the row belongs to; null: all",
        source: Required<Text> = "What is measured, and by whom",
        key: Required<Text> = "What it is measured for, as stores name it in their `region`; store/{store} is one store",
        starts_on: Required<PlannedDay> = "First day",
        ends_on: Required<PlannedDay> = "Last day",
        value: Required<Figure> = "The figure",
        issued_at: Optional<Happened> = "When the record was issued; without it, Kafka's timestamp counts",
    }
}

impl FeedRecord for SignalColumns {
    fn complete(signal: &mut Signal<'_>, fields: &Fields<'_>, _: Micros) -> Result<(), Reject> {
        not_null_tenant(signal.tenant.is_some(), fields)?;
        ends_after_start(signal.starts_on, signal.ends_on)
    }

    fn own_time(signal: &Signal<'_>) -> Micros {
        signal.issued_at.unwrap_or_else(|| civil::start_of(signal.starts_on))
    }

    fn filed_at(signal: &Signal<'_>) -> Option<Micros> {
        Some(civil::start_of(signal.starts_on))
    }
}
