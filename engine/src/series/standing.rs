//! The stock of a business, the terms of its articles, and their newest forecasts, read by SQL at versions that are named.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, ArrowPrimitiveType, PrimitiveArray, RecordBatch};
use arrow::datatypes::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use domain::decision::{RivalPrice, Standing, StockItem, StoredForecast, TenThousandths};
use domain::forecast::QUANTILE_COLUMNS;
use domain::principal::{Principal, StoreScope};
use domain::{Error, Result};

use super::{INVENTORY, ITEM_DAYS, Keys, PRODUCTS, SALES, SeriesReader, column, scope, text};

const FORECASTS: &str = "marts.forecasts";
const MODELS: &str = "ops.model_versions";
const OVERRIDES: &str = "marts.forecast_overrides";
const PRICES: &str = "curated.prices";

/// Days for which a competitor's price is taken to hold.
const RIVAL_DAYS: u32 = 28;

type Key = (String, String, String);

impl SeriesReader {
    pub(super) async fn read_standing(
        &self,
        principal: &Principal,
        known: &BTreeMap<String, u64>,
    ) -> Result<Standing> {
        let mut lake_versions = BTreeMap::new();
        // Which forecasts are served is read first: they stand there by then.
        for table in [MODELS, FORECASTS, OVERRIDES, INVENTORY, PRICES, PRODUCTS, SALES, ITEM_DAYS] {
            let version = match known.get(table) {
                Some(version) => *version,
                None => self.versions.newest_version(table).await?,
            };
            lake_versions.insert(table.to_owned(), version);
        }
        let at = |table: &str| {
            let (schema, name) = table.split_once('.').unwrap_or_default();
            let version = lake_versions.get(table).copied().unwrap_or_default();
            format!("{schema}.\"{name}@{version}\"")
        };
        let scopes = Scopes { stores: scope(principal), business: scope(&whole(principal)) };
        let mut items = self.stock(&at, &scopes).await?;
        self.sold_since(&mut items, &at, &scopes).await?;
        self.offers(&mut items, &at, &scopes).await?;
        self.rivals(&mut items, &at, &scopes).await?;
        let forecasts = self.forecasts(&items, &at, &scopes).await?;
        Ok(Standing { items: items.into_values().collect(), forecasts, lake_versions })
    }

    /// The newest record of each article in each store; of its terms the newest that tells them.
    async fn stock(&self, at: &impl Fn(&str) -> String, scopes: &Scopes) -> Result<BTreeMap<Key, StockItem>> {
        let newest = |name: &str, sql_type: &str| {
            format!(
                "last_value(CAST({name} AS {sql_type}) ORDER BY as_of) FILTER (WHERE {name} IS NOT NULL) AS {name}"
            )
        };
        let sql = format!(
            "SELECT tenant, store, sku, max(as_of) AS as_of, last_value(CAST(on_hand AS DOUBLE) ORDER BY as_of) AS on_hand, \
             last_value(CAST(on_order AS DOUBLE) ORDER BY as_of) AS on_order, {}, {}, {}, {} FROM {} WHERE {} GROUP BY tenant, store, sku",
            newest("lead_time_days", "BIGINT"),
            newest("pack_size", "DECIMAL(18, 3)"),
            newest("min_order", "DECIMAL(18, 3)"),
            newest("shelf_life_days", "BIGINT"),
            at(INVENTORY),
            scopes.stores
        );
        let mut items = BTreeMap::new();
        let take = |batch: &RecordBatch| {
            let keys = Keys::of(batch)?;
            let counted_at = values::<TimestampMicrosecondType>(batch, "as_of")?;
            let (on_hand, on_order) =
                (values::<Float64Type>(batch, "on_hand")?, values::<Float64Type>(batch, "on_order")?);
            let terms = Terms::of(batch)?;
            for row in 0..batch.num_rows() {
                let (tenant, store, sku) = keys.borrowed(row);
                let mut item = StockItem {
                    store: store.to_owned(),
                    sku: sku.to_owned(),
                    counted_at: counted_at.value(row),
                    on_hand: on_hand.value(row),
                    on_order: found(on_order, row).unwrap_or_default(),
                    ..StockItem::default()
                };
                terms.fill(&mut item, row);
                items.insert((tenant.to_owned(), store.to_owned(), sku.to_owned()), item);
            }
            Ok(())
        };
        self.each(&sql, take).await?;
        Ok(items)
    }

    /// What was sold behind the instants of the stock.
    async fn sold_since(
        &self,
        items: &mut BTreeMap<Key, StockItem>,
        at: &impl Fn(&str) -> String,
        scopes: &Scopes,
    ) -> Result<()> {
        let Some(first) = items.values().map(|item| item.counted_at).min() else { return Ok(()) };
        let sql = format!(
            "WITH counted AS (SELECT tenant, store, sku, max(as_of) AS as_of FROM {} WHERE {scope} GROUP BY tenant, store, sku), \
             sold AS (SELECT tenant, store, sku, occurred_at, quantity FROM {} WHERE {scope} AND occurred_at > to_timestamp_micros({first})) \
             SELECT s.tenant, s.store, s.sku, CAST(sum(s.quantity) AS DOUBLE) AS units FROM sold AS s JOIN counted AS c \
             ON s.tenant = c.tenant AND s.store = c.store AND s.sku = c.sku WHERE s.occurred_at > c.as_of GROUP BY s.tenant, s.store, s.sku",
            at(INVENTORY),
            at(SALES),
            scope = scopes.stores
        );
        let take = |batch: &RecordBatch| {
            let (keys, units) = (Keys::of(batch)?, values::<Float64Type>(batch, "units")?);
            for row in 0..batch.num_rows() {
                let (tenant, store, sku) = keys.borrowed(row);
                if let Some(item) = items.get_mut(&(tenant.to_owned(), store.to_owned(), sku.to_owned())) {
                    item.sold_since = units.value(row);
                }
            }
            Ok(())
        };
        self.each(&sql, take).await
    }

    /// What articles cost and are offered for, and the terms that no stock record tells: the newest that holds by the last known day.
    async fn offers(
        &self,
        items: &mut BTreeMap<Key, StockItem>,
        at: &impl Fn(&str) -> String,
        scopes: &Scopes,
    ) -> Result<()> {
        let newest = |name: &str, sql_type: &str| {
            format!(
                "last_value(CAST({name} AS {sql_type}) ORDER BY valid_from) FILTER (WHERE {name} IS NOT NULL) AS {name}"
            )
        };
        let sql = format!(
            "SELECT tenant, sku, {}, {}, {}, {}, {}, {}, last_value(currency ORDER BY valid_from) FILTER (WHERE currency IS NOT NULL) AS currency \
             FROM {} WHERE {scope} AND valid_from <= (SELECT max(date) FROM {} WHERE {scope}) GROUP BY tenant, sku",
            newest("unit_cost", "DECIMAL(18, 4)"),
            newest("list_price", "DECIMAL(18, 4)"),
            newest("lead_time_days", "BIGINT"),
            newest("pack_size", "DECIMAL(18, 3)"),
            newest("min_order", "DECIMAL(18, 3)"),
            newest("shelf_life_days", "BIGINT"),
            at(PRODUCTS),
            at(ITEM_DAYS),
            scope = scopes.business
        );
        let mut offers: HashMap<(String, String), StockItem> = HashMap::new();
        let take = |batch: &RecordBatch| {
            let (tenants, skus, currencies) =
                (text(batch, "tenant")?, text(batch, "sku")?, text(batch, "currency")?);
            let (costs, prices) = (
                values::<Decimal128Type>(batch, "unit_cost")?,
                values::<Decimal128Type>(batch, "list_price")?,
            );
            let terms = Terms::of(batch)?;
            for row in 0..batch.num_rows() {
                let mut offer = StockItem {
                    unit_cost: found(costs, row),
                    price: found(prices, row),
                    currency: currencies.is_valid(row).then(|| currencies.value(row).to_owned()),
                    ..StockItem::default()
                };
                terms.fill(&mut offer, row);
                offers.insert((tenants.value(row).to_owned(), skus.value(row).to_owned()), offer);
            }
            Ok(())
        };
        self.each(&sql, take).await?;
        for ((tenant, _, sku), item) in items {
            let Some(offer) = offers.get(&(tenant.clone(), sku.clone())) else { continue };
            item.unit_cost = offer.unit_cost;
            item.price = offer.price;
            item.currency.clone_from(&offer.currency);
            item.lead_time_days = item.lead_time_days.or(offer.lead_time_days);
            item.pack_size = item.pack_size.or(offer.pack_size);
            item.min_order = item.min_order.or(offer.min_order);
            item.shelf_life_days = item.shelf_life_days.or(offer.shelf_life_days);
        }
        Ok(())
    }

    /// The lowest of what competitors asked last, in the currency of the own price.
    async fn rivals(
        &self,
        items: &mut BTreeMap<Key, StockItem>,
        at: &impl Fn(&str) -> String,
        scopes: &Scopes,
    ) -> Result<()> {
        let sql = format!(
            "SELECT tenant, sku, competitor, currency, max(observed_at) AS observed_at, last_value(price ORDER BY observed_at) AS price FROM {} \
             WHERE {scope} AND observed_at >= (SELECT max(date) FROM {} WHERE {scope}) - INTERVAL '{RIVAL_DAYS} days' \
             GROUP BY tenant, sku, competitor, currency ORDER BY tenant, sku, price, competitor",
            at(PRICES),
            at(ITEM_DAYS),
            scope = scopes.business
        );
        let mut lowest: HashMap<(String, String, String), RivalPrice> = HashMap::new();
        let take = |batch: &RecordBatch| {
            let (tenants, skus) = (text(batch, "tenant")?, text(batch, "sku")?);
            let (competitors, currencies) = (text(batch, "competitor")?, text(batch, "currency")?);
            let (instants, prices) = (
                values::<TimestampMicrosecondType>(batch, "observed_at")?,
                values::<Decimal128Type>(batch, "price")?,
            );
            for row in 0..batch.num_rows() {
                let key = [tenants, skus, currencies].map(|column| column.value(row).to_owned());
                lowest.entry(key.into()).or_insert_with(|| RivalPrice {
                    competitor: competitors.value(row).to_owned(),
                    price: prices.value(row),
                    observed_at: instants.value(row),
                });
            }
            Ok(())
        };
        self.each(&sql, take).await?;
        for ((tenant, _, sku), item) in items {
            let key = item.currency.as_ref().map(|currency| (tenant.clone(), sku.clone(), currency.clone()));
            item.rival = key.and_then(|key| lowest.get(&key).cloned());
        }
        Ok(())
    }

    /// Of each article with a stock, the forecast that is served. Where a planner expects something else of a day, all of its distribution moves with the mean.
    async fn forecasts(
        &self,
        items: &BTreeMap<Key, StockItem>,
        at: &impl Fn(&str) -> String,
        scopes: &Scopes,
    ) -> Result<Vec<StoredForecast>> {
        let moved = |column: &str| {
            format!(
                "CASE WHEN w.units IS NULL THEN f.{column} WHEN f.mean > 0 THEN f.{column} * w.units / f.mean ELSE w.units END AS {column}"
            )
        };
        let figures =
            std::iter::once("mean").chain(QUANTILE_COLUMNS).map(moved).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT f.tenant, f.store, f.sku, f.origin, f.model_version, {figures} FROM \
             (SELECT tenant, last_value(served_version ORDER BY number) AS served_version FROM {} WHERE {} GROUP BY tenant) AS s JOIN \
             (SELECT * FROM {} WHERE level = 'sku' AND {scope}) AS f ON f.tenant = s.tenant AND f.model_version = s.served_version LEFT JOIN \
             (SELECT tenant, store, sku, forecast_date, last_value(units ORDER BY at) AS units FROM {} WHERE {scope} \
              GROUP BY tenant, store, sku, forecast_date) AS w \
             ON w.tenant = f.tenant AND w.store = f.store AND w.sku = f.sku AND w.forecast_date = f.forecast_date \
             ORDER BY f.tenant, f.store, f.sku, f.forecast_date",
            at(MODELS),
            scopes.business,
            at(FORECASTS),
            at(OVERRIDES),
            scope = scopes.stores
        );
        let mut forecasts: Vec<StoredForecast> = Vec::new();
        let take = |batch: &RecordBatch| {
            let (keys, versions) = (Keys::of(batch)?, text(batch, "model_version")?);
            let (origins, means) =
                (values::<Date32Type>(batch, "origin")?, values::<Float64Type>(batch, "mean")?);
            let quantiles: Vec<_> = QUANTILE_COLUMNS
                .into_iter()
                .map(|name| values::<Float64Type>(batch, name))
                .collect::<Result<_>>()?;
            for row in 0..batch.num_rows() {
                let (tenant, store, sku) = keys.borrowed(row);
                if !items.contains_key(&(tenant.to_owned(), store.to_owned(), sku.to_owned())) {
                    continue;
                }
                let day = (means.value(row), std::array::from_fn(|at| quantiles[at].value(row)));
                match forecasts.last_mut() {
                    Some(last) if last.store == store && last.sku == sku => last.days.push(day),
                    _ => forecasts.push(StoredForecast {
                        store: store.to_owned(),
                        sku: sku.to_owned(),
                        origin: Date32Type::to_naive_date_opt(origins.value(row)).ok_or_else(|| {
                            Error::internal(format!("{FORECASTS} holds a day beyond the calendar"))
                        })?,
                        model_version: versions.value(row).to_owned(),
                        days: vec![day],
                    }),
                }
            }
            Ok(())
        };
        self.each(&sql, take).await?;
        Ok(forecasts)
    }
}

/// What a principal may see, as conditions on tables with stores and on those of the whole business.
struct Scopes {
    stores: String,
    business: String,
}

/// The business of a principal, with all its stores.
pub(super) fn whole(principal: &Principal) -> Principal {
    match principal {
        Principal::Operator => Principal::Operator,
        Principal::Tenant { tenant, .. } => {
            Principal::Tenant { tenant: tenant.clone(), stores: StoreScope::All }
        }
    }
}

/// The columns of terms.
struct Terms<'a> {
    lead_times: &'a PrimitiveArray<Int64Type>,
    packs: &'a PrimitiveArray<Decimal128Type>,
    least: &'a PrimitiveArray<Decimal128Type>,
    shelf_lives: &'a PrimitiveArray<Int64Type>,
}

impl<'a> Terms<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self {
            lead_times: values(batch, "lead_time_days")?,
            packs: values(batch, "pack_size")?,
            least: values(batch, "min_order")?,
            shelf_lives: values(batch, "shelf_life_days")?,
        })
    }

    fn fill(&self, item: &mut StockItem, row: usize) {
        let days = |column| found::<Int64Type>(column, row).and_then(|days| u32::try_from(days).ok());
        let units = |column| {
            found::<Decimal128Type>(column, row).and_then(|units: TenThousandths| i64::try_from(units).ok())
        };
        item.lead_time_days = days(self.lead_times);
        item.shelf_life_days = days(self.shelf_lives);
        item.pack_size = units(self.packs);
        item.min_order = units(self.least);
    }
}

pub(super) fn values<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a PrimitiveArray<T>> {
    column(batch, name, |array| arrow::array::AsArray::as_primitive_opt::<T>(array))
}

fn found<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    column.is_valid(row).then(|| column.value(row))
}
