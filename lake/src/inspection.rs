//! A look at the place of a lake, for operators: what stands there and whether it could be written to. Nothing is created but the probe's keys,
//! which are removed again.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use domain::{ErrorKind, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use uuid::Uuid;

use crate::error::store_error;
use crate::layout;
use crate::probe::{PROBE_FOLDER, probe_conditional_put};
use crate::store::{Store, StoreSettings};

/// A place that is looked at.
#[derive(Debug)]
pub struct Inspection {
    store: Store,
}

impl Inspection {
    /// Looks at `settings.root`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the root is a folder that is not there yet; [`ErrorKind::Invalid`] when a setting is not usable.
    pub fn open(settings: &StoreSettings) -> Result<Self> {
        Ok(Self { store: Store::open_existing(settings)? })
    }

    /// Whether a lake of this release stands there.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`] for a lake of another release, else those of reaching the store.
    pub async fn has_lake(&self) -> Result<bool> {
        match layout::check(self.store.root(), self.store.url()).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes as a start of `ingest` does before it trusts the store. Gives how far the store's clock is ahead of this machine's.
    /// Dropped before its end it may leave keys behind, which a start after an hour removes.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`] when the store is not safe for commits, else those of reaching and writing it.
    pub async fn probe(&self) -> Result<TimeDelta> {
        let folder =
            self.store.folder().map(|root| root.join(PROBE_FOLDER)).filter(|folder| !folder.exists());
        let probed = async {
            probe_conditional_put(self.store.root()).await?;
            clock_ahead(self.store.root()).await
        };
        let ahead = probed.await;
        if let Some(folder) = folder {
            // It is not empty when another process probes too; that one's start leaves it as well.
            let _ = std::fs::remove_dir(folder);
        }
        ahead
    }
}

/// Compares the time that the store gives a new object with the times before and after. Stores may give whole seconds.
async fn clock_ahead(root: &Arc<dyn ObjectStore>) -> Result<TimeDelta> {
    let key = Path::from(format!("{PROBE_FOLDER}/{}", Uuid::new_v4()));
    let failed = |error| store_error("comparing clocks", error);
    let before = Utc::now();
    root.put(&key, PutPayload::from_static(b"clock")).await.map_err(failed)?;
    let after = Utc::now();
    let written = root.head(&key).await;
    root.delete(&key).await.map_err(failed)?;
    let (earliest, latest) = {
        let written = written.map_err(failed)?.last_modified;
        (written, written + TimeDelta::seconds(1))
    };
    Ok(if earliest > after {
        earliest - after
    } else if latest < before {
        latest - before
    } else {
        TimeDelta::zero()
    })
}
