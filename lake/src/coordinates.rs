//! Coordinates of records (topic, log, partition, offset) looked up in the files of a table: which of them stand there.
//!
//! Files that cannot hold any by their statistics are not opened; of the others, four columns are fetched.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use domain::replay::{Place, PlaceRange};
use domain::{Error, Result};

use crate::log::ActiveFile;
use crate::scan::{Scan, scan_file};
use crate::table::Table;

/// The columns that hold them.
pub(crate) const COLUMNS: [&str; 4] = ["_topic", "_log", "_partition", "_offset"];

/// Rows that are decoded at a time; a row is a few numbers here.
const BATCH_ROWS: usize = 16_384;

/// First and last offsets, ascending and apart from each other.
type Offsets = Vec<(i64, i64)>;

/// A set of coordinates, kept as ranges of offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Coordinates {
    partitions: BTreeMap<(Arc<str>, i64, i32), Offsets>,
}

impl FromIterator<PlaceRange> for Coordinates {
    fn from_iter<I: IntoIterator<Item = PlaceRange>>(ranges: I) -> Self {
        let mut partitions = BTreeMap::<_, Offsets>::new();
        for PlaceRange { topic, log, partition, first, last } in ranges {
            partitions.entry((topic, log, partition)).or_default().push((first, last));
        }
        for offsets in partitions.values_mut() {
            offsets.sort_unstable();
            let mut merged: Offsets = Vec::new();
            for &(first, last) in &*offsets {
                match merged.last_mut() {
                    Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                    _ => merged.push((first, last)),
                }
            }
            *offsets = merged;
        }
        Self { partitions }
    }
}

impl Coordinates {
    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// The topics, logs and partitions in which some lie.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &(Arc<str>, i64, i32)> {
        self.partitions.keys()
    }

    fn contains(&self, topic: &str, log: i64, partition: i32, offset: i64) -> Option<Place> {
        // A set has few partitions, and mostly one topic; looking it up by a borrowed name would need a map in a map.
        let (key, offsets) = self
            .partitions
            .iter()
            .find(|((t, l, p), _)| *l == log && *p == partition && t.as_ref() == topic)?;
        let at = offsets.partition_point(|(_, last)| *last < offset);
        let holds = offsets.get(at).is_some_and(|(first, _)| *first <= offset);
        holds.then(|| Place { topic: Arc::clone(&key.0), log, partition, offset })
    }

    /// Whether a file's statistics allow that it holds some.
    pub(crate) fn may_stand_in(&self, file: &ActiveFile) -> bool {
        let stats: serde_json::Value =
            file.stats.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let bounds = |column: &str| {
            let (low, high) = (&stats["minValues"][column], &stats["maxValues"][column]);
            (low.as_i64().unwrap_or(i64::MIN), high.as_i64().unwrap_or(i64::MAX))
        };
        let (logs, partitions, offsets) = (bounds("_log"), bounds("_partition"), bounds("_offset"));
        let within = |value: i64, (low, high): (i64, i64)| (low..=high).contains(&value);
        self.partitions.iter().any(|((_, log, partition), ranges)| {
            let at = ranges.partition_point(|(_, last)| *last < offsets.0);
            within(*log, logs)
                && within(i64::from(*partition), partitions)
                && ranges.get(at).is_some_and(|(first, _)| *first <= offsets.1)
        })
    }

    /// Those that stand in the rows, whose columns must include [`COLUMNS`], with the row that each stands in.
    pub(crate) fn in_rows(&self, rows: &RecordBatch) -> Result<Vec<(usize, Place)>> {
        let places = PlaceColumns::of(rows)?;
        let found = (0..rows.num_rows()).filter_map(|row| {
            let (topic, log, partition, offset) = places.at(row);
            Some((row, self.contains(topic, log, partition, offset)?))
        });
        Ok(found.collect())
    }

    /// Those that stand in these files of a table.
    pub(crate) async fn in_files<'a>(
        self: &Arc<Self>,
        table: &Table,
        files: impl Iterator<Item = &'a Arc<ActiveFile>>,
    ) -> Result<HashSet<Place>> {
        let store = table.log_store().object_store(None);
        let mut found = HashSet::new();
        for file in files.filter(|file| self.may_stand_in(file)) {
            let asked = Arc::clone(self);
            let visit = move |places: &mut Vec<Place>, rows: &RecordBatch| {
                places.extend(asked.in_rows(rows)?.into_iter().map(|(_, place)| place));
                Ok(true)
            };
            let scan = Scan { columns: &COLUMNS, from_row: 0, batch_rows: BATCH_ROWS };
            found.extend(scan_file::<Vec<Place>, _>(&store, file, scan, visit).await?);
        }
        Ok(found)
    }
}

/// The columns of a batch that hold coordinates.
pub(crate) struct PlaceColumns<'a> {
    topics: &'a arrow_array::StringArray,
    logs: &'a arrow_array::Int64Array,
    partitions: &'a arrow_array::Int32Array,
    offsets: &'a arrow_array::Int64Array,
}

impl<'a> PlaceColumns<'a> {
    pub(crate) fn of(rows: &'a RecordBatch) -> Result<Self> {
        let column = |name: &str| {
            rows.column_by_name(name)
                .ok_or_else(|| Error::internal(format!("a file lacks the column {name}")))
        };
        let wrong = || Error::internal("a column of coordinates is of another type");
        Ok(Self {
            topics: column("_topic")?.as_string_opt().ok_or_else(wrong)?,
            logs: column("_log")?.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?,
            partitions: column("_partition")?.as_primitive_opt::<Int32Type>().ok_or_else(wrong)?,
            offsets: column("_offset")?.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?,
        })
    }

    pub(crate) fn at(&self, row: usize) -> (&'a str, i64, i32, i64) {
        (self.topics.value(row), self.logs.value(row), self.partitions.value(row), self.offsets.value(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(stats: &str) -> ActiveFile {
        ActiveFile {
            path: String::new(),
            period: String::new(),
            size_bytes: 0,
            modified_ms: 0,
            stats: (!stats.is_empty()).then(|| stats.to_owned()),
        }
    }

    #[test]
    fn ranges_are_merged_and_statistics_leave_files_out() {
        let ranges = ["t/1/0/5", "t/1/0/6-9", "t/1/0/20-30", "t/1/0/25", "t/1/3/7", "u/1/0/100"];
        let set: Coordinates = ranges.iter().map(|text| text.parse().expect(text)).collect();
        assert_eq!(set.partitions[&("t".into(), 1, 0)], [(5, 9), (20, 30)]);
        for (place, is_in) in [(5, true), (9, true), (10, false), (19, false), (30, true), (31, false)] {
            assert_eq!(set.contains("t", 1, 0, place).is_some(), is_in, "{place}");
        }
        assert!(set.contains("t", 2, 0, 5).is_none() && set.contains("u", 1, 0, 5).is_none());

        let stats = |log: i64, partitions: [i64; 2], offsets: [i64; 2]| {
            file(&format!(
                r#"{{"minValues":{{"_log":{log},"_partition":{},"_offset":{}}},"maxValues":{{"_log":{log},"_partition":{},"_offset":{}}}}}"#,
                partitions[0], offsets[0], partitions[1], offsets[1]
            ))
        };
        assert!(set.may_stand_in(&file("")), "without statistics anything may stand in it");
        assert!(set.may_stand_in(&stats(1, [0, 3], [0, 1_000])));
        assert!(set.may_stand_in(&stats(1, [0, 0], [9, 9])));
        assert!(!set.may_stand_in(&stats(1, [0, 0], [10, 19])));
        assert!(!set.may_stand_in(&stats(1, [1, 2], [0, 1_000])));
        assert!(!set.may_stand_in(&stats(2, [0, 3], [0, 1_000])));
        assert!(!set.may_stand_in(&stats(1, [3, 3], [8, 1_000])));
    }
}
