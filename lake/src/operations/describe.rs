//! What a table is and what it holds, for people: columns with their comments, properties, size, and the positions that it states.

use buoyant_kernel::schema::MetadataValue;
use domain::Result;
use domain::table::COMMENT_KEY;

use crate::log::{Log, load_state};
use crate::table::Table;

/// A column as the table's log states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDescription {
    /// Its name.
    pub name: String,
    /// Its type in Delta's words, like `decimal(18,4)`.
    pub data_type: String,
    /// Whether null may stand in it.
    pub nullable: bool,
    /// What it holds.
    pub comment: String,
}

/// A table at its newest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `schema.name`.
    pub name: String,
    /// What it is for.
    pub comment: String,
    /// The columns, in order.
    pub columns: Vec<ColumnDescription>,
    /// The column by which files are kept apart.
    pub partitioned_by: Vec<String>,
    /// What it holds.
    pub size: TableSize,
    /// Table properties, by name.
    pub properties: Vec<(String, String)>,
    /// Application transactions, by id: positions of topics, numbers of logs, rewrites.
    pub transactions: Vec<(String, i64)>,
}

/// How much a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSize {
    /// The version.
    pub version: u64,
    /// Active files.
    pub files: usize,
    /// Their size.
    pub bytes: u64,
    /// Rows in them; `None` when a file does not say how many it has.
    pub rows: Option<u64>,
}

impl TableSize {
    /// What a state holds.
    #[must_use]
    pub fn of(log: &Log) -> Self {
        let files = log.files();
        Self {
            version: log.version(),
            files: files.len(),
            bytes: files.values().map(|file| file.size_bytes).sum(),
            rows: files.values().map(|file| file.rows()).sum(),
        }
    }
}

/// Describes the newest version.
///
/// # Errors
/// [`domain::ErrorKind::NotFound`] when there is no table yet; those of reaching the store.
pub async fn describe(table: &Table) -> Result<Description> {
    let name = table.definition().qualified_name();
    let log = table.snapshot().await?;
    let state = load_state(&name, table.log_store(), Some(log.version())).await?;
    let schema = state.schema();
    let columns = schema.fields().map(|field| ColumnDescription {
        name: field.name.clone(),
        data_type: field.data_type.to_string(),
        nullable: field.nullable,
        comment: match field.metadata.get(COMMENT_KEY) {
            Some(MetadataValue::String(text)) => text.clone(),
            _ => String::new(),
        },
    });
    let columns = columns.collect();
    let mut properties: Vec<_> =
        state.metadata().configuration().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    properties.sort();
    let mut transactions: Vec<_> =
        log.transactions().iter().map(|(id, version)| (id.clone(), *version)).collect();
    transactions.sort();
    Ok(Description {
        name,
        comment: state.metadata().description().unwrap_or_default().to_owned(),
        columns,
        partitioned_by: table.definition().partition_columns(),
        size: TableSize::of(&log),
        properties,
        transactions,
    })
}
