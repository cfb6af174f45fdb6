//! The daily marts in `status`: how far they are behind their sources, and the stores whose sales wait.

use std::sync::Arc;

use ::engine::{Limits, Output as Answer, write_output};
use ::lake::Lake;
use ::lake::maintenance::status::{LakeStatus, ToDo};
use domain::civil::Micros;
use domain::marts::Mart;
use domain::ports::{Changes as _, Replace as _};
use domain::{Error, Feed, Principal, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::STALLED;
use crate::wire;

/// Stores that are told one by one.
const TOLD_STORES: usize = 10;

/// A store whose sales wait for its record.
#[derive(Debug, Deserialize)]
struct Waiting {
    tenant: String,
    store: String,
    sales: u64,
}

/// How the marts are.
#[derive(Debug)]
pub(super) struct MartsStatus {
    /// Feeds that have brought rows which a mart does not hold yet.
    behind: Vec<(Mart, Vec<Feed>)>,
    waiting: Vec<Waiting>,
    /// When the newest row of a feed that a mart is behind was taken in.
    behind_since: Option<Micros>,
}

impl MartsStatus {
    pub(super) async fn see(lake: &Arc<Lake>, tables: &LakeStatus) -> Result<Self> {
        let table = |name: &str| tables.tables.iter().find(|table| table.name == name);
        let mut seen = Self { behind: Vec::new(), waiting: Vec::new(), behind_since: None };
        for mart in Mart::ALL.into_iter().filter(|mart| table(&mart.qualified_name()).is_some()) {
            let state = lake.mart_state(mart).await?;
            let mut feeds = Vec::new();
            for feed in mart.sources() {
                let Some(source) = table(&format!("curated.{}", feed.name())) else { continue };
                let holds = match state.sources.get(feed) {
                    None => source.size.rows == Some(0),
                    Some(held) => {
                        let changed = lake.changed(*feed, *held, source.size.version).await?;
                        changed.is_some_and(|changed| changed.files == 0)
                    }
                };
                if !holds {
                    feeds.push(*feed);
                    seen.behind_since = seen.behind_since.max(source.newest_ingested_at);
                }
            }
            seen.behind.push((mart, feeds));
        }
        if table("curated.sales").is_some() && table("curated.stores").is_some() {
            seen.waiting = waiting(lake).await?;
        }
        Ok(seen)
    }

    pub(super) fn to_do(&self, now: Micros) -> Vec<ToDo> {
        let mut to_do: Vec<ToDo> = self
            .waiting
            .iter()
            .take(TOLD_STORES)
            .map(|Waiting { tenant, store, sales }| {
                ToDo::new(
                    format!("{sales} sales of {tenant}/{store} wait for its record in curated.stores, and are in no mart"),
                    "intellicartel produce stores --file STORES.csv --map STORES.toml",
                )
            })
            .collect();
        let is_late = self.behind_since.is_some_and(|at| now - at > STALLED);
        let behind: Vec<_> = self.behind.iter().filter(|(_, feeds)| !feeds.is_empty()).collect();
        if is_late && !behind.is_empty() {
            let names: Vec<_> = behind.iter().map(|(mart, _)| mart.qualified_name()).collect();
            to_do.push(ToDo::new(
                format!("{} lack what the feeds have brought", names.join(" and ")),
                "intellicartel serve --roles marts",
            ));
        }
        to_do
    }

    pub(super) fn to_json(&self) -> Value {
        let behind = self.behind.iter().map(|(mart, feeds)| {
            let feeds: Vec<_> = feeds.iter().map(|feed| feed.name()).collect();
            json!({ "mart": mart.qualified_name(), "behind": feeds })
        });
        let waiting = self.waiting.iter().map(
            |Waiting { tenant, store, sales }| json!({ "tenant": tenant, "store": store, "sales": sales }),
        );
        json!({ "marts": behind.collect::<Vec<_>>(), "waiting_stores": waiting.collect::<Vec<_>>() })
    }

    /// A line for each mart, and one for the stores that wait.
    pub(super) fn lines(&self) -> String {
        let mut lines = String::new();
        for (mart, feeds) in &self.behind {
            let names: Vec<_> = feeds.iter().map(|feed| feed.name()).collect();
            let state = if names.is_empty() {
                "up to date".to_owned()
            } else {
                format!("behind {}", names.join(", "))
            };
            lines += &format!("{}: {state}\n", mart.qualified_name());
        }
        if !self.waiting.is_empty() {
            let sales: u64 = self.waiting.iter().map(|store| store.sales).sum();
            lines += &format!(
                "{sales} sales of {} stores wait for a record in curated.stores\n",
                self.waiting.len()
            );
        }
        lines
    }
}

async fn waiting(lake: &Arc<Lake>) -> Result<Vec<Waiting>> {
    let sql = "SELECT s.tenant, s.store, s.sales FROM (SELECT tenant, store, count(*) AS sales FROM curated.sales GROUP BY tenant, store) AS s \
               LEFT ANTI JOIN curated.stores AS t ON s.tenant = t.tenant AND s.store = t.store ORDER BY s.sales DESC, s.tenant, s.store";
    let session = wire::engine(Arc::clone(lake))?.session(Principal::Operator);
    let mut bytes = Vec::new();
    write_output(session.query(sql, Limits::default()).await?, Answer::Json, &mut bytes).await?;
    serde_json::from_slice(&bytes).map_err(|error| Error::internal(format!("an answer is not JSON: {error}")))
}
