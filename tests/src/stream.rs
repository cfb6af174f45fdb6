//! An even stream of sales with bad records at known offsets, so that for any position it is known how many rows and dead letters lie before it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::world::World;

/// One record in so many is bad.
const BAD_EVERY: i64 = 17;
const BAD_AT: i64 = 5;

/// Whether the record at this offset of its partition is bad.
#[must_use]
pub fn is_bad(offset: i64) -> bool {
    offset % BAD_EVERY == BAD_AT
}

/// How many records before `position` are bad.
#[must_use]
pub fn bad_before(position: i64) -> i64 {
    (position + BAD_EVERY - 1 - BAD_AT) / BAD_EVERY
}

/// The value of the record at an offset of a partition. Good ones name their place in `transaction_id`, so that a reader can tell whether a row's
/// content belongs to its coordinates; they lie in two months, so that a batch writes several files.
#[must_use]
pub fn value(partition: i32, offset: i64) -> Vec<u8> {
    if is_bad(offset) {
        return match (offset / BAD_EVERY) % 3 {
            0 => b"not json".to_vec(),
            1 => br#"{"tenant":"kill","store":"s1"}"#.to_vec(),
            _ => vec![0xff, 0xfe, 0x00],
        };
    }
    let month = 1 + offset % 2;
    format!(
        r#"{{"tenant":"kill","store":"s{}","transaction_id":"t-{partition}-{offset}","line":1,"sku":"sku-{}","quantity":"{}","unit_price":"1.25","currency":"GBP","kind":"sale","occurred_at":"2026-{month:02}-10T12:00:00Z"}}"#,
        offset % 3,
        offset % 100,
        1 + offset % 10,
    )
    .into_bytes()
}

/// A producer's thread that sends the stream until it is stopped.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<i64>>,
}

impl Stream {
    /// Starts sending so many records a second, evenly over the partitions of the world's topic, which must be empty.
    #[must_use]
    pub fn start(world: &World, partitions: i32, per_second: u32) -> Self {
        Self::start_on(world, 0..partitions, per_second)
    }

    /// The same over some partitions.
    #[must_use]
    pub fn start_on(world: &World, partitions: Range<i32>, per_second: u32) -> Self {
        let (producer, topic) = (world.producer(), world.topic());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let begun = Instant::now();
            let count = partitions.len() as u32;
            let mut next = 0_i64;
            while !stopped.load(Ordering::Relaxed) {
                for partition in partitions.clone() {
                    let value = value(partition, next);
                    let sent = producer.send_raw(&topic, Some(partition), None, Some(&value), false);
                    sent.expect("the cluster takes records");
                }
                next += 1;
                let due = Duration::from_secs_f64(next as f64 * f64::from(count) / f64::from(per_second));
                if let Some(early) = due.checked_sub(begun.elapsed()) {
                    std::thread::sleep(early);
                }
            }
            let acknowledged = producer.finish().expect("all records are acknowledged");
            assert_eq!(acknowledged, next.unsigned_abs() * u64::from(count));
            partitions.map(|_| next).collect()
        });
        Self { stop, thread }
    }

    /// Ends it; gives for each of its partitions how many records were acknowledged.
    ///
    /// # Panics
    /// When a record was not acknowledged.
    #[must_use]
    pub fn end(self) -> Vec<i64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the producer ended well")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_records_are_counted_as_they_are_made() {
        let mut bad = 0;
        for offset in 0..100 {
            assert_eq!(bad_before(offset), bad, "{offset}");
            bad += i64::from(is_bad(offset));
        }
    }
}
