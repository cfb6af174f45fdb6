//! The commit: made on one exact version of the log, looked for by its id whenever its outcome is unknown.
//!
//! A commit is a conditional create of the log entry `version + 1`, on a state that holds every entry up to `version`. Whatever else was
//! committed in between makes the create fail; the state is then brought up to date and the [`Plan`] decides anew, on that very state, whether
//! and what to commit. So no rule is ever checked on one state and committed on another.
//!
//! An error of the create says nothing about its outcome: the answer may be lost, or a retry below us may have met our own entry. The entries
//! that came since are therefore searched for the commit's id before anything else is decided. Creates that are still on their way can do no
//! harm: they aim at a version that is taken by then, or land as what they are.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use deltalake::kernel::transaction::CommitData;
use deltalake::kernel::{Action, Transaction};
use deltalake::logstore::CommitOrBytes;
use deltalake::protocol::DeltaOperation;
use domain::{Error, ErrorKind, Result};
use serde_json::Value;
use uuid::Uuid;

use crate::log::{COMMIT_ID, Log};

/// How long a commit is tried before its caller is told that the store cannot be asked.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a plan wants to commit.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// Adds and removes.
    pub(crate) actions: Vec<Action>,
    /// Application transactions: id and version.
    pub(crate) transactions: Vec<(String, i64)>,
    /// What history shows.
    pub(crate) operation: DeltaOperation,
}

/// What a plan makes of a state.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Commit this on the state that was shown.
    Commit(Box<Proposal>),
    /// The state already holds all that was wanted, or forbids it: give up, with the reason.
    Drop(String),
}

/// Something to commit that looks at each state anew.
#[async_trait]
pub(crate) trait Plan: Send {
    /// Decides on `log`, and on nothing else that can change.
    async fn decide(&mut self, log: &Log) -> Result<Decision>;
}

/// How a plan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It stands in the log at this version.
    Committed(u64),
    /// It was given up, with the reason.
    Dropped(String),
}

/// Commits a plan under an id that is the same on every attempt.
///
/// # Errors
/// [`ErrorKind::Unavailable`] when the store could not be asked for two minutes: the outcome is unknown then, and the caller must begin anew from
/// what is stored. Errors of the plan as they are; nothing of it was committed unless an earlier attempt's outcome is unknown.
pub(crate) async fn commit(log: &mut Log, name: &str, id: &str, plan: &mut dyn Plan) -> Result<Outcome> {
    let started = Instant::now();
    let mut pauses = pauses();
    let mut first_try_at = None;
    loop {
        let cause = match attempt(log, id, plan, &mut first_try_at).await {
            Ok(Attempt::Ended(outcome)) => return Ok(outcome),
            Ok(Attempt::Unknown(cause)) => cause,
            Err(error) if error.is_retryable() => error.to_string(),
            Err(error) => return Err(error),
        };
        if started.elapsed() > PATIENCE {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "{name}: a commit could not be made, or its outcome learnt, within {} s: {cause}",
                    PATIENCE.as_secs()
                ),
            ));
        }
        metrics::counter!("intellicartel_lake_commit_retries_total", "table" => name.to_owned()).increment(1);
        tokio::time::sleep(pauses.next().unwrap_or(Duration::from_secs(2))).await;
    }
}

/// How one round ended.
enum Attempt {
    /// For good.
    Ended(Outcome),
    /// The outcome of the create is unknown, or another writer was first; the store's words.
    Unknown(String),
}

/// One round: bring the state up to date, look for the id, let the plan decide, create the entry.
async fn attempt(
    log: &mut Log,
    id: &str,
    plan: &mut dyn Plan,
    first_try_at: &mut Option<u64>,
) -> Result<Attempt> {
    log.refresh().await?;
    if let Some(version) = first_try_at.and_then(|after| log.commit_of(id, after)) {
        return Ok(Attempt::Ended(Outcome::Committed(version)));
    }
    let proposal = match plan.decide(log).await? {
        Decision::Commit(proposal) => *proposal,
        Decision::Drop(reason) => return Ok(Attempt::Ended(Outcome::Dropped(reason))),
    };
    let entry = encode(proposal, id)?;
    first_try_at.get_or_insert(log.version());
    let target = log.version() + 1;
    match log.store().write_commit_entry(target, CommitOrBytes::LogBytes(entry), Uuid::new_v4()).await {
        Ok(()) => {
            // The state follows on the next refresh; a failure to read must not hide that the commit landed.
            let _ = log.refresh().await;
            Ok(Attempt::Ended(Outcome::Committed(target)))
        }
        Err(error) => {
            tracing::debug!(version = target, commit_id = id, %error, "the outcome of a commit is unknown");
            Ok(Attempt::Unknown(error.to_string()))
        }
    }
}

fn encode(proposal: Proposal, id: &str) -> Result<bytes::Bytes> {
    let transactions = proposal
        .transactions
        .into_iter()
        .map(|(app_id, version)| Transaction::new(app_id, version))
        .collect();
    let metadata = [(COMMIT_ID.to_owned(), Value::from(id))].into();
    let data = CommitData::new(proposal.actions, proposal.operation, metadata, transactions);
    data.get_bytes().map_err(|error| Error::internal(format!("a commit cannot be written as JSON: {error}")))
}

/// Pauses that grow to two seconds, with jitter so that writers who met once do not meet again.
fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(10))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times()
        .build()
}
