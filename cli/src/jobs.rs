//! Jobs that are done inside this process, one after the other: models take all cores that there are. They are kept in memory, and end with the process.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use domain::jobs::{Job, JobRunner, JobState, Work};
use domain::{Error, ErrorKind, Result, civil};
use futures::future::BoxFuture;
use metrics::counter;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// Jobs that may wait.
const MOST_WAITING: usize = 100;

/// Jobs that are known after they ended.
const MOST_ENDED: usize = 1_000;

/// Hears of stages: what is done, and which share is.
pub(crate) type Progress = Arc<dyn Fn(&str, f64) + Send + Sync>;

/// Does the work of a business.
pub(crate) type Doer = Arc<dyn Fn(String, Work, Progress) -> BoxFuture<'static, Result<Value>> + Send + Sync>;

/// A runner, and what it knows.
#[derive(Clone)]
pub(crate) struct InProcess {
    board: Arc<Mutex<Board>>,
    is_new: Arc<Notify>,
    doer: Doer,
}

#[derive(Debug, Default)]
struct Board {
    /// All that are known, in the order in which they were submitted.
    jobs: VecDeque<(Job, CancellationToken)>,
    /// Whether none is taken any more.
    is_closed: bool,
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").field("board", &self.board).finish_non_exhaustive()
    }
}

impl InProcess {
    pub(crate) fn new(doer: Doer) -> Self {
        Self { board: Arc::default(), is_new: Arc::default(), doer }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is submitted until the shutdown; what waits or runs then is cancelled.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        loop {
            let next = self.board().begin();
            let step = async {
                match next {
                    Some((job, cancelled)) => self.perform(job, cancelled).await,
                    None => self.is_new.notified().await,
                }
            };
            tokio::select! {
                () = step => {}
                () = shutdown.cancelled() => break,
            }
        }
        self.board().close();
    }

    /// Does a job. One that is called off is dropped where it waits next, before anything of it is stored or served.
    async fn perform(&self, job: Job, cancelled: CancellationToken) {
        let (id, board) = (job.id, Arc::clone(&self.board));
        let progress: Progress = Arc::new(move |stage: &str, share: f64| {
            let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
            board.change(id, |job| (job.stage, job.progress) = (stage.to_owned(), share));
        });
        tracing::info!(%id, tenant = job.tenant, work = job.work.name(), "a job begins");
        let work = AbortOnDropHandle::new(tokio::spawn((self.doer)(job.tenant, job.work, progress)));
        let done = tokio::select! {
            done = work => done.unwrap_or_else(|error| {
                tracing::error!(%id, %error, "a job broke off");
                Err(Error::internal("the job broke off by a defect of ours: the log of the server tells more"))
            }),
            () = cancelled.cancelled() => return,
        };
        let state = if done.is_ok() { JobState::Succeeded } else { JobState::Failed };
        counter!("intellicartel_jobs_total", "work" => job.work.name(), "state" => state.name()).increment(1);
        self.board().change(id, |job| {
            (job.state, job.ended_at, job.progress) = (state, Some(civil::now()), 1.0);
            match done {
                Ok(result) => job.result = Some(result),
                Err(error) => {
                    tracing::warn!(%id, %error, "a job failed");
                    job.error = Some((error.kind(), error.to_string()));
                }
            }
        });
    }
}

impl Board {
    /// The first that waits, which runs from now on.
    fn begin(&mut self) -> Option<(Job, CancellationToken)> {
        let (job, cancelled) = self.jobs.iter_mut().find(|(job, _)| job.state == JobState::Waiting)?;
        (job.state, job.started_at) = (JobState::Running, Some(civil::now()));
        Some((job.clone(), cancelled.clone()))
    }

    /// Changes a job, unless it has ended.
    fn change(&mut self, id: Uuid, change: impl FnOnce(&mut Job)) {
        let found = self.jobs.iter_mut().map(|(job, _)| job).find(|job| job.id == id);
        if let Some(job) = found.filter(|job| !job.state.is_ended()) {
            change(job);
        }
    }

    fn cancel(&mut self, id: Uuid) {
        self.change(id, |job| (job.state, job.ended_at) = (JobState::Cancelled, Some(civil::now())));
        if let Some((_, cancelled)) = self.jobs.iter().find(|(job, _)| job.id == id) {
            cancelled.cancel();
        }
    }

    fn close(&mut self) {
        self.is_closed = true;
        let ids: Vec<Uuid> = self.jobs.iter().map(|(job, _)| job.id).collect();
        ids.into_iter().for_each(|id| self.cancel(id));
    }

    fn find(&self, tenant: &str, id: Uuid) -> Result<Job> {
        let found = self.jobs.iter().find(|(job, _)| job.id == id && job.tenant == tenant);
        found.map(|(job, _)| job.clone()).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("there is no job {id}: jobs are known until their process ends"),
            )
        })
    }
}

#[async_trait]
impl JobRunner for InProcess {
    async fn submit(&self, tenant: &str, work: Work) -> Result<Job> {
        let mut board = self.board();
        let is_same = |job: &&Job| job.tenant == tenant && job.work == work && !job.state.is_ended();
        if let Some(same) = board.jobs.iter().map(|(job, _)| job).find(is_same) {
            return Ok(same.clone());
        }
        let waiting = board.jobs.iter().filter(|(job, _)| job.state == JobState::Waiting).count();
        if board.is_closed || waiting >= MOST_WAITING {
            let why = if board.is_closed {
                "the process ends".to_owned()
            } else {
                format!("{waiting} jobs wait already")
            };
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("no job is taken: {why}; try again later"),
            ));
        }
        let ended = board.jobs.iter().filter(|(job, _)| job.state.is_ended()).count();
        if ended >= MOST_ENDED
            && let Some(oldest) = board.jobs.iter().position(|(job, _)| job.state.is_ended())
        {
            board.jobs.remove(oldest);
        }
        let job = Job {
            id: Uuid::now_v7(),
            tenant: tenant.to_owned(),
            work,
            state: JobState::Waiting,
            stage: String::new(),
            progress: 0.0,
            submitted_at: civil::now(),
            started_at: None,
            ended_at: None,
            result: None,
            error: None,
        };
        board.jobs.push_back((job.clone(), CancellationToken::new()));
        drop(board);
        self.is_new.notify_one();
        Ok(job)
    }

    async fn job(&self, tenant: &str, id: Uuid) -> Result<Job> {
        self.board().find(tenant, id)
    }

    async fn jobs(&self, tenant: &str) -> Result<Vec<Job>> {
        let board = self.board();
        Ok(board.jobs.iter().rev().map(|(job, _)| job).filter(|job| job.tenant == tenant).cloned().collect())
    }

    async fn cancel(&self, tenant: &str, id: Uuid) -> Result<Job> {
        let mut board = self.board();
        let _known = board.find(tenant, id)?;
        board.cancel(id);
        board.find(tenant, id)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    const WORK: Work = Work::Forecast { horizon_days: 7, is_quick: true, searches: false };
    const OTHER: Work = Work::Forecast { horizon_days: 9, is_quick: true, searches: false };

    /// A runner whose work ends once there is a permit for it; that of a business `bad` fails, and that of `broken` panics. What is done counts.
    fn runner(permits: &Arc<Semaphore>) -> (InProcess, Arc<AtomicUsize>) {
        let (permits, done) = (Arc::clone(permits), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&done);
        let doer: Doer = Arc::new(move |tenant, _, progress| {
            let (permits, counted) = (Arc::clone(&permits), Arc::clone(&counted));
            Box::pin(async move {
                progress("half", 0.5);
                permits.acquire().await.expect("permits").forget();
                assert!(tenant != "broken", "a defect");
                counted.fetch_add(1, Ordering::SeqCst);
                if tenant == "bad" { Err(Error::invalid("bad")) } else { Ok(tenant.into()) }
            })
        });
        (InProcess::new(doer), done)
    }

    async fn until(runner: &InProcess, job: &Job, state: JobState) -> Job {
        loop {
            let now = runner.job(&job.tenant, job.id).await.expect("it is known");
            if now.state == state {
                return now;
            }
            assert!(!now.state.is_ended(), "{now:?}");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn jobs_are_done_in_turn_and_told_of() {
        let permits = Arc::new(Semaphore::new(0));
        let (runner, done) = runner(&permits);
        let shutdown = CancellationToken::new();
        let running = tokio::spawn({
            let (runner, shutdown) = (runner.clone(), shutdown.clone());
            async move { runner.run(shutdown).await }
        });
        let a = runner.submit("a", WORK).await.expect("it is taken");
        let a = until(&runner, &a, JobState::Running).await;
        while runner.job("a", a.id).await.expect("known").progress < 0.5 {
            tokio::task::yield_now().await;
        }
        let same = runner.submit("a", WORK).await.expect("it is there");
        let (bad, broken) = (runner.submit("bad", WORK).await, runner.submit("broken", WORK).await);
        let (bad, broken) = (bad.expect("taken"), broken.expect("taken"));
        let other = runner.submit("a", OTHER).await.expect("it is taken");
        assert_eq!((same.id, bad.state, other.id == a.id), (a.id, JobState::Waiting, false));
        assert_eq!(
            runner.jobs("a").await.expect("jobs").iter().map(|job| job.id).collect::<Vec<_>>(),
            [other.id, a.id]
        );
        assert_eq!(runner.job("b", a.id).await.expect_err("another's").kind(), ErrorKind::NotFound);
        assert_eq!(runner.cancel("b", a.id).await.expect_err("another's").kind(), ErrorKind::NotFound);
        permits.add_permits(3);
        let a = until(&runner, &a, JobState::Succeeded).await;
        assert_eq!((a.result, a.progress, a.ended_at.is_some()), (Some("a".into()), 1.0, true));
        let bad = until(&runner, &bad, JobState::Failed).await;
        assert_eq!(bad.error, Some((ErrorKind::Invalid, "bad".to_owned())));
        let broken = until(&runner, &broken, JobState::Failed).await;
        assert_eq!(broken.error.map(|(kind, _)| kind), Some(ErrorKind::Internal));
        // One that runs, and one that waits, are called off; the next one runs.
        let other = until(&runner, &other, JobState::Running).await;
        let waits = runner.submit("c", WORK).await.expect("it is taken");
        let last = runner.submit("d", WORK).await.expect("it is taken");
        for job in [&other, &waits] {
            let cancelled = runner.cancel(&job.tenant, job.id).await.expect("known");
            assert_eq!(cancelled.state, JobState::Cancelled);
        }
        let _ = until(&runner, &last, JobState::Running).await;
        shutdown.cancel();
        running.await.expect("it ends");
        assert_eq!(runner.job("d", last.id).await.expect("known").state, JobState::Cancelled);
        assert_eq!(runner.submit("e", WORK).await.expect_err("closed").kind(), ErrorKind::Unavailable);
        assert_eq!(done.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn so_many_may_wait_and_be_remembered() {
        let (runner, _) = runner(&Arc::new(Semaphore::new(0)));
        for at in 0..MOST_WAITING {
            let _job = runner.submit(&at.to_string(), WORK).await.expect("it is taken");
        }
        let refused = runner.submit("one more", WORK).await.expect_err("too many");
        assert!(refused.to_string().contains("100 jobs wait already"), "{refused}");
        for at in 0..MOST_ENDED + 50 {
            let tenant = at.to_string();
            let first = runner.jobs(&tenant).await.expect("jobs").first().map(|job| job.id);
            if let Some(id) = first {
                let _job = runner.cancel(&tenant, id).await.expect("known");
            }
            let _job = runner.submit(&tenant, WORK).await;
            if let Some(job) = runner.jobs(&tenant).await.expect("jobs").first() {
                let _job = runner.cancel(&tenant, job.id).await.expect("known");
            }
        }
        assert!(runner.board().jobs.len() <= MOST_ENDED + 1, "{}", runner.board().jobs.len());
    }
}
