//! Sales: one row for each line of a receipt or return.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Decimal128Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};

use super::FeedBuilder;
use super::metadata::{self, MetadataBuilder, RecordMetadata};
use crate::civil::{self, FUTURE_TOLERANCE, Micros};
use crate::decimal::PRECISION;
use crate::fields::{Fields, Reject, RejectClass};
use crate::table::{self, Column, money, quantity, timestamp};

/// What the table is for.
pub const COMMENT: &str = "Lines of receipts and returns, one row for each, as the tills sent them. Quantities of returns are negative. \
Amounts are quantity * unit_price in the row's currency.";

/// Fields that every sale must state.
pub const REQUIRED_FIELDS: &[&str] = &[
    "tenant",
    "store",
    "transaction_id",
    "line",
    "sku",
    "quantity",
    "unit_price",
    "currency",
    "kind",
    "occurred_at",
];

const QUANTITY_SCALE: u32 = 3;
const MONEY_SCALE: u32 = 4;

/// Whether goods went out or came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaleKind {
    /// Goods went out.
    Sale,
    /// Goods came back.
    Return,
}

impl SaleKind {
    /// The stored text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Return => "return",
        }
    }
}

/// A decoded sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale<'a> {
    /// The business.
    pub tenant: Cow<'a, str>,
    /// The store.
    pub store: Cow<'a, str>,
    /// The receipt.
    pub transaction_id: Cow<'a, str>,
    /// The line of the receipt.
    pub line: i64,
    /// The article.
    pub sku: Cow<'a, str>,
    /// Its name.
    pub product_name: Option<Cow<'a, str>>,
    /// Its category.
    pub category: Option<Cow<'a, str>>,
    /// Units times 1,000; negative for a return.
    pub quantity: i128,
    /// Price of a unit times 10,000.
    pub unit_price: i128,
    /// Discount on the line times 10,000.
    pub discount: Option<i128>,
    /// ISO 4217.
    pub currency: Cow<'a, str>,
    /// Sale or return.
    pub kind: SaleKind,
    /// The promotion that the line was sold under.
    pub promotion: Option<Cow<'a, str>>,
    /// Where it was sold: till, web, ...
    pub channel: Option<Cow<'a, str>>,
    /// The till's word for the customer.
    pub customer: Option<Cow<'a, str>>,
    /// When it happened.
    pub occurred_at: Micros,
}

impl<'a> Sale<'a> {
    /// Reads a sale from the fields of a message and checks it.
    ///
    /// # Errors
    /// A [`Reject`] naming the first field at fault.
    pub fn decode(fields: &mut Fields<'a>, now: Micros) -> Result<Self, Reject> {
        let latest = now.saturating_add(FUTURE_TOLERANCE.num_microseconds().unwrap_or(0));
        let sale = Self {
            tenant: fields.identifier("tenant")?,
            store: fields.identifier("store")?,
            transaction_id: fields.text("transaction_id")?,
            line: fields.integer("line", 0..=i64::from(i32::MAX))?,
            sku: fields.text("sku")?,
            product_name: fields.optional_text("product_name")?,
            category: fields.optional_text("category")?,
            quantity: fields.decimal("quantity", QUANTITY_SCALE)?,
            unit_price: fields.decimal("unit_price", MONEY_SCALE)?,
            discount: fields.optional_decimal("discount", MONEY_SCALE)?,
            currency: currency(fields)?,
            kind: kind(fields)?,
            promotion: fields.optional_text("promotion")?,
            channel: fields.optional_text("channel")?,
            customer: fields.optional_text("customer")?,
            occurred_at: fields.instant("occurred_at", latest)?,
        };
        let contradicts = match sale.kind {
            SaleKind::Sale => sale.quantity < 0,
            SaleKind::Return => sale.quantity > 0,
        };
        if contradicts {
            let expected = "a negative quantity for a return and none below 0 for a sale";
            return Err(Reject::field(RejectClass::Inconsistent, "kind", Some(sale.kind.as_str()), expected));
        }
        Ok(sale)
    }
}

fn currency<'a>(fields: &mut Fields<'a>) -> Result<Cow<'a, str>, Reject> {
    let value = fields.text("currency")?;
    if value.len() != 3 || !value.bytes().all(|b| b.is_ascii_uppercase()) {
        let expected = "an ISO 4217 code of three capital letters, like GBP";
        return Err(Reject::field(RejectClass::OutOfRange, "currency", Some(&value), expected));
    }
    Ok(value)
}

fn kind(fields: &mut Fields<'_>) -> Result<SaleKind, Reject> {
    match &*fields.text("kind")? {
        "sale" => Ok(SaleKind::Sale),
        "return" => Ok(SaleKind::Return),
        other => Err(Reject::field(RejectClass::OutOfRange, "kind", Some(other), "`sale` or `return`")),
    }
}

/// The Kafka key: a receipt's lines share a partition, and no large store heats one.
///
/// # Errors
/// A [`Reject`] when tenant, store or transaction_id is missing.
pub fn key(json: &[u8]) -> Result<String, Reject> {
    let mut fields = Fields::parse(Some(json))?;
    Ok(format!(
        "{}/{}/{}",
        fields.identifier("tenant")?,
        fields.identifier("store")?,
        fields.text("transaction_id")?
    ))
}

/// The columns of `curated.sales`.
#[must_use]
pub fn columns() -> Vec<Column> {
    let mut columns = vec![
        Column::required("tenant", DataType::Utf8, "Business that the row belongs to"),
        Column::required("store", DataType::Utf8, "Store that sold"),
        Column::required("transaction_id", DataType::Utf8, "Receipt, unique within the store"),
        Column::required("line", DataType::Int64, "Line of the receipt"),
        Column::required("sku", DataType::Utf8, "Article"),
        Column::optional("product_name", DataType::Utf8, "Name of the article on the receipt"),
        Column::optional("category", DataType::Utf8, "Category of the article on the receipt"),
        Column::required("quantity", quantity(), "Units sold; negative for a return"),
        Column::required("unit_price", money(), "Price of one unit in `currency`"),
        Column::optional("discount", money(), "Discount on the line in `currency`"),
        Column::required("currency", DataType::Utf8, "ISO 4217 code"),
        Column::required("kind", DataType::Utf8, "`sale` or `return`"),
        Column::optional("promotion", DataType::Utf8, "Promotion that the line was sold under"),
        Column::optional("channel", DataType::Utf8, "Where it was sold: till, web and so on"),
        Column::optional("customer", DataType::Utf8, "Customer, as the till names them"),
        Column::required("occurred_at", timestamp(), "When it was sold"),
    ];
    columns.extend(metadata::columns());
    columns.push(Column::required(
        "_duplicate",
        DataType::Boolean,
        "Whether an earlier row tells of the same sale",
    ));
    columns
}

/// Gathers sales, a set of columns for each period.
#[derive(Debug, Default)]
pub struct SalesBuilder {
    periods: BTreeMap<String, Columns>,
    /// The period of the last row: records mostly follow each other in time.
    last: Option<(i64, String)>,
    rows: usize,
    bytes: usize,
}

/// Bytes that a row takes beside its texts.
const FIXED_ROW_BYTES: usize = 200;

impl FeedBuilder for SalesBuilder {
    fn push(
        &mut self,
        payload: Option<&[u8]>,
        metadata: &RecordMetadata<'_>,
        now: Micros,
    ) -> Result<(), Reject> {
        let mut fields = Fields::parse(payload)?;
        let sale = Sale::decode(&mut fields, now)?;
        let extra = fields.into_extra();
        // Texts of the row are parts of the payload, so its length bounds them.
        self.bytes += FIXED_ROW_BYTES + payload.map_or(0, <[u8]>::len);
        self.rows += 1;
        let hour = sale.occurred_at.div_euclid(3_600_000_000);
        if self.last.as_ref().is_none_or(|(last, _)| *last != hour) {
            self.last = Some((hour, civil::period(sale.occurred_at)));
        }
        if let Some((_, period)) = &self.last {
            match self.periods.get_mut(period) {
                Some(columns) => columns.push(&sale, metadata, extra.as_deref()),
                None => {
                    self.periods.entry(period.clone()).or_default().push(&sale, metadata, extra.as_deref())
                }
            }
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn finish(&mut self) -> Vec<(String, RecordBatch)> {
        let schema = self.schema();
        (self.rows, self.bytes) = (0, 0);
        let finish = |(period, mut columns): (String, Columns)| {
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns.finish());
            (period, batch.expect("the builders follow the schema"))
        };
        std::mem::take(&mut self.periods).into_iter().map(finish).collect()
    }

    fn schema(&self) -> SchemaRef {
        table::arrow_schema(&columns())
    }
}

#[derive(Debug)]
struct Columns {
    tenant: StringBuilder,
    store: StringBuilder,
    transaction_id: StringBuilder,
    line: Int64Builder,
    sku: StringBuilder,
    product_name: StringBuilder,
    category: StringBuilder,
    quantity: Decimal128Builder,
    unit_price: Decimal128Builder,
    discount: Decimal128Builder,
    currency: StringBuilder,
    kind: StringBuilder,
    promotion: StringBuilder,
    channel: StringBuilder,
    customer: StringBuilder,
    occurred_at: TimestampMicrosecondBuilder,
    metadata: MetadataBuilder,
    duplicate: BooleanBuilder,
}

impl Default for Columns {
    fn default() -> Self {
        let decimals = |scale: u32| {
            let builder = Decimal128Builder::new().with_precision_and_scale(PRECISION, scale as i8);
            builder.expect("precision and scale are within Decimal128")
        };
        Self {
            tenant: StringBuilder::new(),
            store: StringBuilder::new(),
            transaction_id: StringBuilder::new(),
            line: Int64Builder::new(),
            sku: StringBuilder::new(),
            product_name: StringBuilder::new(),
            category: StringBuilder::new(),
            quantity: decimals(QUANTITY_SCALE),
            unit_price: decimals(MONEY_SCALE),
            discount: decimals(MONEY_SCALE),
            currency: StringBuilder::new(),
            kind: StringBuilder::new(),
            promotion: StringBuilder::new(),
            channel: StringBuilder::new(),
            customer: StringBuilder::new(),
            occurred_at: TimestampMicrosecondBuilder::new(),
            metadata: MetadataBuilder::default(),
            duplicate: BooleanBuilder::new(),
        }
    }
}

impl Columns {
    fn push(&mut self, sale: &Sale<'_>, metadata: &RecordMetadata<'_>, extra: Option<&str>) {
        self.tenant.append_value(&sale.tenant);
        self.store.append_value(&sale.store);
        self.transaction_id.append_value(&sale.transaction_id);
        self.line.append_value(sale.line);
        self.sku.append_value(&sale.sku);
        self.product_name.append_option(sale.product_name.as_deref());
        self.category.append_option(sale.category.as_deref());
        self.quantity.append_value(sale.quantity);
        self.unit_price.append_value(sale.unit_price);
        self.discount.append_option(sale.discount);
        self.currency.append_value(&sale.currency);
        self.kind.append_value(sale.kind.as_str());
        self.promotion.append_option(sale.promotion.as_deref());
        self.channel.append_option(sale.channel.as_deref());
        self.customer.append_option(sale.customer.as_deref());
        self.occurred_at.append_value(sale.occurred_at);
        self.metadata.push(metadata, sale.occurred_at, extra);
        self.duplicate.append_value(false);
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(self.tenant.finish()),
            Arc::new(self.store.finish()),
            Arc::new(self.transaction_id.finish()),
            Arc::new(self.line.finish()),
            Arc::new(self.sku.finish()),
            Arc::new(self.product_name.finish()),
            Arc::new(self.category.finish()),
            Arc::new(self.quantity.finish()),
            Arc::new(self.unit_price.finish()),
            Arc::new(self.discount.finish()),
            Arc::new(self.currency.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.promotion.finish()),
            Arc::new(self.channel.finish()),
            Arc::new(self.customer.finish()),
            Arc::new(self.occurred_at.finish().with_timezone("UTC")),
        ];
        arrays.extend(self.metadata.finish());
        arrays.push(Arc::new(self.duplicate.finish()));
        arrays
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Decimal128Type;

    use super::*;

    const NOW: Micros = 1_764_000_000_000_000;

    fn metadata(offset: i64, history: bool) -> RecordMetadata<'static> {
        RecordMetadata {
            topic: "t",
            log: 1,
            partition: 0,
            offset,
            timestamp: Some(1),
            ingested_at: NOW,
            history,
        }
    }

    fn json(changes: &[(&str, serde_json::Value)]) -> Vec<u8> {
        let mut value = serde_json::json!({
            "tenant": "gift-uk", "store": "online", "transaction_id": "489434", "line": 1, "sku": "85048",
            "quantity": 12, "unit_price": "6.95", "currency": "GBP", "kind": "sale",
            "occurred_at": "2009-12-01T07:45:00Z", "country": "United Kingdom",
        });
        for (field, change) in changes {
            value[*field] = change.clone();
        }
        serde_json::to_vec(&value).expect("json")
    }

    #[test]
    fn good_records_become_exact_rows_by_period_and_bad_ones_leave_no_trace() {
        let mut builder = SalesBuilder::default();
        builder.push(Some(&json(&[])), &metadata(0, true), NOW).expect("valid");
        let bad = json(&[("quantity", "twelve".into())]);
        assert_eq!(
            builder.push(Some(&bad), &metadata(1, true), NOW).expect_err("bad").class,
            RejectClass::WrongType
        );
        let back = json(&[
            ("quantity", (-0.5).into()),
            ("kind", "return".into()),
            ("occurred_at", "2010-01-31T23:59:59Z".into()),
        ]);
        builder.push(Some(&back), &metadata(2, false), NOW).expect("valid");
        assert_eq!(builder.rows(), 2);
        let batches = builder.finish();
        assert_eq!(
            batches.iter().map(|(period, _)| period.as_str()).collect::<Vec<_>>(),
            ["2009-12", "2010-01"]
        );
        let column =
            |batch: usize, name: &str| batches[batch].1.column_by_name(name).expect("column").clone();
        assert_eq!(column(0, "unit_price").as_primitive::<Decimal128Type>().value(0), 69_500);
        assert_eq!(column(1, "quantity").as_primitive::<Decimal128Type>().value(0), -500);
        assert_eq!(column(0, "_extra").as_string::<i32>().value(0), r#"{"country":"United Kingdom"}"#);
        assert_eq!(column(0, "_known_at").as_ref(), column(0, "occurred_at").as_ref());
        assert_eq!(column(1, "_known_at").as_ref(), column(1, "_ingested_at").as_ref());
        assert_eq!((builder.rows(), builder.bytes(), builder.finish().len()), (0, 0, 0));
    }

    #[test]
    fn faults_of_a_sale_are_named() {
        let cases = [
            ("tenant", serde_json::Value::Null, RejectClass::MissingField),
            ("tenant", "".into(), RejectClass::MissingField),
            ("store", "a/b".into(), RejectClass::OutOfRange),
            ("line", (-1).into(), RejectClass::OutOfRange),
            ("currency", "gbp".into(), RejectClass::OutOfRange),
            ("kind", "return".into(), RejectClass::Inconsistent),
            ("unit_price", "1.23456".into(), RejectClass::TooManyDecimals),
            ("occurred_at", "2999-01-01T00:00:00Z".into(), RejectClass::OutOfRange),
            ("occurred_at", "2009-12-01".into(), RejectClass::OutOfRange),
        ];
        for (field, value, class) in cases {
            let payload = json(&[(field, value)]);
            let reject =
                SalesBuilder::default().push(Some(&payload), &metadata(0, false), NOW).expect_err(field);
            assert_eq!((reject.class, reject.field.as_deref()), (class, Some(field)), "{reject}");
        }
    }

    #[test]
    fn the_key_joins_tenant_store_and_receipt() {
        assert_eq!(key(&json(&[])).as_deref(), Ok("gift-uk/online/489434"));
    }
}
