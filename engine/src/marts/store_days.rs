//! `marts.store_days`: what a store did on each of its business days, and what the day was like there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use domain::marts::{Day, DaySet, Mart, StoreDays, month_of};
use domain::{Feed, Result};

use super::posts::{Feeling, Posts};
use super::sold::{Sold, SoldColumns, Sums, batch, lines, sums};
use super::stores::{StoreHistory, StoreRecord, Stores, business_date, store_currency, wanted};
use super::surroundings::{Events, Surroundings, WEATHER_FIGURES};
use super::windows::Windows;
use super::work::{Columns, Work};

/// The first and the last day on which each store sold, by tenant and store.
pub(super) type Spans = BTreeMap<(String, String), (Day, Day)>;

/// The rows of days, by month. A store of which all days are wanted spans from its first sale to its last; `spans` tells it of the others.
pub(super) async fn rows(
    work: &Work,
    stores: &Arc<Stores>,
    versions: &BTreeMap<Feed, u64>,
    days: &Arc<DaySet>,
    spans: &Spans,
) -> Result<Vec<(String, RecordBatch)>> {
    let windows = Windows::of(days);
    let totals = totals(work, stores, versions, days, &windows).await?;
    let wanted = wanted_days(stores, days, spans, &totals);
    let all = || wanted.iter().flat_map(|(_, _, _, days)| days.iter().copied());
    let (Some(first), Some(last)) = (all().min(), all().max()) else { return Ok(Vec::new()) };
    let windows = windows.within(first, last);
    let records = || wanted.iter().flat_map(|(_, _, history, _)| history.records());
    let locations: BTreeSet<&str> = records().filter_map(|record| record.location.as_deref()).collect();
    let places: BTreeSet<&str> = records().flat_map(topics).collect();
    let version = versions.get(&Feed::Sentiment).copied().unwrap_or_default();
    let posts = Posts::load(work, version, &places, &windows).await?;
    let known = Surroundings::load(work, versions, &locations, &windows, (first, last)).await?;
    let mut months: BTreeMap<String, Rows> = BTreeMap::new();
    for (tenant, store, history, days) in &wanted {
        for day in days {
            let Some(record) = history.on(*day) else { continue };
            let sold =
                totals.get(*tenant).and_then(|stores| stores.get(*store)).and_then(|days| days.get(day));
            let bounds = history.bounds(*day).unwrap_or_default();
            months.entry(month_of(*day)).or_default().push(&Row {
                tenant,
                store,
                day: *day,
                record,
                sold: sold.copied().unwrap_or_default(),
                is_in_business: is_in_business(history, *day),
                events: known.events(tenant, store, record, *day),
                signals: known.signals(tenant, store, record, *day),
                feeling: posts.feeling(topics(record), bounds),
                known: &known,
            });
        }
    }
    months.into_iter().map(|(month, rows)| Ok((month, rows.finish()?))).collect()
}

/// The topics that are a store's place.
fn topics(record: &StoreRecord) -> impl Iterator<Item = &str> {
    let (location, region) = (record.location.as_deref(), record.region.as_deref());
    location.into_iter().chain(region.filter(|region| Some(*region) != location))
}

/// Whether a store was opened and not yet closed for good; the newest record tells.
pub(super) fn is_in_business(history: &StoreHistory, day: Day) -> bool {
    let newest = history.records().last();
    newest.is_none_or(|record| {
        record.opened_on.is_none_or(|opened| opened <= day)
            && record.closed_on.is_none_or(|closed| day < closed)
    })
}

type Totals = HashMap<String, HashMap<String, BTreeMap<Day, Sold>>>;

async fn totals(
    work: &Work,
    stores: &Arc<Stores>,
    versions: &BTreeMap<Feed, u64>,
    days: &Arc<DaySet>,
    windows: &Windows,
) -> Result<Totals> {
    let work = work.with([business_date(stores), store_currency(stores), wanted(days)]);
    let sales = versions.get(&Feed::Sales).copied().unwrap_or_default();
    let sql = format!(
        "SELECT l.tenant, l.store, l.date, {} FROM {} GROUP BY l.tenant, l.store, l.date",
        sums(),
        lines(sales, windows)
    );
    let mut totals = Totals::default();
    for found in work.rows(&sql).await? {
        let (columns, sums) = (Columns(&found), Sums::of(&found)?);
        let (tenants, names, dates) =
            (columns.text("tenant")?, columns.text("store")?, columns.days("date")?);
        for row in 0..found.num_rows() {
            let of_tenant = totals.entry(tenants.value(row).to_owned()).or_default();
            let of_store = of_tenant.entry(names.value(row).to_owned()).or_default();
            of_store.insert(dates.value(row), sums.at(row));
        }
    }
    Ok(totals)
}

/// Every store with its wanted days inside its span.
fn wanted_days<'a>(
    stores: &'a Stores,
    days: &DaySet,
    spans: &Spans,
    totals: &Totals,
) -> Vec<(&'a str, &'a str, &'a StoreHistory, Vec<Day>)> {
    let of = |(tenant, store, history): (&'a str, &'a str, &'a StoreHistory)| {
        let days: Vec<Day> = match days.of(tenant, store)? {
            StoreDays::All => {
                let sold = totals.get(tenant)?.get(store)?;
                (*sold.first_key_value()?.0..=*sold.last_key_value()?.0).collect()
            }
            StoreDays::Only(days) => {
                let (first, last) = spans.get(&(tenant.to_owned(), store.to_owned()))?;
                days.range(*first..=*last).copied().collect()
            }
        };
        (!days.is_empty()).then_some((tenant, store, history, days))
    };
    stores.all().filter_map(of).collect()
}

/// A day of a store.
struct Row<'a> {
    tenant: &'a str,
    store: &'a str,
    day: Day,
    record: &'a StoreRecord,
    sold: Sold,
    is_in_business: bool,
    events: Events,
    signals: Option<String>,
    feeling: Feeling,
    known: &'a Surroundings,
}

/// Rows in the making, column by column.
#[derive(Default)]
struct Rows {
    keys: [Vec<String>; 2],
    dates: Vec<Day>,
    sold: SoldColumns,
    /// Currency and time zone.
    held: [Vec<String>; 2],
    /// Closed, school holiday, promotion.
    flags: [Vec<bool>; 3],
    /// Kind of weather, condition, holiday, events, signals.
    texts: [Vec<Option<String>>; 5],
    figures: [Vec<Option<f64>>; WEATHER_FIGURES.len()],
    attendance: Vec<Option<i64>>,
    feelings: Vec<Feeling>,
}

impl Rows {
    fn push(&mut self, row: &Row<'_>) {
        let record = row.record;
        let weather = row.known.weather(record.location.as_deref(), row.day);
        self.keys[0].push(row.tenant.to_owned());
        self.keys[1].push(row.store.to_owned());
        self.dates.push(row.day);
        self.sold.push(&row.sold);
        self.held[0].push(record.currency.clone());
        self.held[1].push(record.zone.name().to_owned());
        let events = &row.events;
        let flags = [events.is_closed || !row.is_in_business, events.is_school_holiday, events.is_promotion];
        self.flags.iter_mut().zip(flags).for_each(|(column, flag)| column.push(flag));
        let texts = [
            weather.map(|weather| weather.kind.clone()),
            weather.and_then(|weather| weather.condition.clone()),
            events.holiday.clone(),
            events.json.clone(),
            row.signals.clone(),
        ];
        self.texts.iter_mut().zip(texts).for_each(|(column, text)| column.push(text));
        for (at, column) in self.figures.iter_mut().enumerate() {
            column.push(weather.and_then(|weather| weather.figures[at]));
        }
        self.attendance.push(events.attendance);
        self.feelings.push(row.feeling);
    }

    fn finish(self) -> Result<RecordBatch> {
        let required = |texts: Vec<String>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
        let flag = |flags: Vec<bool>| -> ArrayRef { Arc::new(BooleanArray::from(flags)) };
        let text = |texts: Vec<Option<String>>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
        let [tenants, stores] = self.keys;
        let [currencies, zones] = self.held;
        let [closed, school_holidays, promotions] = self.flags;
        let [kinds, conditions, holidays, events, signals] = self.texts;
        let mut arrays = vec![
            required(tenants),
            required(stores),
            Arc::new(Date32Array::from(self.dates)) as ArrayRef,
            flag(closed),
            required(currencies),
            required(zones),
        ];
        arrays.extend(self.sold.finish()?);
        arrays.push(text(kinds));
        arrays.extend(self.figures.map(|figures| Arc::new(Float64Array::from(figures)) as ArrayRef));
        arrays.extend([
            text(conditions),
            text(holidays),
            flag(school_holidays),
            flag(promotions),
            text(events),
            Arc::new(Int64Array::from(self.attendance)),
            text(signals),
            Arc::new(self.feelings.iter().map(|feeling| feeling.score).collect::<Float64Array>()),
            Arc::new(self.feelings.iter().map(|feeling| feeling.posts).collect::<Int64Array>()),
        ]);
        batch(&Mart::StoreDays.columns(), arrays)
    }
}
