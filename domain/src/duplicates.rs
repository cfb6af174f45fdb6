//! Records that were sent twice: which rows of a feed tell of the same thing, as two hashes of each row say.
//!
//! Every record is a row. A row is a duplicate if an earlier one has the same natural key and the same content; it is a conflict if earlier ones have
//! its key, and none of them its content. Content is every field that the feed knows, the key among them, as it was decoded: `1.0` and `1` are one,
//! an empty text and none are two. Fields that the feed does not know (`_extra`) and what Kafka says of a record have no part in it.
//!
//! The hashes stand in the table, so they never change: whoever changes what goes into them raises the tables' contract.

mod recent;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::DataType;
use std::sync::Arc;
use twox_hash::XxHash64;

use crate::error::{Error, Result};
use crate::table::Column;

pub use recent::RecentRows;

/// Whether a row is a duplicate.
pub const DUPLICATE: &str = "_duplicate";
/// Whether a row is a conflict.
pub const CONFLICT: &str = "_conflict";
/// The columns of the hashes, in the order in which they stand in a table.
pub const HASHES: [&str; 2] = ["_key_hash", "_content_hash"];

/// The columns of a feed whose duplicates are told, behind all others.
#[must_use]
pub fn columns() -> Vec<Column> {
    let [key, content] = HASHES;
    vec![
        Column::required(
            DUPLICATE,
            DataType::Boolean,
            "Whether an earlier row has the same natural key and content: the record was sent twice, and this row does not count",
        ),
        Column::required(
            CONFLICT,
            DataType::Boolean,
            "Whether earlier rows have the same natural key, and all of them other content: all count",
        ),
        Column::required(key, DataType::Int64, "Hash of the natural key"),
        Column::required(content, DataType::Int64, "Hash of all fields that the feed knows"),
    ]
}

/// The hashes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowHash {
    /// Of its natural key.
    pub key: u64,
    /// Of its content, the key included.
    pub content: u64,
}

impl RowHash {
    /// The hashes of a row whose fields are written one behind the other, those of the key first and `key_bytes` long.
    pub(crate) fn of(fields: &[u8], key_bytes: usize) -> Self {
        // Two seeds, so that rows whose keys collide do not for that reason collide whole.
        const KEY_SEED: u64 = 1;
        const CONTENT_SEED: u64 = 2;
        Self {
            key: XxHash64::oneshot(KEY_SEED, &fields[..key_bytes]),
            content: XxHash64::oneshot(CONTENT_SEED, fields),
        }
    }

    /// The hashes of each row of a batch.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Internal`] for rows without them.
    pub fn of_rows(rows: &RecordBatch) -> Result<Vec<Self>> {
        let column = |name: &str| {
            let column = rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
            column.ok_or_else(|| Error::internal(format!("rows lack the column {name}")))
        };
        let (keys, contents) = (column(HASHES[0])?, column(HASHES[1])?);
        let hashes = keys.values().iter().zip(contents.values());
        Ok(hashes
            .map(|(key, content)| Self { key: key.cast_unsigned(), content: content.cast_unsigned() })
            .collect())
    }
}

/// What a row is to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// None has its key.
    New,
    /// Some have its key, and none of them its content.
    Conflict,
    /// One has its key and content.
    Duplicate,
}

/// The hashes of the rows of a feed's batches, one behind the other.
///
/// # Errors
/// As of [`RowHash::of_rows`].
pub fn hashes_of(rows: &[(String, RecordBatch)]) -> Result<Vec<RowHash>> {
    let mut hashes = Vec::new();
    for (_, batch) in rows {
        hashes.extend(RowHash::of_rows(batch)?);
    }
    Ok(hashes)
}

/// Marks the rows of a feed's batches; the marks are those of all of them, one behind the other.
///
/// # Errors
/// As of [`with_marks`].
pub fn mark_rows(rows: &mut [(String, RecordBatch)], mut marks: &[Mark]) -> Result<()> {
    for (_, batch) in rows {
        let (of_batch, rest) = marks.split_at(batch.num_rows());
        *batch = with_marks(batch, of_batch)?;
        marks = rest;
    }
    Ok(())
}

/// Writes marks, one for each row, into the columns that hold them.
///
/// # Errors
/// [`crate::ErrorKind::Internal`] for rows without those columns.
pub fn with_marks(rows: &RecordBatch, marks: &[Mark]) -> Result<RecordBatch> {
    let schema = rows.schema();
    let mut columns = rows.columns().to_vec();
    for (name, mark) in [(DUPLICATE, Mark::Duplicate), (CONFLICT, Mark::Conflict)] {
        let at = schema.index_of(name).map_err(|error| Error::internal(error.to_string()))?;
        columns[at] = Arc::new(marks.iter().map(|of_row| Some(*of_row == mark)).collect::<BooleanArray>());
    }
    RecordBatch::try_new(schema, columns).map_err(|error| Error::internal(error.to_string()))
}

/// The marks that stand in rows.
///
/// # Errors
/// [`crate::ErrorKind::Internal`] for rows without them.
pub fn marks_of(rows: &RecordBatch) -> Result<Vec<Mark>> {
    let column = |name: &str| {
        let column = rows.column_by_name(name).and_then(|column| column.as_boolean_opt());
        column.ok_or_else(|| Error::internal(format!("rows lack the column {name}")))
    };
    let (duplicates, conflicts) = (column(DUPLICATE)?, column(CONFLICT)?);
    let mark = |row: usize| match (duplicates.value(row), conflicts.value(row)) {
        (true, _) => Mark::Duplicate,
        (false, true) => Mark::Conflict,
        (false, false) => Mark::New,
    };
    Ok((0..rows.num_rows()).map(mark).collect())
}
