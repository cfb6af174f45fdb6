//! The words of a replay: where a record stands, which dead letters are meant, and what is known of one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::civil::Micros;
use crate::dead_letter::DeadLetter;
use crate::feeds::Feed;
use crate::fields::Reject;

/// Where a record stands: its coordinates, written as `TOPIC/LOG/PARTITION/OFFSET`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Kafka's topic.
    pub topic: Arc<str>,
    /// Number of the topic's log in the feed's table.
    pub log: i64,
    /// Kafka's partition.
    pub partition: i32,
    /// Kafka's offset.
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.topic, self.log, self.partition, self.offset)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range: PlaceRange = text.parse()?;
        if range.first != range.last {
            return Err(format!("{text}: name one record, as {FORM}"));
        }
        Ok(Self { topic: range.topic, log: range.log, partition: range.partition, offset: range.first })
    }
}

/// How a place is written.
const FORM: &str = "TOPIC/LOG/PARTITION/OFFSET, like intellicartel.sales.v1/1/0/42";

/// Records that follow each other in a partition, written as `TOPIC/LOG/PARTITION/OFFSET` or `TOPIC/LOG/PARTITION/FIRST-LAST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceRange {
    /// Kafka's topic.
    pub topic: Arc<str>,
    /// Number of the topic's log in the feed's table.
    pub log: i64,
    /// Kafka's partition.
    pub partition: i32,
    /// The first offset.
    pub first: i64,
    /// The last offset, which belongs to it.
    pub last: i64,
}

impl From<&Place> for PlaceRange {
    fn from(place: &Place) -> Self {
        let Place { topic, log, partition, offset } = place.clone();
        Self { topic, log, partition, first: offset, last: offset }
    }
}

impl FromStr for PlaceRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let mut parts = text.splitn(4, '/');
            let topic = parts.next().filter(|topic| !topic.is_empty())?;
            let log = parts.next()?.parse().ok()?;
            let partition = parts.next()?.parse().ok()?;
            let offsets = parts.next()?;
            let (first, last) = offsets.split_once('-').unwrap_or((offsets, offsets));
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then(|| Self { topic: topic.into(), log, partition, first, last })
        };
        read().ok_or_else(|| format!("write it as {FORM}, or with offsets FIRST-LAST"))
    }
}

/// What became of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LetterStatus {
    /// Its record stands nowhere else.
    Dead,
    /// Its coordinates stand in the feed's table.
    Resolved,
}

impl LetterStatus {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Resolved => "resolved",
        }
    }
}

/// Which dead letters are meant: those for which all that is given holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Of one of these feeds; none given: of any.
    pub feeds: Vec<Feed>,
    /// The class of the newest fault.
    pub class: Option<String>,
    /// Taken in at this instant or later.
    pub since: Option<Micros>,
    /// Taken in before this instant.
    pub until: Option<Micros>,
    /// The business that the record states.
    pub tenant: Option<String>,
    /// In one of these ranges; none given: anywhere.
    pub places: Option<Vec<PlaceRange>>,
}

/// A dead letter in a selection: its newest attempt, without the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterEntry {
    /// Where the record stands.
    pub place: Place,
    /// The feed that refused it.
    pub feed: Feed,
    /// 1 for the first time, one more for each replay that failed.
    pub attempt: i32,
    /// When the record was taken in.
    pub ingested_at: Micros,
    /// What became of it.
    pub status: LetterStatus,
    /// Whether the feed's position has not passed it: ingest may still have its batch in hand, so that a replay leaves it alone.
    pub is_ahead: bool,
}

/// A dead letter as it is stored, with the fault of its newest attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLetter {
    /// Where the record stands.
    pub place: Place,
    /// The feed that refused it.
    pub feed: Feed,
    /// 1 for the first time, one more for each replay that failed.
    pub attempt: i32,
    /// When the record was taken in.
    pub ingested_at: Micros,
    /// Kafka's key.
    pub raw_key: Option<Vec<u8>>,
    /// Kafka's value; `None` for a tombstone.
    pub raw_value: Option<Vec<u8>>,
    /// Kafka's headers as [`DeadLetter::headers`] has them.
    pub headers: Option<String>,
    /// Kafka's timestamp.
    pub timestamp: Option<Micros>,
    /// Kind of fault.
    pub error_class: String,
    /// The fault in words.
    pub error_message: String,
    /// Field at fault.
    pub field: Option<String>,
    /// Its value, shortened.
    pub value: Option<String>,
    /// What would have been right.
    pub expected: String,
    /// The business, only if the record itself states a valid one.
    pub tenant: Option<String>,
    /// The store, only if the record itself states a valid one.
    pub store: Option<String>,
    /// The pipeline that met it.
    pub pipeline: String,
}

impl StoredLetter {
    /// The letter of a replay that failed: the same record, one attempt more, with the fault that was met now.
    #[must_use]
    pub fn failed_again(self, reject: Reject) -> DeadLetter {
        DeadLetter {
            raw_key: self.raw_key,
            raw_value: self.raw_value,
            headers: self.headers,
            topic: self.place.topic.to_string(),
            log: self.place.log,
            partition: self.place.partition,
            offset: self.place.offset,
            timestamp: self.timestamp,
            feed: self.feed,
            reject,
            tenant: self.tenant,
            store: self.store,
            pipeline: self.pipeline,
            attempt: self.attempt.saturating_add(1),
            ingested_at: self.ingested_at,
        }
    }
}

/// What became of rows that a replay wanted to add.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Landed {
    /// Rows that stand in the table now, by this commit.
    pub rows: u64,
    /// Rows left out because their coordinates stood there: another replay was first.
    pub standing: u64,
    /// Rows left out because the feed's position has not passed them.
    pub ahead: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written_or_refused_with_the_form() {
        let place: Place = "p.sales.v1/2/3/44".parse().expect("a place");
        assert_eq!(place, Place { topic: "p.sales.v1".into(), log: 2, partition: 3, offset: 44 });
        assert_eq!(place.to_string(), "p.sales.v1/2/3/44");
        let range: PlaceRange = "p.sales.v1/2/3/44-50".parse().expect("a range");
        assert_eq!((range.first, range.last), (44, 50));
        for wrong in ["", "p", "p/1/2", "p/1/2/x", "p/1/2/3/4", "/1/2/3", "p/1/2/4-3", "p/1/2/-3", "p/1/2/3-"]
        {
            let fault = wrong.parse::<PlaceRange>().expect_err(wrong);
            assert!(fault.contains("TOPIC/LOG/PARTITION/OFFSET"), "{wrong}: {fault}");
        }
        assert!("p/1/2/3-4".parse::<Place>().is_err());
    }
}
