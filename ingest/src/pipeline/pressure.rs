//! Slower flushes while the table has too many small files: each flush adds some, and maintenance does not keep up.

use std::time::Duration;

use domain::Feed;

/// Flushes are at most so many times slower, and batches so many times larger.
const MAX_FACTOR: u32 = 64;

/// How far the flushes of a feed are stretched.
#[derive(Debug)]
pub(super) struct Pressure {
    feed: Feed,
    /// Small files above which they are.
    cap: usize,
    flush: Duration,
    factor: u32,
}

impl Pressure {
    pub(super) fn new(feed: Feed, cap: usize, flush: Duration) -> Self {
        let pressure = Self { feed, cap, flush, factor: 1 };
        pressure.tell();
        pressure
    }

    /// Takes note of the files that a commit has left: too many, and the next flush waits twice as long; else half as long, down to the setting.
    pub(super) fn note(&mut self, small_files: usize) {
        let before = self.factor;
        self.factor = if small_files > self.cap { (before * 2).min(MAX_FACTOR) } else { (before / 2).max(1) };
        if self.factor == before {
            return;
        }
        let (feed, flush_ms) = (self.feed.name(), self.flush().as_millis() as u64);
        if before == 1 {
            tracing::warn!(
                feed,
                small_files,
                cap = self.cap,
                flush_ms,
                "the table has too many small files, so flushes slow down until maintenance has joined them: is `intellicartel serve --roles maintenance` running?"
            );
        } else {
            tracing::info!(feed, small_files, flush_ms, "flushes have another pace");
        }
        self.tell();
    }

    fn tell(&self) {
        metrics::gauge!("intellicartel_ingest_flush_seconds", "feed" => self.feed.name())
            .set(self.flush().as_secs_f64());
    }

    /// A batch is committed at the latest so long after its first record.
    pub(super) fn flush(&self) -> Duration {
        self.flush * self.factor
    }

    /// Or once it holds so much; `most` is what memory allows.
    pub(super) fn bytes(&self, of_setting: usize, most: usize) -> usize {
        of_setting.saturating_mul(self.factor as usize).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_slow_down_within_bounds_and_come_back() {
        let mut pressure = Pressure::new(Feed::Sales, 10, Duration::from_secs(1));
        pressure.note(10);
        assert_eq!((pressure.flush(), pressure.bytes(5, 100)), (Duration::from_secs(1), 5));
        let seen: Vec<_> = (0..8)
            .map(|_| {
                pressure.note(11);
                pressure.flush().as_secs()
            })
            .collect();
        assert_eq!(seen, [2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!((pressure.bytes(5, 1_000), pressure.bytes(5, 100)), (320, 100));
        for expected in [32, 16, 8, 4, 2, 1, 1] {
            pressure.note(10);
            assert_eq!(pressure.flush(), Duration::from_secs(expected));
        }
    }
}
