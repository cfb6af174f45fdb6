//! `marts.forecast_overrides`: what planners say of days that are forecast.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use domain::planning::{Override, columns};
use domain::scope::TableScope;
use domain::table::arrow_schema;
use domain::{Error, Result, civil};

use super::arrays::{days, floats, instants, texts};
use super::{Retention, TableDefinition};

const COMMENT: &str = "What planners expect of days in the place of models, one row for each word on a day of an article in a store, never changed. The last word on a day holds: \
marts.served_forecasts shows it, and orders follow it. What it was worth is marts.override_value.";

/// The table of planners' words; its period is the month of `forecast_date`.
#[must_use]
pub fn overrides() -> TableDefinition {
    TableDefinition {
        schema: "marts",
        name: "forecast_overrides".to_owned(),
        comment: COMMENT,
        columns: columns(),
        indexed_texts: &["tenant", "store", "sku"],
        clustering: &["tenant", "store", "sku", "forecast_date"],
        retention: Retention { deleted_file_days: 7 },
        has_periods: true,
        scope: TableScope::TenantAndStores,
    }
}

/// Rows, each batch of one period.
pub(crate) fn rows(overrides: &[Override]) -> Result<Vec<(String, RecordBatch)>> {
    let mut periods: BTreeMap<String, Vec<&Override>> = BTreeMap::new();
    for of in overrides {
        periods.entry(civil::month(of.forecast_date)).or_default().push(of);
    }
    periods.into_iter().map(|(period, rows)| Ok((period, batch(&rows)?))).collect()
}

fn batch(rows: &[&Override]) -> Result<RecordBatch> {
    let arrays = vec![
        texts(rows, |of| Some(&of.tenant)),
        texts(rows, |of| Some(&of.store)),
        texts(rows, |of| Some(&of.sku)),
        days(rows, |of| of.forecast_date),
        floats(rows, |of| of.units),
        texts(rows, |of| Some(&of.author)),
        texts(rows, |of| Some(&of.reason)),
        instants(rows, |of| of.at),
        texts(rows, |of| Some(&of.model_version)),
        days(rows, |of| of.origin),
        floats(rows, |of| Some(of.mean)),
    ];
    RecordBatch::try_new(arrow_schema(&columns()), arrays)
        .map_err(|error| Error::internal(format!("rows of marts.forecast_overrides: {error}")))
}
