//! What changed in a table between two versions: the files whose rows came or went. Files that were only rewritten do not count.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use deltalake::kernel::Action;
use domain::ports::{Changed, Changes};
use domain::{Error, ErrorKind, Feed, Result};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::error::store_error;
use crate::lake::Lake;
use crate::log::{ActiveFile, active_file};
use crate::retry::retried;
use crate::table::Table;
use crate::tables::PERIOD;

/// Entries that are read at once.
const CONCURRENT_READS: usize = 8;

/// Files whose rows came or went.
#[derive(Debug, Default)]
pub(crate) struct ChangedFiles {
    pub(crate) files: Vec<Arc<ActiveFile>>,
    pub(crate) removes: bool,
}

#[async_trait]
impl Changes for Lake {
    async fn changed(&self, feed: Feed, from: u64, to: u64) -> Result<Option<Changed>> {
        match changed_files(self.feed(feed)?, from, to).await {
            Ok(changed) => Ok(Some(Changed { files: changed.files.len(), removes: changed.removes })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The files whose rows the commits after `from`, up to `to`, have brought or taken.
///
/// # Errors
/// [`ErrorKind::NotFound`] when entries of the log, or files, are gone.
pub(crate) async fn changed_files(table: &Table, from: u64, to: u64) -> Result<ChangedFiles> {
    let entries = futures::stream::iter((from + 1..=to).map(|version| data_changes(table, version)));
    let entries: Vec<_> = entries.buffered(CONCURRENT_READS).try_collect().await?;
    let mut changed = ChangedFiles::default();
    let mut files = BTreeMap::new();
    for (file, is_removed) in entries.into_iter().flatten() {
        changed.removes |= is_removed;
        // A file that came and went is the same file; the Add tells more of it.
        files.entry(file.path.clone()).or_insert(Arc::new(file));
    }
    let active = Arc::clone(table.snapshot_at(to).await?.files());
    for file in files.values().filter(|file: &&Arc<ActiveFile>| !active.contains_key(&file.path)) {
        check_exists(table, file).await?;
    }
    changed.files = files.into_values().collect();
    Ok(changed)
}

/// A file that is not active any more stays until vacuum takes it.
async fn check_exists(table: &Table, file: &ActiveFile) -> Result<()> {
    let store = table.log_store().object_store(None);
    let path = Path::parse(&file.path)
        .map_err(|error| Error::internal(format!("file name `{}`: {error}", file.path)))?;
    let head = || async {
        let head = store.head(&path).await;
        head.map(|_| ()).map_err(|error| store_error(&format!("looking for {}", file.path), error))
    };
    retried(head).await
}

async fn data_changes(table: &Table, version: u64) -> Result<Vec<(ActiveFile, bool)>> {
    let Some(actions) = table.actions(version).await? else {
        let name = table.definition().qualified_name();
        let gone = format!("{name}: the log does not hold version {version} any more");
        return Err(Error::new(ErrorKind::NotFound, gone));
    };
    let change = |action| match action {
        Action::Add(add) if add.data_change => Some((active_file(add), false)),
        Action::Remove(remove) if remove.data_change => {
            let period = remove.partition_values.and_then(|mut values| values.remove(PERIOD)).flatten();
            let file = ActiveFile {
                path: remove.path,
                period: period.unwrap_or_default(),
                size_bytes: remove.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                modified_ms: 0,
                stats: None,
            };
            Some((file, true))
        }
        _ => None,
    };
    Ok(actions.into_iter().filter_map(change).collect())
}
