//! `curated.{feed}`: every record of a feed, a physical row each.

use domain::{Feed, TableScope};

use super::{Retention, TableDefinition};

/// The table of a feed.
#[must_use]
pub fn feed_table(feed: Feed) -> TableDefinition {
    TableDefinition {
        schema: "curated",
        name: feed.name().to_owned(),
        comment: feed.comment(),
        columns: feed.columns(),
        indexed_texts: &["tenant", "store", "sku"],
        clustering: feed.clustering(),
        retention: Retention { deleted_file_days: 1 },
        scope: match feed {
            Feed::Sales => TableScope::TenantAndStores,
        },
    }
}
