//! `ops.model_versions`: what happened to the models of each business.

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use domain::forecast::Backtest;
use domain::registry::{ModelAction, ModelEvent};
use domain::scope::TableScope;
use domain::table::{Column, arrow_schema, timestamp};
use domain::{Error, Result};

use super::arrays::{days, floats, instants, texts, whole};
use super::{Retention, TableDefinition};

const COMMENT: &str = "What happened to the models of each business, one row for each event, never changed. The row of the greatest number of a business names in served_version \
the model whose forecasts are served.";

/// The table of what happened to models.
#[must_use]
pub fn model_versions() -> TableDefinition {
    let text = |name, comment| Column::required(name, DataType::Utf8, comment);
    let figure = |name, comment| Column::optional(name, DataType::Float64, comment);
    let columns = vec![
        text("tenant", "Business that the row belongs to"),
        Column::required("number", DataType::Int64, "Place among all events of the lake, from 1 on"),
        Column::required("at", timestamp(), "When it happened"),
        text(
            "action",
            "promoted: served from then on; held: made and not served; rolled_back: served until then",
        ),
        text(
            "model_version",
            "The version that it happened to; its manifest lies under it in ml-models/forecasting",
        ),
        Column::optional(
            "served_version",
            DataType::Utf8,
            "The version whose forecasts are served from then on; null before one was promoted",
        ),
        text("reason", "Why"),
        Column::optional("parent", DataType::Utf8, "The version that was served when this one was made"),
        Column::optional("origin", DataType::Date32, "Last day whose sales the version knows"),
        figure(
            "backtest_wape",
            "Absolute error / absolute actuals of articles on the last horizon, in which it had not learned",
        ),
        figure("naive_wape", "The same of the seasonal-naive forecast"),
        figure("coverage_80", "Measured share of actuals inside the 80 % interval there"),
        Column::required("backtest_n", DataType::Int64, "Forecast days that the measures stand on"),
    ];
    TableDefinition {
        schema: "ops",
        name: "model_versions".to_owned(),
        comment: COMMENT,
        columns,
        has_periods: false,
        indexed_texts: &["tenant", "model_version"],
        clustering: &["tenant", "number"],
        retention: Retention { deleted_file_days: 7 },
        scope: TableScope::Tenant,
    }
}

/// An event as a batch of one row.
pub(crate) fn event_row(event: &ModelEvent) -> Result<RecordBatch> {
    let rows = [event];
    let arrays = vec![
        texts(&rows, |of| Some(&of.tenant)),
        whole(&rows, |of| Some(of.number)),
        instants(&rows, |of| of.at),
        texts(&rows, |of| Some(of.action.name())),
        texts(&rows, |of| Some(&of.model_version)),
        texts(&rows, |of| of.served_version.as_deref()),
        texts(&rows, |of| Some(&of.reason)),
        texts(&rows, |of| of.parent.as_deref()),
        days(&rows, |of| of.origin),
        floats(&rows, |of| of.backtest.wape),
        floats(&rows, |of| of.backtest.naive_wape),
        floats(&rows, |of| of.backtest.coverage_80),
        whole(&rows, |of| Some(i64::try_from(of.backtest.n).unwrap_or(i64::MAX))),
    ];
    RecordBatch::try_new(arrow_schema(&model_versions().columns), arrays)
        .map_err(|error| Error::internal(format!("a row of ops.model_versions: {error}")))
}

/// The events of a batch of rows.
pub(crate) fn events(batch: &RecordBatch) -> Result<Vec<ModelEvent>> {
    (0..batch.num_rows()).map(|row| event(batch, row)).collect()
}

fn event(batch: &RecordBatch, row: usize) -> Result<ModelEvent> {
    let text = |name| -> Result<Option<String>> {
        let texts = column(batch, name)?.as_string_opt::<i32>().ok_or_else(|| unreadable(name))?;
        Ok(texts.is_valid(row).then(|| texts.value(row).to_owned()))
    };
    let required = |name| text(name)?.ok_or_else(|| unreadable(name));
    let whole = |name| number::<Int64Type>(batch, name, row)?.ok_or_else(|| unreadable(name));
    let figure = |name| number::<Float64Type>(batch, name, row);
    Ok(ModelEvent {
        number: whole("number")?,
        tenant: required("tenant")?,
        at: number::<TimestampMicrosecondType>(batch, "at", row)?.ok_or_else(|| unreadable("at"))?,
        action: ModelAction::named(&required("action")?).ok_or_else(|| unreadable("action"))?,
        model_version: required("model_version")?,
        served_version: text("served_version")?,
        reason: required("reason")?,
        parent: text("parent")?,
        origin: number::<Date32Type>(batch, "origin", row)?.and_then(Date32Type::to_naive_date_opt),
        backtest: Backtest {
            wape: figure("backtest_wape")?,
            naive_wape: figure("naive_wape")?,
            coverage_80: figure("coverage_80")?,
            n: usize::try_from(whole("backtest_n")?).unwrap_or_default(),
        },
    })
}

fn number<T: ArrowPrimitiveType>(batch: &RecordBatch, name: &str, row: usize) -> Result<Option<T::Native>> {
    let numbers = column(batch, name)?.as_primitive_opt::<T>().ok_or_else(|| unreadable(name))?;
    Ok(numbers.is_valid(row).then(|| numbers.value(row)))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| unreadable(name))
}

fn unreadable(name: &str) -> Error {
    Error::internal(format!("ops.model_versions has a row whose `{name}` cannot be read"))
}
