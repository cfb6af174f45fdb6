//! How a feed's records are described, and how records become Arrow columns: once for all feeds.
//!
//! `record!` lists a feed's fields with their kinds and comments; it gives the record as a struct, and a type with a column for each field.
//! A feed adds what its fields alone do not say ([`FeedRecord`]), and [`RecordBuilder`] does the rest.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow_schema::SchemaRef;

use super::FeedBuilder;
use super::metadata::{self, MetadataBuilder, RecordMetadata};
use crate::civil::{self, Micros};
use crate::duplicates::{self, RowHash};
use crate::fields::{Fields, Reject};
use crate::kinds::FieldKind;
use crate::table::{self, Column};

/// How a field stands in a record: [`Required`] or [`Optional`].
pub(super) trait Presence: 'static {
    /// The kind of its values.
    type Kind: FieldKind;
    /// What a record holds.
    type Value<'a>: Debug + Clone + PartialEq;
    /// Whether every record states it.
    const IS_REQUIRED: bool;

    /// Reads it.
    ///
    /// # Errors
    /// A [`Reject`] that names the field.
    fn read<'a>(fields: &mut Fields<'a>, name: &'static str, now: Micros) -> Result<Self::Value<'a>, Reject>;

    /// The value, if there is one.
    fn value<'v, 'a>(value: &'v Self::Value<'a>) -> Option<&'v <Self::Kind as FieldKind>::Value<'a>>;
}

/// A field that every record states.
#[derive(Debug)]
pub(super) struct Required<K>(std::marker::PhantomData<K>);

impl<K: FieldKind> Presence for Required<K> {
    type Kind = K;
    type Value<'a> = K::Value<'a>;
    const IS_REQUIRED: bool = true;

    fn read<'a>(fields: &mut Fields<'a>, name: &'static str, now: Micros) -> Result<K::Value<'a>, Reject> {
        fields.required::<K>(name, now)
    }

    fn value<'v, 'a>(value: &'v K::Value<'a>) -> Option<&'v K::Value<'a>> {
        Some(value)
    }
}

/// A field that a record may leave out.
#[derive(Debug)]
pub(super) struct Optional<K>(std::marker::PhantomData<K>);

impl<K: FieldKind> Presence for Optional<K> {
    type Kind = K;
    type Value<'a> = Option<K::Value<'a>>;
    const IS_REQUIRED: bool = false;

    fn read<'a>(
        fields: &mut Fields<'a>,
        name: &'static str,
        now: Micros,
    ) -> Result<Option<K::Value<'a>>, Reject> {
        fields.optional::<K>(name, now)
    }

    fn value<'v, 'a>(value: &'v Option<K::Value<'a>>) -> Option<&'v K::Value<'a>> {
        value.as_ref()
    }
}

/// A column for each field of a record; `record!` makes it.
pub(super) trait RecordColumns: Default + Debug + Send + 'static {
    /// A decoded record.
    type Row<'a>;
    /// The fields that every record states.
    const REQUIRED: &'static [Option<&'static str>];

    /// The columns, described.
    fn described() -> Vec<Column>;

    /// Reads a record's fields, each by its kind.
    ///
    /// # Errors
    /// A [`Reject`] naming the first field at fault.
    fn read<'a>(fields: &mut Fields<'a>, now: Micros) -> Result<Self::Row<'a>, Reject>;

    /// Appends a record.
    fn push(&mut self, row: &Self::Row<'_>);

    /// Writes a record's fields one behind the other; gives where the first `key_fields` of them end.
    fn write(row: &Self::Row<'_>, key_fields: usize, bytes: &mut Vec<u8>) -> usize;

    /// The columns, finished.
    fn finish(&mut self) -> Vec<ArrayRef>;
}

/// What a feed says of its records beyond their fields.
pub(super) trait FeedRecord: RecordColumns {
    /// In a feed whose duplicates are told, so many of its first fields are the natural key.
    const DUPLICATES_BY: Option<usize> = None;

    /// Checks what several fields say together, and fills in what follows from others.
    ///
    /// # Errors
    /// A [`Reject`] naming a field at fault.
    fn complete(row: &mut Self::Row<'_>, fields: &Fields<'_>, now: Micros) -> Result<(), Reject>;

    /// The record's own time: `_known_at` of history.
    fn own_time(row: &Self::Row<'_>) -> Micros;

    /// The instant whose UTC month the row is filed under; none in a table without periods.
    fn filed_at(row: &Self::Row<'_>) -> Option<Micros>;
}

macro_rules! record {
    ($(#[$meta:meta])* $record:ident, $columns:ident { $($field:ident: $presence:ty = $comment:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub(super) struct $record<'a> {
            $(#[doc = $comment] $field: <$presence as $crate::feeds::record::Presence>::Value<'a>,)+
        }

        #[derive(Debug)]
        pub(super) struct $columns {
            $($field: <<$presence as $crate::feeds::record::Presence>::Kind as $crate::kinds::FieldKind>::Builder,)+
        }

        impl Default for $columns {
            fn default() -> Self {
                use $crate::feeds::record::Presence;
                Self { $($field: <<$presence as Presence>::Kind as $crate::kinds::FieldKind>::builder(),)+ }
            }
        }

        impl $crate::feeds::record::RecordColumns for $columns {
            type Row<'a> = $record<'a>;
            const REQUIRED: &'static [Option<&'static str>] = &[$(
                if <$presence as $crate::feeds::record::Presence>::IS_REQUIRED { Some(stringify!($field)) } else { None },
            )+];

            fn described() -> Vec<$crate::table::Column> {
                use $crate::feeds::record::Presence;
                vec![$($crate::table::Column {
                    name: stringify!($field),
                    data_type: <<$presence as Presence>::Kind as $crate::kinds::FieldKind>::data_type(),
                    nullable: !<$presence as Presence>::IS_REQUIRED,
                    comment: $comment,
                },)+]
            }

            fn read<'a>(
                fields: &mut $crate::fields::Fields<'a>,
                now: $crate::civil::Micros,
            ) -> Result<$record<'a>, $crate::fields::Reject> {
                use $crate::feeds::record::Presence;
                Ok($record { $($field: <$presence as Presence>::read(fields, stringify!($field), now)?,)+ })
            }

            fn push(&mut self, row: &$record<'_>) {
                use $crate::feeds::record::Presence;
                $(<<$presence as Presence>::Kind as $crate::kinds::FieldKind>::append(
                    &mut self.$field,
                    <$presence as Presence>::value(&row.$field),
                );)+
            }

            fn write(row: &$record<'_>, key_fields: usize, bytes: &mut Vec<u8>) -> usize {
                use $crate::feeds::record::Presence;
                let (mut fields, mut key_end) = (0, 0);
                $(
                    match <$presence as Presence>::value(&row.$field) {
                        Some(value) => {
                            bytes.push(1);
                            <<$presence as Presence>::Kind as $crate::kinds::FieldKind>::write(value, bytes);
                        }
                        None => bytes.push(0),
                    }
                    fields += 1;
                    if fields == key_fields {
                        key_end = bytes.len();
                    }
                )+
                key_end
            }

            fn finish(&mut self) -> Vec<arrow_array::ArrayRef> {
                use $crate::feeds::record::Presence;
                vec![$(<<$presence as Presence>::Kind as $crate::kinds::FieldKind>::finish(&mut self.$field),)+]
            }
        }
    };
}
pub(super) use record;

/// All columns of a feed's table: the record's, those of every feed, and those of a feed whose duplicates are told.
pub(super) fn columns<R: FeedRecord>() -> Vec<Column> {
    let mut columns = R::described();
    columns.extend(metadata::columns());
    if R::DUPLICATES_BY.is_some() {
        columns.extend(duplicates::columns());
    }
    columns
}

/// Gathers the records of one feed, a set of columns for each period.
#[derive(Debug)]
pub(super) struct RecordBuilder<R> {
    periods: BTreeMap<String, Gathered<R>>,
    /// The period of the last row: records mostly follow each other in time.
    last: Option<(Option<i64>, String)>,
    rows: usize,
    bytes: usize,
    /// The fields of the last row, as they are hashed.
    written: Vec<u8>,
}

impl<R> Default for RecordBuilder<R> {
    fn default() -> Self {
        Self { periods: BTreeMap::new(), last: None, rows: 0, bytes: 0, written: Vec::new() }
    }
}

#[derive(Debug)]
struct Gathered<R> {
    record: R,
    metadata: MetadataBuilder,
    hashes: Vec<RowHash>,
}

impl<R: FeedRecord> Default for Gathered<R> {
    fn default() -> Self {
        Self { record: R::default(), metadata: MetadataBuilder::default(), hashes: Vec::new() }
    }
}

/// Bytes that a row takes beside its texts.
const FIXED_ROW_BYTES: usize = 200;

const MICROS_PER_HOUR: i64 = 3_600_000_000;

impl<R: FeedRecord> FeedBuilder for RecordBuilder<R> {
    fn push(
        &mut self,
        payload: Option<&[u8]>,
        metadata: &RecordMetadata<'_>,
        now: Micros,
    ) -> Result<(), Reject> {
        let mut fields = Fields::parse(payload)?;
        let mut row = R::read(&mut fields, now)?;
        R::complete(&mut row, &fields, now)?;
        let extra = fields.into_extra();
        // Texts of the row are parts of the payload, so its length bounds them.
        self.bytes += FIXED_ROW_BYTES + payload.map_or(0, <[u8]>::len);
        self.rows += 1;
        let filed_at = R::filed_at(&row);
        let hour = filed_at.map(|instant| instant.div_euclid(MICROS_PER_HOUR));
        if self.last.as_ref().is_none_or(|(last, _)| *last != hour) {
            self.last = Some((hour, filed_at.map(civil::period).unwrap_or_default()));
        }
        if let Some((_, period)) = &self.last {
            if !self.periods.contains_key(period) {
                self.periods.insert(period.clone(), Gathered::default());
            }
            if let Some(columns) = self.periods.get_mut(period) {
                columns.record.push(&row);
                columns.metadata.push(metadata, R::own_time(&row), extra.as_deref());
                if let Some(key_fields) = R::DUPLICATES_BY {
                    self.written.clear();
                    let key_end = R::write(&row, key_fields, &mut self.written);
                    columns.hashes.push(RowHash::of(&self.written, key_end));
                }
            }
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn finish(&mut self) -> Vec<(String, RecordBatch)> {
        let schema = self.schema();
        (self.rows, self.bytes) = (0, 0);
        let finish = |(period, mut columns): (String, Gathered<R>)| {
            let mut arrays = columns.record.finish();
            arrays.extend(columns.metadata.finish());
            if R::DUPLICATES_BY.is_some() {
                arrays.extend(unmarked(&columns.hashes));
            }
            let batch = RecordBatch::try_new(Arc::clone(&schema), arrays);
            (period, batch.expect("the builders follow the schema"))
        };
        std::mem::take(&mut self.periods).into_iter().map(finish).collect()
    }

    fn schema(&self) -> SchemaRef {
        table::arrow_schema(&columns::<R>())
    }
}

/// The columns of [`duplicates::columns`] before anything is known of other rows.
fn unmarked(hashes: &[RowHash]) -> [ArrayRef; 4] {
    let none: ArrayRef = Arc::new(BooleanArray::from(vec![false; hashes.len()]));
    let column = |of: fn(&RowHash) -> u64| -> ArrayRef {
        Arc::new(hashes.iter().map(|row| of(row).cast_signed()).collect::<Int64Array>())
    };
    [Arc::clone(&none), none, column(|row| row.key), column(|row| row.content)]
}
