//! The port through which others learn what a table is, which versions it has, and for whom its rows are.

use async_trait::async_trait;
use domain::civil::Micros;
use domain::ports::Snapshots;
use domain::table::Description;
use domain::{Result, TableScope};

use crate::catalog::stored;
use crate::lake::Lake;

#[async_trait]
impl Snapshots for Lake {
    fn scope(&self, table: &str) -> Option<TableScope> {
        let name = stored(table);
        let scope = self.tables().get(name.as_ref())?.definition().scope;
        Some(if name == table { scope } else { TableScope::OperatorOnly })
    }

    fn description(&self, table: &str) -> Option<Description> {
        let name = stored(table);
        let definition = self.tables().get(name.as_ref())?.definition();
        let comment = definition.comment;
        let comment = match name == table {
            true => comment.to_owned(),
            false => {
                format!("Every record that {name} was made of, also those that do not count there. {comment}")
            }
        };
        Some(Description { comment, columns: definition.all_columns() })
    }

    async fn newest_version(&self, table: &str) -> Result<u64> {
        self.table(&stored(table))?.newest_version().await
    }

    async fn version_at(&self, table: &str, instant: Micros) -> Result<u64> {
        self.table(&stored(table))?.version_at(instant).await
    }
}
