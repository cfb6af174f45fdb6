//! Which days a change touches. Too many do no harm, for each is made anew as a whole; one too few would be a wrong row.
//!
//! Where a store's own record changed, or rows of sales went, the whole store is made anew: so days never have to be known as an earlier state had them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::TimestampMicrosecondType;
use domain::civil::{self, Micros};
use domain::marts::{Day, DaySet, Mart, day_of};
use domain::ports::{Changed, Changes, MartState};
use domain::{Feed, Result};

use super::posts::named;
use super::store_days::Spans;
use super::stores::{StoreRecord, Stores, business_date};
use super::surroundings::{is_for, own_region, regions};
use super::work::{Columns, Work, text_at};

/// The days of a mart that have to be made anew.
#[derive(Debug)]
pub(super) struct Affected {
    pub(super) days: DaySet,
    /// From a store's first sale to its last, with what changed; of `marts.store_days` alone.
    pub(super) spans: Spans,
    /// Why everything is made anew, where it is.
    pub(super) rebuilt_because: Option<String>,
}

impl Affected {
    pub(super) fn everything(reason: impl Into<String>) -> Self {
        Self { days: DaySet::Everything, spans: Spans::new(), rebuilt_because: Some(reason.into()) }
    }
}

/// Looks for changes between what a mart is made from and newer versions.
pub(super) struct Search<'a> {
    pub(super) work: Work,
    pub(super) changes: &'a dyn Changes,
    pub(super) stores: &'a Arc<Stores>,
    pub(super) mart: Mart,
    pub(super) state: &'a MartState,
    pub(super) target: &'a BTreeMap<Feed, u64>,
}

impl Search<'_> {
    pub(super) async fn run(self) -> Result<Affected> {
        let mut changed: BTreeMap<Feed, Changed> = BTreeMap::new();
        for source in self.mart.sources() {
            let (Some(&from), Some(&to)) = (self.state.sources.get(source), self.target.get(source)) else {
                return Ok(Affected::everything("it was not made before"));
            };
            let name = source.name();
            if from > to {
                return Ok(Affected::everything(format!("curated.{name} is at {to}, before {from}")));
            }
            match self.changes.changed(*source, from, to).await? {
                None => {
                    let reason = format!(
                        "what changed in curated.{name} after version {from} cannot be read any more"
                    );
                    return Ok(Affected::everything(reason));
                }
                Some(Changed { files: 0, .. }) => {}
                Some(change) => drop(changed.insert(*source, change)),
            }
        }
        let mut days = DaySet::default();
        let mut spans = match self.mart {
            Mart::StoreDays if !changed.is_empty() => self.spans().await?,
            _ => Spans::new(),
        };
        for (source, change) in changed {
            match source {
                Feed::Sales => self.sales(change, &mut days, &mut spans).await?,
                Feed::Stores => self.whole_stores(source, &mut days).await?,
                Feed::Inventory => self.stock(&mut days).await?,
                Feed::Prices => self.prices(&mut days).await?,
                Feed::Weather => self.weather(&spans, &mut days).await?,
                Feed::Events => self.events(&spans, &mut days).await?,
                Feed::Signals => self.signals(&spans, &mut days).await?,
                Feed::Sentiment => self.posts(&spans, &mut days).await?,
                Feed::Products => {}
            }
        }
        Ok(Affected { days, spans, rebuilt_because: None })
    }

    /// The name under which what changed in a feed is read.
    fn tail(&self, feed: Feed) -> String {
        let version = |versions: &BTreeMap<Feed, u64>| versions.get(&feed).copied().unwrap_or_default();
        format!("raw.\"{}@{}..{}\"", feed.name(), version(&self.state.sources), version(self.target))
    }

    fn all(&self, feed: Feed) -> String {
        format!("raw.\"{}@{}\"", feed.name(), self.target.get(&feed).copied().unwrap_or_default())
    }

    async fn spans(&self) -> Result<Spans> {
        let sql = format!(
            "SELECT tenant, store, min(date) AS first, max(date) AS last FROM marts.\"store_days@{}\" GROUP BY tenant, store",
            self.state.version
        );
        let mut spans = Spans::new();
        for batch in self.work.rows(&sql).await? {
            let columns = Columns(&batch);
            let (tenants, stores) = (columns.text("tenant")?, columns.text("store")?);
            let (first, last) = (columns.days("first")?, columns.days("last")?);
            for row in 0..batch.num_rows() {
                let store = (tenants.value(row).to_owned(), stores.value(row).to_owned());
                spans.insert(store, (first.value(row), last.value(row)));
            }
        }
        Ok(spans)
    }

    /// Days on which something came, by store; those of stores without a record wait for it.
    async fn days_of(
        &self,
        from: &str,
        instant: &str,
        condition: &str,
    ) -> Result<Vec<(String, String, Day)>> {
        let sql = format!(
            "SELECT DISTINCT d.tenant, d.store, d.date FROM \
             (SELECT tenant, store, business_date(tenant, store, {instant}) AS date FROM {from} WHERE {condition}) AS d \
             WHERE d.date IS NOT NULL"
        );
        let mut days = Vec::new();
        for batch in self.work.with([business_date(self.stores)]).rows(&sql).await? {
            let columns = Columns(&batch);
            let (tenants, stores, dates) =
                (columns.text("tenant")?, columns.text("store")?, columns.days("date")?);
            let of = |row| (tenants.value(row).to_owned(), stores.value(row).to_owned(), dates.value(row));
            days.extend((0..batch.num_rows()).map(of));
        }
        Ok(days)
    }

    async fn whole_stores(&self, feed: Feed, days: &mut DaySet) -> Result<()> {
        let sql = format!("SELECT DISTINCT tenant, store FROM {}", self.tail(feed));
        for batch in self.work.rows(&sql).await? {
            let (tenants, stores) = (Columns(&batch).text("tenant")?, Columns(&batch).text("store")?);
            (0..batch.num_rows()).for_each(|row| days.insert_store(tenants.value(row), stores.value(row)));
        }
        Ok(())
    }

    /// A sale touches its day; one before a store's first day or behind its last touches the days between too.
    async fn sales(&self, change: Changed, days: &mut DaySet, spans: &mut Spans) -> Result<()> {
        if change.removes {
            return self.whole_stores(Feed::Sales, days).await;
        }
        for (tenant, store, day) in
            self.days_of(&self.tail(Feed::Sales), "occurred_at", "NOT _duplicate").await?
        {
            days.insert(&tenant, &store, [day]);
            if self.mart == Mart::StoreDays {
                let (first, last) = spans.entry((tenant.clone(), store.clone())).or_insert((day, day));
                days.insert(&tenant, &store, day..*first);
                days.insert(&tenant, &store, *last + 1..=day);
                (*first, *last) = ((*first).min(day), (*last).max(day));
            }
        }
        Ok(())
    }

    async fn stock(&self, days: &mut DaySet) -> Result<()> {
        for (tenant, store, day) in self.days_of(&self.tail(Feed::Inventory), "as_of", "true").await? {
            days.insert(&tenant, &store, [day]);
        }
        Ok(())
    }

    /// A price holds from the day on which it was seen.
    async fn prices(&self, days: &mut DaySet) -> Result<()> {
        let sql = format!(
            "SELECT tenant, sku, min(observed_at) AS since FROM {} GROUP BY tenant, sku",
            self.tail(Feed::Prices)
        );
        let mut since: HashMap<(String, String), Day> = HashMap::new();
        for batch in self.work.rows(&sql).await? {
            let columns = Columns(&batch);
            let (tenants, skus) = (columns.text("tenant")?, columns.text("sku")?);
            let instants = columns.primitive::<TimestampMicrosecondType>("since")?;
            for row in 0..batch.num_rows() {
                let day = day_of(civil::day(instants.value(row))) - 1;
                since.insert((tenants.value(row).to_owned(), skus.value(row).to_owned()), day);
            }
        }
        let skus = since.keys().map(|(_, sku)| sku.as_str()).collect();
        for item in self.items(&skus).await? {
            if since.get(&(item.tenant.clone(), item.sku.clone())).is_some_and(|since| item.day >= *since) {
                days.insert(&item.tenant, &item.store, [item.day]);
            }
        }
        Ok(())
    }

    /// The rows of `marts.item_days` with some articles.
    async fn items(&self, skus: &std::collections::BTreeSet<&str>) -> Result<Vec<Item>> {
        if skus.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT tenant, store, sku, date FROM marts.\"item_days@{}\" WHERE {}",
            self.state.version,
            named("sku", skus)
        );
        let mut items = Vec::new();
        for batch in self.work.rows(&sql).await? {
            let columns = Columns(&batch);
            let (tenants, stores) = (columns.text("tenant")?, columns.text("store")?);
            let (names, dates) = (columns.text("sku")?, columns.days("date")?);
            items.extend((0..batch.num_rows()).filter(|row| skus.contains(names.value(*row))).map(|row| {
                Item {
                    tenant: tenants.value(row).to_owned(),
                    store: stores.value(row).to_owned(),
                    sku: names.value(row).to_owned(),
                    day: dates.value(row),
                }
            }));
        }
        Ok(items)
    }

    async fn weather(&self, spans: &Spans, days: &mut DaySet) -> Result<()> {
        let sql = format!("SELECT DISTINCT location, observed_for FROM {}", self.tail(Feed::Weather));
        let mut seen: HashMap<String, Vec<Day>> = HashMap::new();
        for batch in self.work.rows(&sql).await? {
            let (places, dates) = (Columns(&batch).text("location")?, Columns(&batch).days("observed_for")?);
            for row in 0..batch.num_rows() {
                seen.entry(places.value(row).to_owned()).or_default().push(dates.value(row));
            }
        }
        self.in_stores(spans, days, |_, _, record| {
            let seen = record.location.as_ref().and_then(|location| seen.get(location));
            seen.into_iter().flatten().map(|day| (*day, *day)).collect()
        });
        Ok(())
    }

    /// All records of the events that changed, for an event may have been on other days, or elsewhere, before.
    async fn events(&self, spans: &Spans, days: &mut DaySet) -> Result<()> {
        let sql = format!(
            "SELECT DISTINCT e.tenant, e.region AS place, e.starts_on, e.ends_on FROM {} AS e JOIN \
             (SELECT DISTINCT tenant, event_id FROM {}) AS c ON e.event_id = c.event_id AND e.tenant IS NOT DISTINCT FROM c.tenant",
            self.all(Feed::Events),
            self.tail(Feed::Events)
        );
        let ranges = self.ranges(&sql).await?;
        self.in_stores(spans, days, |tenant, store, record| {
            let own = own_region(store);
            let places = regions(record.region.as_deref()).chain([own.as_str()]);
            places.flat_map(|place| ranges.of(place, tenant)).collect()
        });
        Ok(())
    }

    async fn signals(&self, spans: &Spans, days: &mut DaySet) -> Result<()> {
        let sql = format!(
            "SELECT DISTINCT s.tenant, s.key AS place, s.starts_on, s.ends_on FROM {} AS s JOIN \
             (SELECT DISTINCT tenant, source, key, starts_on FROM {}) AS c ON s.source = c.source AND s.key = c.key \
             AND s.starts_on = c.starts_on AND s.tenant IS NOT DISTINCT FROM c.tenant",
            self.all(Feed::Signals),
            self.tail(Feed::Signals)
        );
        let ranges = self.ranges(&sql).await?;
        self.in_stores(spans, days, |tenant, store, record| {
            let own = own_region(store);
            let places = record.region.as_deref().into_iter().chain([own.as_str()]);
            places.flat_map(|place| ranges.of(place, tenant)).collect()
        });
        Ok(())
    }

    async fn ranges(&self, sql: &str) -> Result<Ranges> {
        let mut ranges = Ranges::default();
        for batch in self.work.rows(sql).await? {
            let columns = Columns(&batch);
            let (tenants, places) = (columns.text("tenant")?, columns.text("place")?);
            let (starts, ends) = (columns.days("starts_on")?, columns.days("ends_on")?);
            for row in 0..batch.num_rows() {
                let of_place = ranges.0.entry(places.value(row).to_owned()).or_default();
                of_place.push((text_at(tenants, row), starts.value(row), ends.value(row)));
            }
        }
        Ok(ranges)
    }

    /// All records of the posts that changed, for a post may have had another time before.
    async fn posts(&self, spans: &Spans, days: &mut DaySet) -> Result<()> {
        let sql = format!(
            "SELECT DISTINCT p.topic, p.posted_at FROM {} AS p JOIN (SELECT DISTINCT source, post_id, topic FROM {}) AS c \
             ON p.source = c.source AND p.post_id = c.post_id AND p.topic = c.topic",
            self.all(Feed::Sentiment),
            self.tail(Feed::Sentiment)
        );
        let mut posted: HashMap<String, Vec<Micros>> = HashMap::new();
        for batch in self.work.rows(&sql).await? {
            let columns = Columns(&batch);
            let topics = columns.text("topic")?;
            let instants = columns.primitive::<TimestampMicrosecondType>("posted_at")?;
            for row in 0..batch.num_rows() {
                posted.entry(topics.value(row).to_owned()).or_default().push(instants.value(row));
            }
        }
        // A day in any zone is the day in UTC, the one before or the one behind.
        let around = |at: &Micros| {
            let day = day_of(civil::day(*at));
            (day - 1, day + 1)
        };
        match self.mart {
            Mart::StoreDays => self.in_stores(spans, days, |_, _, record| {
                let places = record.location.iter().chain(record.region.iter());
                places.filter_map(|place| posted.get(place)).flatten().map(around).collect()
            }),
            Mart::ItemDays => {
                for item in self.items(&posted.keys().map(String::as_str).collect()).await? {
                    let near = |at| (around(at).0..=around(at).1).contains(&item.day);
                    if posted.get(&item.sku).is_some_and(|posted| posted.iter().any(near)) {
                        days.insert(&item.tenant, &item.store, [item.day]);
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds ranges of days to stores, as far as they lie in their spans.
    fn in_stores(
        &self,
        spans: &Spans,
        days: &mut DaySet,
        of: impl Fn(&str, &str, &StoreRecord) -> Vec<(Day, Day)>,
    ) {
        for (tenant, store, history) in self.stores.all() {
            let Some((first, last)) = spans.get(&(tenant.to_owned(), store.to_owned())) else { continue };
            for record in history.records() {
                for (from, to) in of(tenant, store, record) {
                    days.insert(tenant, store, from.max(*first)..=to.min(*last));
                }
            }
        }
    }
}

/// A row of `marts.item_days`.
struct Item {
    tenant: String,
    store: String,
    sku: String,
    day: Day,
}

/// Ranges of days by place, each for a tenant or for all.
#[derive(Debug, Default)]
struct Ranges(HashMap<String, Vec<(Option<String>, Day, Day)>>);

impl Ranges {
    fn of<'a>(&'a self, place: &str, tenant: &'a str) -> impl Iterator<Item = (Day, Day)> + use<'a> {
        let ranges = self.0.get(place).into_iter().flatten();
        ranges.filter(move |(whom, ..)| is_for(whom.as_deref(), tenant)).map(|(_, from, to)| (*from, *to))
    }
}
