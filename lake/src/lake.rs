//! A lake: its root checked, its tables created, and the ports of `domain` over them.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{Error, Feed, Result};
use futures::future::try_join_all;

use crate::probe::probe_conditional_put;
use crate::retry::retried;
use crate::store::{Store, StoreSettings};
use crate::table::Table;
use crate::tables;
use crate::{layout, store};

/// How a lake is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LakeOptions {
    /// Everything is checked, and tables that are not there are created.
    #[default]
    Write,
    /// Everything is checked, but nothing is created: for upkeep of a lake that is there.
    Upkeep,
    /// Nothing is written: for reading, and for processes that must start while the store is read-only.
    Read,
}

/// An opened lake.
#[derive(Debug)]
pub struct Lake {
    store: Store,
    tables: BTreeMap<String, Arc<Table>>,
}

impl Lake {
    /// Opens the lake at `settings.root`.
    ///
    /// # Errors
    /// Settings that are not usable, a store that cannot be reached or is not safe for commits, a layout or table of another release.
    pub async fn open(settings: &StoreSettings, options: LakeOptions) -> Result<Arc<Self>> {
        let store = match options {
            LakeOptions::Write => store::Store::open(settings)?,
            LakeOptions::Upkeep | LakeOptions::Read => store::Store::open_existing(settings)?,
        };
        if options != LakeOptions::Write {
            match retried(|| layout::check(store.root(), store.url())).await {
                // Whoever reads may come before the first writer.
                Err(error) if error.kind() == domain::ErrorKind::NotFound && options == LakeOptions::Read => {
                }
                checked => checked?,
            }
        }
        if options != LakeOptions::Read {
            probe_conditional_put(store.root()).await?;
        }
        if options == LakeOptions::Write {
            retried(|| layout::ensure(store.root(), store.url())).await?;
        }
        let mut tables = BTreeMap::new();
        for definition in tables::all() {
            let name = definition.qualified_name();
            tables.insert(name, Arc::new(Table::new(definition, &store)?));
        }
        if options == LakeOptions::Write {
            let is_folder = store.folder().is_some();
            // Tables know nothing of each other, and each takes some requests: a start waits for the slowest, not for all.
            let ensured = tables.values().map(|table| retried(move || table.ensure(is_folder)));
            try_join_all(ensured.collect::<Vec<_>>()).await?;
        }
        Ok(Arc::new(Self { store, tables }))
    }

    /// The store under it.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Every table, by its qualified name.
    #[must_use]
    pub fn tables(&self) -> &BTreeMap<String, Arc<Table>> {
        &self.tables
    }

    /// A table by its name in SQL.
    ///
    /// # Errors
    /// [`domain::ErrorKind::NotFound`] listing the tables that exist.
    pub fn table(&self, name: &str) -> Result<&Arc<Table>> {
        self.tables.get(name).ok_or_else(|| {
            let names: Vec<_> = self.tables.keys().map(String::as_str).collect();
            Error::new(
                domain::ErrorKind::NotFound,
                format!("there is no table `{name}`: choose one of {}", names.join(", ")),
            )
        })
    }

    pub(crate) fn feed(&self, feed: Feed) -> Result<&Arc<Table>> {
        self.table(&tables::feed_table(feed).qualified_name())
    }

    pub(crate) fn dead_letters(&self) -> Result<&Arc<Table>> {
        self.table(&tables::dead_letters().qualified_name())
    }

    /// Whether the tables stand in the store already.
    ///
    /// # Errors
    /// Those of reaching the store.
    pub async fn exists(&self) -> Result<bool> {
        for table in self.tables.values() {
            match table.snapshot().await {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == domain::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}
