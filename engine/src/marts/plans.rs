//! What is known of stores' days before they come: closures, holidays, promotions and weather, by the same records that the mart of days is made of.

use std::collections::BTreeMap;

use domain::forecast::{PlannedDay, StorePlan};
use domain::marts::{Day, date_of};
use domain::{Feed, Result};

use super::store_days::is_in_business;
use super::stores::{StoreHistory, Stores};
use super::surroundings::{Surroundings, Weather};
use super::work::Work;

/// By tenant and store, the days that are asked for: the first and the last.
pub(crate) type Spans = BTreeMap<(String, String), (Day, Day)>;

/// The plans of stores at versions of `curated.stores`, `curated.events` and `curated.weather`; none of a store without a record.
pub(crate) async fn plans(
    work: &Work,
    versions: &BTreeMap<Feed, u64>,
    spans: &Spans,
) -> Result<BTreeMap<(String, String), StorePlan>> {
    let version = |feed| versions.get(&feed).copied().unwrap_or_default();
    let (first, last) =
        (spans.values().map(|(first, _)| *first).min(), spans.values().map(|(_, last)| *last).max());
    let (Some(first), Some(last)) = (first, last) else { return Ok(BTreeMap::new()) };
    let stores = Stores::load(work, version(Feed::Stores)).await?;
    let of_spans = spans.keys().filter_map(|(tenant, store)| stores.of(tenant, store));
    let records = of_spans.flat_map(StoreHistory::records);
    let locations = records.filter_map(|record| record.location.as_deref()).collect();
    let known = Surroundings::of_plans(work, versions, &locations, (first, last)).await?;
    let plan = |((tenant, store), (first, last)): (&(String, String), &(Day, Day))| {
        let history = stores.of(tenant, store)?;
        let day = |day: Day| {
            let Some(record) = history.on(day) else { return PlannedDay::default() };
            let events = known.events(tenant, store, record, day);
            PlannedDay {
                is_closed: events.is_closed || !is_in_business(history, day),
                is_holiday: events.holiday.is_some(),
                is_school_holiday: events.is_school_holiday,
                is_promotion: events.is_promotion,
                weather: known
                    .weather(record.location.as_deref(), day)
                    .map(Weather::of_day)
                    .unwrap_or_default(),
            }
        };
        let plan = StorePlan { start: date_of(*first), days: (*first..=*last).map(day).collect() };
        Some(((tenant.clone(), store.clone()), plan))
    };
    Ok(spans.iter().filter_map(plan).collect())
}
