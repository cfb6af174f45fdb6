//! The catalogue of one query: what its principal may see, at versions that stay the same throughout the query.
//!
//! What the principal may not see does not exist here, so that asking for it gives the same words as asking for nonsense. Every table is pinned to a
//! version when it is first named; a query that names it twice reads one state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::information_schema::INFORMATION_SCHEMA;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProviderList, SchemaProvider, Session, TableProvider,
};
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use domain::{Error, ErrorKind, Principal, Result, civil};

use crate::Shared;
use crate::information::Information;
use crate::scope::{RowScope, ScopedTable};
use crate::session::CATALOG;
use crate::time_travel::AT;
use crate::views::{SqlView, VIEWS};

/// What a query's look-ups share.
#[derive(Debug)]
pub(crate) struct View {
    engine: Arc<Shared>,
    principal: Principal,
    /// The session in which scoped tables read their files.
    reader: Arc<SessionState>,
    /// The newest version of each table, as of its first mention.
    pinned: tokio::sync::Mutex<BTreeMap<String, u64>>,
    read: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl View {
    pub(crate) fn new(engine: Arc<Shared>, principal: Principal, reader: Arc<SessionState>) -> Arc<Self> {
        Arc::new(Self {
            engine,
            principal,
            reader,
            pinned: tokio::sync::Mutex::default(),
            read: Arc::default(),
        })
    }

    /// The versions that were read, by table.
    pub(crate) fn as_of(&self) -> BTreeMap<String, u64> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The catalogues of the query.
    pub(crate) fn catalogs(self: &Arc<Self>) -> Arc<dyn CatalogProviderList> {
        let tables = MemoryCatalogProviderList::new();
        tables.register_catalog(
            CATALOG.to_owned(),
            Arc::new(ViewCatalog { view: Arc::clone(self), information: None }),
        );
        let all = MemoryCatalogProviderList::new();
        let shows_settings = self.principal == Principal::Operator;
        let snapshots = Arc::clone(&self.engine.snapshots);
        let information = Some(Arc::new(Information::of(Arc::new(tables), snapshots, shows_settings)));
        all.register_catalog(
            CATALOG.to_owned(),
            Arc::new(ViewCatalog { view: Arc::clone(self), information }),
        );
        Arc::new(all)
    }

    fn scope(&self, table: &str) -> Option<RowScope> {
        RowScope::of(&self.principal, self.engine.snapshots.scope(table))
    }

    /// A version of a table, from what stands behind `@`.
    async fn version(&self, table: &str, at: Option<&str>) -> Result<u64> {
        let Some(at) = at else {
            let mut pinned = self.pinned.lock().await;
            if let Some(version) = pinned.get(table) {
                return Ok(*version);
            }
            let version = self.engine.snapshots.newest_version(table).await?;
            pinned.insert(table.to_owned(), version);
            return Ok(version);
        };
        if let Ok(version) = at.parse::<u64>() {
            return Ok(version);
        }
        let Some(instant) = civil::parse_instant(at) else {
            let base = table.rsplit('.').next().unwrap_or(table);
            return Err(Error::invalid(format!(
                "`{table}@{at}`: write a version as a number, like \"{base}@12\", or as an instant, like \"{base}@2026-01-31T00:00:00Z\""
            )));
        };
        self.engine.snapshots.version_at(table, instant).await
    }

    /// An error of a look-up as the principal may see it: a tenant does not read where tables lie.
    fn told(&self, table: &str, at: Option<&str>, error: Error) -> DataFusionError {
        let error = match (&self.principal, error.kind(), at) {
            (Principal::Operator, ..) | (_, ErrorKind::Invalid, _) => error,
            (_, ErrorKind::NotFound, Some(at)) => Error::new(
                ErrorKind::NotFound,
                format!("{table} at `{at}` cannot be read: not yet, or not any more"),
            ),
            (_, ErrorKind::NotFound, None) => {
                Error::new(ErrorKind::NotFound, format!("{table} holds nothing yet"))
            }
            (_, kind, _) => {
                tracing::warn!(table, %error, "a table cannot be opened");
                Error::new(kind, format!("{table} cannot be read at the moment: try again later"))
            }
        };
        DataFusionError::External(Box::new(error))
    }
}

#[derive(Debug)]
struct ViewCatalog {
    view: Arc<View>,
    information: Option<Arc<Information>>,
}

impl ViewCatalog {
    fn schema_of(&self, name: &str) -> Option<ViewSchema> {
        let tables = self.view.engine.catalog.schema(name)?;
        let schema = ViewSchema { view: Arc::clone(&self.view), name: name.to_owned(), tables };
        // A schema in which nothing is visible does not exist either.
        (!schema.table_names().is_empty()).then_some(schema)
    }
}

impl CatalogProvider for ViewCatalog {
    fn schema_names(&self) -> Vec<String> {
        let mut names = self.view.engine.catalog.schema_names();
        names.retain(|name| self.schema_of(name).is_some());
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if name == INFORMATION_SCHEMA {
            return self.information.clone().map(|information| information as _);
        }
        self.schema_of(name).map(|schema| Arc::new(schema) as _)
    }
}

#[derive(Debug)]
struct ViewSchema {
    view: Arc<View>,
    name: String,
    tables: Arc<dyn SchemaProvider>,
}

impl ViewSchema {
    fn qualified(&self, table: &str) -> String {
        format!("{}.{table}", self.name)
    }

    fn is_visible(&self, table: &str) -> bool {
        self.view.scope(&self.qualified(table)).is_some() && self.tables.table_exist(table)
    }

    /// The view of a name, if all that it reads is visible.
    fn view_of(&self, name: &str) -> Option<&'static SqlView> {
        let view = SqlView::named(&self.qualified(name))?;
        let is_visible = |table: &&str| self.view.scope(table).is_some();
        view.tables.iter().all(is_visible).then_some(view)
    }

    async fn open(&self, name: &str, at: Option<&str>, scope: RowScope) -> DfResult<Arc<dyn TableProvider>> {
        let (view, table) = (&self.view, self.qualified(name));
        let told = |error| view.told(&table, at, error);
        let version = view.version(&table, at).await.map_err(told)?;
        let opened = self.tables.table(&format!("{name}{AT}{version}")).await;
        let opened = opened.map_err(|error| told(crate::error::query_error(&Principal::Operator, error)))?;
        let gone = || told(Error::internal(format!("{table} is listed and cannot be opened")));
        let mut provider = opened.ok_or_else(gone)?;
        if view.principal != Principal::Operator {
            let (reader, threads) = (Arc::clone(&view.reader), view.engine.settings.threads.get());
            provider = Arc::new(ScopedTable::new(table.clone(), provider, scope, reader, threads)?);
        }
        let key = if at.is_some() { format!("{table}{AT}{version}") } else { table };
        Ok(Arc::new(ReadTable { provider, key, version, read: Arc::clone(&view.read) }))
    }
}

#[async_trait]
impl SchemaProvider for ViewSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.tables.table_names();
        names.retain(|name| self.is_visible(name));
        let views = VIEWS.iter().filter_map(|view| view.name().strip_prefix(&format!("{}.", self.name)));
        names.extend(views.filter(|name| self.view_of(name).is_some()).map(ToOwned::to_owned));
        names
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        if let Some(view) = self.view_of(name) {
            let has_tenant = self.view.principal == Principal::Operator;
            let opened = view.open(&self.view.reader, self.view.catalogs(), has_tenant).await?;
            return Ok(Some(opened));
        }
        let (base, at) = name.split_once(AT).map_or((name, None), |(base, at)| (base, Some(at)));
        if let Some(view) = self.view_of(base) {
            let tables = view.tables.join(", ");
            let error = Error::invalid(format!(
                "{} is a view and has no versions: ask its tables at one ({tables})",
                view.name()
            ));
            return Err(DataFusionError::External(Box::new(error)));
        }
        match self.view.scope(&self.qualified(base)).filter(|_| self.is_visible(base)) {
            None => Ok(None),
            Some(scope) => self.open(base, at, scope).await.map(Some),
        }
    }

    async fn table_type(&self, name: &str) -> DfResult<Option<TableType>> {
        let table_type = if self.view_of(name).is_some() { TableType::View } else { TableType::Base };
        Ok(self.table_exist(name).then_some(table_type))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.view_of(name).is_some() || self.is_visible(name.split_once(AT).map_or(name, |(base, _)| base))
    }
}

/// A table that notes its version once a plan reads it.
#[derive(Debug)]
struct ReadTable {
    provider: Arc<dyn TableProvider>,
    key: String,
    version: u64,
    read: Arc<Mutex<BTreeMap<String, u64>>>,
}

#[async_trait]
impl TableProvider for ReadTable {
    fn schema(&self) -> SchemaRef {
        self.provider.schema()
    }

    fn table_type(&self) -> TableType {
        self.provider.table_type()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        self.provider.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(self.key.clone(), self.version);
        self.provider.scan(state, projection, filters, limit).await
    }
}
