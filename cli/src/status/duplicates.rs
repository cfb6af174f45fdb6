//! Sales that were sent twice: how far back an ingest knows them, and how many there were lately.

use std::sync::Arc;

use ::lake::maintenance::status::LakeStatus;
use ::lake::{Lake, Span};
use domain::civil;
use domain::duplicates::RecentRows;
use domain::{Feed, Result};
use serde_json::{Map, Value, json};

use super::DAY;
use crate::config::Config;
use crate::report::{Form, write_rows, write_text};
use crate::wire;

/// Days whose rows are counted.
const DAYS: i64 = 7;

/// Stores that the table for people shows.
const SHOWN: usize = 10;

/// See the module.
pub(super) struct Duplicates {
    /// The newest rows of the table, as many as an ingest with these settings remembers.
    span: Span,
    /// Duplicates and conflicts of the last [`DAYS`] by store, the most first.
    stores: Vec<Map<String, Value>>,
}

impl Duplicates {
    pub(super) async fn see(config: &Config, lake: &Arc<Lake>, tables: &LakeStatus) -> Result<Option<Self>> {
        if !tables.tables.iter().any(|table| table.name == "curated.sales") {
            return Ok(None);
        }
        let most = RecentRows::capacity_of(config.ingest.duplicate_index_bytes);
        // Files in which nothing is marked are left out by their statistics.
        let sql = format!(
            "SELECT tenant, store, count(*) FILTER (WHERE _duplicate) AS duplicates, \
             count(*) FILTER (WHERE _conflict) AS conflicts FROM raw.sales \
             WHERE (_duplicate OR _conflict) AND _ingested_at >= TIMESTAMP '{}' \
             GROUP BY tenant, store ORDER BY count(*) DESC, tenant, store",
            civil::format_instant(tables.seen_at - DAYS * DAY)
        );
        let span = lake.span_of_newest(Feed::Sales, most).await?;
        Ok(Some(Self { span, stores: wire::ask(lake, &sql).await? }))
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "known_rows": self.span.rows,
            "known_since_ingested_at": self.span.ingested_since.map(civil::format_instant),
            "known_since_occurred_at": self.span.occurred_since.map(civil::format_instant),
            "days": DAYS,
            "stores": self.stores,
        })
    }

    pub(super) fn write(&self) -> Result<()> {
        if let (Some(ingested), Some(occurred)) = (self.span.ingested_since, self.span.occurred_since) {
            write_text(&format!(
                "sales that are sent twice are known among the newest {} rows: taken in since {}, sold since {}\n",
                self.span.rows,
                civil::format_instant(ingested),
                civil::format_instant(occurred)
            ))?;
        }
        if !self.stores.is_empty() {
            let rows: Vec<Value> = self.stores.iter().take(SHOWN).cloned().map(Value::from).collect();
            write_text(&format!("of the last {DAYS} days:\n"))?;
            write_rows(Form::Table, &["tenant", "store", "duplicates", "conflicts"], &rows)?;
        }
        write_text("\n")
    }
}
