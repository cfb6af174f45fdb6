//! Products: what holds for an article from a day on.

use super::Definition;
use super::record::{FeedRecord, Optional, Required, record};
use crate::civil::{self, Micros};
use crate::fields::{Fields, Reject, RejectClass};
use crate::kinds::{
    Currency, Happened, Identifier, JsonObject, MoneyFromZero, PlannedDay, QuantityAboveZero,
    QuantityFromZero, Text, Whole, Words,
};
use crate::scope::TableScope;

pub(super) const DEFINITION: Definition = Definition {
    natural_key: &["tenant", "sku", "valid_from"],
    kafka_key: &["tenant", "sku"],
    scope: TableScope::Tenant,
    has_periods: false,
    indexed_texts: &["tenant", "sku"],
    clustering: &["tenant", "sku", "valid_from"],
    ..Definition::of::<ProductColumns>("products", COMMENT)
};

const COMMENT: &str = "Articles of a business. On a day the record with the latest valid_from up to that day holds, and before the first one the \
first, so that an article is in one category at a time. Of records with the same valid_from the one issued last holds.";

record! {
    /// What holds for an article from a day on.
    Product, ProductColumns {
        tenant: Required<Identifier> = "Business that the row belongs to",
        sku: Required<Text> = "Article",
        valid_from: Required<PlannedDay> = "Day from which the record holds",
        name: Required<Text> = "Name for people",
        category: Optional<Words> = "Category",
        brand: Optional<Words> = "Brand",
        unit_cost: Optional<MoneyFromZero> = "What a unit costs the business, in `currency`",
        list_price: Optional<MoneyFromZero> = "What a unit is offered for, in `currency`",
        currency: Optional<Currency> = "ISO 4217 code of cost and price",
        lead_time_days: Optional<Whole<0, 3_650>> = "Days from an order to its receipt",
        pack_size: Optional<QuantityAboveZero> = "Units that an order is a multiple of",
        min_order: Optional<QuantityFromZero> = "Units that an order has at least",
        shelf_life_days: Optional<Whole<0, 36_500>> = "Days that a unit can be sold after receipt",
        supplier: Optional<Words> = "Who delivers it",
        attributes: Optional<JsonObject> = "More about it, as a JSON object",
        issued_at: Optional<Happened> = "When the record was issued; without it, Kafka's timestamp counts",
    }
}

impl FeedRecord for ProductColumns {
    fn complete(product: &mut Product<'_>, _: &Fields<'_>, _: Micros) -> Result<(), Reject> {
        let has_amount = product.unit_cost.is_some() || product.list_price.is_some();
        if has_amount && product.currency.is_none() {
            let expected = "the ISO 4217 code of unit_cost and list_price, like GBP";
            return Err(Reject::field(RejectClass::Inconsistent, "currency", None, expected));
        }
        Ok(())
    }

    fn own_time(product: &Product<'_>) -> Micros {
        product.issued_at.unwrap_or_else(|| civil::start_of(product.valid_from))
    }

    fn filed_at(_: &Product<'_>) -> Option<Micros> {
        None
    }
}
