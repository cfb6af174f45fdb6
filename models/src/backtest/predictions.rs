//! Forecasts beside what came, as Parquet.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use domain::{Error, Result};
use parquet::arrow::ArrowWriter;

use crate::candidates::{Frame, quantile};
use crate::panel::{Frequency, LongTable};

/// Writes the forecasts of models, by name, as Parquet: `unique_id, ds, y, q0.025, q0.1 ... q0.975, mean, _scale, _active, _w, model`. What a model does
/// not give is null.
///
/// # Errors
/// [`domain::ErrorKind::Unavailable`] when `into` takes no more.
pub fn write_parquet(into: impl Write + Send, table: &LongTable, models: &[(&str, &[Frame])]) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(domain::ErrorKind::Unavailable, format!("writing the forecasts: {error}"))
    };
    let mut writer: Option<ArrowWriter<_>> = None;
    let mut into = Some(into);
    for (model, frames) in models {
        for frame in *frames {
            let rows = rows_of(table, model, frame)?;
            if let Some(into) = into.take() {
                writer =
                    Some(ArrowWriter::try_new(into, rows.schema(), None).map_err(|error| failed(&error))?);
            }
            if let Some(writer) = &mut writer {
                writer.write(&rows).map_err(|error| failed(&error))?;
            }
        }
    }
    if let Some(writer) = writer {
        writer.close().map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn rows_of(table: &LongTable, model: &str, frame: &Frame) -> Result<RecordBatch> {
    let count = frame.y.len();
    let figures = |values: &[f64]| -> ArrayRef {
        let given = values.len() == count;
        let value = |row: usize| given.then(|| values[row]).filter(|value| value.is_finite());
        Arc::new((0..count).map(value).collect::<Float64Array>())
    };
    let ids = frame.series.iter().map(|series| table.series[*series].id.as_str());
    let periods: ArrayRef = match table.frequency {
        Frequency::Steps(_) => Arc::new(Int64Array::from(frame.periods.clone())),
        _ => Arc::new(TimestampMicrosecondArray::from(frame.periods.clone())),
    };
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("unique_id".to_owned(), Arc::new(StringArray::from_iter_values(ids))),
        ("ds".to_owned(), periods),
        ("y".to_owned(), figures(&frame.y)),
    ];
    columns.extend(
        frame
            .quantiles
            .iter()
            .enumerate()
            .map(|(at, values)| (format!("q{}", quantile(at).1), figures(values))),
    );
    columns.extend([
        ("mean".to_owned(), figures(&frame.mean)),
        ("_scale".to_owned(), figures(&frame.scale)),
        (
            "_active".to_owned(),
            Arc::new(frame.active.iter().map(|open| Some(i64::from(*open))).collect::<Int64Array>())
                as ArrayRef,
        ),
        ("_w".to_owned(), Arc::new(Int64Array::from(vec![frame.window as i64; count]))),
        ("model".to_owned(), Arc::new(StringArray::from(vec![model; count]))),
    ]);
    let columns = columns.into_iter().map(|(name, values)| (name, values, true));
    RecordBatch::try_from_iter_with_nullable(columns)
        .map_err(|error| Error::internal(format!("rows of forecasts: {error}")))
}
