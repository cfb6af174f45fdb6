//! Prices: what a competitor asked for an article.

use super::Definition;
use super::record::{FeedRecord, Optional, Required, record};
use crate::civil::Micros;
use crate::fields::{Fields, Reject};
use crate::kinds::{Currency, Happened, Identifier, MoneyFromZero, Text, Words};
use crate::scope::TableScope;

pub(super) const DEFINITION: Definition = Definition {
    natural_key: &["tenant", "sku", "competitor", "observed_at"],
    kafka_key: &["tenant", "sku"],
    scope: TableScope::Tenant,
    indexed_texts: &["tenant", "sku", "competitor"],
    clustering: &["tenant", "sku", "competitor", "observed_at"],
    ..Definition::of::<PriceColumns>("prices", COMMENT)
};

const COMMENT: &str = "Prices that competitors asked for an article. A price holds until the same competitor's next one. \
Of records for the same instant the one issued last holds.";

record! {
    /// A competitor's price.
    CompetitorPrice, PriceColumns {
        tenant: Required<Identifier> = "Business that the row belongs to",
        sku: Required<Text> = "The business's article that the price is compared with",
        competitor: Required<Text> = "Who asked the price",
        observed_at: Required<Happened> = "When the price was seen",
        price: Required<MoneyFromZero> = "Price of one unit in `currency`",
        currency: Required<Currency> = "ISO 4217 code",
        url: Optional<Words> = "Where the price was seen",
        issued_at: Optional<Happened> = "When the record was issued; without it, Kafka's timestamp counts",
    }
}

impl FeedRecord for PriceColumns {
    fn complete(_: &mut CompetitorPrice<'_>, _: &Fields<'_>, _: Micros) -> Result<(), Reject> {
        Ok(())
    }

    fn own_time(price: &CompetitorPrice<'_>) -> Micros {
        price.issued_at.unwrap_or(price.observed_at)
    }

    fn filed_at(price: &CompetitorPrice<'_>) -> Option<Micros> {
        Some(price.observed_at)
    }
}
