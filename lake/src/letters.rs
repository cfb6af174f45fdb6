//! Dead letters before the table (rule 4): the bad records of a batch are committed to `raw.dead_letters` first, then the table's commit moves the
//! position.
//!
//! Between the two a process may die, and another, with a decoder that judges differently, may read the same range again. What is listed among
//! the letters stays dead: its coordinates are left out of the letters to be written, and out of the rows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::compute::{concat_batches, filter_record_batch};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{BooleanArray, RecordBatch};
use async_trait::async_trait;
use domain::dead_letter;
use domain::ports::{Batch, StagedFile};
use domain::position::PartitionRange;
use domain::replay::PlaceRange;
use domain::{DeadLetter, Error, Result, civil};

use crate::append::{add_action, append_operation, differing_position, position_id, too_old};
use crate::commit::{Decision, Outcome, Plan, Proposal};
use crate::coordinates::Coordinates;
use crate::duplicates::marked_without;
use crate::lake::Lake;
use crate::log::{ActiveFile, Log};
use crate::read::read_file;
use crate::stage::write_files;
use crate::table::Table;

/// What is to be done with a batch once its letters stand.
pub(crate) enum Settled {
    /// Commit its files.
    Whole,
    /// Commit these files, which hold its rows but for those that are listed as dead.
    Without(Vec<StagedFile>),
    /// Give the batch up, for this reason.
    Dropped(String),
}

/// Partition and offset of a record; topic and log are the batch's.
type At = (i32, i64);

/// Commits the letters of a batch, and gives its files without the records that are listed as dead already.
pub(crate) async fn settle(lake: &Lake, table: &Arc<Table>, batch: &Batch) -> Result<Settled> {
    let letters_table = lake.dead_letters()?;
    let listed = if batch.dead_letters.is_empty() {
        listed(letters_table, &letters_table.snapshot().await?, batch).await?
    } else {
        // Rule 2 on the feed's table, so that a process which lost its partitions writes no letters either.
        if let Some(reason) = differing_position(&table.snapshot().await?, batch)
            .or_else(|| too_old(&batch.files, batch.max_age))
        {
            return Ok(Settled::Dropped(reason));
        }
        let mut plan = LettersPlan {
            table: letters_table,
            batch,
            listed: HashSet::new(),
            staged: None,
            is_too_old: false,
        };
        let id = format!("{}/letters", batch.id);
        if let Outcome::Dropped(reason) = letters_table.commit(&id, &mut plan).await? {
            if plan.is_too_old {
                return Ok(Settled::Dropped(reason));
            }
            tracing::debug!(reason, "no dead letter of the batch is new");
        }
        plan.listed
    };
    let own: HashSet<At> =
        batch.dead_letters.iter().map(|letter| (letter.partition, letter.offset)).collect();
    let listed_by_others: HashSet<At> = listed.difference(&own).copied().collect();
    if listed_by_others.is_empty() {
        return Ok(Settled::Whole);
    }
    without(table, batch, &listed_by_others).await.map(Settled::Without)
}

/// Appends those letters of a batch that are not listed yet.
struct LettersPlan<'a> {
    table: &'a Arc<Table>,
    batch: &'a Batch,
    /// What was listed in the batch's ranges on the state that was decided on last, before our own letters.
    listed: HashSet<At>,
    /// The letters that were written, and their files: written once, for an outcome may be unknown.
    staged: Option<(HashSet<At>, Vec<StagedFile>)>,
    /// Whether it was given up because its own files are too old.
    is_too_old: bool,
}

#[async_trait]
impl Plan for LettersPlan<'_> {
    async fn decide(&mut self, log: &Log) -> Result<Decision> {
        let batch = self.batch;
        self.listed = listed(self.table, log, batch).await?;
        let fresh = |letter: &&DeadLetter| !self.listed.contains(&(letter.partition, letter.offset));
        let letters: Vec<DeadLetter> = batch.dead_letters.iter().filter(fresh).cloned().collect();
        if letters.is_empty() {
            return Ok(Decision::Drop("all of them are listed already".to_owned()));
        }
        let coordinates: HashSet<At> = letters.iter().map(|l| (l.partition, l.offset)).collect();
        if self.staged.as_ref().is_none_or(|(staged, _)| *staged != coordinates) {
            let store = self.table.log_store().object_store(None);
            let period = civil::period(letters[0].ingested_at);
            let rows = vec![(period, dead_letter::to_batch(&letters))];
            let files = write_files(&store, self.table.definition(), rows).await?;
            self.staged = Some((coordinates, files));
        }
        let files = self.staged.as_ref().map(|(_, files)| files.as_slice()).unwrap_or_default();
        if let Some(reason) = too_old(files, batch.max_age) {
            self.is_too_old = true;
            return Ok(Decision::Drop(reason));
        }
        let touched: HashSet<i32> = letters.iter().map(|letter| letter.partition).collect();
        let moved = batch.ranges.iter().filter(|range| touched.contains(&range.partition)).map(|range| {
            let id = position_id(&batch.pipeline, &batch.topic, batch.log, range.partition);
            let stored = log.transaction(&id).unwrap_or(i64::MIN);
            (id, stored.max(range.to))
        });
        Ok(Decision::Commit(Box::new(Proposal {
            actions: files.iter().map(add_action).collect(),
            transactions: moved.collect(),
            operation: append_operation(),
        })))
    }
}

/// Coordinates in the batch's ranges that are listed as dead letters at `log`. Only where the letters' own position lies beyond a range's beginning can
/// any be listed, so that the common case reads no file.
async fn listed(table: &Table, log: &Log, batch: &Batch) -> Result<HashSet<At>> {
    let overlapping = |range: &&PartitionRange| {
        let stored = log.transaction(&position_id(&batch.pipeline, &batch.topic, batch.log, range.partition));
        stored.is_some_and(|stored| range.from.is_none_or(|from| stored > from))
    };
    let topic: Arc<str> = batch.topic.as_str().into();
    let covered = |range: &PartitionRange| PlaceRange {
        topic: Arc::clone(&topic),
        log: batch.log,
        partition: range.partition,
        first: range.from.unwrap_or(i64::MIN),
        last: range.to - 1,
    };
    let asked: Coordinates = batch.ranges.iter().filter(overlapping).map(covered).collect();
    if asked.is_empty() {
        return Ok(HashSet::new());
    }
    let listed = Arc::new(asked).in_files(table, log.files().values()).await?;
    Ok(listed.into_iter().map(|place| (place.partition, place.offset)).collect())
}

/// The batch's rows without those at `coordinates`, written anew; the old files are never committed and are left to vacuum.
async fn without(table: &Table, batch: &Batch, coordinates: &HashSet<At>) -> Result<Vec<StagedFile>> {
    let store = table.log_store().object_store(None);
    let mut kept = Vec::new();
    for file in &batch.files {
        let active = ActiveFile {
            path: file.path.clone(),
            period: file.period.clone(),
            size_bytes: file.size_bytes,
            modified_ms: file.written_at / 1_000,
            stats: None,
        };
        let rows = read_file(&store, &active, &[]).await?;
        let Some(first) = rows.first() else { continue };
        let rows =
            concat_batches(&first.schema(), &rows).map_err(|error| Error::internal(error.to_string()))?;
        let keep = kept_rows(&rows, coordinates)?;
        let rows = if batch.marks.is_some() { marked_without(&rows, &keep)? } else { rows };
        let rows = filter_record_batch(&rows, &BooleanArray::from(keep));
        kept.push((file.period.clone(), rows.map_err(|error| Error::internal(error.to_string()))?));
    }
    write_files(&store, table.definition(), kept).await
}

/// Which rows do not lie at `coordinates`.
fn kept_rows(rows: &RecordBatch, coordinates: &HashSet<At>) -> Result<Vec<bool>> {
    let column = |name: &str| {
        rows.column_by_name(name).ok_or_else(|| Error::internal(format!("a staged file lacks {name}")))
    };
    let (partitions, offsets) =
        (column("_partition")?.as_primitive::<Int32Type>(), column("_offset")?.as_primitive::<Int64Type>());
    let is_kept = |row| !coordinates.contains(&(partitions.value(row), offsets.value(row)));
    Ok((0..rows.num_rows()).map(is_kept).collect())
}
