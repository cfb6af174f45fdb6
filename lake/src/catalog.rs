//! The lake as DataFusion's catalog: each look-up of a table gives its newest version, or the one asked for as `name@version` or
//! `name@instant`.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result as DfResult};
use domain::{Feed, civil};

use crate::changes::changed_files;
use crate::counted::CountedTable;
use crate::lake::Lake;
use crate::newest::NewestTable;
use crate::provider::DeltaProvider;

/// The schema of what only operators see: dead letters, and every feed with all its records.
const RAW: &str = "raw";

/// The table that holds the records of a name in SQL: those of `raw.{feed}` stand in `curated.{feed}`.
pub(crate) fn stored(name: &str) -> Cow<'_, str> {
    let feed = name.strip_prefix("raw.").filter(|name| Feed::from_name(name).is_ok());
    feed.map_or(Cow::Borrowed(name), |feed| Cow::Owned(format!("curated.{feed}")))
}

/// The two versions of `{from}..{to}`.
fn changes(at: &str) -> Option<(u64, u64)> {
    let (from, to) = at.split_once("..")?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

/// The lake as a catalog of schemas.
#[derive(Debug)]
pub struct LakeCatalog {
    lake: Arc<Lake>,
}

impl LakeCatalog {
    /// A catalog over a lake.
    #[must_use]
    pub fn new(lake: Arc<Lake>) -> Self {
        Self { lake }
    }
}

impl CatalogProvider for LakeCatalog {
    fn schema_names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.lake.tables().values().map(|table| table.definition().schema.to_owned()).collect();
        names.push(RAW.to_owned());
        names.sort();
        names.dedup();
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let schema = self.schema_names().into_iter().find(|known| known == name)?;
        Some(Arc::new(LakeSchema { lake: Arc::clone(&self.lake), schema }))
    }
}

#[derive(Debug)]
struct LakeSchema {
    lake: Arc<Lake>,
    schema: String,
}

#[async_trait]
impl SchemaProvider for LakeSchema {
    fn table_names(&self) -> Vec<String> {
        let of_schema = self.lake.tables().values().filter(|table| table.definition().schema == self.schema);
        let of_schema = of_schema.map(|table| table.definition().name.clone());
        let feeds = Feed::ALL.iter().map(|feed| feed.name().to_owned()).filter(|_| self.schema == RAW);
        of_schema.chain(feeds).collect()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let (base, at) = match name.split_once('@') {
            Some((base, at)) => (base, Some(at)),
            None => (name, None),
        };
        let qualified = format!("{}.{base}", self.schema);
        let Some(table) = self.lake.tables().get(stored(&qualified).as_ref()) else { return Ok(None) };
        let external = |error: domain::Error| DataFusionError::External(Box::new(error));
        let (definition, url) = (table.definition(), table.log_store().root_url().clone());
        if let Some((from, to)) = at.and_then(changes).filter(|_| self.schema == RAW) {
            let changed = changed_files(table, from, to).await.map_err(external)?;
            return Ok(Some(Arc::new(DeltaProvider::of_files(definition, changed.files, url))));
        }
        let log = match at.map(|at| (at.parse::<u64>(), civil::parse_instant(at))) {
            None => table.snapshot().await,
            Some((Ok(version), _)) => table.snapshot_at(version).await,
            Some((_, Some(instant))) => match table.version_at(instant).await {
                Ok(version) => table.snapshot_at(version).await,
                Err(error) => Err(error),
            },
            Some(_) => Err(domain::Error::invalid(format!(
                "`{name}`: write a version as a number, like \"{base}@12\", or as an instant, like \"{base}@2026-01-31T00:00:00Z\""
            ))),
        };
        let provider = DeltaProvider::new(definition, &log.map_err(external)?, url);
        let feed = Feed::ALL.into_iter().find(|feed| format!("curated.{}", feed.name()) == qualified);
        Ok(Some(match feed {
            Some(feed) if feed.marks_duplicates() => Arc::new(CountedTable::new(provider)?),
            Some(feed) if feed.is_of_states() => Arc::new(NewestTable::new(provider, feed.natural_key())),
            _ => Arc::new(provider),
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        let base = name.split_once('@').map_or(name, |(base, _)| base);
        self.lake.tables().contains_key(stored(&format!("{}.{base}", self.schema)).as_ref())
    }
}
