//! The daily series that models are made of, read by SQL over the daily mart.
//!
//! All is read at versions which the set names. Questions are asked for the net units of each day on which something was sold or came back, in the order of
//! the series, for the names on the receipts, for the products' categories, and for what is known of the stores' days. Answers are taken batch by batch;
//! what is held is the dense series alone, 8 bytes a day.

mod came;
mod standing;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Float64Type};
use async_trait::async_trait;
use chrono::NaiveDate;
use domain::decision::Standing;
use domain::forecast::{DailySeries, ForecastDay, SeriesKey, SeriesSet, ServedDay};
use domain::marts::day_of;
use domain::ports::{Snapshots, Tables};
use domain::principal::{Principal, StoreScope};
use domain::{Error, Feed, Result};
use futures::StreamExt;

use crate::marts::{Work, literal, plans};
use crate::{Engine, Limits, Session};

const SALES: &str = "curated.sales";
const ITEM_DAYS: &str = "marts.item_days";
const PRODUCTS: &str = "curated.products";
const INVENTORY: &str = "curated.inventory";

/// Days for which an article that came into stock is new without a sale.
const NEW_DAYS: i64 = 28;

/// The feeds that plans are made of.
const PLANNED_BY: [Feed; 3] = [Feed::Stores, Feed::Events, Feed::Weather];

/// Reads series out of a lake.
#[derive(Debug)]
pub struct SeriesReader {
    /// The operator's: one question reads all businesses, and the scope stands in its condition.
    session: Session,
    work: Work,
    versions: Arc<dyn Snapshots>,
}

impl SeriesReader {
    /// A reader that asks `engine` at versions that `versions` tells.
    #[must_use]
    pub fn new(engine: &Engine, versions: Arc<dyn Snapshots>) -> Self {
        let work = Work::new(Arc::clone(&engine.shared));
        Self { session: engine.session(Principal::Operator), work, versions }
    }

    /// Gives `take` every batch of an answer.
    async fn each(&self, sql: &str, mut take: impl FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
        let mut answer = self.session.query(sql, Limits::default()).await?;
        while let Some(batch) = answer.stream.next().await {
            take(&batch?)?;
        }
        Ok(())
    }
}

#[async_trait]
impl Tables for SeriesReader {
    async fn daily_series(&self, principal: &Principal, days_ahead: usize) -> Result<SeriesSet> {
        let days_version = self.versions.newest_version(ITEM_DAYS).await?;
        let sales_version = self.versions.newest_version(SALES).await?;
        let scope = scope(principal);
        let mut dense = Dense::default();
        let days = format!(
            "SELECT tenant, store, sku, date AS day, CAST(units - returned_units AS DOUBLE) AS units, units > 0 AS sold, \
             sale_lines + return_lines > 0 AS moved, coalesce(is_stocked_out, false) AS stocked_out \
             FROM marts.\"item_days@{days_version}\" WHERE (sale_lines + return_lines > 0 OR is_stocked_out) AND {scope} ORDER BY tenant, store, sku, day"
        );
        self.each(&days, |batch| dense.take(batch)).await?;
        let mut series = dense.finish();
        let stock_version = self.versions.newest_version(INVENTORY).await?;
        self.add_unsold(&mut series, stock_version, &scope).await?;
        let names = format!(
            "SELECT tenant, store, sku, last_value(product_name ORDER BY occurred_at, product_name) AS name \
             FROM curated.\"sales@{sales_version}\" WHERE product_name IS NOT NULL AND {scope} GROUP BY tenant, store, sku"
        );
        let at: HashMap<SeriesKey, usize> =
            series.iter().enumerate().map(|(at, series)| (series.key.clone(), at)).collect();
        let name = |batch: &RecordBatch| {
            let (keys, names) = (Keys::of(batch)?, text(batch, "name")?);
            for row in (0..batch.num_rows()).filter(|row| names.is_valid(*row)) {
                if let Some(at) = at.get(&keys.at(row)) {
                    series[*at].product_name = Some(names.value(row).to_owned());
                }
            }
            Ok(())
        };
        self.each(&names, name).await?;
        let products_version = self.versions.newest_version(PRODUCTS).await?;
        self.categorise(&mut series, products_version, principal).await?;
        let (plans, planned_by) = self.plans(&series, days_ahead).await?;
        let read = [
            (ITEM_DAYS, days_version),
            (SALES, sales_version),
            (PRODUCTS, products_version),
            (INVENTORY, stock_version),
        ];
        let read = read.map(|(table, version)| (table.to_owned(), version)).into_iter();
        let planned_by = planned_by.into_iter().map(|(feed, version)| (of_feed(feed), version));
        Ok(SeriesSet { series, plans, lake_versions: read.chain(planned_by).collect() })
    }

    async fn forecast_days(&self, tenant: &str) -> Result<Vec<ForecastDay>> {
        self.read_forecast_days(tenant).await
    }

    async fn served_days(&self, principal: &Principal, store: &str, sku: &str) -> Result<Vec<ServedDay>> {
        self.read_served_days(principal, store, sku).await
    }

    async fn standing(&self, principal: &Principal, at: &BTreeMap<String, u64>) -> Result<Standing> {
        self.read_standing(principal, at).await
    }
}

impl SeriesReader {
    /// Adds series without a day, of articles that are in stock for the first time in a store which told of its stock before, and have sold nothing yet. Days are those of
    /// UTC here: one more or less is none too many.
    async fn add_unsold(&self, series: &mut Vec<DailySeries>, version: u64, scope: &str) -> Result<()> {
        let sql = format!(
            "WITH told AS (SELECT tenant, store, sku, min(as_of) AS first, last_value(on_hand ORDER BY as_of) AS on_hand FROM curated.\"inventory@{version}\" \
               WHERE {scope} GROUP BY tenant, store, sku), \
             begun AS (SELECT tenant, store, min(first) AS first FROM told GROUP BY tenant, store) \
             SELECT t.tenant, t.store, t.sku, CAST(t.first AS DATE) AS day FROM told AS t JOIN begun AS b ON b.tenant = t.tenant AND b.store = t.store \
             WHERE t.on_hand > 0 AND t.first >= b.first + INTERVAL '{NEW_DAYS} days'"
        );
        let sold: HashSet<SeriesKey> = series.iter().map(|series| series.key.clone()).collect();
        let ends: HashMap<(String, String), NaiveDate> =
            series.iter().map(|of| ((of.key.tenant.clone(), of.key.store.clone()), of.end())).collect();
        let take = |batch: &RecordBatch| {
            let keys = Keys::of(batch)?;
            let days = column(batch, "day", |array| array.as_primitive_opt::<Date32Type>())?;
            for row in 0..batch.num_rows() {
                let key = keys.at(row);
                let first = Date32Type::to_naive_date_opt(days.value(row)).unwrap_or_default();
                let Some(end) = ends.get(&(key.tenant.clone(), key.store.clone())) else { continue };
                let is_new = (0..NEW_DAYS).contains(&(*end - first).num_days());
                if let (true, false, Some(start)) = (is_new, sold.contains(&key), end.succ_opt()) {
                    series.push(DailySeries { start, ..DailySeries::of(key) });
                }
            }
            Ok(())
        };
        self.each(&sql, take).await?;
        series.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(())
    }

    /// Gives each article the category of its newest product record.
    async fn categorise(
        &self,
        series: &mut [DailySeries],
        version: u64,
        principal: &Principal,
    ) -> Result<()> {
        let scope = scope(&standing::whole(principal));
        let sql = format!(
            "SELECT tenant, sku, last_value(category ORDER BY valid_from) AS category FROM curated.\"products@{version}\" \
             WHERE category IS NOT NULL AND {scope} GROUP BY tenant, sku"
        );
        let mut categories: HashMap<(String, String), String> = HashMap::new();
        let take = |batch: &RecordBatch| {
            let (tenants, skus, names) =
                (text(batch, "tenant")?, text(batch, "sku")?, text(batch, "category")?);
            for row in 0..batch.num_rows() {
                let key = (tenants.value(row).to_owned(), skus.value(row).to_owned());
                categories.insert(key, names.value(row).to_owned());
            }
            Ok(())
        };
        self.each(&sql, take).await?;
        for series in series {
            let key = (series.key.tenant.clone(), series.key.sku.clone());
            series.category = categories.get(&key).cloned();
        }
        Ok(())
    }

    /// What is known of the stores' days, from the first of any series on, and the versions that it was read at.
    async fn plans(&self, series: &[DailySeries], days_ahead: usize) -> Result<(Plans, BTreeMap<Feed, u64>)> {
        let mut versions = BTreeMap::new();
        for feed in PLANNED_BY {
            versions.insert(feed, self.versions.newest_version(&of_feed(feed)).await?);
        }
        let mut spans = BTreeMap::new();
        for series in series {
            let key = (series.key.tenant.clone(), series.key.store.clone());
            let ahead = i32::try_from(days_ahead).unwrap_or(i32::MAX);
            let (start, last) = (day_of(series.start), day_of(series.end()).saturating_add(ahead));
            let span = spans.entry(key).or_insert((start, last));
            *span = (span.0.min(start), span.1.max(last));
        }
        let plans = plans(&self.work, &versions, &spans).await?;
        Ok((plans, versions))
    }
}

type Plans = BTreeMap<(String, String), domain::forecast::StorePlan>;

fn of_feed(feed: Feed) -> String {
    format!("curated.{}", feed.name())
}

/// What a principal may see, as a condition.
fn scope(principal: &Principal) -> String {
    match principal {
        Principal::Operator => "true".to_owned(),
        Principal::Tenant { tenant, stores: StoreScope::All } => format!("tenant = {}", literal(tenant)),
        Principal::Tenant { tenant, stores: StoreScope::Only(stores) } if stores.is_empty() => {
            format!("tenant = {} AND false", literal(tenant))
        }
        Principal::Tenant { tenant, stores: StoreScope::Only(stores) } => {
            let stores: Vec<String> = stores.iter().map(|store| literal(store)).collect();
            format!("tenant = {} AND store IN ({})", literal(tenant), stores.join(", "))
        }
    }
}

/// Series in the making, out of days in order.
#[derive(Debug, Default)]
struct Dense {
    done: Vec<DailySeries>,
    /// Where the series of the current store begin.
    store_from: usize,
    /// The greatest day of the current store.
    store_end: NaiveDate,
}

impl Dense {
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let keys = Keys::of(batch)?;
        let days = column(batch, "day", |array| array.as_primitive_opt::<Date32Type>())?;
        let units = column(batch, "units", |array| array.as_primitive_opt::<Float64Type>())?;
        let flag = |name| column(batch, name, |array| array.as_boolean_opt());
        let (sold, moved, stocked_out) = (flag("sold")?, flag("moved")?, flag("stocked_out")?);
        for row in 0..batch.num_rows() {
            let day = Date32Type::to_naive_date_opt(days.value(row))
                .ok_or_else(|| Error::internal(format!("{ITEM_DAYS} holds a day beyond the calendar")))?;
            if moved.value(row) {
                self.day(keys.borrowed(row), day, units.value(row), sold.is_valid(row) && sold.value(row));
            }
            if stocked_out.value(row) {
                self.stocked_out(keys.borrowed(row), day);
            }
        }
        Ok(())
    }

    fn day(&mut self, (tenant, store, sku): (&str, &str, &str), day: NaiveDate, units: f64, sold: bool) {
        let current = self.done.last().map(|series| &series.key);
        let same_store = current.is_some_and(|key| key.tenant == tenant && key.store == store);
        let same_series = same_store && current.is_some_and(|key| key.sku == sku);
        if !same_store {
            self.end_store();
            self.store_end = day;
        }
        if !same_series {
            let key = SeriesKey { tenant: tenant.to_owned(), store: store.to_owned(), sku: sku.to_owned() };
            self.done.push(DailySeries { start: day, ..DailySeries::of(key) });
        }
        self.store_end = self.store_end.max(day);
        if let Some(series) = self.done.last_mut() {
            fill(series, day);
            if let Some(last) = series.units.last_mut() {
                *last = units;
            }
            series.sale_days += usize::from(sold);
        }
    }

    /// A day on which nothing was left, of the series that began last if it is its.
    fn stocked_out(&mut self, (tenant, store, sku): (&str, &str, &str), day: NaiveDate) {
        let is_its = |series: &&mut DailySeries| {
            (series.key.tenant.as_str(), series.key.store.as_str(), series.key.sku.as_str())
                == (tenant, store, sku)
        };
        if let Some(series) = self.done.last_mut().filter(is_its) {
            series.stocked_out.extend(usize::try_from((day - series.start).num_days()));
        }
    }

    /// Every series of a store reaches to the store's last day.
    fn end_store(&mut self) {
        for series in &mut self.done[self.store_from..] {
            fill(series, self.store_end);
            series.stocked_out.retain(|row| *row < series.units.len());
            series.units.shrink_to_fit();
        }
        self.store_from = self.done.len();
    }

    fn finish(mut self) -> Vec<DailySeries> {
        self.end_store();
        self.done
    }
}

/// Fills a series with zeros up to and with `day`.
fn fill(series: &mut DailySeries, day: NaiveDate) {
    let days = usize::try_from((day - series.start).num_days() + 1).unwrap_or(0);
    if days > series.units.len() {
        series.units.resize(days, 0.0);
    }
}

/// The key columns of a batch.
struct Keys<'a> {
    tenants: &'a arrow::array::StringArray,
    stores: &'a arrow::array::StringArray,
    skus: &'a arrow::array::StringArray,
}

impl<'a> Keys<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self { tenants: text(batch, "tenant")?, stores: text(batch, "store")?, skus: text(batch, "sku")? })
    }

    fn borrowed(&self, row: usize) -> (&'a str, &'a str, &'a str) {
        (self.tenants.value(row), self.stores.value(row), self.skus.value(row))
    }

    fn at(&self, row: usize) -> SeriesKey {
        let (tenant, store, sku) = self.borrowed(row);
        SeriesKey { tenant: tenant.to_owned(), store: store.to_owned(), sku: sku.to_owned() }
    }
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a arrow::array::StringArray> {
    column(batch, name, |array| array.as_string_opt::<i32>())
}

fn column<'a, T>(
    batch: &'a RecordBatch,
    name: &str,
    of: impl Fn(&'a dyn Array) -> Option<&'a T>,
) -> Result<&'a T> {
    let found = batch.column_by_name(name).and_then(|array| of(array.as_ref()));
    found.ok_or_else(|| Error::internal(format!("the answer of daily series has no usable column {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn series_are_dense_to_the_last_day_of_their_store() {
        let mut dense = Dense::default();
        for (store, sku, day, units) in [
            ("a", "x", "2011-02-27", 2.0),
            ("a", "x", "2011-03-02", -1.0),
            ("a", "y", "2011-03-01", 5.0),
            ("b", "x", "2012-01-01", 7.0),
            ("b", "y", "2012-01-03", 1.0),
        ] {
            dense.day(("t", store, sku), date(day), units, units > 0.0);
            // The day behind it nothing was left; neither of an article that has not begun, nor behind the store's last day.
            dense.stocked_out(("t", store, sku), date(day) + chrono::Days::new(1));
            dense.stocked_out(("t", store, "z"), date(day));
        }
        let series = dense.finish();
        let out: Vec<&[usize]> = series.iter().map(|series| series.stocked_out.as_slice()).collect();
        assert_eq!(out, [&[1][..], &[1], &[1], &[]]);
        let found: Vec<_> = series
            .iter()
            .map(|s| {
                (s.key.store.as_str(), s.key.sku.as_str(), s.start.to_string(), s.units.clone(), s.sale_days)
            })
            .collect();
        assert_eq!(
            found,
            [
                ("a", "x", "2011-02-27".to_owned(), vec![2.0, 0.0, 0.0, -1.0], 1),
                ("a", "y", "2011-03-01".to_owned(), vec![5.0, 0.0], 1),
                ("b", "x", "2012-01-01".to_owned(), vec![7.0, 0.0, 0.0], 1),
                ("b", "y", "2012-01-03".to_owned(), vec![1.0], 1),
            ]
        );
        assert_eq!(series[0].end(), series[1].end());
    }

    #[test]
    fn a_scope_is_a_condition_that_names_cannot_break_out_of() {
        assert_eq!(scope(&Principal::Operator), "true");
        let tenant = |stores| Principal::Tenant { tenant: "o'neil' OR 'a' = 'a".to_owned(), stores };
        assert_eq!(scope(&tenant(StoreScope::All)), "tenant = 'o''neil'' OR ''a'' = ''a'");
        let stores = StoreScope::Only(["x".to_owned(), "y'".to_owned()].into());
        assert!(scope(&tenant(stores)).ends_with("AND store IN ('x', 'y''')"));
        assert!(scope(&tenant(StoreScope::Only(std::collections::BTreeSet::new()))).ends_with("AND false"));
    }
}
