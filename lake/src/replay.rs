//! Dead letters that were mended, into their feed's table with the coordinates that they always had (rule 4 of the commit protocol).
//!
//! A record is added only on a state in which its coordinates do not stand in the table, and which its feed's position has passed: positions of a
//! log only grow, and an ingest commits what lies at its position or beyond it. So nobody else can add a replayed record, whatever an ingest has in
//! hand; one that has not been passed is left to it. A log that another has replaced takes no more batches, and all its letters may be replayed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::compute::filter_record_batch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{BooleanArray, RecordBatch};
use async_trait::async_trait;
use domain::duplicates::{Mark, mark_rows};
use domain::ids::Pipeline;
use domain::ports::StagedFile;
use domain::replay::{Landed, Place, PlaceRange};
use domain::{DeadLetter, Error, ErrorKind, Feed, Result, civil, dead_letter};
use uuid::Uuid;

use crate::append::{MAX_BATCH_AGE, add_action, append_operation, position_id, too_old, topic_state};
use crate::commit::{Decision, Outcome, Plan, Proposal};
use crate::coordinates::{COLUMNS, Coordinates, PlaceColumns};
use crate::duplicates::{KeptHashes, Twins};
use crate::log::{ActiveFile, Log};
use crate::scan::{Scan, scan_file};
use crate::stage::write_files;
use crate::table::Table;

/// A topic, the number of its log, and a partition.
pub(crate) type Partition = (Arc<str>, i64, i32);

/// The pipeline that met the letters of a partition.
pub(crate) type Pipelines = HashMap<Partition, Arc<str>>;

/// The first offset of a partition that an ingest may still add: its position while its log is the current one, none once another log has replaced it.
pub(crate) fn first_ahead(log: &Log, pipeline: &str, (topic, number, partition): &Partition) -> Option<i64> {
    // A name that no pipeline can have owns no position, so that nothing of it was passed.
    let Ok(pipeline) = Pipeline::new(pipeline) else { return Some(0) };
    let current = topic_state(log, &pipeline, topic).current(pipeline.as_str()).map(|known| known.number);
    if current.is_some_and(|current| current > *number) {
        return None;
    }
    Some(log.transaction(&position_id(&pipeline, topic, *number, *partition)).unwrap_or(0))
}

/// A feed's table as it was looked through for letters: the files, and the places that stand in them.
#[derive(Debug)]
pub(crate) struct FeedState {
    pub(crate) table: Arc<Table>,
    pub(crate) looked_at: HashSet<String>,
    pub(crate) standing: HashSet<Place>,
    pub(crate) kept: KeptHashes,
}

/// Adds rows to a feed's table, without those that stand there already or that an ingest may still add.
pub(crate) async fn land(
    feed: Feed,
    state: &FeedState,
    rows: Vec<(String, RecordBatch)>,
    pipelines: &Pipelines,
) -> Result<Landed> {
    let FeedState { table, looked_at, standing, kept } = state;
    let mut places = Vec::new();
    for (_, batch) in &rows {
        let columns = PlaceColumns::of(batch)?;
        places.extend((0..batch.num_rows()).map(|row| range(columns.at(row))));
    }
    let count = places.len() as u64;
    let asked: Coordinates = places.into_iter().collect();
    let mut known = HashSet::new();
    for (_, batch) in &rows {
        let places = asked.in_rows(batch)?.into_iter().map(|(_, place)| place);
        known.extend(places.filter(|place| standing.contains(place)));
    }
    let mut plan = ReplayPlan {
        table,
        twins: if feed.marks_duplicates() { Some(Twins::of(&rows, kept)?) } else { None },
        rows,
        asked: Arc::new(asked),
        pipelines,
        looked_at,
        looked_at_since: HashSet::new(),
        standing: known,
        ahead: HashSet::new(),
        staged: None,
        is_too_old: false,
    };
    let outcome = table.commit(&Uuid::new_v4().to_string(), &mut plan).await?;
    if plan.is_too_old {
        return Err(late(table));
    }
    let (standing, ahead) = (plan.standing.len() as u64, plan.ahead.len() as u64);
    let rows = match outcome {
        Outcome::Committed(_) => count - standing - ahead,
        Outcome::Dropped(_) => 0,
    };
    Ok(Landed { rows, standing, ahead })
}

fn range((topic, log, partition, offset): (&str, i64, i32, i64)) -> PlaceRange {
    PlaceRange { topic: topic.into(), log, partition, first: offset, last: offset }
}

fn late(table: &Table) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "{}: a part of the replay was not committed within an hour, and was given up: run it again",
            table.definition().qualified_name()
        ),
    )
}

/// How many rows are left out of files, and the marks of the others.
type Content = (usize, Vec<Mark>);

struct ReplayPlan<'a> {
    table: &'a Arc<Table>,
    rows: Vec<(String, RecordBatch)>,
    /// What their marks are made of, in a feed whose duplicates are told.
    twins: Option<Twins<'a>>,
    asked: Arc<Coordinates>,
    pipelines: &'a Pipelines,
    looked_at: &'a HashSet<String>,
    /// Files never change, so each is looked through once.
    looked_at_since: HashSet<String>,
    /// Left out because they stand in the table.
    standing: HashSet<Place>,
    /// Left out because an ingest may still add them, on one of the states that were decided on.
    ahead: HashSet<Place>,
    /// The files and what stands in them: written once, for an outcome may be unknown, unless more must be left out or rows have become twins.
    staged: Option<(Content, Vec<StagedFile>)>,
    is_too_old: bool,
}

impl ReplayPlan<'_> {
    /// Looks for the coordinates in the files that are new to it.
    async fn look(&mut self, log: &Log) -> Result<()> {
        let new: Vec<Arc<ActiveFile>> = log
            .files()
            .values()
            .filter(|file| !self.looked_at.contains(&file.path) && !self.looked_at_since.contains(&file.path))
            .cloned()
            .collect();
        self.standing.extend(self.asked.in_files(self.table, new.iter()).await?);
        self.looked_at_since.extend(new.into_iter().map(|file| file.path.clone()));
        Ok(())
    }

    /// Marks what the positions of this state have not passed.
    fn mark_ahead(&mut self, log: &Log) -> Result<()> {
        let bounds: HashMap<&Partition, Option<i64>> = self
            .asked
            .partitions()
            .map(|partition| {
                let pipeline = self.pipelines.get(partition).map_or("", |pipeline| pipeline.as_ref());
                (partition, first_ahead(log, pipeline, partition))
            })
            .collect();
        for (_, batch) in &self.rows {
            for (_, place) in self.asked.in_rows(batch)? {
                let bound =
                    bounds.get(&(Arc::clone(&place.topic), place.log, place.partition)).copied().flatten();
                if bound.is_some_and(|first| place.offset >= first) && !self.standing.contains(&place) {
                    self.ahead.insert(place);
                }
            }
        }
        Ok(())
    }

    /// The rows without those that are left out.
    fn kept(&self) -> Result<Vec<(String, RecordBatch)>> {
        let kept = |(period, batch): &(String, RecordBatch)| {
            let mut keep = vec![true; batch.num_rows()];
            for (row, place) in self.asked.in_rows(batch)? {
                keep[row] = !self.standing.contains(&place) && !self.ahead.contains(&place);
            }
            let kept = filter_record_batch(batch, &BooleanArray::from(keep));
            Ok((period.clone(), kept.map_err(|error| Error::internal(error.to_string()))?))
        };
        self.rows.iter().map(kept).collect()
    }

    /// The positions of the touched partitions as they are, and the version that was looked at. Whoever commits by Delta's own check for conflicts
    /// looks again then.
    fn transactions(&self, log: &Log) -> Vec<(String, i64)> {
        let id = format!("replay/{}", self.table.definition().qualified_name());
        let positions = self.asked.partitions().filter_map(|partition| {
            let pipeline = Pipeline::new(self.pipelines.get(partition)?.as_ref()).ok()?;
            let id = position_id(&pipeline, &partition.0, partition.1, partition.2);
            log.transaction(&id).map(|position| (id, position))
        });
        let version = i64::try_from(log.version()).unwrap_or(i64::MAX);
        std::iter::once((id, version)).chain(positions).collect()
    }
}

#[async_trait]
impl Plan for ReplayPlan<'_> {
    async fn decide(&mut self, log: &Log) -> Result<Decision> {
        self.look(log).await?;
        self.mark_ahead(log)?;
        // One that was ahead before may have been taken by its ingest since.
        self.ahead.retain(|place| !self.standing.contains(place));
        let mut kept = self.kept()?;
        let marks = match &mut self.twins {
            Some(twins) => twins.marks(self.table, log, &kept).await?,
            None => Vec::new(),
        };
        let content = (self.standing.len() + self.ahead.len(), marks);
        if self.staged.as_ref().is_none_or(|(known, _)| *known != content) {
            if self.twins.is_some() {
                mark_rows(&mut kept, &content.1)?;
            }
            let store = self.table.log_store().object_store(None);
            let files = write_files(&store, self.table.definition(), kept).await?;
            self.staged = Some((content, files));
        }
        let files = self.staged.as_ref().map(|(_, files)| files.as_slice()).unwrap_or_default();
        if files.is_empty() {
            return Ok(Decision::Drop("none of the records is left to be added".to_owned()));
        }
        if let Some(reason) = too_old(files, MAX_BATCH_AGE) {
            self.is_too_old = true;
            return Ok(Decision::Drop(reason));
        }
        Ok(Decision::Commit(Box::new(Proposal {
            actions: files.iter().map(add_action).collect(),
            transactions: self.transactions(log),
            operation: append_operation(),
        })))
    }
}

/// Adds letters of a failed attempt, without those whose attempt is there by then. `looked_at` are the files that were known when the attempts were counted.
pub(crate) async fn fail(
    table: &Arc<Table>,
    letters: Vec<DeadLetter>,
    looked_at: &HashSet<String>,
) -> Result<u64> {
    let place = |letter: &DeadLetter| Place {
        topic: letter.topic.as_str().into(),
        log: letter.log,
        partition: letter.partition,
        offset: letter.offset,
    };
    let letters: Vec<(Place, DeadLetter)> =
        letters.into_iter().map(|letter| (place(&letter), letter)).collect();
    let mut plan = AttemptsPlan {
        table,
        asked: Arc::new(letters.iter().map(|(place, _)| PlaceRange::from(place)).collect()),
        letters,
        looked_at,
        looked_at_since: HashSet::new(),
        newest: HashMap::new(),
        staged: None,
        is_too_old: false,
    };
    let outcome = table.commit(&Uuid::new_v4().to_string(), &mut plan).await?;
    match outcome {
        Outcome::Committed(_) => Ok(plan.staged.map_or(0, |(count, _)| count as u64)),
        Outcome::Dropped(_) if plan.is_too_old => Err(late(table)),
        Outcome::Dropped(_) => Ok(0),
    }
}

struct AttemptsPlan<'a> {
    table: &'a Arc<Table>,
    asked: Arc<Coordinates>,
    letters: Vec<(Place, DeadLetter)>,
    looked_at: &'a HashSet<String>,
    looked_at_since: HashSet<String>,
    /// The newest attempts in files that came since the letters were selected.
    newest: HashMap<Place, i32>,
    /// The files, and how many letters stand in them; their number only shrinks.
    staged: Option<(usize, Vec<StagedFile>)>,
    is_too_old: bool,
}

impl AttemptsPlan<'_> {
    async fn look(&mut self, log: &Log) -> Result<()> {
        let store = self.table.log_store().object_store(None);
        for file in log.files().values() {
            if self.looked_at.contains(&file.path) || !self.looked_at_since.insert(file.path.clone()) {
                continue;
            }
            if !self.asked.may_stand_in(file) {
                continue;
            }
            let asked = Arc::clone(&self.asked);
            let visit = move |found: &mut Vec<(Place, i32)>, rows: &RecordBatch| {
                let attempts = rows.column_by_name("attempt").and_then(|a| a.as_primitive_opt::<Int32Type>());
                let attempts =
                    attempts.ok_or_else(|| Error::internal("a file of letters lacks `attempt`"))?;
                let places = asked.in_rows(rows)?.into_iter();
                found.extend(places.map(|(row, place)| (place, attempts.value(row))));
                Ok(true)
            };
            let [topic, log, partition, offset] = COLUMNS;
            let columns = [topic, log, partition, offset, "attempt"];
            let scan = Scan { columns: &columns, from_row: 0, batch_rows: 4_096 };
            for (place, attempt) in scan_file::<Vec<(Place, i32)>, _>(&store, file, scan, visit).await? {
                let newest = self.newest.entry(place).or_insert(attempt);
                *newest = attempt.max(*newest);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Plan for AttemptsPlan<'_> {
    async fn decide(&mut self, log: &Log) -> Result<Decision> {
        self.look(log).await?;
        let mut periods = BTreeMap::<String, Vec<DeadLetter>>::new();
        let mut count = 0;
        for (place, letter) in &self.letters {
            if self.newest.get(place).is_none_or(|newest| *newest < letter.attempt) {
                count += 1;
                periods.entry(civil::period(letter.ingested_at)).or_default().push(letter.clone());
            }
        }
        if count == 0 {
            return Ok(Decision::Drop("another replay has tried all of them".to_owned()));
        }
        if self.staged.as_ref().is_none_or(|(known, _)| *known != count) {
            let store = self.table.log_store().object_store(None);
            let rows = periods.into_iter().map(|(period, letters)| (period, dead_letter::to_batch(&letters)));
            let files = write_files(&store, self.table.definition(), rows.collect()).await?;
            self.staged = Some((count, files));
        }
        let files = self.staged.as_ref().map(|(_, files)| files.as_slice()).unwrap_or_default();
        if let Some(reason) = too_old(files, MAX_BATCH_AGE) {
            self.is_too_old = true;
            return Ok(Decision::Drop(reason));
        }
        Ok(Decision::Commit(Box::new(Proposal {
            actions: files.iter().map(add_action).collect(),
            transactions: Vec::new(),
            operation: append_operation(),
        })))
    }
}
