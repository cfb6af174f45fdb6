//! Which partitions are read to their end, and which have been silent for long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The partitions of one assignment.
#[derive(Debug)]
pub(super) struct Progress {
    partitions: BTreeMap<i32, Partition>,
    /// Partitions are looked through for silence no more often than once a second.
    looked_at: Instant,
}

#[derive(Debug)]
struct Partition {
    at_end: bool,
    heard_at: Instant,
}

impl Progress {
    pub(super) fn of<'a>(partitions: impl Iterator<Item = &'a i32>) -> Self {
        let now = Instant::now();
        let new = |partition: &i32| (*partition, Partition { at_end: false, heard_at: now });
        Self { partitions: partitions.map(new).collect(), looked_at: now }
    }

    pub(super) fn received(&mut self, partition: i32, at: Instant) {
        self.partitions.insert(partition, Partition { at_end: false, heard_at: at });
    }

    pub(super) fn reached_end(&mut self, partition: i32, at: Instant) {
        self.partitions.insert(partition, Partition { at_end: true, heard_at: at });
    }

    /// Nothing is asked for at the moment, so that silence says nothing.
    pub(super) fn held_back(&mut self) {
        let now = Instant::now();
        self.partitions.values_mut().for_each(|partition| partition.heard_at = now);
    }

    pub(super) fn all_at_end(&self) -> bool {
        self.partitions.values().all(|partition| partition.at_end)
    }

    /// The partitions from which nothing came for so long; each is named once, then has the same time again.
    pub(super) fn silent_for(&mut self, patience: Duration) -> Vec<i32> {
        if self.looked_at.elapsed() < Duration::from_secs(1) {
            return Vec::new();
        }
        self.looked_at = Instant::now();
        let silent =
            self.partitions.iter_mut().filter(|(_, partition)| partition.heard_at.elapsed() > patience);
        silent
            .map(|(id, partition)| {
                partition.heard_at = Instant::now();
                *id
            })
            .collect()
    }
}
