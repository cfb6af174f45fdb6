//! A lake that records are sent to, and the marts over it.

use std::sync::Arc;

use domain::Feed;
use engine::Engine;
use engine::marts::{MartParts, Marts, Refreshed};
use lake::Lake;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::feeder::Feeder;
use super::{engine, folder, rows, settings};

pub(crate) struct World {
    _folder: TempDir,
    pub(crate) feeder: Feeder,
    pub(crate) engine: Engine,
    pub(crate) marts: Marts,
}

pub(crate) fn marts(engine: &Engine, lake: &Arc<Lake>) -> Marts {
    let parts = MartParts {
        changes: Arc::clone(lake) as _,
        replace: Arc::clone(lake) as _,
        snapshots: Arc::clone(lake) as _,
    };
    Marts::new(engine, parts)
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = folder();
        let feeder = Feeder::on(folder.path()).await;
        let engine = engine(&feeder.lake, settings());
        let marts = marts(&engine, &feeder.lake);
        Self { _folder: folder, feeder, engine, marts }
    }

    pub(crate) async fn send(&mut self, feed: Feed, records: &[Value]) {
        self.feeder.send(feed, records).await;
    }

    pub(crate) async fn refresh(&self) -> Vec<Refreshed> {
        self.marts.refresh().await.expect("refreshed")
    }

    pub(crate) async fn ask(&self, sql: &str) -> String {
        rows(&self.engine, "operator", sql).await
    }
}

pub(crate) fn store(
    tenant: &str,
    store: &str,
    zone: &str,
    region: &str,
    location: &str,
    currency: &str,
) -> Value {
    json!({"tenant": tenant, "store": store, "valid_from": "2010-01-01", "time_zone": zone, "currency": currency,
        "region": region, "location": location})
}

pub(crate) fn sale(
    id: u64,
    tenant: &str,
    store: &str,
    sku: &str,
    quantity: i64,
    price: &str,
    at: &str,
) -> Value {
    let kind = if quantity < 0 { "return" } else { "sale" };
    json!({"tenant": tenant, "store": store, "transaction_id": id.to_string(), "line": 1, "sku": sku, "quantity": quantity,
        "unit_price": price, "currency": "EUR", "kind": kind, "occurred_at": at})
}

pub(crate) fn event(
    tenant: Option<&str>,
    id: &str,
    kind: &str,
    region: &str,
    starts_on: &str,
    ends_on: &str,
) -> Value {
    let mut event = json!({"event_id": id, "kind": kind, "name": id, "region": region, "starts_on": starts_on, "ends_on": ends_on});
    if let Some(tenant) = tenant {
        event["tenant"] = tenant.into();
    }
    event
}
