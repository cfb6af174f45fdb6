//! `curated.{feed}`: every record of a feed, a physical row each.

use domain::Feed;

use super::{Retention, TableDefinition};

/// The table of a feed.
#[must_use]
pub fn feed_table(feed: Feed) -> TableDefinition {
    TableDefinition {
        schema: "curated",
        name: feed.name().to_owned(),
        comment: feed.comment(),
        columns: feed.columns(),
        indexed_texts: feed.indexed_texts(),
        clustering: feed.clustering(),
        retention: Retention { deleted_file_days: 1 },
        scope: feed.scope(),
        has_periods: feed.has_periods(),
    }
}
