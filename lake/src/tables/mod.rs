//! The tables of the lake: a file for each kind, and a line in [`all`].

mod curated;
mod dead_letters;
mod forecasts;

use domain::table::Column;
use domain::{Feed, TableScope};

pub use curated::feed_table;
pub use dead_letters::dead_letters;
pub use forecasts::forecasts;
pub(crate) use forecasts::{period as forecast_period, rows as forecast_rows};

/// The partition column of every table: a UTC month, `YYYY-MM`.
pub const PERIOD: &str = "period";

/// How long removed files and old commits stay, and so how far time travel reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Days that a removed file stays readable.
    pub deleted_file_days: u32,
}

/// What a table is.
#[derive(Debug, Clone)]
pub struct TableDefinition {
    /// `raw`, `curated` or `marts`.
    pub schema: &'static str,
    /// Its name in the schema.
    pub name: String,
    /// What it is for, as BI tools show it.
    pub comment: &'static str,
    /// Its columns; [`PERIOD`] is added behind them as the partition column.
    pub columns: Vec<Column>,
    /// Text columns whose minimum and maximum are kept for each file; numbers and instants always are.
    pub indexed_texts: &'static [&'static str],
    /// Columns by which files are ordered when they are rewritten.
    pub clustering: &'static [&'static str],
    /// How long removed files stay.
    pub retention: Retention,
    /// For whom the rows are.
    pub scope: TableScope,
}

impl TableDefinition {
    /// `schema.name`, as in SQL.
    #[must_use]
    pub fn qualified_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// The table's folder below the lake's root.
    #[must_use]
    pub fn path(&self) -> String {
        format!("lake/{}/{}", self.schema, self.name)
    }

    /// The comment of the partition column.
    pub(crate) const PERIOD_COMMENT: &'static str = "UTC month by which files are kept apart, YYYY-MM";
}

/// Every table of the lake.
#[must_use]
pub fn all() -> Vec<TableDefinition> {
    let mut tables = vec![dead_letters(), forecasts()];
    tables.extend(Feed::ALL.into_iter().map(feed_table));
    tables
}
