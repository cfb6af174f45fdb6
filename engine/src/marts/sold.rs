//! What was sold, as both marts count it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use domain::marts::{amount, units};
use domain::{Error, Result};

use super::windows::Windows;
use super::work::Columns;

/// The columns that both marts count in, with their sums over lines of receipts.
const SUMS: [(&str, &str); 8] = [
    ("units", "CAST(coalesce(sum(l.quantity) FILTER (WHERE l.kind = 'sale'), 0) AS DECIMAL(28, 3))"),
    (
        "returned_units",
        "CAST(-coalesce(sum(l.quantity) FILTER (WHERE l.kind = 'return'), 0) AS DECIMAL(28, 3))",
    ),
    (
        "revenue",
        "CAST(coalesce(sum(l.quantity * l.unit_price) FILTER (WHERE l.kind = 'sale' AND l.own), 0) AS DECIMAL(38, 7))",
    ),
    (
        "refunds",
        "CAST(-coalesce(sum(l.quantity * l.unit_price) FILTER (WHERE l.kind = 'return' AND l.own), 0) AS DECIMAL(38, 7))",
    ),
    ("discounts", "CAST(coalesce(sum(l.discount) FILTER (WHERE l.own), 0) AS DECIMAL(28, 4))"),
    ("sale_lines", "count(*) FILTER (WHERE l.kind = 'sale')"),
    ("return_lines", "count(*) FILTER (WHERE l.kind = 'return')"),
    ("other_currency_lines", "count(*) FILTER (WHERE NOT l.own)"),
];

/// The sums as a list for SELECT.
pub(super) fn sums() -> String {
    SUMS.map(|(name, sum)| format!("{sum} AS {name}")).join(", ")
}

/// Lines of receipts with their business day, for `FROM`; `l.own` tells whether a line is in the store's currency.
pub(super) fn lines(sales_version: u64, windows: &Windows) -> String {
    format!(
        "(SELECT d.*, d.currency = store_currency(d.tenant, d.store, d.date) AS own \
          FROM (SELECT tenant, store, sku, kind, quantity, unit_price, discount, currency, promotion, occurred_at, \
                       business_date(tenant, store, occurred_at) AS date \
                FROM curated.\"sales@{sales_version}\" WHERE NOT _duplicate AND {} AND {}) AS d \
          WHERE wanted(d.tenant, d.store, d.date)) AS l",
        windows.of_instants("occurred_at"),
        windows.of_stores(),
    )
}

/// Whether an instant of `column` may lie in the windows and its row be of their stores.
pub(super) fn condition(windows: &Windows, column: &str) -> String {
    format!("{} AND {}", windows.of_instants(column), windows.of_stores())
}

/// Rows of [`SUMS`], taken from answers or 0.
#[derive(Debug, Default)]
pub(super) struct SoldColumns {
    decimals: [Vec<i128>; 5],
    counts: [Vec<i64>; 3],
}

/// The sums of one row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sold {
    decimals: [i128; 5],
    counts: [i64; 3],
}

/// The sums of an answer, row by row.
pub(super) struct Sums<'a> {
    decimals: Vec<&'a Decimal128Array>,
    counts: Vec<&'a Int64Array>,
}

impl<'a> Sums<'a> {
    pub(super) fn of(batch: &'a RecordBatch) -> Result<Self> {
        let (decimals, counts) = SUMS.split_at(5);
        let columns = Columns(batch);
        let decimals = decimals.iter().map(|(name, _)| columns.primitive::<Decimal128Type>(name));
        let counts = counts.iter().map(|(name, _)| columns.primitive::<Int64Type>(name));
        Ok(Self { decimals: decimals.collect::<Result<_>>()?, counts: counts.collect::<Result<_>>()? })
    }

    pub(super) fn at(&self, row: usize) -> Sold {
        let mut sold = Sold::default();
        sold.decimals.iter_mut().zip(&self.decimals).for_each(|(value, column)| *value = column.value(row));
        sold.counts.iter_mut().zip(&self.counts).for_each(|(value, column)| *value = column.value(row));
        sold
    }
}

impl SoldColumns {
    pub(super) fn push(&mut self, sold: &Sold) {
        self.decimals.iter_mut().zip(sold.decimals).for_each(|(column, value)| column.push(value));
        self.counts.iter_mut().zip(sold.counts).for_each(|(column, value)| column.push(value));
    }

    /// The columns, in the order of the marts.
    pub(super) fn finish(self) -> Result<Vec<ArrayRef>> {
        let types = [units(), units(), amount(), amount(), DataType::Decimal128(28, 4)];
        let decimals = self.decimals.into_iter().zip(types).map(|(values, data_type)| {
            let array = Decimal128Array::from(values).with_data_type(data_type);
            Ok(Arc::new(array) as ArrayRef)
        });
        let counts = self.counts.into_iter().map(|values| Ok(Arc::new(Int64Array::from(values)) as ArrayRef));
        decimals.chain(counts).collect()
    }
}

/// A price to four decimals: an amount of seven decimals by units of three, rounded half to even; none where it is beyond what a price may be.
pub(super) fn unit_price(amount: i128, units: i128) -> Option<i128> {
    let (whole, rest) = (amount.checked_div(units)?, amount.checked_rem(units)?);
    let twice = rest.checked_mul(2)?.abs();
    let is_up = twice > units.abs() || (twice == units.abs() && whole % 2 != 0);
    let price = whole + i128::from(is_up) * (amount.signum() * units.signum());
    (price.abs() < 10_i128.pow(18)).then_some(price)
}

/// Rows of a mart out of its columns.
pub(super) fn batch(columns: &[domain::table::Column], arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
    let made = RecordBatch::try_new(domain::table::arrow_schema(columns), arrays);
    made.map_err(|error| Error::internal(format!("rows of a mart: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_rounded_half_to_even() {
        // 10.00 for 4 units; then halves of the last decimal.
        assert_eq!(unit_price(100_000_000, 4_000), Some(25_000));
        assert_eq!(unit_price(5, 2), Some(2));
        assert_eq!(unit_price(7, 2), Some(4));
        assert_eq!(unit_price(-7, 2), Some(-4));
        assert_eq!(unit_price(8, 3), Some(3));
        assert_eq!((unit_price(1, 0), unit_price(10_i128.pow(20), 1)), (None, None));
    }
}
