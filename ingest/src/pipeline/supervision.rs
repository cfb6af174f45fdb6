//! Feeds that are read for as long as a process runs: one that fails is tried again, and whoever asked for it hears how each feed is.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Feed, Result};

use super::membership::is_fenced;
use super::{FeedWorker, IngestReport};

/// A feed that failed is tried again after a second at first, and then more and more seldom; one that ran for a while begins anew.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How a feed is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedState {
    /// These partitions of its topic are read.
    Reads(Vec<i32>),
    /// Its topic is not there yet.
    AwaitsTopic,
    /// It stands still, for this reason; it is tried again unless another process has taken this one's place.
    Failed(String),
}

/// Hears how feeds are whenever that changes, on the feeds' own threads.
#[derive(Clone)]
pub struct Watch(Arc<dyn Fn(Feed, FeedState) + Send + Sync>);

impl Watch {
    /// Hears by `tell`.
    pub fn new(tell: impl Fn(Feed, FeedState) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl FeedWorker {
    /// Tells whoever watches.
    pub(super) fn tell(&self, state: FeedState) {
        if let Some(Watch(tell)) = &self.watch {
            tell(self.feed, state);
        }
    }

    /// Reads the feed: until its end or its error, or, where somebody watches, until the shutdown.
    pub(super) fn work(&self) -> Result<IngestReport> {
        if self.watch.is_none() {
            return self.run();
        }
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let error = match self.run() {
                Ok(report) => return Ok(report),
                Err(error) => error,
            };
            if begun.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            let (feed, retry_seconds) = (self.feed.name(), pause.as_secs());
            if is_fenced(&error) {
                // Tried again, it would take the place of the other, which would take it back.
                tracing::error!(feed, %error, "the feed stands still");
                self.tell(FeedState::Failed(error.to_string()));
                while !self.wait(LONGEST_PAUSE) {}
                return Ok(IngestReport::default());
            }
            tracing::warn!(feed, %error, retry_seconds, "the feed stands still, and is tried again");
            self.tell(FeedState::Failed(error.to_string()));
            if self.wait(pause) {
                return Ok(IngestReport::default());
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
