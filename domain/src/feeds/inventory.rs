//! Inventory: what a store had of an article at an instant.

use super::Definition;
use super::record::{FeedRecord, Optional, Required, record};
use crate::civil::Micros;
use crate::fields::{Fields, Reject};
use crate::kinds::{Happened, Identifier, Quantity, QuantityAboveZero, QuantityFromZero, Text, Whole};
use crate::scope::TableScope;

pub(super) const DEFINITION: Definition = Definition {
    natural_key: &["tenant", "store", "sku", "as_of"],
    kafka_key: &["tenant", "store"],
    scope: TableScope::TenantAndStores,
    indexed_texts: &["tenant", "store", "sku"],
    clustering: &["tenant", "store", "sku", "as_of"],
    ..Definition::of::<StockColumns>("inventory", COMMENT)
};

const COMMENT: &str = "Stock of an article in a store at an instant, as it was counted or booked; it may be below 0 where bookings run late. \
Of records for the same instant the one issued last holds.";

record! {
    /// The stock of an article in a store.
    Stock, StockColumns {
        tenant: Required<Identifier> = "Business that the row belongs to",
        store: Required<Identifier> = "Store that has the stock",
        sku: Required<Text> = "Article",
        as_of: Required<Happened> = "Instant for which the stock is stated",
        on_hand: Required<Quantity> = "Units in the store",
        on_order: Optional<QuantityFromZero> = "Units ordered and not yet received",
        lead_time_days: Optional<Whole<0, 3_650>> = "Days from an order to its receipt",
        pack_size: Optional<QuantityAboveZero> = "Units that an order is a multiple of",
        min_order: Optional<QuantityFromZero> = "Units that an order has at least",
        shelf_life_days: Optional<Whole<0, 36_500>> = "Days that a unit can be sold after receipt",
        issued_at: Optional<Happened> = "When the record was issued; without it, Kafka's timestamp counts",
    }
}

impl FeedRecord for StockColumns {
    fn complete(_: &mut Stock<'_>, _: &Fields<'_>, _: Micros) -> Result<(), Reject> {
        Ok(())
    }

    fn own_time(stock: &Stock<'_>) -> Micros {
        stock.issued_at.unwrap_or(stock.as_of)
    }

    fn filed_at(stock: &Stock<'_>) -> Option<Micros> {
        Some(stock.as_of)
    }
}
