//! A table's state, replayed from its Delta log: version, active files, application transactions and recent commit ids.
//!
//! The state is loaded once through delta-rs (checkpoint and tail) and from then on moves by reading single commit entries: that costs
//! under a millisecond a commit and does not slow down with the age of the process, where delta-rs's own state does
//! (`docs/decisions/001-commit-protocol.md`).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use buoyant_kernel::actions::LOG_TXN_SCHEMA;
use buoyant_kernel::engine::arrow_data::ArrowEngineData;
use deltalake::kernel::{Action, Add};
use deltalake::logstore::{LogStoreRef, get_actions};
use deltalake::table::state::DeltaTableState;
use domain::{Error, ErrorKind, Result};

use crate::error::delta_error;
use crate::layout::{CONTRACT_PROPERTY, CONTRACT_VERSION};
use crate::tables::PERIOD;

/// The key under which a commit carries its id in commitInfo.
pub(crate) const COMMIT_ID: &str = "commitId";

/// Commit ids kept for [`Log::commit_of`]; an outcome is asked for within minutes, long before so many commits passed.
const KEPT_COMMIT_IDS: usize = 4_096;

/// A state that was not refreshed for longer is loaded anew: the entries after it might have been cleaned away, and a gap in the log must not be
/// taken for its end. Far below the shortest log retention of a day.
const TRUSTED_AGE_SECONDS: u64 = 600;

/// Size that files grow to when they are joined, in bytes.
pub const TARGET_BYTES: u64 = 128 << 20;

/// Rows of a file that was joined from others, at most.
pub(crate) const MAX_ROWS: u64 = 1_000_000;

/// A file that belongs to the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveFile {
    /// Path below the table's folder.
    pub path: String,
    /// Partition value.
    pub period: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Delta statistics as JSON text.
    pub stats: Option<String>,
}

/// A table's state at one version.
#[derive(Debug, Clone)]
pub struct Log {
    name: String,
    store: LogStoreRef,
    /// Given at the table's creation, and to no other.
    table_id: String,
    version: u64,
    /// The version of the checkpoint that the state was loaded from.
    checkpoint: Option<u64>,
    files: Arc<BTreeMap<String, Arc<ActiveFile>>>,
    /// Those of the files that are small; counted as they come and go.
    small_files: usize,
    transactions: HashMap<String, i64>,
    commit_ids: VecDeque<(u64, String)>,
    /// Entries up to this version are all known to exist, as of this instant.
    refreshed_at: SystemTime,
}

impl ActiveFile {
    /// Rows in it, where its statistics say so.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        #[derive(serde::Deserialize)]
        struct Counted {
            #[serde(rename = "numRecords")]
            rows: Option<u64>,
        }
        serde_json::from_str::<Counted>(self.stats.as_deref()?).ok()?.rows
    }

    /// Whether statistics allow that a column of truth values is true in one of its rows.
    #[must_use]
    pub(crate) fn may_be_true(&self, column: &str) -> bool {
        let stats: serde_json::Value =
            self.stats.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        stats["maxValues"][column] != serde_json::Value::Bool(false)
    }

    /// Whether it is worth joining with others, where files may grow to `target_bytes`: less than half of what a file may hold, in bytes and in rows.
    #[must_use]
    pub fn is_small(&self, target_bytes: u64) -> bool {
        self.size_bytes < target_bytes / 2 && self.rows().is_none_or(|rows| rows < MAX_ROWS / 2)
    }
}

impl Log {
    /// Loads the newest version, or a given one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no table; [`ErrorKind::Incompatible`] when it is not one that this release can handle.
    pub async fn load(name: &str, store: LogStoreRef, version: Option<u64>) -> Result<Self> {
        let refreshed_at = SystemTime::now();
        let state = load_state(name, &store, version).await?;
        let log_data = state.log_data();
        let files = log_data.iter().map(|view| {
            let file = ActiveFile {
                path: view.path().into_owned(),
                period: view.partition_values_map().remove(PERIOD).flatten().unwrap_or_default(),
                size_bytes: u64::try_from(view.size()).unwrap_or(0),
                modified_ms: view.modification_time(),
                stats: view.stats(),
            };
            (file.path.clone(), Arc::new(file))
        });
        let files = Arc::new(files.collect::<BTreeMap<_, _>>());
        let small_files = files.values().filter(|file| file.is_small(TARGET_BYTES)).count();
        let version = state.version();
        let (transactions, checkpoint) = read_transactions(name, Arc::clone(&store), version).await?;
        Ok(Self {
            name: name.to_owned(),
            store,
            table_id: state.metadata().id().to_owned(),
            version,
            checkpoint,
            files,
            small_files,
            transactions,
            commit_ids: VecDeque::new(),
            refreshed_at,
        })
    }

    /// The table's id, which no other table has.
    #[must_use]
    pub fn table_id(&self) -> &str {
        &self.table_id
    }

    /// Reads the commits that came after this state.
    ///
    /// # Errors
    /// Those of reaching the store; the state is unchanged or newer then, never half a commit.
    pub async fn refresh(&mut self) -> Result<()> {
        let asked_at = SystemTime::now();
        let age = asked_at.duration_since(self.refreshed_at).map_or(u64::MAX, |age| age.as_secs());
        if age > TRUSTED_AGE_SECONDS {
            return self.reload().await;
        }
        while let Some(actions) = self.actions(self.version + 1).await? {
            if actions.iter().any(|action| matches!(action, Action::Metadata(_) | Action::Protocol(_))) {
                return self.reload().await;
            }
            self.apply(actions);
        }
        self.refreshed_at = asked_at;
        Ok(())
    }

    /// A copy without the ids of commits, which only a committer looks for, and which may be thousands.
    pub(crate) fn for_reading(&self) -> Self {
        Self {
            name: self.name.clone(),
            store: Arc::clone(&self.store),
            table_id: self.table_id.clone(),
            version: self.version,
            checkpoint: self.checkpoint,
            files: Arc::clone(&self.files),
            small_files: self.small_files,
            transactions: self.transactions.clone(),
            commit_ids: VecDeque::new(),
            refreshed_at: self.refreshed_at,
        }
    }

    async fn reload(&mut self) -> Result<()> {
        let commit_ids = std::mem::take(&mut self.commit_ids);
        let known = self.version;
        *self = Self::load(&self.name, Arc::clone(&self.store), None).await?;
        self.commit_ids = commit_ids;
        // The ids of the commits in between matter to whoever waits for an unknown outcome.
        for version in known + 1..=self.version {
            if let Some(actions) = self.actions(version).await? {
                self.remember(version, &actions);
            }
        }
        Ok(())
    }

    async fn actions(&self, version: u64) -> Result<Option<Vec<Action>>> {
        read_actions(&self.name, &self.store, version).await
    }

    /// When a version was committed, in milliseconds since 1970, by its writer's clock; none once its entry was cleaned away.
    ///
    /// # Errors
    /// Those of reaching the store; [`ErrorKind::Incompatible`] when the entry does not tell.
    pub(crate) async fn committed_at(&self, version: u64) -> Result<Option<i64>> {
        let Some(actions) = self.actions(version).await? else { return Ok(None) };
        let told = actions.iter().find_map(|action| match action {
            Action::CommitInfo(info) => info.timestamp,
            _ => None,
        });
        told.map(Some).ok_or_else(|| {
            let what = format!("{}: version {version} does not tell when it was committed", self.name);
            Error::new(ErrorKind::Incompatible, format!("{what}: read it by its number"))
        })
    }

    /// The files in which the commits after a version brought new rows, the oldest first; none once an entry was cleaned away.
    ///
    /// # Errors
    /// Those of reaching the store.
    pub(crate) async fn added_since(&self, version: u64) -> Result<Option<Vec<Arc<ActiveFile>>>> {
        let mut added = Vec::new();
        for version in version + 1..=self.version {
            let Some(actions) = self.actions(version).await? else { return Ok(None) };
            added.extend(actions.into_iter().filter_map(|action| match action {
                Action::Add(add) if add.data_change => Some(Arc::new(active_file(add))),
                _ => None,
            }));
        }
        Ok(Some(added))
    }

    fn apply(&mut self, actions: Vec<Action>) {
        let version = self.version + 1;
        self.remember(version, &actions);
        let files = Arc::make_mut(&mut self.files);
        for action in actions {
            match action {
                Action::Add(add) => {
                    let file = Arc::new(active_file(add));
                    self.small_files += usize::from(file.is_small(TARGET_BYTES));
                    let replaced = files.insert(file.path.clone(), file);
                    self.small_files -= usize::from(replaced.is_some_and(|file| file.is_small(TARGET_BYTES)));
                }
                Action::Remove(remove) => {
                    let gone = files.remove(&remove.path);
                    self.small_files -= usize::from(gone.is_some_and(|file| file.is_small(TARGET_BYTES)));
                }
                Action::Txn(txn) => {
                    self.transactions.insert(txn.app_id, txn.version);
                }
                _ => {}
            }
        }
        self.version = version;
    }

    fn remember(&mut self, version: u64, actions: &[Action]) {
        for action in actions {
            let Action::CommitInfo(info) = action else { continue };
            if let Some(id) = info.info.get(COMMIT_ID).and_then(|id| id.as_str()) {
                self.commit_ids.push_back((version, id.to_owned()));
            }
        }
        while self.commit_ids.len() > KEPT_COMMIT_IDS {
            self.commit_ids.pop_front();
        }
    }

    /// The version of the commit with this id, if it landed after `after`.
    #[must_use]
    pub(crate) fn commit_of(&self, id: &str, after: u64) -> Option<u64> {
        self.commit_ids
            .iter()
            .rev()
            .take_while(|(version, _)| *version > after)
            .find(|(_, known)| known == id)
            .map(|(v, _)| *v)
    }

    /// The table's version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The version of the checkpoint that the state was loaded from; `None` when it was loaded without one.
    #[must_use]
    pub(crate) fn checkpoint(&self) -> Option<u64> {
        self.checkpoint
    }

    /// The active files by path.
    #[must_use]
    pub fn files(&self) -> &Arc<BTreeMap<String, Arc<ActiveFile>>> {
        &self.files
    }

    /// How many of the active files are small, as [`ActiveFile::is_small`] says for [`TARGET_BYTES`].
    #[must_use]
    pub fn small_files(&self) -> usize {
        self.small_files
    }

    /// The version of an application transaction.
    #[must_use]
    pub fn transaction(&self, app_id: &str) -> Option<i64> {
        self.transactions.get(app_id).copied()
    }

    /// All application transactions.
    #[must_use]
    pub fn transactions(&self) -> &HashMap<String, i64> {
        &self.transactions
    }

    /// The Delta log under it.
    #[must_use]
    pub(crate) fn store(&self) -> &LogStoreRef {
        &self.store
    }
}

/// What a commit did; none where its entry is not there: not yet, or cleaned away.
pub(crate) async fn read_actions(
    name: &str,
    store: &LogStoreRef,
    version: u64,
) -> Result<Option<Vec<Action>>> {
    let failed = |error| delta_error(&format!("{name}: reading version {version}"), error);
    let Some(bytes) = store.read_commit_entry(version).await.map_err(failed)? else { return Ok(None) };
    get_actions(version, &bytes).map(Some).map_err(failed)
}

pub(crate) fn active_file(add: Add) -> ActiveFile {
    ActiveFile {
        period: add.partition_values.get(PERIOD).cloned().flatten().unwrap_or_default(),
        size_bytes: u64::try_from(add.size).unwrap_or(0),
        modified_ms: add.modification_time,
        stats: add.stats,
        path: add.path,
    }
}

/// delta-rs's own state at a version, checked to be of a table that this release can handle.
pub(crate) async fn load_state(
    name: &str,
    store: &LogStoreRef,
    version: Option<u64>,
) -> Result<DeltaTableState> {
    let state = DeltaTableState::try_new(store.as_ref(), version).await;
    let state = state.map_err(|error| load_error(name, store, version, error))?;
    check_contract(name, &state)?;
    Ok(state)
}

fn load_error(
    name: &str,
    store: &LogStoreRef,
    version: Option<u64>,
    error: deltalake::DeltaTableError,
) -> Error {
    let text = error.to_string();
    match (version, &error) {
        // The kernel's word for a table's folder that is not there on a file system.
        (None, deltalake::DeltaTableError::KernelError(buoyant_kernel::Error::InvalidTableLocation(_)))
        | (None, deltalake::DeltaTableError::NotATable(_)) => {
            let at = store.root_url();
            Error::new(
                ErrorKind::NotFound,
                format!("there is no table {name} yet at {at}: `ingest` creates it; is lake.root right?"),
            )
        }
        (Some(version), _) if !matches!(error, deltalake::DeltaTableError::ObjectStore { .. }) => Error::new(
            ErrorKind::NotFound,
            format!(
                "{name} has no version {version} that can still be read: `lake history {name}` lists them ({text})"
            ),
        ),
        _ => delta_error(name, error),
    }
}

/// Refuses tables whose contract, or whose protocol, this release does not know.
fn check_contract(name: &str, state: &DeltaTableState) -> Result<()> {
    let incompatible = |what: String| Err(Error::new(ErrorKind::Incompatible, format!("{name}: {what}")));
    match state.metadata().configuration().get(CONTRACT_PROPERTY).map(String::as_str) {
        Some(CONTRACT_VERSION) => {}
        Some(other) => {
            return incompatible(format!(
                "its property {CONTRACT_PROPERTY} is {other}, this release knows {CONTRACT_VERSION}: use the release that fits"
            ));
        }
        None => {
            return incompatible(format!(
                "it lacks the property {CONTRACT_PROPERTY}, so it is not a table of ours: is lake.root right?"
            ));
        }
    }
    let protocol = state.protocol();
    // Without a list of features, a version stands for all features that it brought: 1 and 2 for those that the list below lets pass.
    let (reader, writer) = (protocol.min_reader_version(), protocol.min_writer_version());
    if !matches!((reader, writer), (1, 1 | 2 | 7) | (3, 7)) {
        return incompatible(format!(
            "another engine raised its protocol to reader {reader} and writer {writer}, which this release does not read or write; restore the table to the version before"
        ));
    }
    let features: Vec<String> = protocol
        .reader_features()
        .into_iter()
        .flatten()
        .chain(protocol.writer_features().into_iter().flatten())
        .map(ToString::to_string)
        .filter(|feature| !matches!(feature.as_str(), "appendOnly" | "invariants"))
        .collect();
    if !features.is_empty() {
        return incompatible(format!(
            "another engine turned on {}, which this release does not read or write; restore the table to the version before",
            features.join(", ")
        ));
    }
    if state.metadata().configuration().contains_key("delta.setTransactionRetentionDuration") {
        return incompatible(
            "the property delta.setTransactionRetentionDuration would let stored positions expire: unset it"
                .to_owned(),
        );
    }
    Ok(())
}

/// Application transactions, and the version of the checkpoint that they were read from.
type Transactions = (HashMap<String, i64>, Option<u64>);

/// All application transactions at a version, in one scan of the log.
async fn read_transactions(name: &str, store: LogStoreRef, version: u64) -> Result<Transactions> {
    let read = move || -> buoyant_kernel::DeltaResult<Transactions> {
        let engine = store.engine(None);
        let snapshot = buoyant_kernel::Snapshot::builder_for(store.root_url().as_str())
            .at_version(version)
            .build(engine.as_ref())?;
        let mut transactions = HashMap::new();
        for batch in snapshot.log_segment().read_actions(engine.as_ref(), LOG_TXN_SCHEMA.clone())? {
            let batch: RecordBatch = ArrowEngineData::try_from_engine_data(batch?.actions)?.into();
            newest_first(&batch, &mut transactions);
        }
        Ok((transactions, snapshot.log_segment().checkpoint_version))
    };
    let failed =
        |what: String| Error::new(ErrorKind::Unavailable, format!("{name}: reading positions: {what}"));
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))
}

/// Takes the transactions of a batch of log actions into `known`. The log is read newest first, so what is known already is newer.
fn newest_first(batch: &RecordBatch, known: &mut HashMap<String, i64>) {
    let Some(txn) = batch.column_by_name("txn").and_then(|column| column.as_struct_opt()) else { return };
    let (Some(ids), Some(versions)) = (txn.column_by_name("appId"), txn.column_by_name("version")) else {
        return;
    };
    let (ids, versions) = (ids.as_string::<i32>(), versions.as_primitive::<Int64Type>());
    for row in (0..batch.num_rows()).filter(|row| txn.is_valid(*row) && ids.is_valid(*row)) {
        known.entry(ids.value(row).to_owned()).or_insert_with(|| versions.value(row));
    }
}
