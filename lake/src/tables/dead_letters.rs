//! `raw.dead_letters`: records that no feed could take.

use domain::TableScope;

use super::{Retention, TableDefinition};

/// The table of dead letters.
#[must_use]
pub fn dead_letters() -> TableDefinition {
    TableDefinition {
        schema: "raw",
        name: "dead_letters".to_owned(),
        comment: domain::dead_letter::COMMENT,
        columns: domain::dead_letter::columns(),
        indexed_texts: &["_topic", "feed", "error_class"],
        clustering: &["_topic", "_log", "_partition", "_offset"],
        retention: Retention { deleted_file_days: 1 },
        has_periods: true,
        scope: TableScope::OperatorOnly,
    }
}
