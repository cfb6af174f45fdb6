//! Which small files of an open period are joined: at least four of like size become one, which then is of another size.
//!
//! A file's level is the logarithm of its rows to the base four. Rows and not bytes are counted, for a tiny Parquet file is nearly all overhead, and
//! would stay of like size however often it were joined. Four or more files of a level have at least four times the rows of its smallest, so
//! the file that they become is of a higher level, or not small any more. Each row is therefore written at most once a level: ten times for a
//! million rows. What a pass leaves is at most three files a level.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::log::{ActiveFile, MAX_ROWS};

/// Files of a level that are joined, at least.
pub(crate) const LEAST_FILES: usize = 4;

/// One file, or several that will be one.
#[derive(Debug, Clone, Default)]
struct Run {
    files: Vec<Arc<ActiveFile>>,
    rows: u64,
    bytes: u64,
}

impl Run {
    fn of(file: &Arc<ActiveFile>) -> Self {
        Self { files: vec![Arc::clone(file)], rows: file.rows().unwrap_or(0), bytes: file.size_bytes }
    }

    fn level(&self) -> u32 {
        self.rows.checked_ilog(LEAST_FILES as u64).unwrap_or(0)
    }

    fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        self.rows += other.rows;
        self.bytes += other.bytes;
    }

    /// Whether one file may hold both.
    fn has_room_for(&self, other: &Self, target_bytes: u64) -> bool {
        self.rows + other.rows <= MAX_ROWS && self.bytes + other.bytes <= target_bytes
    }

    fn is_small(&self, target_bytes: u64) -> bool {
        self.rows < MAX_ROWS / 2 && self.bytes < target_bytes / 2
    }
}

/// Groups of a period's files, each to become one file of `target_bytes` at most. Files that are not small are left out.
pub(crate) fn groups<'a>(
    files: impl Iterator<Item = &'a Arc<ActiveFile>>,
    target_bytes: u64,
) -> Vec<Vec<Arc<ActiveFile>>> {
    let mut levels: BTreeMap<u32, Vec<Run>> = BTreeMap::new();
    for file in files.filter(|file| file.is_small(target_bytes)) {
        let run = Run::of(file);
        levels.entry(run.level()).or_default().push(run);
    }
    let mut groups = Vec::new();
    let mut finish = |run: Run| {
        if run.files.len() > 1 {
            groups.push(run.files);
        }
    };
    while let Some((level, mut runs)) = levels.pop_first() {
        if runs.len() < LEAST_FILES {
            runs.into_iter().for_each(&mut finish);
            continue;
        }
        // Those that are several files already come last, so that what does not fit any more is more likely a file that can stay as it is.
        runs.sort_by_key(|run| std::cmp::Reverse(run.files.len()));
        let mut joined: Vec<Run> = Vec::new();
        for run in runs {
            match joined.last_mut().filter(|last| last.has_room_for(&run, target_bytes)) {
                Some(last) => last.add(run),
                None => joined.push(run),
            }
        }
        for run in joined {
            // What is of a higher level now may meet others there, and is written once for both.
            if run.level() > level && run.is_small(target_bytes) {
                levels.entry(run.level()).or_default().push(run);
            } else {
                finish(run);
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use proptest::prelude::*;

    use super::*;

    const TARGET: u64 = 128 << 20;

    fn file(name: u64, rows: u64, bytes: u64) -> Arc<ActiveFile> {
        Arc::new(ActiveFile {
            path: format!("f{name}"),
            period: "2026-01".to_owned(),
            size_bytes: bytes,
            modified_ms: 0,
            stats: Some(format!(r#"{{"numRecords":{rows},"minValues":{{"a":"x"}}}}"#)),
        })
    }

    /// Files as a stream would leave them, joined as the groups say whenever so many have come.
    struct Life {
        files: Vec<Arc<ActiveFile>>,
        /// How often the rows of a file were written, by its path.
        written: HashMap<String, u32>,
        names: u64,
    }

    impl Life {
        fn new() -> Self {
            Self { files: Vec::new(), written: HashMap::new(), names: 0 }
        }

        fn add(&mut self, rows: u64, bytes: u64, written: u32) {
            self.names += 1;
            let file = file(self.names, rows, bytes);
            self.written.insert(file.path.clone(), written);
            self.files.push(file);
        }

        fn pass(&mut self) -> usize {
            let groups = groups(self.files.iter(), TARGET);
            let mut gone = BTreeSet::new();
            for group in &groups {
                assert!(group.len() > 1);
                for file in group {
                    assert!(gone.insert(file.path.clone()), "{} is in two groups", file.path);
                }
                let rows = group.iter().filter_map(|file| file.rows()).sum();
                let bytes = group.iter().map(|file| file.size_bytes).sum::<u64>();
                assert!(bytes <= TARGET && rows <= MAX_ROWS);
                let written = group.iter().map(|file| self.written[&file.path]).max().unwrap_or(0);
                self.add(rows, bytes, written + 1);
            }
            self.files.retain(|file| !gone.contains(&file.path));
            groups.len()
        }
    }

    #[test]
    fn an_even_stream_leaves_few_files_and_writes_each_row_a_few_times() {
        let mut life = Life::new();
        let mut most = 0;
        for commit in 1..=102_400_u64 {
            life.add(20, 12_000, 0);
            most = most.max(life.files.len());
            if commit % 64 == 0 {
                life.pass();
                assert_eq!(life.pass(), 0, "a pass leaves nothing to do");
            }
        }
        let small = life.files.iter().filter(|file| file.is_small(TARGET)).count();
        assert!(small <= 3 * 8, "{small} small files");
        // In bytes 1.2 GB: nine files of the target size at least.
        assert!(life.files.len() - small <= 20, "{} files", life.files.len());
        assert!(most < 64 + 40, "{most} files at once");
        let written = life.files.iter().map(|file| life.written[&file.path]).max();
        assert!(written <= Some(8), "{written:?}");
    }

    #[test]
    fn tiny_files_rise_although_their_bytes_do_not() {
        let files: Vec<_> = (0..4).map(|name| file(name, 1, 10_000)).collect();
        assert_eq!(groups(files.iter(), TARGET).len(), 1);
        // What they became is of a level of its own, although it is hardly larger.
        let mut next = vec![file(9, 4, 10_400)];
        next.extend((10..13).map(|name| file(name, 1, 10_000)));
        assert!(groups(next.iter(), TARGET).is_empty());
        // A file of unknown rows, or of none, is of the lowest level.
        next.push(file(20, 0, 10_000));
        assert_eq!(groups(next.iter(), TARGET).len(), 1);
    }

    #[test]
    fn files_that_are_large_in_bytes_or_rows_stay() {
        let large = [file(1, 10, TARGET / 2), file(2, MAX_ROWS / 2, 1_000)];
        let files: Vec<_> = large.iter().cycle().take(20).cloned().collect();
        assert!(groups(files.iter(), TARGET).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn passes_end_and_leave_three_files_a_level(
            sizes in prop::collection::vec((0_u64..2_000_000, 1_u64..200 << 20), 0..200),
        ) {
            let mut life = Life::new();
            for (rows, bytes) in sizes {
                life.add(rows, bytes, 0);
            }
            let rows = |life: &Life| life.files.iter().filter_map(|file| file.rows()).sum::<u64>();
            let before = rows(&life);
            let mut passes = 0;
            while life.pass() > 0 {
                passes += 1;
                prop_assert!(passes < 40, "passes go on for ever");
            }
            prop_assert_eq!(rows(&life), before);
            let mut levels: BTreeMap<u32, usize> = BTreeMap::new();
            for file in life.files.iter().filter(|file| file.is_small(TARGET)) {
                *levels.entry(Run::of(file).level()).or_default() += 1;
            }
            // Where files of a level do not fit into one, each chunk is full, and so not small.
            prop_assert!(levels.values().all(|&files| files < LEAST_FILES), "{:?}", levels);
        }
    }
}
