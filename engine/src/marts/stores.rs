//! Stores as the marts know them: which record holds on which day, and what day it is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Date32Builder, StringBuilder};
use arrow::datatypes::{DataType, Date32Type, TimestampMicrosecondType};
use datafusion::common::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use domain::civil::Micros;
use domain::marts::{Day, DaySet, date_of, day_of};
use domain::table::timestamp;
use domain::zone::Zone;
use domain::{Error, Result};

use super::work::{Columns, Work, day_at, text_at};

/// What holds for a store from a day on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoreRecord {
    pub(super) valid_from: Day,
    pub(super) zone: Zone,
    pub(super) currency: String,
    pub(super) location: Option<String>,
    pub(super) region: Option<String>,
    pub(super) opened_on: Option<Day>,
    pub(super) closed_on: Option<Day>,
}

/// The records of one store, by the day from which they hold; one at least.
#[derive(Debug, Clone, Default)]
pub(super) struct StoreHistory(Vec<StoreRecord>);

impl StoreHistory {
    /// The record that holds on a day: the last one up to it, and before the first one the first.
    pub(super) fn on(&self, day: Day) -> Option<&StoreRecord> {
        self.0.iter().rev().find(|record| record.valid_from <= day).or_else(|| self.0.first())
    }

    /// The business day of an instant: that of the last record whose zone has reached its first day.
    pub(super) fn day(&self, instant: Micros) -> Option<Day> {
        let days = self.0.iter().map(|record| (record, day_of(record.zone.day(instant))));
        let held = days.clone().rev().find(|(record, day)| record.valid_from <= *day);
        held.or_else(|| days.clone().next()).map(|(_, day)| day)
    }

    /// A day's first instant, and that of the day behind it.
    pub(super) fn bounds(&self, day: Day) -> Option<(Micros, Micros)> {
        self.on(day).map(|record| record.zone.bounds(date_of(day)))
    }

    /// Every record.
    pub(super) fn records(&self) -> &[StoreRecord] {
        &self.0
    }
}

/// Every store that has a record, by tenant and store.
#[derive(Debug, Default)]
pub(super) struct Stores(BTreeMap<String, BTreeMap<String, StoreHistory>>);

impl Stores {
    /// The stores at a version of `curated.stores`.
    pub(super) async fn load(work: &Work, version: u64) -> Result<Self> {
        let sql = format!(
            "SELECT tenant, store, valid_from, time_zone, currency, location, region, opened_on, closed_on \
             FROM curated.\"stores@{version}\" ORDER BY tenant, store, valid_from"
        );
        let mut stores = Self::default();
        for batch in work.rows(&sql).await? {
            let columns = Columns(&batch);
            let (tenants, names) = (columns.text("tenant")?, columns.text("store")?);
            let (zones, currencies) = (columns.text("time_zone")?, columns.text("currency")?);
            let (locations, regions) = (columns.text("location")?, columns.text("region")?);
            let valid_from = columns.days("valid_from")?;
            let (opened, closed) = (columns.days("opened_on")?, columns.days("closed_on")?);
            for row in 0..batch.num_rows() {
                let record = StoreRecord {
                    valid_from: valid_from.value(row),
                    zone: Zone::parse(zones.value(row))?,
                    currency: currencies.value(row).to_owned(),
                    location: text_at(locations, row),
                    region: text_at(regions, row),
                    opened_on: day_at(opened, row),
                    closed_on: day_at(closed, row),
                };
                let of_tenant = stores.0.entry(tenants.value(row).to_owned()).or_default();
                of_tenant.entry(names.value(row).to_owned()).or_default().0.push(record);
            }
        }
        Ok(stores)
    }

    /// A store's records; none when it has none.
    pub(super) fn of(&self, tenant: &str, store: &str) -> Option<&StoreHistory> {
        self.0.get(tenant)?.get(store)
    }

    /// Every store: tenant, store, records.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str, &StoreHistory)> {
        self.0.iter().flat_map(|(tenant, stores)| {
            stores.iter().map(move |(store, history)| (tenant.as_str(), store.as_str(), history))
        })
    }
}

/// `business_date(tenant, store, instant)`: the store's business day, null for a store without a record.
pub(super) fn business_date(stores: &Arc<Stores>) -> ScalarUDF {
    let stores = Arc::clone(stores);
    let date = move |arguments: &[ArrayRef]| -> Result<ArrayRef> {
        let (tenants, names) = (texts(&arguments[0])?, texts(&arguments[1])?);
        let instants = arguments[2].as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(unusable)?;
        let mut dates = Date32Builder::with_capacity(instants.len());
        // Rows of a store and a day mostly stand together, and looking into the zone's rules is slow.
        let mut last: Option<(&str, &str, (Micros, Micros), Day)> = None;
        for row in 0..instants.len() {
            let (tenant, store, instant) = (tenants.value(row), names.value(row), instants.value(row));
            if let Some((of, at, (from, to), day)) = last
                && (from..to).contains(&instant)
                && (of, at) == (tenant, store)
            {
                dates.append_value(day);
                continue;
            }
            let history = stores.of(tenant, store);
            let day = history.and_then(|history| history.day(instant));
            dates.append_option(day);
            last = day.and_then(|day| {
                // Where a zone changes, a day's bounds are those of one record alone.
                let history = history.filter(|history| history.records().len() == 1)?;
                Some((tenant, store, history.bounds(day)?, day))
            });
        }
        Ok(Arc::new(dates.finish()))
    };
    function("business_date", vec![DataType::Utf8, DataType::Utf8, timestamp()], DataType::Date32, date)
}

/// `store_currency(tenant, store, date)`.
pub(super) fn store_currency(stores: &Arc<Stores>) -> ScalarUDF {
    let stores = Arc::clone(stores);
    let currency = move |arguments: &[ArrayRef]| -> Result<ArrayRef> {
        let (tenants, names) = (texts(&arguments[0])?, texts(&arguments[1])?);
        let dates = arguments[2].as_primitive_opt::<Date32Type>().ok_or_else(unusable)?;
        let mut currencies = StringBuilder::new();
        for row in 0..dates.len() {
            let history = stores.of(tenants.value(row), names.value(row)).filter(|_| dates.is_valid(row));
            let record = history.and_then(|history| history.on(dates.value(row)));
            currencies.append_option(record.map(|record| record.currency.as_str()));
        }
        Ok(Arc::new(currencies.finish()))
    };
    function(
        "store_currency",
        vec![DataType::Utf8, DataType::Utf8, DataType::Date32],
        DataType::Utf8,
        currency,
    )
}

/// `wanted(tenant, store, date)`: whether a set holds the day; false for no day.
pub(super) fn wanted(days: &Arc<DaySet>) -> ScalarUDF {
    let days = Arc::clone(days);
    let wanted = move |arguments: &[ArrayRef]| -> Result<ArrayRef> {
        let (tenants, names) = (texts(&arguments[0])?, texts(&arguments[1])?);
        let dates = arguments[2].as_primitive_opt::<Date32Type>().ok_or_else(unusable)?;
        let is_wanted = |row| {
            dates.is_valid(row) && days.contains(tenants.value(row), names.value(row), dates.value(row))
        };
        Ok(Arc::new((0..dates.len()).map(|row| Some(is_wanted(row))).collect::<BooleanArray>()))
    };
    function("wanted", vec![DataType::Utf8, DataType::Utf8, DataType::Date32], DataType::Boolean, wanted)
}

/// A function of columns.
pub(crate) fn function(
    name: &str,
    inputs: Vec<DataType>,
    output: DataType,
    of: impl Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    let of_values = move |arguments: &[ColumnarValue]| -> datafusion::common::Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let made = of(&arrays).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(ColumnarValue::Array(made))
    };
    create_udf(name, inputs, output, Volatility::Immutable, Arc::new(of_values))
}

fn texts(array: &ArrayRef) -> Result<&arrow::array::StringArray> {
    array.as_string_opt::<i32>().ok_or_else(unusable)
}

fn unusable() -> Error {
    Error::internal("a function of the marts was given columns of another type")
}
