//! Questions in, answers out: read-only SQL over a catalogue, streamed, with bounded memory.
//!
//! Sessions see the whole catalogue: this is the operator's door. What a tenant may see is not decided here yet, so no other door may use it.

mod output;
pub mod series;

use std::sync::Arc;

use datafusion::catalog::CatalogProvider;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use domain::{Error, ErrorKind, Result};

pub use datafusion::execution::object_store::ObjectStoreUrl;
pub use output::{Output, write_output};

/// The catalogue's name in SQL; tables are written `schema.table`.
const CATALOG: &str = "lake";

/// Makes sessions over one catalogue.
#[derive(Debug)]
pub struct Engine {
    catalog: Arc<dyn CatalogProvider>,
    runtime: Arc<RuntimeEnv>,
}

impl Engine {
    /// An engine whose queries share `memory_bytes` and read files from `store`.
    ///
    /// # Errors
    /// When the runtime cannot be built.
    pub fn new(
        catalog: Arc<dyn CatalogProvider>,
        store: (ObjectStoreUrl, Arc<dyn datafusion::object_store::ObjectStore>),
        memory_bytes: usize,
    ) -> Result<Self> {
        let pool = Arc::new(FairSpillPool::new(memory_bytes));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc();
        let runtime = runtime.map_err(|error| Error::internal(format!("query runtime: {error}")))?;
        runtime.register_object_store(store.0.as_ref(), store.1);
        Ok(Self { catalog, runtime })
    }

    /// Plans a query and begins to answer it. Dropping the stream stops the work.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for SQL that is wrong, or more than reading; errors of the tables as they are.
    pub async fn query(&self, sql: &str) -> Result<SendableRecordBatchStream> {
        let config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, "curated")
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true);
        let session = SessionContext::new_with_config_rt(config, Arc::clone(&self.runtime));
        session.register_catalog(CATALOG, Arc::clone(&self.catalog));
        let read_only =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let frame = session.sql_with_options(sql, read_only).await.map_err(query_error)?;
        frame.execute_stream().await.map_err(query_error)
    }
}

/// The error of a query: ours where one lies inside, else DataFusion's text.
pub fn query_error(error: DataFusionError) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(ours) = inner.downcast_ref::<Error>() {
            return Error::new(ours.kind(), ours.to_string());
        }
        cause = inner.source();
    }
    let kind = match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => ErrorKind::LimitExceeded,
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => ErrorKind::Unavailable,
        DataFusionError::Internal(_) => ErrorKind::Internal,
        _ => ErrorKind::Invalid,
    };
    Error::new(kind, error.strip_backtrace())
}
