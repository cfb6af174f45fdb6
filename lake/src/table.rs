//! One table: created when absent, committed to through one state, read through another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use buoyant_kernel::engine::arrow_conversion::TryIntoKernel as _;
use buoyant_kernel::schema::StructType;
use deltalake::kernel::Action;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::logstore::LogStoreRef;
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::SaveMode;
use domain::civil::{self, Micros};
use domain::{Error, ErrorKind, Result};
use tokio::sync::Mutex;

use crate::commit::{self, Outcome, Plan};
use crate::error::delta_error;
use crate::layout::{CONTRACT_PROPERTY, CONTRACT_VERSION};
use crate::log::{Log, read_actions};
use crate::operations::checkpoint::Pace;
use crate::retry::retried;
use crate::store::Store;
use crate::tables::TableDefinition;

/// A table of the lake.
#[derive(Debug)]
pub struct Table {
    definition: TableDefinition,
    log_store: LogStoreRef,
    /// The state that commits are made on: one committer a table and process.
    writer: Mutex<Option<Log>>,
    /// The state that reads are served from, so that they never wait for a commit.
    reader: Mutex<Option<Log>>,
    /// Small files of the newest state that was seen.
    small_files: AtomicUsize,
    /// Held by whoever checkpoints, so that one does at a time.
    pub(crate) maintenance: Mutex<()>,
    /// When the next checkpoint is due.
    pub(crate) pace: std::sync::Mutex<Pace>,
}

impl Table {
    pub(crate) fn new(definition: TableDefinition, store: &Store) -> Result<Self> {
        let log_store = store.log_store(&definition.path())?;
        Ok(Self {
            definition,
            log_store,
            writer: Mutex::default(),
            reader: Mutex::default(),
            small_files: AtomicUsize::default(),
            maintenance: Mutex::default(),
            pace: std::sync::Mutex::new(Pace::new()),
        })
    }

    /// What the table is.
    #[must_use]
    pub fn definition(&self) -> &TableDefinition {
        &self.definition
    }

    /// The Delta log.
    pub(crate) fn log_store(&self) -> &LogStoreRef {
        &self.log_store
    }

    /// Creates the table unless it is there.
    pub(crate) async fn ensure(&self, is_folder: bool) -> Result<()> {
        let name = self.definition.qualified_name();
        match Log::load(&name, Arc::clone(&self.log_store), None).await {
            Ok(log) => {
                *self.reader.lock().await = Some(log);
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let created = self.create(is_folder).await;
        // Another process may have been first, or our answer may be lost: what stands in the log decides.
        match (Log::load(&name, Arc::clone(&self.log_store), None).await, created) {
            (Ok(log), _) => {
                *self.reader.lock().await = Some(log);
                Ok(())
            }
            (Err(error), Ok(())) => Err(error),
            (Err(_), Err(error)) => Err(error),
        }
    }

    async fn create(&self, is_folder: bool) -> Result<()> {
        let definition = &self.definition;
        let schema = domain::table::arrow_schema(&definition.all_columns());
        let schema: StructType = schema
            .as_ref()
            .try_into_kernel()
            .map_err(|e| Error::internal(format!("{}: {e}", definition.name)))?;
        let log_days = if is_folder { 1 } else { 7 };
        let properties = [
            (CONTRACT_PROPERTY.to_owned(), Some(CONTRACT_VERSION.to_owned())),
            ("delta.enableExpiredLogCleanup".to_owned(), Some("false".to_owned())),
            (
                "delta.deletedFileRetentionDuration".to_owned(),
                Some(format!("interval {} days", definition.retention.deleted_file_days)),
            ),
            ("delta.logRetentionDuration".to_owned(), Some(format!("interval {log_days} days"))),
        ];
        let hooks_off = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false));
        CreateBuilder::new()
            .with_log_store(Arc::clone(&self.log_store))
            .with_table_name(definition.qualified_name())
            .with_comment(definition.comment)
            .with_columns(schema.fields().cloned())
            .with_partition_columns(definition.partition_columns())
            .with_configuration(properties)
            .with_raise_if_key_not_exists(false)
            .with_save_mode(SaveMode::ErrorIfExists)
            .with_commit_properties(hooks_off)
            .await
            .map(|_| ())
            .map_err(|error| delta_error(&format!("creating {}", definition.qualified_name()), error))
    }

    /// The newest state, for reading.
    ///
    /// # Errors
    /// Those of reaching the store, or [`ErrorKind::NotFound`] before the table is created.
    pub async fn snapshot(&self) -> Result<Log> {
        retried(|| self.read_newest(Log::for_reading)).await
    }

    /// The newest version.
    ///
    /// # Errors
    /// As [`Self::snapshot`].
    pub async fn newest_version(&self) -> Result<u64> {
        retried(|| self.read_newest(Log::version)).await
    }

    async fn read_newest<T>(&self, of: impl Fn(&Log) -> T) -> Result<T> {
        let mut reader = self.reader.lock().await;
        if let Some(log) = reader.as_mut() {
            log.refresh().await?;
            self.note(log);
            return Ok(of(log));
        }
        let log = Log::load(&self.definition.qualified_name(), Arc::clone(&self.log_store), None).await?;
        self.note(&log);
        Ok(of(reader.insert(log)))
    }

    fn note(&self, log: &Log) {
        self.small_files.store(log.small_files(), Ordering::Relaxed);
        let name = self.definition.qualified_name();
        metrics::gauge!("intellicartel_lake_active_files", "table" => name.clone())
            .set(log.files().len() as f64);
        metrics::gauge!("intellicartel_lake_small_files", "table" => name).set(log.small_files() as f64);
    }

    /// Small files of the newest state that this process has seen.
    #[must_use]
    pub fn small_files(&self) -> usize {
        self.small_files.load(Ordering::Relaxed)
    }

    /// The state at an earlier version, as far as the log's retention reaches.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when that version cannot be read any more, or not yet.
    pub async fn snapshot_at(&self, version: u64) -> Result<Log> {
        // Whoever asks for the newest version and then for its state finds it here.
        if let Some(log) = self.reader.lock().await.as_ref().filter(|log| log.version() == version) {
            return Ok(log.for_reading());
        }
        let name = self.definition.qualified_name();
        retried(|| Log::load(&name, Arc::clone(&self.log_store), Some(version))).await
    }

    /// The newest version that was committed at `instant` or before, by the clocks of the writers, as far as the log's retention reaches.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none, or none that can be read any more.
    pub async fn version_at(&self, instant: Micros) -> Result<u64> {
        let log = self.snapshot().await?;
        // Entries are cleaned away from the oldest on, so "cleaned away, or not later" holds up to some version and for none behind it.
        let not_later = async |version: u64| -> Result<bool> {
            let at = retried(|| log.committed_at(version)).await?;
            Ok(at.is_none_or(|at_ms| at_ms.saturating_mul(1_000) <= instant))
        };
        let (mut first, mut beyond) = (0, log.version() + 1);
        while first < beyond {
            let middle = first + (beyond - first) / 2;
            if not_later(middle).await? {
                first = middle + 1;
            } else {
                beyond = middle;
            }
        }
        let found = first.checked_sub(1);
        if let Some(version) = found
            && retried(|| log.committed_at(version)).await?.is_some()
        {
            return Ok(version);
        }
        let (name, at) = (self.definition.qualified_name(), civil::format_instant(instant));
        let message = match found {
            None => format!("{name} did not exist yet at {at}"),
            Some(_) => format!("{name} at {at} cannot be read any more: its log does not reach so far back"),
        };
        Err(Error::new(ErrorKind::NotFound, message))
    }

    /// What a commit did; none once its entry was cleaned away.
    pub(crate) async fn actions(&self, version: u64) -> Result<Option<Vec<Action>>> {
        let name = self.definition.qualified_name();
        retried(|| read_actions(&name, &self.log_store, version)).await
    }

    /// Commits a plan through the table's one committer. A checkpoint is made in the background once it is due.
    pub(crate) async fn commit(self: &Arc<Self>, id: &str, plan: &mut dyn Plan) -> Result<Outcome> {
        let name = self.definition.qualified_name();
        let mut writer = self.writer.lock().await;
        let mut log = match writer.take() {
            Some(log) => log,
            None => retried(|| Log::load(&name, Arc::clone(&self.log_store), None)).await?,
        };
        let outcome = commit::commit(&mut log, &name, id, plan).await;
        if let Ok(Outcome::Committed(version)) = outcome {
            self.checkpoint_when_due(version, log.checkpoint());
            self.note(&log);
        }
        // A cancelled or failed commit leaves no state behind; the next one loads it anew.
        if outcome.is_ok() {
            *writer = Some(log);
        }
        outcome
    }
}
