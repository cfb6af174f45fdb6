//! How a table's columns are described: one list gives the Arrow schema and the comments that BI tools show.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// The metadata key under which a field carries its comment, here and in Delta.
pub const COMMENT_KEY: &str = "comment";

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its Arrow type.
    pub data_type: DataType,
    /// Whether null may stand in it.
    pub nullable: bool,
    /// What it holds, for readers of the catalogue.
    pub comment: &'static str,
}

impl Column {
    /// A column that is always filled.
    #[must_use]
    pub fn required(name: &'static str, data_type: DataType, comment: &'static str) -> Self {
        Self { name, data_type, nullable: false, comment }
    }

    /// A column in which null may stand.
    #[must_use]
    pub fn optional(name: &'static str, data_type: DataType, comment: &'static str) -> Self {
        Self { name, data_type, nullable: true, comment }
    }
}

/// What a table or view and its columns hold, for readers of the catalogue.
#[derive(Debug, Clone)]
pub struct Description {
    /// What it is for.
    pub comment: String,
    /// Its columns, or more than are shown of it.
    pub columns: Vec<Column>,
}

/// The Arrow schema of a list of columns, comments included.
#[must_use]
pub fn arrow_schema(columns: &[Column]) -> SchemaRef {
    let field = |c: &Column| {
        Field::new(c.name, c.data_type.clone(), c.nullable)
            .with_metadata([(COMMENT_KEY.to_owned(), c.comment.to_owned())].into())
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// UTC microseconds.
#[must_use]
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Quantities: `Decimal128(18, 3)`.
#[must_use]
pub fn quantity() -> DataType {
    DataType::Decimal128(crate::decimal::PRECISION, 3)
}

/// Money: `Decimal128(18, 4)`.
#[must_use]
pub fn money() -> DataType {
    DataType::Decimal128(crate::decimal::PRECISION, 4)
}
