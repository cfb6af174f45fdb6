//! The daily marts: what a store, and what an article in a store, did on a business day, and what it was like that day.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow_array::types::Date32Type;
use arrow_schema::DataType;
use chrono::NaiveDate;

use crate::table::{Column, money, quantity};
use crate::{Feed, civil};

/// A table of the daily mart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mart {
    /// `marts.store_days`.
    StoreDays,
    /// `marts.item_days`.
    ItemDays,
}

const STORE_DAYS: &str = "Business days of stores, one row for each from the day of a store's first sale to that of its last, in the store's time zone: \
whether it was closed, what it sold in all, and the weather, events, signals and sentiment of the day. A store without a record in curated.stores has no rows until \
one comes. The weather is the newest observation, else the newest forecast. Events are those of the store's region, of the regions that hold it, and of store/{store}; \
it is closed by a closure of store/{store}, from closed_on on, and before opened_on.";

const ITEM_DAYS: &str = "Business days on which something happened to an article in a store: it was sold, came back, or its stock was stated. Amounts are in the \
store's currency; lines in another currency count as units and in other_currency_lines, and their money is left out. A day of 23 or 25 hours is one day. \
marts.daily_demand fills the days between with zeros.";

impl Mart {
    /// All of them, those first that are to be committed first.
    pub const ALL: [Self; 2] = [Self::ItemDays, Self::StoreDays];

    /// Its name in the schema `marts`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StoreDays => "store_days",
            Self::ItemDays => "item_days",
        }
    }

    /// Its name in SQL.
    #[must_use]
    pub fn qualified_name(self) -> String {
        format!("marts.{}", self.name())
    }

    /// What it is for, as BI tools show it.
    #[must_use]
    pub fn comment(self) -> &'static str {
        match self {
            Self::StoreDays => STORE_DAYS,
            Self::ItemDays => ITEM_DAYS,
        }
    }

    /// The feeds that it is made of.
    #[must_use]
    pub fn sources(self) -> &'static [Feed] {
        match self {
            Self::StoreDays => {
                &[Feed::Sales, Feed::Stores, Feed::Weather, Feed::Events, Feed::Signals, Feed::Sentiment]
            }
            Self::ItemDays => &[Feed::Sales, Feed::Stores, Feed::Inventory, Feed::Prices, Feed::Sentiment],
        }
    }

    /// Its columns.
    #[must_use]
    pub fn columns(self) -> Vec<Column> {
        match self {
            Self::StoreDays => store_day_columns(),
            Self::ItemDays => item_day_columns(),
        }
    }
}

/// Sums of quantities: `Decimal128(28, 3)`.
#[must_use]
pub fn units() -> DataType {
    DataType::Decimal128(28, 3)
}

/// Sums of quantity * price, exact: `Decimal128(38, 7)`.
#[must_use]
pub fn amount() -> DataType {
    DataType::Decimal128(38, 7)
}

/// The columns that both marts count sales in.
fn sold_columns() -> Vec<Column> {
    let units = |name, comment| Column::required(name, units(), comment);
    vec![
        units("units", "Units sold; returns are not taken off"),
        units("returned_units", "Units that came back, as a number above 0"),
        Column::required(
            "revenue",
            amount(),
            "quantity * unit_price of what was sold, in the store's currency",
        ),
        Column::required("refunds", amount(), "quantity * unit_price of what came back, as a number above 0"),
        Column::required(
            "discounts",
            DataType::Decimal128(28, 4),
            "Discounts on the lines as the tills state them; revenue is not reduced by them",
        ),
        Column::required("sale_lines", DataType::Int64, "Lines of receipts"),
        Column::required("return_lines", DataType::Int64, "Lines of returns"),
        Column::required(
            "other_currency_lines",
            DataType::Int64,
            "Lines in another currency than the store's, whose money is left out",
        ),
    ]
}

fn store_day_columns() -> Vec<Column> {
    let figure = |name, comment| Column::optional(name, DataType::Float64, comment);
    let text = |name, comment| Column::optional(name, DataType::Utf8, comment);
    let mut columns = vec![
        Column::required("tenant", DataType::Utf8, "Business that the row belongs to"),
        Column::required("store", DataType::Utf8, "Store"),
        Column::required("date", DataType::Date32, "Business day, in the store's time zone"),
        Column::required("is_closed", DataType::Boolean, "Whether the store was closed that day"),
        Column::required("currency", DataType::Utf8, "ISO 4217 code of the amounts"),
        Column::required("time_zone", DataType::Utf8, "Time zone in which the day is counted"),
    ];
    columns.extend(sold_columns());
    columns.extend([
        text("weather_kind", "observed or forecast; null where nothing is known of the store's location that day"),
        figure("temp_mean_c", "Mean temperature in degrees Celsius"),
        figure("temp_min_c", "Lowest temperature in degrees Celsius"),
        figure("temp_max_c", "Highest temperature in degrees Celsius"),
        figure("precipitation_mm", "Rain, and snow as water, in millimetres"),
        figure("wind_kmh", "Mean wind in km/h"),
        figure("humidity", "Mean relative humidity in per cent"),
        text("condition", "The weather in a word, as its source has it"),
        text("holiday", "Name of the public holiday; null on other days"),
        Column::required("is_school_holiday", DataType::Boolean, "Whether schools are closed for holidays"),
        Column::required("is_promotion", DataType::Boolean, "Whether a promotion of the business is on"),
        text("events", "All events of the day as a JSON array of objects with kind and name; null on days without"),
        Column::optional("expected_attendance", DataType::Int64, "People who are expected at the day's events in all"),
        text("signals", "Signals for the store's region and for store/{store}, as a JSON object by source; null on days without"),
        figure("sentiment", "Mean score of the day's posts about the store's location or region, -1 (bad) to 1 (good)"),
        Column::required("posts", DataType::Int64, "The scored posts that sentiment is the mean of"),
    ]);
    columns
}

fn item_day_columns() -> Vec<Column> {
    let mut columns = vec![
        Column::required("tenant", DataType::Utf8, "Business that the row belongs to"),
        Column::required("store", DataType::Utf8, "Store"),
        Column::required("sku", DataType::Utf8, "Article"),
        Column::required("date", DataType::Date32, "Business day, in the store's time zone"),
    ];
    columns.extend(sold_columns());
    columns.extend([
        Column::optional("price", money(), "Mean price of a unit that was sold, revenue / units, to the nearest fourth decimal; null where nothing was sold in the store's currency"),
        Column::required("is_promoted", DataType::Boolean, "Whether any line was sold under a promotion"),
        Column::optional("on_hand", quantity(), "Stock at the last statement of the day; null on days without one"),
        Column::optional("is_stocked_out", DataType::Boolean, "Whether any statement of the day found nothing left; null on days without one"),
        Column::optional("rival_price", money(), "Lowest of the competitors' prices that held at the end of the day, in the store's currency"),
        Column::optional("sentiment", DataType::Float64, "Mean score of the day's posts about the article, -1 (bad) to 1 (good)"),
        Column::required("posts", DataType::Int64, "The scored posts that sentiment is the mean of"),
    ]);
    columns
}

/// Days since 1970-01-01, as Arrow counts them.
pub type Day = i32;

/// A date as [`Day`].
#[must_use]
pub fn day_of(date: NaiveDate) -> Day {
    Date32Type::from_naive_date(date)
}

/// A [`Day`] as a date.
#[must_use]
pub fn date_of(day: Day) -> NaiveDate {
    Date32Type::to_naive_date_opt(day).unwrap_or_default()
}

/// The month `YYYY-MM` of a day: the partition value `period` of the marts.
#[must_use]
pub fn month_of(day: Day) -> String {
    civil::month(date_of(day))
}

/// Days of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreDays {
    /// Every day, whatever rows there are.
    All,
    /// These.
    Only(BTreeSet<Day>),
}

impl StoreDays {
    /// Whether it holds a day.
    #[must_use]
    pub fn contains(&self, day: Day) -> bool {
        match self {
            Self::All => true,
            Self::Only(days) => days.contains(&day),
        }
    }
}

/// Which days of which stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaySet {
    /// All days of all stores.
    Everything,
    /// By tenant and store.
    Stores(HashMap<String, BTreeMap<String, StoreDays>>),
}

impl Default for DaySet {
    fn default() -> Self {
        Self::Stores(HashMap::new())
    }
}

impl DaySet {
    fn entry(&mut self, tenant: &str, store: &str) -> Option<&mut StoreDays> {
        let Self::Stores(stores) = self else { return None };
        if !stores.get(tenant).is_some_and(|stores| stores.contains_key(store)) {
            let stores = stores.entry(tenant.to_owned()).or_default();
            stores.insert(store.to_owned(), StoreDays::Only(BTreeSet::new()));
        }
        stores.get_mut(tenant)?.get_mut(store)
    }

    /// Adds days of a store.
    pub fn insert(&mut self, tenant: &str, store: &str, days: impl IntoIterator<Item = Day>) {
        let mut days = days.into_iter().peekable();
        if days.peek().is_some()
            && let Some(StoreDays::Only(known)) = self.entry(tenant, store)
        {
            known.extend(days);
        }
    }

    /// Adds all days of a store.
    pub fn insert_store(&mut self, tenant: &str, store: &str) {
        if let Some(days) = self.entry(tenant, store) {
            *days = StoreDays::All;
        }
    }

    /// What it holds of a store; none when nothing.
    #[must_use]
    pub fn of(&self, tenant: &str, store: &str) -> Option<&StoreDays> {
        match self {
            Self::Everything => Some(&StoreDays::All),
            Self::Stores(stores) => stores.get(tenant)?.get(store),
        }
    }

    /// Whether it holds a day of a store.
    #[must_use]
    pub fn contains(&self, tenant: &str, store: &str, day: Day) -> bool {
        self.of(tenant, store).is_some_and(|days| days.contains(day))
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Stores(stores) if stores.is_empty())
    }

    /// Its stores with their days; none when it holds everything.
    pub fn stores(&self) -> Option<impl Iterator<Item = (&str, &str, &StoreDays)>> {
        let Self::Stores(stores) = self else { return None };
        Some(stores.iter().flat_map(|(tenant, stores)| {
            stores.iter().map(move |(store, days)| (tenant.as_str(), store.as_str(), days))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_arrow_does() {
        let date = |text: &str| text.parse::<NaiveDate>().expect("a date");
        assert_eq!((day_of(date("1970-01-01")), day_of(date("2015-07-31"))), (0, 16_647));
        assert_eq!(date_of(16_647), date("2015-07-31"));
        assert_eq!(month_of(-1), "1969-12");
    }

    #[test]
    fn a_whole_store_holds_all_its_days() {
        let mut days = DaySet::default();
        assert!(days.is_empty());
        days.insert("a", "x", []);
        assert!(days.is_empty());
        days.insert("a", "x", [3, 4]);
        days.insert_store("a", "y");
        days.insert("a", "y", [9]);
        let held = |store, day| days.contains("a", store, day);
        assert_eq!(
            (held("x", 3), held("x", 5), held("y", 5), days.contains("b", "x", 3)),
            (true, false, true, false)
        );
        assert!(DaySet::Everything.contains("b", "z", 1));
    }
}
