//! Statistics of a file in Delta's JSON form, and their reading.
//!
//! Instants are cut to milliseconds in Delta's form, so a reader must take a maximum as the next millisecond; decimals may pass through floats on
//! their way through other engines, so a reader must widen them. Only the number of rows is exact.

use std::fmt::Write as _;

use arrow::compute::{max, max_boolean, max_string, min, min_boolean, min_string};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use chrono::{DateTime, SecondsFormat};
use domain::decimal::Scaled;

/// Longest text kept as a bound, in characters; longer ones are left out, which is honest and prunes nothing.
const BOUND_CHARS: usize = 64;

/// Rows, bounds and nulls of a file's columns.
#[derive(Debug)]
pub(crate) struct FileStatistics {
    rows: usize,
    /// Column, minimum and maximum as JSON tokens.
    bounds: Vec<(String, String, String)>,
    nulls: Vec<(String, usize)>,
}

impl FileStatistics {
    /// Computes them; of text columns, only `indexed` ones get bounds.
    pub(crate) fn of(batch: &RecordBatch, indexed: &[&str]) -> Self {
        let schema = batch.schema();
        let columns = || schema.fields().iter().zip(batch.columns());
        let bounds = columns().filter_map(|(field, array)| {
            let wanted = field.data_type() != &DataType::Utf8 || indexed.contains(&field.name().as_str());
            let (low, high) = wanted.then(|| bounds(array.as_ref())).flatten()?;
            Some((field.name().clone(), low, high))
        });
        let nulls = columns().map(|(field, array)| (field.name().clone(), array.null_count())).collect();
        Self { rows: batch.num_rows(), bounds: bounds.collect(), nulls }
    }

    /// The JSON text of an Add action's `stats`.
    pub(crate) fn to_json(&self) -> String {
        let object = |entries: Vec<String>| format!("{{{}}}", entries.join(","));
        let low = object(self.bounds.iter().map(|(name, low, _)| format!("\"{name}\":{low}")).collect());
        let high = object(self.bounds.iter().map(|(name, _, high)| format!("\"{name}\":{high}")).collect());
        let nulls = object(self.nulls.iter().map(|(name, count)| format!("\"{name}\":{count}")).collect());
        let mut json = String::new();
        let written = write!(
            json,
            "{{\"numRecords\":{},\"minValues\":{low},\"maxValues\":{high},\"nullCount\":{nulls}}}",
            self.rows
        );
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
        json
    }
}

/// The least and greatest value as JSON tokens; `None` where the type has no bounds in Delta, or all values are null.
fn bounds(array: &dyn Array) -> Option<(String, String)> {
    let pair = |low: Option<String>, high: Option<String>| low.zip(high);
    match array.data_type() {
        DataType::Int32 => {
            let values = array.as_primitive::<Int32Type>();
            pair(min(values).map(|v| v.to_string()), max(values).map(|v| v.to_string()))
        }
        DataType::Int64 => {
            let values = array.as_primitive::<Int64Type>();
            pair(min(values).map(|v| v.to_string()), max(values).map(|v| v.to_string()))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            let finite = |value: Option<f64>| value.filter(|v| v.is_finite()).map(|v| v.to_string());
            pair(finite(min(values)), finite(max(values)))
        }
        DataType::Date32 => {
            let values = array.as_primitive::<Date32Type>();
            let text = |days: i32| Date32Type::to_naive_date_opt(days).map(|date| format!("\"{date}\""));
            pair(min(values).and_then(text), max(values).and_then(text))
        }
        DataType::Decimal128(_, scale) => {
            let values = array.as_primitive::<Decimal128Type>();
            let scale = u32::try_from(*scale).ok()?;
            let text = |value| Scaled { value, scale }.to_string();
            pair(min(values).map(text), max(values).map(text))
        }
        DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, _) => {
            let values = array.as_primitive::<TimestampMicrosecondType>();
            let text = |micros: i64| {
                let instant = DateTime::from_timestamp_millis(micros.div_euclid(1_000))?;
                Some(format!("\"{}\"", instant.to_rfc3339_opts(SecondsFormat::Millis, true)))
            };
            pair(min(values).and_then(text), max(values).and_then(text))
        }
        DataType::Boolean => {
            let values = array.as_boolean();
            pair(min_boolean(values).map(|v| v.to_string()), max_boolean(values).map(|v| v.to_string()))
        }
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            let text = |value: &str| {
                (value.chars().count() <= BOUND_CHARS).then(|| serde_json::Value::from(value).to_string())
            };
            pair(min_string(values).and_then(text), max_string(values).and_then(text))
        }
        _ => None,
    }
}
