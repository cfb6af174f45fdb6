//! Work that takes longer than a request: it is submitted, looked at, and may be cancelled.

use std::fmt::Debug;

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

use crate::civil::Micros;
use crate::error::{ErrorKind, Result};

/// What is to be done for a business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Its forecasts are made, as `forecast run` makes them.
    Forecast {
        /// Days ahead.
        horizon_days: usize,
        /// Whether models learn from less, in a fraction of the time.
        is_quick: bool,
        /// Whether a new selection challenges the one that is served, however young that is.
        searches: bool,
    },
}

impl Work {
    /// As it is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Forecast { .. } => "forecast",
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Others are done before.
    Waiting,
    /// It is being done.
    Running,
    /// It is done.
    Succeeded,
    /// It ended in an error.
    Failed,
    /// It was called off, by its business or because the process ended.
    Cancelled,
}

impl JobState {
    /// As it is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will come of it.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// A job as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its name.
    pub id: Uuid,
    /// The business that it is done for.
    pub tenant: String,
    /// What is done.
    pub work: Work,
    /// How far it is.
    pub state: JobState,
    /// What is being done at the moment, in words.
    pub stage: String,
    /// The share that is done, 0 to 1.
    pub progress: f64,
    /// When it was submitted.
    pub submitted_at: Micros,
    /// When it was begun.
    pub started_at: Option<Micros>,
    /// When it ended.
    pub ended_at: Option<Micros>,
    /// What came of it, once it has succeeded.
    pub result: Option<Value>,
    /// Why it failed.
    pub error: Option<(ErrorKind, String)>,
}

/// Does jobs, in the order in which they are submitted.
#[async_trait]
pub trait JobRunner: Send + Sync + Debug {
    /// Takes work for a business. The same work that waits or runs already is the same job.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when too many jobs wait, or none is taken any more.
    async fn submit(&self, tenant: &str, work: Work) -> Result<Job>;

    /// A job of a business.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for one that is not there, is another's, or ended long ago.
    async fn job(&self, tenant: &str, id: Uuid) -> Result<Job>;

    /// The jobs of a business, the newest first.
    async fn jobs(&self, tenant: &str) -> Result<Vec<Job>>;

    /// Calls a job off, unless it has ended: nothing of it will be served. Gives it as it stands then.
    ///
    /// # Errors
    /// As of [`Self::job`].
    async fn cancel(&self, tenant: &str, id: Uuid) -> Result<Job>;
}
