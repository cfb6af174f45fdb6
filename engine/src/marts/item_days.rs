//! `marts.item_days`: what happened to an article in a store on a business day.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Decimal128Type};
use domain::marts::{Day, DaySet, Mart, date_of, month_of};
use domain::table::{money, quantity};
use domain::{Error, Feed, Result};

use super::posts::Posts;
use super::rivals::Rivals;
use super::sold::{Sold, SoldColumns, Sums, batch, condition, lines, sums, unit_price};
use super::stores::{Stores, business_date, store_currency, wanted};
use super::windows::Windows;
use super::work::{Columns, Work};

/// The rows of days between two days, by month.
pub(super) async fn rows(
    work: &Work,
    stores: &Arc<Stores>,
    versions: &BTreeMap<Feed, u64>,
    days: &Arc<DaySet>,
    (first, last): (Day, Day),
) -> Result<Vec<(String, RecordBatch)>> {
    let windows = Windows::of(days).within(first, last);
    let asked = work.with([business_date(stores), store_currency(stores), wanted(days)]);
    let found = asked.rows(&question(versions, &windows, (first, last))).await?;
    let Some(schema) = found.first().map(RecordBatch::schema) else { return Ok(Vec::new()) };
    let found = concat_batches(&schema, &found);
    let found = found.map_err(|error| Error::internal(format!("rows of item days: {error}")))?;
    if found.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let skus = Columns(&found).text("sku")?;
    let names: BTreeSet<&str> = (0..found.num_rows()).map(|row| skus.value(row)).collect();
    let version = |feed| versions.get(&feed).copied().unwrap_or_default();
    let posts = Posts::load(work, version(Feed::Sentiment), &names, &windows).await?;
    let until = domain::civil::start_of(date_of(last.saturating_add(2)));
    let rivals = Rivals::load(work, version(Feed::Prices), &names, until).await?;
    by_month(&complete(&found, stores, &posts, &rivals)?)
}

/// Rows of the mart, parted by the month of their date.
fn by_month(rows: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
    let dates = Columns(rows).days("date")?;
    let mut months: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (row, day) in (0..).zip(dates.values()) {
        months.entry(month_of(*day)).or_default().push(row);
    }
    let parted = months.into_iter().map(|(month, of_month)| {
        let part = take_record_batch(rows, &UInt32Array::from(of_month));
        let part = part.map_err(|error| Error::internal(format!("rows of {month}: {error}")))?;
        Ok((month, part))
    });
    parted.collect()
}

/// Sales and stock of the days. Stock is what its last statement of the day says.
fn question(versions: &BTreeMap<Feed, u64>, windows: &Windows, (first, last): (Day, Day)) -> String {
    let version = |feed| versions.get(&feed).copied().unwrap_or_default();
    let in_piece = format!("l.date BETWEEN DATE '{}' AND DATE '{}'", date_of(first), date_of(last));
    let key = ["tenant", "store", "sku", "date"];
    let keys = key.map(|name| format!("coalesce(sold.{name}, stock.{name}) AS {name}")).join(", ");
    let equal = key.map(|name| format!("sold.{name} = stock.{name}")).join(" AND ");
    format!(
        "WITH sold AS (SELECT l.tenant, l.store, l.sku, l.date, {sums}, \
             coalesce(bool_or(l.promotion IS NOT NULL), false) AS is_promoted, \
             CAST(coalesce(sum(l.quantity) FILTER (WHERE l.kind = 'sale' AND l.own), 0) AS DECIMAL(28, 3)) AS priced_units \
           FROM {lines} WHERE {in_piece} GROUP BY l.tenant, l.store, l.sku, l.date), \
         stock AS (SELECT l.tenant, l.store, l.sku, l.date, last_value(l.on_hand ORDER BY l.as_of) AS on_hand, \
             min(l.on_hand) <= 0 AS is_stocked_out \
           FROM (SELECT tenant, store, sku, as_of, on_hand, business_date(tenant, store, as_of) AS date \
                 FROM curated.\"inventory@{inventory}\" WHERE {stated}) AS l \
           WHERE wanted(l.tenant, l.store, l.date) AND {in_piece} GROUP BY l.tenant, l.store, l.sku, l.date) \
         SELECT {keys}, sold.* EXCEPT (tenant, store, sku, date), stock.on_hand, stock.is_stocked_out \
         FROM sold FULL JOIN stock ON {equal} ORDER BY 1, 2, 3, 4",
        sums = sums(),
        lines = lines(version(Feed::Sales), windows),
        inventory = version(Feed::Inventory),
        stated = condition(windows, "as_of"),
    )
}

/// The mart's rows out of the answer, with what is looked up for each.
fn complete(found: &RecordBatch, stores: &Stores, posts: &Posts, rivals: &Rivals) -> Result<RecordBatch> {
    let columns = Columns(found);
    let (tenants, names, skus) = (columns.text("tenant")?, columns.text("store")?, columns.text("sku")?);
    let dates = columns.days("date")?;
    let (lines, priced) = (
        columns.primitive::<arrow::datatypes::Int64Type>("sale_lines")?,
        columns.primitive::<Decimal128Type>("priced_units")?,
    );
    let revenue = columns.primitive::<Decimal128Type>("revenue")?;
    let promoted = columns.flag("is_promoted")?;
    let on_hand = columns.primitive::<Decimal128Type>("on_hand")?;
    let (sums, mut sold) = (Sums::of(found)?, SoldColumns::default());
    let (mut prices, mut rival_prices, mut feelings) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..found.num_rows() {
        let (tenant, store, sku, day) =
            (tenants.value(row), names.value(row), skus.value(row), dates.value(row));
        let is_sold = lines.is_valid(row);
        sold.push(&if is_sold { sums.at(row) } else { Sold::default() });
        prices.push(is_sold.then(|| unit_price(revenue.value(row), priced.value(row))).flatten());
        let history = stores.of(tenant, store);
        let bounds = history.and_then(|history| history.bounds(day)).unwrap_or_default();
        let currency = history.and_then(|history| history.on(day)).map(|record| record.currency.as_str());
        rival_prices.push(currency.and_then(|currency| rivals.lowest(tenant, sku, currency, bounds.1)));
        feelings.push(posts.feeling([sku], bounds));
    }
    let decimals = |values: Vec<Option<i128>>, data_type: DataType| -> ArrayRef {
        Arc::new(arrow::array::Decimal128Array::from(values).with_data_type(data_type))
    };
    let texts = |column: &StringArray| -> ArrayRef { Arc::new(column.clone()) };
    let mut arrays: Vec<ArrayRef> = vec![texts(tenants), texts(names), texts(skus), Arc::new(dates.clone())];
    arrays.extend(sold.finish()?);
    let stock = (0..on_hand.len()).map(|row| on_hand.is_valid(row).then(|| on_hand.value(row)));
    arrays.extend([
        decimals(prices, money()),
        Arc::new(
            (0..promoted.len())
                .map(|row| Some(promoted.is_valid(row) && promoted.value(row)))
                .collect::<BooleanArray>(),
        ),
        decimals(stock.collect(), quantity()),
        Arc::new(columns.flag("is_stocked_out")?.clone()),
        decimals(rival_prices, money()),
        Arc::new(feelings.iter().map(|feeling| feeling.score).collect::<Float64Array>()),
        Arc::new(feelings.iter().map(|feeling| feeling.posts).collect::<Int64Array>()),
    ]);
    batch(&Mart::ItemDays.columns(), arrays)
}
