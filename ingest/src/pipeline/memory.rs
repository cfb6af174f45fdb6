//! The memory that all feeds of a process share: what is buffered, waits or is being committed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all feeds may hold together, and hold.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    held: AtomicUsize,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicUsize::new(0) })
    }
}

/// What one feed holds of it; it is given back at the latest when this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    memory: Arc<Memory>,
    buffered: usize,
    /// Batches in the order in which they were submitted, and will be settled.
    submitted: VecDeque<usize>,
}

impl Held {
    pub(super) fn of(memory: &Arc<Memory>) -> Self {
        Self { memory: Arc::clone(memory), buffered: 0, submitted: VecDeque::new() }
    }

    /// Notes what the buffer holds now.
    pub(super) fn buffered(&mut self, bytes: usize) {
        self.memory.held.fetch_add(bytes, Ordering::Relaxed);
        self.memory.held.fetch_sub(self.buffered, Ordering::Relaxed);
        self.buffered = bytes;
    }

    /// The buffer became a batch.
    pub(super) fn submitted(&mut self) {
        self.submitted.push_back(std::mem::take(&mut self.buffered));
    }

    /// The oldest batch is through.
    pub(super) fn settled(&mut self) {
        let bytes = self.submitted.pop_front().unwrap_or(0);
        self.memory.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether the feeds together hold all that they may.
    pub(super) fn is_exhausted(&self) -> bool {
        self.memory.held.load(Ordering::Relaxed) >= self.memory.limit
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = self.buffered + self.submitted.iter().sum::<usize>();
        self.memory.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_feed_holds_counts_for_all_until_it_is_settled() {
        let memory = Memory::new(100);
        let (mut sales, weather) = (Held::of(&memory), Held::of(&memory));
        sales.buffered(60);
        sales.submitted();
        sales.buffered(50);
        assert!(weather.is_exhausted());
        sales.settled();
        assert!(!weather.is_exhausted());
        sales.buffered(100);
        sales.submitted();
        drop(sales);
        assert_eq!(memory.held.load(Ordering::Relaxed), 0);
    }
}
