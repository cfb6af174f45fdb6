//! Rows in, rows of the same keys out, in one commit.
//!
//! Which rows go is decided on the very state that the commit is made on. A file in which all rows go is removed; one that holds others too, as
//! compaction makes them, is replaced by one without those that go. Who removes files also commits `rewrite/{table}`, so that the commits of
//! others fail who planned to remove them too.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::compute::{concat_batches, filter_record_batch};
use arrow_array::{BooleanArray, RecordBatch};
use async_trait::async_trait;
use deltalake::kernel::Action;
use deltalake::protocol::{DeltaOperation, SaveMode};
use domain::ports::StagedFile;
use domain::{Error, ErrorKind, Result, civil};
use serde_json::Value;
use uuid::Uuid;

use crate::append::{MAX_BATCH_AGE, add_action, append_operation, remove, too_old};
use crate::commit::{Decision, Outcome, Plan, Proposal};
use crate::log::{ActiveFile, Log};
use crate::operations::compact::rewrite_id;
use crate::read::read_file;
use crate::stage::write_files;
use crate::table::Table;
use crate::tables::PERIOD;

/// How many rows of a file go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// None.
    Nothing,
    /// All.
    All,
    /// That is to be seen in its rows.
    Unknown,
}

/// Which rows go.
pub(crate) trait Rows: Debug + Send + Sync {
    /// The columns that tell.
    fn columns(&self) -> &[&'static str];
    /// What a file's period and statistics tell.
    fn share(&self, file: &ActiveFile, stats: &Value) -> Share;
    /// Which rows of a batch go.
    fn mask(&self, rows: &RecordBatch) -> Result<BooleanArray>;
    /// The same in words, for the table's history.
    fn predicate(&self) -> String;
}

/// What a replacement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) version: u64,
    /// Rows that came.
    pub(crate) rows: u64,
    /// Rows that went.
    pub(crate) replaced_rows: u64,
    /// Rows that were written anew, because they shared a file with one that went.
    pub(crate) kept_rows: u64,
}

/// What is replaced.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// The rows that go; `None`: nothing does.
    pub(crate) rows: Option<&'a dyn Rows>,
    /// The rows that come, as written files.
    pub(crate) files: Vec<StagedFile>,
    /// Application transactions: id, the version that the caller saw, and the one that it becomes.
    pub(crate) transactions: Vec<(String, Option<i64>, i64)>,
}

/// Replaces rows.
///
/// # Errors
/// [`ErrorKind::Conflict`] when a transaction has another version by now than the caller saw; else as of [`crate::commit::commit`].
pub(crate) async fn replace(table: &Arc<Table>, request: Request<'_>) -> Result<Done> {
    let mut plan = ReplacePlan { table, request, finds: HashMap::new(), replaced_rows: 0, kept_rows: 0 };
    match table.commit(&Uuid::new_v4().to_string(), &mut plan).await? {
        Outcome::Committed(version) => Ok(Done {
            version,
            rows: plan.request.files.iter().map(|file| file.rows).sum(),
            replaced_rows: plan.replaced_rows,
            kept_rows: plan.kept_rows,
        }),
        Outcome::Dropped(reason) => Err(Error::new(ErrorKind::Conflict, reason)),
    }
}

/// What a file holds of the rows that go. Files never change, so a find is good for as long as the file is active.
#[derive(Debug)]
enum Find {
    /// No row.
    Nothing,
    /// So many rows, and others that were written into files of their own.
    Rows { replaced: u64, kept: Vec<StagedFile> },
}

struct ReplacePlan<'a> {
    table: &'a Arc<Table>,
    request: Request<'a>,
    /// By path, what was found.
    finds: HashMap<String, Find>,
    /// Of the state decided on last.
    replaced_rows: u64,
    kept_rows: u64,
}

#[async_trait]
impl Plan for ReplacePlan<'_> {
    /// The paths to be removed are taken from the state that is shown, so they are active on it.
    async fn decide(&mut self, log: &Log) -> Result<Decision> {
        for (id, seen, _) in &self.request.transactions {
            let found = log.transaction(id);
            if found != *seen {
                let name = self.table.definition().qualified_name();
                let shown =
                    |version: Option<i64>| version.map_or("none".to_owned(), |version| version.to_string());
                return Ok(Decision::Drop(format!(
                    "{name}: another process was first: {id} is {} by now, not {}",
                    shown(found),
                    shown(*seen)
                )));
            }
        }
        let mut actions: Vec<Action> = self.request.files.iter().map(add_action).collect();
        let mut written = self.request.files.clone();
        (self.replaced_rows, self.kept_rows) = (0, 0);
        let mut removes = false;
        for file in log.files().values() {
            let Some(rows) = self.request.rows else { break };
            if !self.finds.contains_key(&file.path) {
                let find = self.look_into(rows, file).await?;
                self.finds.insert(file.path.clone(), find);
            }
            let Some(Find::Rows { replaced, kept }) = self.finds.get(&file.path) else { continue };
            removes = true;
            self.replaced_rows += replaced;
            self.kept_rows += kept.iter().map(|file| file.rows).sum::<u64>();
            actions.push(remove(file, true, civil::now()));
            actions.extend(kept.iter().map(add_action));
            written.extend(kept.iter().cloned());
        }
        if let Some(reason) = too_old(&written, MAX_BATCH_AGE) {
            return Err(Error::new(ErrorKind::Unavailable, reason));
        }
        let mut transactions: Vec<_> =
            self.request.transactions.iter().map(|(id, _, version)| (id.clone(), *version)).collect();
        let mut operation = append_operation();
        if removes {
            let planned_on = i64::try_from(log.version()).unwrap_or(i64::MAX);
            transactions.push((rewrite_id(self.table), planned_on));
            operation = DeltaOperation::Write {
                mode: SaveMode::Overwrite,
                partition_by: Some(vec![PERIOD.to_owned()]),
                predicate: self.request.rows.map(Rows::predicate),
            };
        }
        Ok(Decision::Commit(Box::new(Proposal { actions, transactions, operation })))
    }
}

impl ReplacePlan<'_> {
    async fn look_into(&self, rows: &dyn Rows, file: &ActiveFile) -> Result<Find> {
        let stats: Value =
            file.stats.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        match (rows.share(file, &stats), stats["numRecords"].as_u64()) {
            (Share::Nothing, _) => return Ok(Find::Nothing),
            (Share::All, Some(replaced)) => return Ok(Find::Rows { replaced, kept: Vec::new() }),
            _ => {}
        }
        let store = self.table.log_store().object_store(None);
        let keys = read_file(&store, file, rows.columns()).await?;
        let (mut replaced, mut all) = (0, 0);
        for keys in &keys {
            replaced += rows.mask(keys)?.true_count();
            all += keys.num_rows();
        }
        if replaced == 0 {
            return Ok(Find::Nothing);
        }
        let mut kept = Vec::new();
        if replaced < all {
            let failed = |error: arrow::error::ArrowError| Error::internal(format!("{}: {error}", file.path));
            let others = |batch: RecordBatch| {
                let others = arrow::compute::not(&rows.mask(&batch)?).map_err(failed)?;
                filter_record_batch(&batch, &others).map_err(failed)
            };
            let batches = read_file(&store, file, &[]).await?;
            let others = batches.into_iter().map(others).collect::<Result<Vec<_>>>()?;
            if let Some(first) = others.first() {
                let others = concat_batches(&first.schema(), &others).map_err(failed)?;
                kept =
                    write_files(&store, self.table.definition(), vec![(file.period.clone(), others)]).await?;
            }
        }
        Ok(Find::Rows { replaced: replaced as u64, kept })
    }
}
