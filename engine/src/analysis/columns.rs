//! Which column of a question is what.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result as DfResult};
use domain::{Error, Result};

/// Times as models are given them.
const INSTANTS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The columns of a question that gives series: texts that name them, in order, a time and a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SeriesColumns {
    pub(super) names: Vec<usize>,
    pub(super) time: usize,
    pub(super) value: usize,
}

/// The rows of a batch.
pub(super) struct SeriesRows {
    names: Vec<ArrayRef>,
    times: ArrayRef,
    values: ArrayRef,
}

impl SeriesColumns {
    /// Of a question's columns, by their types.
    ///
    /// # Errors
    /// [`domain::ErrorKind::Invalid`], telling what is asked for.
    pub(super) fn of(function: &str, schema: &Schema) -> Result<Self> {
        let places = |is_one: &dyn Fn(&DataType) -> bool| -> Vec<usize> {
            let fields = schema.fields().iter().enumerate();
            fields.filter(|(_, field)| is_one(field.data_type())).map(|(at, _)| at).collect()
        };
        let (times, values, names) = (places(&is_time), places(&DataType::is_numeric), places(&is_name));
        let asked = "its question gives one column of dates or timestamps, one of numbers, and texts that name the series where there are several";
        let one = |found: &[usize], what: &str| match found {
            [one] => Ok(*one),
            [] => Err(Error::invalid(format!("{function}: no column of {what}: {asked}"))),
            several => {
                let named: Vec<&str> = several.iter().map(|at| schema.field(*at).name().as_str()).collect();
                let named = named.join(", ");
                Err(Error::invalid(format!(
                    "{function}: several columns of {what} ({named}): {asked}; cast what names a series to a text"
                )))
            }
        };
        let (time, value) = (one(&times, "dates or timestamps")?, one(&values, "numbers")?);
        if let Some(other) = schema.fields().iter().find(|field| {
            let of = field.data_type();
            !is_time(of) && !of.is_numeric() && !is_name(of)
        }) {
            return Err(Error::invalid(format!(
                "{function}: column {} is {}: {asked}",
                other.name(),
                other.data_type()
            )));
        }
        Ok(Self { names, time, value })
    }

    /// Those that an answer begins with: the names and the time, as the question has them.
    pub(super) fn shown(&self, schema: &Schema) -> Vec<Field> {
        let names = self.names.iter().map(|at| Field::new(schema.field(*at).name(), DataType::Utf8, true));
        let time = schema.field(self.time);
        names.chain([Field::new(time.name(), time.data_type().clone(), false)]).collect()
    }

    pub(super) fn rows(&self, batch: &RecordBatch) -> DfResult<SeriesRows> {
        let column = |at: usize, to: &DataType| Ok::<_, DataFusionError>(cast(batch.column(at), to)?);
        let names = self.names.iter().map(|at| column(*at, &DataType::Utf8)).collect::<DfResult<_>>()?;
        // A time with a zone is the instant.
        Ok(SeriesRows {
            names,
            times: column(self.time, &INSTANTS)?,
            values: column(self.value, &DataType::Float64)?,
        })
    }
}

impl SeriesRows {
    /// What names the series of a row.
    pub(super) fn name(&self, row: usize) -> Vec<Option<String>> {
        let text = |column: &ArrayRef| {
            let texts = column.as_string_opt::<i32>().filter(|texts| texts.is_valid(row))?;
            Some(texts.value(row).to_owned())
        };
        self.names.iter().map(text).collect()
    }

    /// Time and value, NaN where there is none; nothing without a time.
    pub(super) fn point(&self, row: usize) -> Option<(i64, f64)> {
        let times = self.times.as_primitive_opt::<TimestampMicrosecondType>()?;
        let values = self.values.as_primitive_opt::<Float64Type>()?;
        let value = if values.is_valid(row) { values.value(row) } else { f64::NAN };
        times.is_valid(row).then(|| (times.value(row), value))
    }
}

/// Times as a question's column has them.
pub(super) fn times(instants: Vec<i64>, to: &DataType) -> DfResult<ArrayRef> {
    let instants: ArrayRef = Arc::new(arrow::array::TimestampMicrosecondArray::from(instants));
    Ok(cast(&instants, to)?)
}

fn is_time(of: &DataType) -> bool {
    matches!(of, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..))
}

fn is_name(of: &DataType) -> bool {
    match of {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Boolean => true,
        DataType::Dictionary(_, values) => is_name(values),
        _ => false,
    }
}
