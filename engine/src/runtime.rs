//! The threads that queries run on, so that their work never holds up the async threads of whoever asks.

use std::num::NonZeroUsize;

use domain::{Error, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Room for the deepest query that [`crate::session`] lets through; only what is used is taken.
const STACK_BYTES: usize = 64 << 20;

/// A runtime for queries alone. Dropped, it stops in the background, so that it may be dropped on async threads too.
#[derive(Debug)]
pub(crate) struct QueryRuntime {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl QueryRuntime {
    pub(crate) fn start(threads: NonZeroUsize) -> Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads.get()).thread_name("query").thread_stack_size(STACK_BYTES);
        let runtime = builder.enable_all().build();
        let runtime =
            runtime.map_err(|error| Error::internal(format!("the threads for queries: {error}")))?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Begins work; dropping the guard ends it at its next pause.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        Running(self.handle.spawn(work))
    }
}

impl Drop for QueryRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Work under way, ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Running<T>(JoinHandle<T>);

impl<T> Running<T> {
    /// Waits for the result. A panic in the work is told as a defect, without its words.
    pub(crate) async fn result(mut self) -> Result<T> {
        (&mut self.0).await.map_err(|error| {
            tracing::error!(%error, "a query broke off");
            broke_off()
        })
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A defect while a query ran; what is known of it stands in the log.
pub(crate) fn broke_off() -> Error {
    Error::internal("the query broke off by a defect of ours: the log of the server tells more")
}
