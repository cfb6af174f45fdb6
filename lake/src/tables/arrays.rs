//! Columns of rows that are no feed's: each made by asking every row.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::types::Date32Type;
use arrow_schema::DataType;
use chrono::NaiveDate;
use domain::civil::Micros;
use domain::{Error, Result};

pub(super) fn texts<'a, T: Copy>(rows: &[T], of: impl Fn(T) -> Option<&'a str>) -> ArrayRef {
    let mut builder = StringBuilder::new();
    rows.iter().for_each(|row| builder.append_option(of(*row)));
    Arc::new(builder.finish())
}

pub(super) fn floats<T: Copy>(rows: &[T], of: impl Fn(T) -> Option<f64>) -> ArrayRef {
    let mut builder = Float64Builder::new();
    rows.iter().for_each(|row| builder.append_option(of(*row)));
    Arc::new(builder.finish())
}

pub(super) fn whole<T: Copy>(rows: &[T], of: impl Fn(T) -> Option<i64>) -> ArrayRef {
    let mut builder = Int64Builder::new();
    rows.iter().for_each(|row| builder.append_option(of(*row)));
    Arc::new(builder.finish())
}

pub(super) fn days<T: Copy, D: Into<Option<NaiveDate>>>(rows: &[T], of: impl Fn(T) -> D) -> ArrayRef {
    let mut builder = Date32Builder::new();
    rows.iter().for_each(|row| builder.append_option(of(*row).into().map(Date32Type::from_naive_date)));
    Arc::new(builder.finish())
}

/// UTC.
pub(super) fn instants<T: Copy>(rows: &[T], of: impl Fn(T) -> Micros) -> ArrayRef {
    let mut builder = TimestampMicrosecondBuilder::new();
    rows.iter().for_each(|row| builder.append_value(of(*row)));
    Arc::new(builder.finish().with_timezone("UTC"))
}

/// Scaled integers of a precision and scale.
///
/// # Errors
/// [`domain::ErrorKind::Invalid`] for a value that does not fit the precision.
pub(super) fn decimals<T: Copy>(
    rows: &[T],
    (precision, scale): (u8, i8),
    of: impl Fn(T) -> Option<i128>,
) -> Result<ArrayRef> {
    let mut builder = Decimal128Builder::new().with_data_type(DataType::Decimal128(precision, scale));
    rows.iter().for_each(|row| builder.append_option(of(*row)));
    let array = builder.finish();
    let checked = array.validate_decimal_precision(precision);
    checked.map_err(|error| Error::invalid(format!("a number that is too large to be stored: {error}")))?;
    Ok(Arc::new(array))
}
