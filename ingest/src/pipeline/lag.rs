//! How many records of a topic are not in its table yet, as a metric.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domain::Feed;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The lag of one assignment.
#[derive(Debug)]
pub(super) struct Lag {
    feed: Feed,
    /// Up to where each partition stands in the table.
    committed: BTreeMap<i32, i64>,
    told_at: Option<Instant>,
}

impl Lag {
    pub(super) fn of(feed: Feed, committed: BTreeMap<i32, i64>) -> Self {
        Self { feed, committed, told_at: None }
    }

    /// A partition's records before `end` stand in the table.
    pub(super) fn committed(&mut self, partition: i32, end: i64) {
        self.committed.insert(partition, end);
    }

    /// Tells it, no more often than once a second, for the partitions whose end is known.
    pub(super) fn tell(&mut self, ends: impl FnOnce() -> BTreeMap<i32, i64>) {
        if self.told_at.is_some_and(|at| at.elapsed() < INTERVAL) {
            return;
        }
        self.told_at = Some(Instant::now());
        for (partition, end) in ends() {
            let Some(committed) = self.committed.get(&partition) else { continue };
            let labels = [("feed", self.feed.name().to_owned()), ("partition", partition.to_string())];
            let lag = (end - committed).max(0);
            metrics::gauge!("intellicartel_ingest_lag_records", &labels).set(lag as f64);
        }
    }
}
