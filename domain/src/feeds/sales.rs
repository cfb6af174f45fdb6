//! Sales: one row for each line of a receipt or return.

use super::Definition;
use super::record::{FeedRecord, Optional, Required, record};
use crate::civil::Micros;
use crate::fields::{Fields, Reject, RejectClass};
use crate::kinds::{Choice, Choices, Currency, Happened, Identifier, Money, Quantity, Text, Whole, Words};
use crate::scope::TableScope;

pub(super) const DEFINITION: Definition = Definition {
    natural_key: NATURAL_KEY,
    kafka_key: &["tenant", "store", "transaction_id"],
    scope: TableScope::TenantAndStores,
    indexed_texts: &["tenant", "store", "sku"],
    clustering: &["tenant", "store", "sku", "occurred_at"],
    ..Definition::of::<SaleColumns>("sales", COMMENT)
};

/// Also the first fields of the record.
const NATURAL_KEY: &[&str] = &["tenant", "store", "transaction_id", "line"];

const COMMENT: &str = "Lines of receipts and returns, one row for each record, as the tills sent them. Quantities of returns are negative. \
Amounts are quantity * unit_price in the row's currency. A sale that was sent twice is two rows, of which the later is marked `_duplicate`: count rows \
where it is false, as curated.sales in SQL does.";

/// Whether goods went out or came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SaleKind {
    /// Goods went out.
    Sale,
    /// Goods came back.
    Return,
}

impl Choices for SaleKind {
    const ALL: &'static [Self] = &[Self::Sale, Self::Return];
    const EXPECTED: &'static str = "`sale` or `return`";

    fn as_str(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Return => "return",
        }
    }
}

record! {
    /// A line of a receipt or return.
    Sale, SaleColumns {
        tenant: Required<Identifier> = "Business that the row belongs to",
        store: Required<Identifier> = "Store that sold",
        transaction_id: Required<Text> = "Receipt, unique within the store",
        line: Required<Whole<0, 2_147_483_647>> = "Line of the receipt",
        sku: Required<Text> = "Article",
        product_name: Optional<Words> = "Name of the article on the receipt",
        category: Optional<Words> = "Category of the article on the receipt",
        quantity: Required<Quantity> = "Units sold; negative for a return",
        unit_price: Required<Money> = "Price of one unit in `currency`",
        discount: Optional<Money> = "Discount on the line in `currency`",
        currency: Required<Currency> = "ISO 4217 code",
        kind: Required<Choice<SaleKind>> = "`sale` or `return`",
        promotion: Optional<Words> = "Promotion that the line was sold under",
        channel: Optional<Words> = "Where it was sold: till, web and so on",
        customer: Optional<Words> = "Customer, as the till names them",
        occurred_at: Required<Happened> = "When it was sold",
    }
}

impl FeedRecord for SaleColumns {
    const DUPLICATES_BY: Option<usize> = Some(NATURAL_KEY.len());

    fn complete(sale: &mut Sale<'_>, _: &Fields<'_>, _: Micros) -> Result<(), Reject> {
        let contradicts = match sale.kind {
            SaleKind::Sale => sale.quantity < 0,
            SaleKind::Return => sale.quantity > 0,
        };
        if contradicts {
            let expected = "a negative quantity for a return and none below 0 for a sale";
            return Err(Reject::field(RejectClass::Inconsistent, "kind", Some(sale.kind.as_str()), expected));
        }
        Ok(())
    }

    fn own_time(sale: &Sale<'_>) -> Micros {
        sale.occurred_at
    }

    fn filed_at(sale: &Sale<'_>) -> Option<Micros> {
        Some(sale.occurred_at)
    }
}
