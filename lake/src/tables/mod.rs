//! The tables of the lake: a file for each kind, and a line in [`all`].

mod arrays;
mod curated;
mod dead_letters;
mod decisions;
mod forecasts;
mod marts;
mod model_versions;
mod overrides;

use std::collections::HashMap;

use arrow_schema::DataType;
use domain::marts::Mart;
use domain::table::Column;
use domain::{Feed, TableScope};

pub use curated::feed_table;
pub use dead_letters::dead_letters;
pub(crate) use decisions::{recommendation_rows, risk_rows};
pub use decisions::{recommendations, risk_scores};
pub use forecasts::forecasts;
pub(crate) use forecasts::rows as forecast_rows;
pub use marts::mart_table;
pub use model_versions::model_versions;
pub(crate) use model_versions::{event_row as model_event_row, events as model_events};
pub use overrides::overrides;
pub(crate) use overrides::rows as override_rows;

/// The partition column of tables that have one: a UTC month, `YYYY-MM`. Files of tables without it are of the period "".
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
    /// `raw`, `curated`, `marts` or `ops`.
    pub schema: &'static str,
    /// Its name in the schema.
    pub name: String,
    /// What it is for, as BI tools show it.
    pub comment: &'static str,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Whether [`PERIOD`] stands behind them as the partition column.
    pub has_periods: bool,
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
    const PERIOD_COMMENT: &'static str = "UTC month by which files are kept apart, YYYY-MM";

    /// All columns as queries see them.
    #[must_use]
    pub fn all_columns(&self) -> Vec<Column> {
        let mut columns = self.columns.clone();
        if self.has_periods {
            columns.push(Column::optional(PERIOD, DataType::Utf8, Self::PERIOD_COMMENT));
        }
        columns
    }

    /// The columns by which files are kept apart.
    pub(crate) fn partition_columns(&self) -> Vec<String> {
        if self.has_periods { vec![PERIOD.to_owned()] } else { Vec::new() }
    }
}

/// The partition values of a file, as the log has them.
pub(crate) fn partition_values(period: &str) -> HashMap<String, Option<String>> {
    if period.is_empty() { HashMap::new() } else { [(PERIOD.to_owned(), Some(period.to_owned()))].into() }
}

/// Every table of the lake.
#[must_use]
pub fn all() -> Vec<TableDefinition> {
    let mut tables =
        vec![dead_letters(), forecasts(), recommendations(), risk_scores(), model_versions(), overrides()];
    tables.extend(Mart::ALL.into_iter().map(mart_table));
    tables.extend(Feed::ALL.into_iter().map(feed_table));
    tables
}
