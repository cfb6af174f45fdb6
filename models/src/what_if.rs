//! Answers about plans by the models that are served, kept in memory from the first question on.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use domain::ports::{Blobs, ModelRegistry, Tables};
use domain::principal::{Principal, StoreScope};
use domain::what_if::{Outcomes, Question, WhatIf};
use domain::{Error, ErrorKind, Result};
use tokio::sync::OnceCell;

use crate::forecast::{Frozen, MAX_HORIZON_DAYS};
use crate::registry::artefact;

/// Models that are kept, those that were asked last.
const KEPT: usize = 4;

/// A model that is kept, or on its way.
type Cell = Arc<OnceCell<Arc<Frozen>>>;

/// The models of a lake.
#[derive(Debug)]
pub struct ServedModels {
    tables: Arc<dyn Tables>,
    registry: Arc<dyn ModelRegistry>,
    blobs: Arc<dyn Blobs>,
    /// By version, the one that was asked last in the end.
    kept: Mutex<Vec<(String, Cell)>>,
}

impl ServedModels {
    /// Models that are found through these ports.
    #[must_use]
    pub fn new(tables: Arc<dyn Tables>, registry: Arc<dyn ModelRegistry>, blobs: Arc<dyn Blobs>) -> Self {
        Self { tables, registry, blobs, kept: Mutex::default() }
    }

    /// Questions of one version wait for one load.
    fn cell(&self, version: &str) -> Cell {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|(known, _)| known == version).map(|at| kept.remove(at).1);
        let cell = found.unwrap_or_default();
        kept.push((version.to_owned(), Arc::clone(&cell)));
        if kept.len() > KEPT {
            kept.remove(0);
        }
        cell
    }

    async fn load(&self, tenant: &str, version: &str) -> Result<Arc<Frozen>> {
        let manifest = self.blobs.get(&artefact(version, "manifest.json")).await?.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("the manifest of the model {version} is gone: run `forecast run`"),
            )
        })?;
        let learned = self.blobs.get(&artefact(version, "model.json")).await?;
        let whole = Principal::Tenant { tenant: tenant.to_owned(), stores: StoreScope::All };
        let set = self.tables.daily_series(&whole, MAX_HORIZON_DAYS).await?;
        let load = move || Frozen::of(&manifest, learned.as_deref(), set);
        let loaded = tokio::task::spawn_blocking(load).await;
        Ok(Arc::new(
            loaded.map_err(|error| Error::internal(format!("a model could not be loaded: {error}")))??,
        ))
    }
}

#[async_trait]
impl WhatIf for ServedModels {
    async fn what_if(&self, whose: &Principal, question: &Question) -> Result<Outcomes> {
        let Principal::Tenant { tenant, stores } = whose else {
            return Err(Error::invalid("models are of one business each: name it"));
        };
        // A store that is not the caller's is like one that is not there.
        if let StoreScope::Only(stores) = stores
            && !stores.contains(&question.store)
        {
            let message =
                format!("there is no forecast of `{}` in the store `{}`", question.sku, question.store);
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let history = self.registry.model_history(Some(tenant)).await?;
        let version = history.served(tenant).ok_or_else(|| {
            let message = "no forecast was made for this business yet: run `intellicartel forecast run`";
            Error::new(ErrorKind::NotFound, message)
        })?;
        let cell = self.cell(version);
        let frozen = Arc::clone(cell.get_or_try_init(|| self.load(tenant, version)).await?);
        let question = question.clone();
        let answered = tokio::task::spawn_blocking(move || frozen.ask(&question)).await;
        answered.map_err(|error| Error::internal(format!("a model could not be asked: {error}")))?
    }
}
