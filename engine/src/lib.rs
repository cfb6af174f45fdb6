//! Questions in, answers out: read-only SQL for a principal, streamed, within limits.
//!
//! An [`Engine`] gives each caller a [`Session`], whose queries see the rows of its principal and nothing else ([`scope`]), run off the caller's
//! threads, and are cut or stopped at their [`Limits`]. What a tenant is answered, errors included, is a function of the rows that it may see:
//! `docs/decisions/002-row-scope.md` says how, and where that ends. The engine knows no table; catalogue and [`domain::ports::Snapshots`] come from
//! outside.

mod analysis;
mod answer;
mod catalog;
mod derived;
mod error;
mod growth;
mod information;
mod limits;
pub mod marts;
mod memory;
mod output;
mod runtime;
mod scope;
mod sequence;
pub mod series;
mod session;
mod time_travel;
mod views;
mod yielding;

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::catalog::CatalogProvider;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use domain::analysis::Analysis;
use domain::ports::Snapshots;
use domain::{Error, Principal, Result};

pub use answer::{Answer, AnswerStream};
pub use datafusion::execution::object_store::ObjectStoreUrl;
pub use limits::{Cut, Limits, Summary};
pub use output::{Output, write_output};
pub use session::Session;

use analysis::Analyst;
use memory::QueryMemory;
use runtime::QueryRuntime;

/// What an engine stands on.
#[derive(Debug)]
pub struct EngineParts {
    /// The tables; `name@version` gives a table at a version.
    pub catalog: Arc<dyn CatalogProvider>,
    /// Which versions there are, and for whom the rows of a table are.
    pub snapshots: Arc<dyn Snapshots>,
    /// Who looks at series that a question gives.
    pub models: Arc<dyn Analysis>,
    /// The store that holds the files of the tables.
    pub store: (ObjectStoreUrl, Arc<dyn datafusion::object_store::ObjectStore>),
}

/// What queries may take of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineSettings {
    /// Memory that all queries together may hold, in bytes.
    pub memory_bytes: usize,
    /// Memory that one query may hold, in bytes; above it sorts and aggregates spill, and what cannot spill fails.
    pub query_memory_bytes: usize,
    /// Bytes that all queries together may spill to the temporary folder.
    pub spill_bytes: u64,
    /// Threads that queries run on.
    pub threads: NonZeroUsize,
}

impl Default for EngineSettings {
    /// 1 GiB in all, 512 MiB a query, 8 GiB of spilled files, a thread for each core.
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            query_memory_bytes: 512 << 20,
            spill_bytes: 8 << 30,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// Answers questions over one catalogue; cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) catalog: Arc<dyn CatalogProvider>,
    pub(crate) snapshots: Arc<dyn Snapshots>,
    pub(crate) settings: EngineSettings,
    pub(crate) runtime: QueryRuntime,
    pub(crate) analyst: Arc<Analyst>,
    environment: RuntimeEnv,
    memory: Arc<dyn MemoryPool>,
}

impl Engine {
    /// An engine over `parts`.
    ///
    /// # Errors
    /// When its threads or its folder for spilled files cannot be made.
    pub fn new(parts: EngineParts, settings: EngineSettings) -> Result<Self> {
        let spilling = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::OsTmpDirectory)
            .with_max_temp_directory_size(settings.spill_bytes);
        let environment = RuntimeEnvBuilder::new().with_disk_manager_builder(spilling).build();
        let environment =
            environment.map_err(|error| Error::internal(format!("query environment: {error}")))?;
        environment.register_object_store(parts.store.0.as_ref(), parts.store.1);
        let shared = Shared {
            catalog: parts.catalog,
            snapshots: parts.snapshots,
            settings,
            runtime: QueryRuntime::start(settings.threads)?,
            analyst: Arc::new(Analyst::new(parts.models, settings.threads.get())),
            environment,
            memory: Arc::new(GreedyMemoryPool::new(settings.memory_bytes)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A session that sees what `principal` may see.
    #[must_use]
    pub fn session(&self, principal: Principal) -> Session {
        Session::new(Arc::clone(&self.shared), principal)
    }

    /// Memory that running queries hold at the moment, in bytes.
    #[must_use]
    pub fn reserved_bytes(&self) -> usize {
        self.shared.memory.reserved()
    }
}

impl Shared {
    /// The environment of one query: the shared one with a memory pool of its own.
    pub(crate) fn environment(&self) -> Arc<RuntimeEnv> {
        let pool = QueryMemory::new(self.settings.query_memory_bytes, &self.memory);
        Arc::new(RuntimeEnv { memory_pool: Arc::new(pool), ..self.environment.clone() })
    }
}
