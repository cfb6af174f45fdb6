//! `marts.store_days` and `marts.item_days`: the daily mart.

use domain::marts::Mart;
use domain::scope::TableScope;

use super::{Retention, TableDefinition};

/// The table of a mart; its period is the month of `date`.
#[must_use]
pub fn mart_table(mart: Mart) -> TableDefinition {
    let (indexed_texts, clustering): (&[_], &[_]) = match mart {
        Mart::StoreDays => (&["tenant", "store"], &["tenant", "store", "date"]),
        Mart::ItemDays => (&["tenant", "store", "sku"], &["tenant", "store", "sku", "date"]),
    };
    TableDefinition {
        schema: "marts",
        name: mart.name().to_owned(),
        comment: mart.comment(),
        columns: mart.columns(),
        has_periods: true,
        indexed_texts,
        clustering,
        retention: Retention { deleted_file_days: 7 },
        scope: TableScope::TenantAndStores,
    }
}
