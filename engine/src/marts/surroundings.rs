//! What a day was like where a store is: weather, events and signals.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::Array;
use arrow::datatypes::{Float64Type, Int64Type};
use domain::forecast::DayWeather;
use domain::marts::{Day, date_of};
use domain::{Feed, Result};
use serde_json::{Map, Value, json};

use super::posts::named;
use super::stores::StoreRecord;
use super::windows::Windows;
use super::work::{Columns, Work, text_at};

/// The weather of a day.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Weather {
    pub(super) kind: String,
    /// Mean, least and most in degrees Celsius, rain in millimetres, wind in km/h, humidity in per cent.
    pub(super) figures: [Option<f64>; 6],
    pub(super) condition: Option<String>,
}

impl Weather {
    /// As plans tell it.
    pub(super) fn of_day(&self) -> DayWeather {
        let [temp_mean_c, _, _, precipitation_mm, _, _] = self.figures;
        DayWeather { temp_mean_c, precipitation_mm }
    }
}

/// The columns of [`Weather::figures`].
pub(super) const WEATHER_FIGURES: [&str; 6] =
    ["temp_mean_c", "temp_min_c", "temp_max_c", "precipitation_mm", "wind_kmh", "humidity"];

/// An event, as far as the mart shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    kind: String,
    name: String,
    tenant: Option<String>,
    attendance: Option<i64>,
}

/// The events of a store's day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Events {
    pub(super) is_closed: bool,
    pub(super) holiday: Option<String>,
    pub(super) is_school_holiday: bool,
    pub(super) is_promotion: bool,
    /// All of them as JSON.
    pub(super) json: Option<String>,
    pub(super) attendance: Option<i64>,
}

/// A signal's figure for the days of its range.
#[derive(Debug, Clone)]
struct Signal {
    tenant: Option<String>,
    source: String,
    starts_on: Day,
    value: f64,
}

/// Weather, events and signals of some days.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    weather: HashMap<String, HashMap<Day, Weather>>,
    /// By region and day.
    events: HashMap<String, BTreeMap<Day, Vec<Event>>>,
    /// By key and day.
    signals: HashMap<String, BTreeMap<Day, Vec<Signal>>>,
}

impl Surroundings {
    /// What is known of days from `first` to `last`, at versions of the sources.
    pub(super) async fn load(
        work: &Work,
        versions: &BTreeMap<Feed, u64>,
        locations: &BTreeSet<&str>,
        windows: &Windows,
        (first, last): (Day, Day),
    ) -> Result<Self> {
        let version = |feed| versions.get(&feed).copied().unwrap_or_default();
        let mut known = Self::default();
        if !locations.is_empty() {
            known.load_weather(work, version(Feed::Weather), locations, windows).await?;
        }
        known.load_events(work, version(Feed::Events), first, last).await?;
        known.load_signals(work, version(Feed::Signals), first, last).await?;
        Ok(known)
    }

    /// What is known of the weather and the events of all days from `first` to `last`.
    pub(super) async fn of_plans(
        work: &Work,
        versions: &BTreeMap<Feed, u64>,
        locations: &BTreeSet<&str>,
        (first, last): (Day, Day),
    ) -> Result<Self> {
        let version = |feed| versions.get(&feed).copied().unwrap_or_default();
        let mut known = Self::default();
        if !locations.is_empty() {
            let windows = Windows::between(first, last);
            known.load_weather(work, version(Feed::Weather), locations, &windows).await?;
        }
        known.load_events(work, version(Feed::Events), first, last).await?;
        Ok(known)
    }

    /// Of a day at a place the observation issued last holds, else the forecast issued last.
    async fn load_weather(
        &mut self,
        work: &Work,
        version: u64,
        locations: &BTreeSet<&str>,
        windows: &Windows,
    ) -> Result<()> {
        let sql = format!(
            "SELECT location, observed_for, kind, condition, {} FROM curated.\"weather@{version}\" WHERE {} AND {} \
             ORDER BY location, observed_for, kind = 'observed', issued_at",
            WEATHER_FIGURES.join(", "),
            named("location", locations),
            windows.of_days("observed_for"),
        );
        for batch in work.rows(&sql).await? {
            let columns = Columns(&batch);
            let (places, days) = (columns.text("location")?, columns.days("observed_for")?);
            let (kinds, conditions) = (columns.text("kind")?, columns.text("condition")?);
            let figures = WEATHER_FIGURES.map(|name| columns.primitive::<Float64Type>(name));
            let figures = figures.into_iter().collect::<Result<Vec<_>>>()?;
            for row in 0..batch.num_rows() {
                let mut weather = Weather {
                    kind: kinds.value(row).to_owned(),
                    condition: text_at(conditions, row),
                    ..Weather::default()
                };
                for (figure, column) in weather.figures.iter_mut().zip(&figures) {
                    *figure = column.is_valid(row).then(|| column.value(row));
                }
                // What comes later in the order holds.
                self.weather
                    .entry(places.value(row).to_owned())
                    .or_default()
                    .insert(days.value(row), weather);
            }
        }
        Ok(())
    }

    async fn load_events(&mut self, work: &Work, version: u64, first: Day, last: Day) -> Result<()> {
        let sql = format!(
            "SELECT tenant, region, kind, name, starts_on, ends_on, expected_attendance FROM curated.\"events@{version}\" \
             WHERE {} ORDER BY kind, name, event_id",
            meets(first, last)
        );
        for batch in work.rows(&sql).await? {
            let columns = Columns(&batch);
            let (tenants, regions) = (columns.text("tenant")?, columns.text("region")?);
            let (kinds, names) = (columns.text("kind")?, columns.text("name")?);
            let (starts, ends) = (columns.days("starts_on")?, columns.days("ends_on")?);
            let attendance = columns.primitive::<Int64Type>("expected_attendance")?;
            for row in 0..batch.num_rows() {
                let event = Event {
                    kind: kinds.value(row).to_owned(),
                    name: names.value(row).to_owned(),
                    tenant: text_at(tenants, row),
                    attendance: attendance.is_valid(row).then(|| attendance.value(row)),
                };
                let of_region = self.events.entry(regions.value(row).to_owned()).or_default();
                for day in starts.value(row).max(first)..=ends.value(row).min(last) {
                    of_region.entry(day).or_default().push(event.clone());
                }
            }
        }
        Ok(())
    }

    async fn load_signals(&mut self, work: &Work, version: u64, first: Day, last: Day) -> Result<()> {
        let sql = format!(
            "SELECT tenant, source, key, starts_on, ends_on, value FROM curated.\"signals@{version}\" WHERE {}",
            meets(first, last)
        );
        for batch in work.rows(&sql).await? {
            let columns = Columns(&batch);
            let (tenants, sources) = (columns.text("tenant")?, columns.text("source")?);
            let (keys, values) = (columns.text("key")?, columns.primitive::<Float64Type>("value")?);
            let (starts, ends) = (columns.days("starts_on")?, columns.days("ends_on")?);
            for row in 0..batch.num_rows() {
                let signal = Signal {
                    tenant: text_at(tenants, row),
                    source: sources.value(row).to_owned(),
                    starts_on: starts.value(row),
                    value: values.value(row),
                };
                let of_key = self.signals.entry(keys.value(row).to_owned()).or_default();
                for day in starts.value(row).max(first)..=ends.value(row).min(last) {
                    of_key.entry(day).or_default().push(signal.clone());
                }
            }
        }
        Ok(())
    }

    pub(super) fn weather(&self, location: Option<&str>, day: Day) -> Option<&Weather> {
        self.weather.get(location?)?.get(&day)
    }

    /// Events of the store's region, of the regions that hold it, and of the store alone, that are for its business.
    pub(super) fn events(&self, tenant: &str, store: &str, record: &StoreRecord, day: Day) -> Events {
        let own_region = own_region(store);
        let mut found = Events::default();
        let mut all = BTreeSet::new();
        for region in regions(record.region.as_deref()).chain([own_region.as_str()]) {
            let events = self.events.get(region).and_then(|days| days.get(&day)).into_iter().flatten();
            for event in events.filter(|event| is_for(event.tenant.as_deref(), tenant)) {
                match event.kind.as_str() {
                    "closure" if region == own_region => found.is_closed = true,
                    "holiday" if found.holiday.is_none() => found.holiday = Some(event.name.clone()),
                    "school_holiday" => found.is_school_holiday = true,
                    "promotion" => found.is_promotion = true,
                    _ => {}
                }
                if let Some(people) = event.attendance {
                    found.attendance = Some(found.attendance.unwrap_or(0).saturating_add(people));
                }
                all.insert(event);
            }
        }
        let object = |event: &&Event| json!({"kind": event.kind, "name": event.name});
        found.json =
            (!all.is_empty()).then(|| Value::from(all.iter().map(object).collect::<Vec<_>>()).to_string());
        found
    }

    /// Signals by source as JSON. One for the store alone comes before its region's, the business's own before one for all, and of ranges that
    /// overlap the one that begins last.
    pub(super) fn signals(
        &self,
        tenant: &str,
        store: &str,
        record: &StoreRecord,
        day: Day,
    ) -> Option<String> {
        let own_region = own_region(store);
        let mut best: BTreeMap<&str, ((bool, bool, Day), f64)> = BTreeMap::new();
        for (key, is_own) in
            record.region.as_deref().map(|key| (key, false)).into_iter().chain([(own_region.as_str(), true)])
        {
            let signals = self.signals.get(key).and_then(|days| days.get(&day)).into_iter().flatten();
            for signal in signals.filter(|signal| is_for(signal.tenant.as_deref(), tenant)) {
                let rank = (is_own, signal.tenant.is_some(), signal.starts_on);
                let known = best.entry(&signal.source).or_insert((rank, signal.value));
                if rank > known.0 {
                    *known = (rank, signal.value);
                }
            }
        }
        let values: Map<String, Value> =
            best.into_iter().map(|(source, (_, value))| (source.to_owned(), json!(value))).collect();
        (!values.is_empty()).then(|| Value::Object(values).to_string())
    }
}

/// The region that is one store alone.
pub(super) fn own_region(store: &str) -> String {
    format!("store/{store}")
}

/// A region and those that hold it: `DE-BE-MI`, `DE-BE`, `DE`.
pub(super) fn regions(region: Option<&str>) -> impl Iterator<Item = &str> {
    std::iter::successors(region, |region| {
        let (wider, _) = region.rsplit_once('-')?;
        (!wider.is_empty()).then_some(wider)
    })
}

/// Whether something that is said for `whom`, or for all, is said for a tenant.
pub(super) fn is_for(whom: Option<&str>, tenant: &str) -> bool {
    whom.is_none_or(|whom| whom == tenant)
}

fn meets(first: Day, last: Day) -> String {
    format!("starts_on <= DATE '{}' AND ends_on >= DATE '{}'", date_of(last), date_of(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_lies_in_those_that_its_name_begins_with() {
        assert_eq!(regions(Some("DE-BE-MI")).collect::<Vec<_>>(), ["DE-BE-MI", "DE-BE", "DE"]);
        assert_eq!(regions(Some("DEU")).collect::<Vec<_>>(), ["DEU"]);
        assert_eq!(regions(None).count(), 0);
        assert!(is_for(None, "a") && is_for(Some("a"), "a") && !is_for(Some("b"), "a"));
    }
}
