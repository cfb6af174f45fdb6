//! What a file would become, without a broker: the whole file is read, mapped and decoded as ingest would, and nothing is sent.

use std::collections::BTreeMap;

use domain::feeds::{FeedBuilder, RecordMetadata};
use domain::fields::Reject;
use domain::{Feed, Result, civil};
use tokio_util::sync::CancellationToken;

use crate::mapping::{LocalTimes, MappedRecord};
use crate::produce::{Opened, ProduceOptions, blocking};

/// Records and refusals of each kind that are shown.
const SHOWN: usize = 5;

/// Decoded rows that are held before they are let go.
const ROWS_HELD: usize = 10_000;

/// What a file would become.
#[derive(Debug, Default)]
pub struct Preview {
    /// Rows of the file that were read.
    pub rows: u64,
    /// Records that feeds would take.
    pub taken: BTreeMap<Feed, u64>,
    /// Records that would become dead letters.
    pub refused: BTreeMap<Feed, u64>,
    /// The first records.
    pub first_taken: Vec<MappedRecord>,
    /// The first that would become dead letters: the row of the file, the record, and why.
    pub first_refused: Vec<(u64, MappedRecord, Reject)>,
    /// Local times that needed a decision.
    pub local_times: LocalTimes,
    /// Whether the caller stopped it before the end of the file.
    pub cancelled: bool,
}

/// Reads a file as [`crate::produce::produce`] would, and tells what would come of it.
///
/// # Errors
/// A file or mapping that cannot be used, or a row that cannot be read.
pub async fn preview(options: ProduceOptions, cancel: CancellationToken) -> Result<Preview> {
    blocking(move || {
        let mut opened = Opened::new(&options, &cancel)?;
        let mut preview = Preview::default();
        let mut builders: BTreeMap<Feed, Box<dyn FeedBuilder>> = BTreeMap::new();
        let now = civil::now();
        while !cancel.is_cancelled() {
            let Some(records) = opened.next()? else { break };
            preview.rows += 1;
            for record in records {
                let builder = builders.entry(record.feed).or_insert_with(|| record.feed.builder());
                preview.judge(builder.as_mut(), record, now);
            }
        }
        preview.local_times = opened.mapper.local_times();
        preview.cancelled = cancel.is_cancelled();
        Ok(preview)
    })
    .await
}

impl Preview {
    fn judge(&mut self, builder: &mut dyn FeedBuilder, record: MappedRecord, now: civil::Micros) {
        let metadata = RecordMetadata {
            topic: "",
            log: 0,
            partition: 0,
            offset: 0,
            timestamp: None,
            ingested_at: now,
            history: record.history,
        };
        match builder.push(Some(&record.value), &metadata, now) {
            Ok(()) => {
                *self.taken.entry(record.feed).or_default() += 1;
                if self.first_taken.len() < SHOWN {
                    self.first_taken.push(record);
                }
            }
            Err(reject) => {
                *self.refused.entry(record.feed).or_default() += 1;
                if self.first_refused.len() < SHOWN {
                    self.first_refused.push((self.rows, record, reject));
                }
            }
        }
        if builder.rows() >= ROWS_HELD {
            drop(builder.finish());
        }
    }
}
