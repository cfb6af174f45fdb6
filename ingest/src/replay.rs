//! `dlq replay`: dead letters decoded again, as they are or mended, and given back to their feed's table.
//!
//! What is decoded lands with the coordinates, the Kafka timestamp and the header `history` of its letter; what is refused again becomes a letter with one
//! attempt more. Both happen piece by piece: cut off in the middle and run again, a replay goes on with what is dead still.

mod mend;

use std::collections::{BTreeMap, HashSet};

use domain::feeds::metadata::HISTORY_HEADER;
use domain::feeds::{FeedBuilder, RecordMetadata};
use domain::ports::LetterSelection;
use domain::replay::{LetterStatus, Place, StoredLetter};
use domain::{DeadLetter, Feed, Result, civil};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use mend::{Edits, Mend, MendingMap};

/// Letters of one commit at most.
const PIECE_LETTERS: usize = 10_000;

/// Bytes of records of one commit at most; one record may be larger.
const PIECE_BYTES: usize = 32 << 20;

/// Records that a report names.
const SHOWN: usize = 5;

/// How a replay runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplayOptions {
    /// Decodes and reports; nothing is written.
    pub is_dry_run: bool,
    /// Letters of one commit at most; 0: as many as is sensible.
    pub piece_letters: usize,
}

/// What a replay did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Records that stand in their feed's table now, or would.
    pub landed: u64,
    /// Records that were refused again, or would be.
    pub refused: u64,
    /// Letters that another replay resolved in the meantime.
    pub resolved_by_others: u64,
    /// Letters that were left alone because their feed's ingest has not passed them yet.
    pub ahead: u64,
    /// Places of an edit file that are no dead letters, or are resolved already.
    pub unmatched: u64,
    /// Commits that added rows.
    pub commits: u64,
    /// The shutdown came before the end.
    pub is_cut_off: bool,
    /// Some records that landed, or would.
    pub landed_examples: Vec<Example>,
    /// Some that were refused, with the reason.
    pub refused_examples: Vec<Example>,
    /// Some places of an edit file that match no dead letter.
    pub unmatched_examples: Vec<Place>,
    /// How many records were refused for what, the most frequent first.
    pub reasons: Vec<(String, u64)>,
}

/// A record of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Where the record stands.
    pub place: Place,
    /// The record as it was decoded, shortened.
    pub value: String,
    /// Why it was refused.
    pub reason: Option<String>,
}

/// Replays what is dead in a selection. A shutdown ends it between two commits.
///
/// # Errors
/// Those of the store. What was committed before stands, and the same replay may be run again.
pub async fn replay(
    letters: &dyn LetterSelection,
    mend: &Mend,
    options: ReplayOptions,
    shutdown: &CancellationToken,
    mut progress: impl FnMut(u64, u64),
) -> Result<ReplayReport> {
    let entries = letters.entries();
    let mut run = Run { mend, report: ReplayReport::default(), reasons: BTreeMap::new() };
    run.note_unmatched(letters);
    let is_meant = |at: &usize| entries[*at].status == LetterStatus::Dead && mend.is_for(&entries[*at]);
    let dead: Vec<usize> = (0..entries.len()).filter(is_meant).collect();
    let (ahead, mut rest): (Vec<usize>, Vec<usize>) = dead.into_iter().partition(|at| entries[*at].is_ahead);
    run.report.ahead = ahead.len() as u64;
    let piece_letters = if options.piece_letters == 0 { PIECE_LETTERS } else { options.piece_letters };
    let total = rest.len() as u64;
    while !rest.is_empty() {
        if shutdown.is_cancelled() {
            run.report.is_cut_off = true;
            break;
        }
        let feed = entries[rest[0]].feed;
        let same_feed = rest.iter().take(piece_letters).take_while(|at| entries[**at].feed == feed).count();
        let piece = letters.read(&rest[..same_feed], PIECE_BYTES).await?;
        rest.drain(..piece.len());
        let (mut rows, refused) = run.decode(feed, piece);
        if !options.is_dry_run {
            run.write(letters, feed, rows.as_mut(), refused).await?;
        }
        progress(total - rest.len() as u64, total);
    }
    Ok(run.end())
}

struct Run<'a> {
    mend: &'a Mend,
    report: ReplayReport,
    /// How often each fault was met; as many kinds as there are fields and classes.
    reasons: BTreeMap<String, u64>,
}

impl Run<'_> {
    fn note_unmatched(&mut self, letters: &dyn LetterSelection) {
        let Mend::Edits(edits) = self.mend else { return };
        let dead = letters.entries().iter().filter(|entry| entry.status == LetterStatus::Dead);
        let dead: HashSet<&Place> = dead.map(|entry| &entry.place).collect();
        let mut unmatched: Vec<&Place> = edits.places().filter(|place| !dead.contains(place)).collect();
        unmatched.sort_unstable();
        self.report.unmatched = unmatched.len() as u64;
        self.report.unmatched_examples = unmatched.into_iter().take(SHOWN).cloned().collect();
    }

    /// Mends and decodes letters of one feed; gives the rows, and the letters that are refused again.
    fn decode(&mut self, feed: Feed, piece: Vec<StoredLetter>) -> (Box<dyn FeedBuilder>, Vec<DeadLetter>) {
        let (mut rows, mut refused, now) = (feed.builder(), Vec::new(), civil::now());
        for letter in piece {
            let mended = self.mend.apply(&letter);
            let payload = mended.as_ref().map_or(letter.raw_value.as_deref(), |value| value.as_deref());
            let metadata = RecordMetadata {
                topic: &letter.place.topic,
                log: letter.place.log,
                partition: letter.place.partition,
                offset: letter.place.offset,
                timestamp: letter.timestamp,
                ingested_at: now,
                history: is_history(letter.headers.as_deref()),
            };
            let decoded = match &mended {
                Ok(_) => rows.push(payload, &metadata, now),
                Err(reject) => Err(reject.clone()),
            };
            let example = |reason: Option<String>| Example {
                place: letter.place.clone(),
                value: shown(payload),
                reason,
            };
            match decoded {
                Ok(()) => {
                    self.report.landed += 1;
                    if self.report.landed_examples.len() < SHOWN {
                        self.report.landed_examples.push(example(None));
                    }
                }
                Err(reject) => {
                    self.report.refused += 1;
                    let field = reject.field.as_deref().map(|field| format!(" in `{field}`"));
                    let reason = format!("{}{}", reject.class.as_str(), field.unwrap_or_default());
                    *self.reasons.entry(reason).or_insert(0) += 1;
                    if self.report.refused_examples.len() < SHOWN {
                        self.report.refused_examples.push(example(Some(reject.to_string())));
                    }
                    refused.push(letter.failed_again(reject));
                }
            }
        }
        (rows, refused)
    }

    async fn write(
        &mut self,
        letters: &dyn LetterSelection,
        feed: Feed,
        rows: &mut dyn FeedBuilder,
        refused: Vec<DeadLetter>,
    ) -> Result<()> {
        if rows.rows() > 0 {
            let landed = letters.land(feed, rows.finish()).await?;
            self.report.landed -= landed.standing + landed.ahead;
            self.report.resolved_by_others += landed.standing;
            self.report.ahead += landed.ahead;
            self.report.commits += u64::from(landed.rows > 0);
        }
        letters.fail(refused).await?;
        Ok(())
    }

    fn end(mut self) -> ReplayReport {
        self.report.reasons = self.reasons.into_iter().collect();
        self.report.reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        self.report
    }
}

/// Whether stored headers hold [`HISTORY_HEADER`] = `1`.
fn is_history(headers: Option<&str>) -> bool {
    let headers: Vec<Value> = headers.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    headers.iter().any(|header| header["key"] == HISTORY_HEADER && header["value"] == "1")
}

/// The beginning of a record, on one line.
fn shown(payload: Option<&[u8]>) -> String {
    const SHOWN_CHARS: usize = 160;
    let Some(payload) = payload else { return "(no value)".to_owned() };
    let head = String::from_utf8_lossy(&payload[..payload.len().min(4 * SHOWN_CHARS)]);
    let mut text: String = head.chars().take(SHOWN_CHARS).collect();
    if text.len() < payload.len() {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests;
