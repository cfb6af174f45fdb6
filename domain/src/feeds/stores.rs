//! Stores: where a business sells, from a day on.

use super::Definition;
use super::record::{FeedRecord, Optional, Required, record};
use crate::civil::{self, Micros};
use crate::fields::{Fields, Reject, RejectClass};
use crate::kinds::{Currency, Happened, Identifier, JsonObject, LifeDay, PlannedDay, TimeZone, Words};
use crate::scope::TableScope;

pub(super) const DEFINITION: Definition = Definition {
    natural_key: &["tenant", "store", "valid_from"],
    kafka_key: &["tenant", "store"],
    scope: TableScope::TenantAndStores,
    has_periods: false,
    indexed_texts: &["tenant", "store"],
    clustering: &["tenant", "store", "valid_from"],
    ..Definition::of::<StoreColumns>("stores", COMMENT)
};

const COMMENT: &str = "Stores, with the time zone that their business days are counted in and the currency that they sell in. On a day the record \
with the latest valid_from up to that day holds, and before the first one the first; records never overlap. Of records with the same valid_from the \
one issued last holds. A store is renamed by a record with another name: its rows stay together by `store`.";

record! {
    /// What holds for a store from a day on.
    Store, StoreColumns {
        tenant: Required<Identifier> = "Business that the row belongs to",
        store: Required<Identifier> = "Store",
        valid_from: Required<PlannedDay> = "Business day from which the record holds",
        time_zone: Required<TimeZone> = "Time zone of the IANA database in which its business days are counted",
        currency: Required<Currency> = "ISO 4217 code of the currency that it sells in",
        name: Optional<Words> = "Name for people",
        location: Optional<Words> = "Key of its weather",
        region: Optional<Words> = "Key of its events and signals, like DE-BE; events of DE hold there too",
        opened_on: Optional<LifeDay> = "First business day",
        closed_on: Optional<LifeDay> = "First day on which it was closed for good",
        attributes: Optional<JsonObject> = "More about it, as a JSON object",
        issued_at: Optional<Happened> = "When the record was issued; without it, Kafka's timestamp counts",
    }
}

impl FeedRecord for StoreColumns {
    fn complete(store: &mut Store<'_>, _: &Fields<'_>, _: Micros) -> Result<(), Reject> {
        match (store.opened_on, store.closed_on) {
            (Some(opened), Some(closed)) if closed < opened => {
                let expected = format!("no day before opened_on, {opened}");
                Err(Reject::field(
                    RejectClass::Inconsistent,
                    "closed_on",
                    Some(&closed.to_string()),
                    expected,
                ))
            }
            _ => Ok(()),
        }
    }

    fn own_time(store: &Store<'_>) -> Micros {
        store.issued_at.unwrap_or_else(|| civil::start_of(store.valid_from))
    }

    fn filed_at(_: &Store<'_>) -> Option<Micros> {
        None
    }
}
