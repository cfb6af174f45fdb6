//! The feeds: what retailers know about a day, one file each.
//!
//! A feed states its record, its checks, its columns and its keys. Adding one is a file here and a line in each list below:
//! `docs/guides/feeds.md` shows how.

mod events;
mod inventory;
pub mod metadata;
mod prices;
mod products;
mod record;
mod sales;
mod sentiment;
mod signals;
mod stores;
#[cfg(test)]
mod tests;
mod weather;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::civil::Micros;
use crate::error::{Error, Result};
use crate::fields::{Fields, Reject, RejectClass};
use crate::scope::TableScope;
use crate::table::Column;
use record::{FeedRecord, RecordBuilder};

pub use metadata::RecordMetadata;

/// A feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feed {
    /// Lines of receipts and returns.
    Sales,
    /// Stock levels.
    Inventory,
    /// Prices of competitors.
    Prices,
    /// Stores, with the zone and the currency that they sell in.
    Stores,
    /// Articles.
    Products,
    /// Weather, observed and forecast.
    Weather,
    /// What people write.
    Sentiment,
    /// Holidays, closures and whatever else happens on known days.
    Events,
    /// Figures by day or week, like search interest.
    Signals,
}

/// What a feed is to the rest of the product.
struct Definition {
    /// Its name: the table is `curated.{name}`, the topic `{prefix}.{name}.v1`.
    name: &'static str,
    /// What the table is for, as BI tools show it.
    comment: &'static str,
    /// The columns that tell its records apart.
    natural_key: &'static [&'static str],
    /// The fields of the Kafka key: a function of the natural key, so that a record sent twice meets its twin in one partition.
    kafka_key: &'static [&'static str],
    /// For whom the rows are.
    scope: TableScope,
    /// Whether the table's files are kept apart by month.
    has_periods: bool,
    /// Text columns whose bounds are kept for each file.
    indexed_texts: &'static [&'static str],
    /// Columns by which files are ordered when they are rewritten.
    clustering: &'static [&'static str],
    columns: fn() -> Vec<Column>,
    required: &'static [Option<&'static str>],
    marks_duplicates: bool,
    builder: fn() -> Box<dyn FeedBuilder>,
}

impl Definition {
    /// What follows from the record alone; the feed's file states the rest.
    const fn of<R: FeedRecord>(name: &'static str, comment: &'static str) -> Self {
        Self {
            name,
            comment,
            natural_key: &[],
            kafka_key: &[],
            scope: TableScope::OperatorOnly,
            has_periods: true,
            indexed_texts: &[],
            clustering: &[],
            columns: record::columns::<R>,
            required: R::REQUIRED,
            marks_duplicates: R::DUPLICATES_BY.is_some(),
            builder: || Box::new(RecordBuilder::<R>::default()),
        }
    }
}

impl Feed {
    /// Every feed.
    pub const ALL: [Self; 9] = [
        Self::Sales,
        Self::Inventory,
        Self::Prices,
        Self::Stores,
        Self::Products,
        Self::Weather,
        Self::Sentiment,
        Self::Events,
        Self::Signals,
    ];

    fn definition(self) -> &'static Definition {
        match self {
            Self::Sales => &sales::DEFINITION,
            Self::Inventory => &inventory::DEFINITION,
            Self::Prices => &prices::DEFINITION,
            Self::Stores => &stores::DEFINITION,
            Self::Products => &products::DEFINITION,
            Self::Weather => &weather::DEFINITION,
            Self::Sentiment => &sentiment::DEFINITION,
            Self::Events => &events::DEFINITION,
            Self::Signals => &signals::DEFINITION,
        }
    }

    /// Its name: the table is `curated.{name}`, the topic `{prefix}.{name}.v1`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.definition().name
    }

    /// Finds a feed by its name.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] listing the names that exist.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|feed| feed.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.into_iter().map(Self::name).collect();
            Error::invalid(format!("there is no feed `{name}`: choose one of {}", names.join(", ")))
        })
    }

    /// The topic that carries the feed.
    #[must_use]
    pub fn topic(self, prefix: &str) -> String {
        format!("{prefix}.{}.v1", self.name())
    }

    /// What the feed's table is for, as BI tools show it.
    #[must_use]
    pub fn comment(self) -> &'static str {
        self.definition().comment
    }

    /// All columns of the table's files, in order; the partition column `period` is not among them.
    #[must_use]
    pub fn columns(self) -> Vec<Column> {
        (self.definition().columns)()
    }

    /// The columns that tell its records apart.
    #[must_use]
    pub fn natural_key(self) -> &'static [&'static str] {
        self.definition().natural_key
    }

    /// For whom the table's rows are.
    #[must_use]
    pub fn scope(self) -> TableScope {
        self.definition().scope
    }

    /// Whether the table's files are kept apart by UTC month.
    #[must_use]
    pub fn has_periods(self) -> bool {
        self.definition().has_periods
    }

    /// Fields that every record must state.
    pub fn required_fields(self) -> impl Iterator<Item = &'static str> {
        self.definition().required.iter().copied().flatten()
    }

    /// Fresh, empty columns for decoded records.
    #[must_use]
    pub fn builder(self) -> Box<dyn FeedBuilder> {
        (self.definition().builder)()
    }

    /// Whether its records are states: of a natural key the newest holds. Each sale is one of its own.
    #[must_use]
    pub fn is_of_states(self) -> bool {
        self != Self::Sales
    }

    /// Whether rows of records that were sent twice are told from others ([`crate::duplicates`]).
    #[must_use]
    pub fn marks_duplicates(self) -> bool {
        self.definition().marks_duplicates
    }

    /// Text columns whose minimum and maximum are kept for each file.
    #[must_use]
    pub fn indexed_texts(self) -> &'static [&'static str] {
        self.definition().indexed_texts
    }

    /// Columns by which files are clustered when they are rewritten.
    #[must_use]
    pub fn clustering(self) -> &'static [&'static str] {
        self.definition().clustering
    }

    /// The Kafka key of a record given as JSON: the parts joined by `/`, an absent optional one being empty.
    ///
    /// # Errors
    /// A [`Reject`] when the record lacks a field of the key.
    pub fn key(self, json: &[u8]) -> Result<String, Reject> {
        let mut fields = Fields::parse(Some(json))?;
        let mut key = String::with_capacity(48);
        for (at, &name) in self.definition().kafka_key.iter().enumerate() {
            if at > 0 {
                key.push('/');
            }
            match fields.take(name) {
                Some(raw) if raw.starts_with('"') => {
                    let part: String = serde_json::from_str(raw).map_err(|_| {
                        Reject::field(RejectClass::OutOfRange, name, Some(raw), "a text of valid Unicode")
                    })?;
                    key.push_str(&part);
                }
                Some(raw) => key.push_str(raw),
                None if self.required_fields().any(|required| required == name) => {
                    return Err(Reject::field(RejectClass::MissingField, name, None, "a part of the key"));
                }
                None => {}
            }
        }
        Ok(key)
    }
}

/// Decodes records of one feed and gathers them as Arrow columns, a batch for each period.
pub trait FeedBuilder: Send {
    /// Decodes a message and appends it. `now` is the wall clock, for the bound on future instants.
    ///
    /// # Errors
    /// A [`Reject`] with everything a dead letter needs; nothing is appended then.
    fn push(
        &mut self,
        payload: Option<&[u8]>,
        metadata: &RecordMetadata<'_>,
        now: Micros,
    ) -> Result<(), Reject>;

    /// Rows appended since the last [`Self::finish`].
    fn rows(&self) -> usize;

    /// Memory held by the columns, in bytes.
    fn bytes(&self) -> usize;

    /// Gives the rows as `(period, batch)` with the feed's schema, and begins anew. A feed without periods gives one batch, of period "".
    fn finish(&mut self) -> Vec<(String, RecordBatch)>;

    /// The schema of the batches.
    fn schema(&self) -> SchemaRef;
}
