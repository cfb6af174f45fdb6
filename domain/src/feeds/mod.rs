//! The feeds: what retailers know about a day, one file each.
//!
//! A feed states its record, its checks, its columns and its keys. Adding one is a file here and a line in each list below.

pub mod metadata;
pub mod sales;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::civil::Micros;
use crate::error::{Error, Result};
use crate::fields::Reject;
use crate::table::Column;

pub use metadata::RecordMetadata;

/// A feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feed {
    /// Lines of receipts and returns.
    Sales,
}

impl Feed {
    /// Every feed.
    pub const ALL: [Self; 1] = [Self::Sales];

    /// Its name: the table is `curated.{name}`, the topic `{prefix}.{name}.v1`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sales => "sales",
        }
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
        match self {
            Self::Sales => sales::COMMENT,
        }
    }

    /// All columns of the table's files, in order; the partition column `period` is not among them.
    #[must_use]
    pub fn columns(self) -> Vec<Column> {
        match self {
            Self::Sales => sales::columns(),
        }
    }

    /// Fields that every record must state.
    #[must_use]
    pub fn required_fields(self) -> &'static [&'static str] {
        match self {
            Self::Sales => sales::REQUIRED_FIELDS,
        }
    }

    /// Fresh, empty columns for decoded records.
    #[must_use]
    pub fn builder(self) -> Box<dyn FeedBuilder> {
        match self {
            Self::Sales => Box::new(sales::SalesBuilder::default()),
        }
    }

    /// Columns by which files are clustered when they are rewritten.
    #[must_use]
    pub fn clustering(self) -> &'static [&'static str] {
        match self {
            Self::Sales => &["tenant", "store", "sku", "occurred_at"],
        }
    }

    /// The Kafka key of a record given as JSON, so that a record sent twice meets its twin in one partition.
    ///
    /// # Errors
    /// A [`Reject`] when the record lacks a field of the key.
    pub fn key(self, json: &[u8]) -> Result<String, Reject> {
        match self {
            Self::Sales => sales::key(json),
        }
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

    /// Gives the rows as `(period, batch)` with the feed's schema, and begins anew.
    fn finish(&mut self) -> Vec<(String, RecordBatch)>;

    /// The schema of the batches.
    fn schema(&self) -> SchemaRef;
}
