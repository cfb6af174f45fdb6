//! Batches of a feed into its table: rows, dead letters and positions, each record in exactly one place.
//!
//! The table alone decides the position. A batch says for each partition where it begins and where it ends; it is committed only on a state
//! whose stored position equals where it begins, and moves it to where it ends in the same commit that adds the rows.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use deltalake::kernel::{Action, Add, Remove};
use deltalake::protocol::{DeltaOperation, SaveMode};
use domain::civil::Micros;
use domain::duplicates::RecentRows;
use domain::ids::Pipeline;
use domain::ports::{Append, Batch, CommitOutcome, RegisterLog, StagedFile};
use domain::position::{KnownLog, LogIdentity, PartitionRange, TopicState};
use domain::{Error, ErrorKind, Feed, Result, civil};
use uuid::Uuid;

use crate::commit::{Decision, Outcome, Plan, Proposal};
use crate::duplicates::{self, Others};
use crate::lake::Lake;
use crate::letters;
use crate::log::{ActiveFile, Log};
use crate::stage::write_files;
use crate::tables::partition_values;

/// A batch whose first file is older is dropped: vacuum may have taken the file by the time of the commit.
pub(crate) const MAX_BATCH_AGE: Duration = Duration::from_secs(3_600);

#[async_trait]
impl Append for Lake {
    async fn topic_state(&self, feed: Feed, pipeline: &Pipeline, topic: &str) -> Result<TopicState> {
        let log = self.feed(feed)?.snapshot().await?;
        Ok(topic_state(&log, pipeline, topic))
    }

    async fn register_log(&self, request: RegisterLog<'_>) -> Result<i64> {
        let number = request.known.logs.iter().map(|log| log.number).max().unwrap_or(0) + 1;
        let mut plan = RegisterPlan {
            pipeline: request.pipeline.clone(),
            topic: request.topic.to_owned(),
            identity: request.identity.clone(),
            known: request.known.clone(),
            positions: request.positions.to_vec(),
            number,
        };
        match self.feed(request.feed)?.commit(&Uuid::new_v4().to_string(), &mut plan).await? {
            Outcome::Committed(_) => Ok(number),
            Outcome::Dropped(reason) => Err(Error::new(ErrorKind::Conflict, reason)),
        }
    }

    async fn follow(&self, feed: Feed, rows: RecentRows) -> Result<RecentRows> {
        duplicates::follow(self.feed(feed)?, rows).await
    }

    async fn stage(
        &self,
        feed: Feed,
        rows: Vec<(String, arrow_array::RecordBatch)>,
    ) -> Result<Vec<StagedFile>> {
        let table = self.feed(feed)?;
        write_files(&table.log_store().object_store(None), table.definition(), rows).await
    }

    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome> {
        let table = self.feed(batch.feed)?;
        let (files, is_whole) = match letters::settle(self, table, batch).await? {
            letters::Settled::Whole => (batch.files.clone(), true),
            letters::Settled::Without(files) => (files, false),
            letters::Settled::Dropped(reason) => return Ok(CommitOutcome::Dropped { reason }),
        };
        let others = batch.marks.as_ref().map(|marks| Others::of(table, marks));
        let mut plan = AppendPlan { batch, files, others };
        match table.commit(&batch.id.to_string(), &mut plan).await? {
            Outcome::Committed(version) => {
                let small_files = table.small_files().max(self.dead_letters()?.small_files());
                let others = plan.others.filter(|_| is_whole).map(|others| others.rows);
                Ok(CommitOutcome::Committed { version, small_files, others })
            }
            Outcome::Dropped(reason) => Ok(CommitOutcome::Dropped { reason }),
        }
    }
}

/// The application id under which a partition's position is kept.
pub(crate) fn position_id(pipeline: &Pipeline, topic: &str, log: i64, partition: i32) -> String {
    format!("{pipeline}/{topic}/{log}/{partition}")
}

fn log_id(pipeline: &Pipeline, topic: &str, identity: &LogIdentity) -> String {
    format!("log/{pipeline}/{topic}/{}/{}", identity.cluster_id, identity.topic_id)
}

/// What a state says of a topic.
pub(crate) fn topic_state(log: &Log, pipeline: &Pipeline, topic: &str) -> TopicState {
    let mut state = TopicState { table_id: log.table_id().to_owned(), ..TopicState::default() };
    for (app_id, version) in log.transactions() {
        let parts: Vec<&str> = app_id.split('/').collect();
        match parts.as_slice() {
            ["log", owner, name, cluster_id, topic_id] if *name == topic => state.logs.push(KnownLog {
                pipeline: (*owner).to_owned(),
                identity: LogIdentity {
                    cluster_id: (*cluster_id).to_owned(),
                    topic_id: (*topic_id).to_owned(),
                },
                number: *version,
            }),
            [owner, name, number, partition] if *owner == pipeline.as_str() && *name == topic => {
                if let (Ok(number), Ok(partition)) = (number.parse(), partition.parse()) {
                    state.next_offsets.insert((number, partition), *version);
                }
            }
            _ => {}
        }
    }
    state.logs.sort_by_key(|log| log.number);
    state
}

/// Rule 2: the stored position of each partition must equal where the batch begins.
pub(crate) fn differing_position(log: &Log, batch: &Batch) -> Option<String> {
    let differs = |range: &&PartitionRange| {
        let id = position_id(&batch.pipeline, &batch.topic, batch.log, range.partition);
        log.transaction(&id) != range.from
    };
    let range = batch.ranges.iter().find(differs)?;
    let stored = log.transaction(&position_id(&batch.pipeline, &batch.topic, batch.log, range.partition));
    let show =
        |position: Option<i64>| position.map_or_else(|| "none".to_owned(), |offset| offset.to_string());
    Some(format!(
        "{} partition {}: the batch begins at {}, the table's position is {}",
        batch.topic,
        range.partition,
        show(range.from),
        show(stored)
    ))
}

/// Rule 5: a batch of a log that another has replaced belongs nowhere any more.
fn replaced_log(log: &Log, batch: &Batch) -> Option<String> {
    let state = topic_state(log, &batch.pipeline, &batch.topic);
    let current = state.current(batch.pipeline.as_str()).filter(|current| current.number != batch.log)?;
    Some(format!("{}: log {} was accepted after log {}", batch.topic, current.number, batch.log))
}

/// Why a batch must not be committed any more for its age, by the wall clock.
pub(crate) fn too_old(files: &[StagedFile], max_age: Duration) -> Option<String> {
    let first = files.iter().map(|file| file.written_at).min()?;
    let age = Duration::from_micros(u64::try_from(civil::now() - first).unwrap_or(0));
    (age > max_age.min(MAX_BATCH_AGE))
        .then(|| format!("its first file is {} s old: vacuum may have taken it", age.as_secs()))
}

struct AppendPlan<'a> {
    batch: &'a Batch,
    files: Vec<StagedFile>,
    others: Option<Others<'a>>,
}

#[async_trait]
impl Plan for AppendPlan<'_> {
    async fn decide(&mut self, log: &Log) -> Result<Decision> {
        if let Some(reason) = differing_position(log, self.batch)
            .or_else(|| replaced_log(log, self.batch))
            .or_else(|| too_old(&self.batch.files, self.batch.max_age))
        {
            return Ok(Decision::Drop(reason));
        }
        if let Some(others) = &mut self.others
            && let Some(reason) = others.contradict(log).await?
        {
            return Ok(Decision::Drop(reason));
        }
        let batch = self.batch;
        let positions = batch
            .ranges
            .iter()
            .map(|range| (position_id(&batch.pipeline, &batch.topic, batch.log, range.partition), range.to));
        Ok(Decision::Commit(Box::new(Proposal {
            actions: self.files.iter().map(add_action).collect(),
            transactions: positions.collect(),
            operation: append_operation(),
        })))
    }
}

/// An append, as history shows it.
pub(crate) fn append_operation() -> DeltaOperation {
    DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None }
}

/// The Add of a staged file that brings new rows.
pub(crate) fn add_action(file: &StagedFile) -> Action {
    Action::Add(add(file, true))
}

/// The Add of a staged file; `data_change` tells whether it brings new rows, or holds those of files that are removed with it.
pub(crate) fn add(file: &StagedFile, data_change: bool) -> Add {
    Add {
        path: file.path.clone(),
        partition_values: partition_values(&file.period),
        size: i64::try_from(file.size_bytes).unwrap_or(i64::MAX),
        modification_time: file.written_at / 1_000,
        data_change,
        stats: Some(file.stats.clone()),
        ..Add::default()
    }
}

/// The Remove of a file at an instant; `data_change` tells whether its rows go, or stand in files that are added with it.
pub(crate) fn remove(file: &ActiveFile, data_change: bool, at: Micros) -> Action {
    Action::Remove(Remove {
        path: file.path.clone(),
        data_change,
        deletion_timestamp: Some(at / 1_000),
        extended_file_metadata: Some(true),
        partition_values: Some(partition_values(&file.period)),
        size: i64::try_from(file.size_bytes).ok(),
        ..Remove::default()
    })
}

struct RegisterPlan {
    pipeline: Pipeline,
    topic: String,
    identity: LogIdentity,
    known: TopicState,
    positions: Vec<(i32, i64)>,
    number: i64,
}

#[async_trait]
impl Plan for RegisterPlan {
    async fn decide(&mut self, log: &Log) -> Result<Decision> {
        let state = topic_state(log, &self.pipeline, &self.topic);
        let logs_of = |state: &TopicState| -> BTreeMap<i64, LogIdentity> {
            state.logs.iter().map(|log| (log.number, log.identity.clone())).collect()
        };
        if logs_of(&state) != logs_of(&self.known) {
            return Ok(Decision::Drop(format!(
                "another process has registered a log of topic {} in the meantime: look at the stored positions again",
                self.topic
            )));
        }
        let mut transactions = vec![(log_id(&self.pipeline, &self.topic, &self.identity), self.number)];
        transactions.extend(self.positions.iter().map(|(partition, offset)| {
            (position_id(&self.pipeline, &self.topic, self.number, *partition), *offset)
        }));
        Ok(Decision::Commit(Box::new(Proposal {
            actions: Vec::new(),
            transactions,
            operation: append_operation(),
        })))
    }
}
