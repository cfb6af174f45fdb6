//! Runs of forecasts into `marts.forecasts`: rows in, rows of the same model version out, in one commit.
//!
//! A model version stands for one business, one state of its tables and one configuration, so a run of it has the same series, origins and figures
//! each time. Whoever makes it again, or while another process makes it, leaves its rows there once: each commit removes what it finds of the
//! version on the very state that it is made on. A file that holds rows of other versions too, as compaction makes them, is replaced by
//! one without ours.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::compute::{concat_batches, filter_record_batch};
use arrow_array::cast::AsArray;
use arrow_array::{BooleanArray, RecordBatch};
use async_trait::async_trait;
use deltalake::kernel::Action;
use deltalake::protocol::{DeltaOperation, SaveMode};
use domain::forecast::{ForecastRun, SeriesForecast};
use domain::ports::{ForecastSink, StagedFile, WrittenForecasts};
use domain::{Error, ErrorKind, Result, civil};
use serde_json::Value;
use uuid::Uuid;

use crate::append::{MAX_BATCH_AGE, add_action, append_operation, remove, too_old};
use crate::commit::{Decision, Outcome, Plan, Proposal};
use crate::lake::Lake;
use crate::log::{ActiveFile, Log};
use crate::read::read_file;
use crate::stage::write_files;
use crate::table::Table;
use crate::tables::{self, PERIOD};

const MODEL_VERSION: &str = "model_version";

#[async_trait]
impl ForecastSink for Lake {
    async fn write_forecasts(&self, run: ForecastRun) -> Result<WrittenForecasts> {
        check(&run)?;
        let table = self.table(&tables::forecasts().qualified_name())?;
        let periods = run.forecasts.iter().map(|forecast| tables::forecast_period(forecast.origin)).collect();
        let model_version = run.model_version.clone();
        let build = tokio::task::spawn_blocking(move || tables::forecast_rows(&run)).await;
        let rows = build.map_err(|error| Error::internal(format!("rows of forecasts: {error}")))??;
        let files = write_files(&table.log_store().object_store(None), table.definition(), rows).await?;
        let mut plan =
            ReplacePlan { table, model_version, periods, files, finds: HashMap::new(), replaced_rows: 0 };
        match table.commit(&Uuid::new_v4().to_string(), &mut plan).await? {
            Outcome::Committed(version) => {
                let rows = plan.files.iter().map(|file| file.rows).sum();
                Ok(WrittenForecasts { version, rows, replaced_rows: plan.replaced_rows })
            }
            Outcome::Dropped(reason) => Err(Error::new(ErrorKind::Conflict, reason)),
        }
    }
}

/// What no reader should have to expect is refused at the door: figures that are no numbers, below 0 or crossing.
fn check(run: &ForecastRun) -> Result<()> {
    if run.forecasts.iter().all(|forecast| forecast.days.is_empty()) {
        return Err(Error::invalid("a run without forecasts: there is nothing to write"));
    }
    let sound = |forecast: &SeriesForecast| {
        forecast.days.iter().all(|day| {
            let finite =
                day.quantiles.iter().chain([&day.mean]).all(|figure| figure.is_finite() && *figure >= 0.0);
            finite && day.quantiles.is_sorted()
        })
    };
    match run.forecasts.iter().find(|forecast| !sound(forecast)) {
        None => Ok(()),
        Some(SeriesForecast { key, .. }) => Err(Error::invalid(format!(
            "the forecast of {}/{}/{} has figures that are not finite, below 0 or crossing",
            key.tenant, key.store, key.sku
        ))),
    }
}

/// What a file holds of the run's model version. Files never change, so a find is good for as long as the file is active.
#[derive(Debug)]
enum Find {
    /// No row.
    Nothing,
    /// These rows, and others that were written into files of their own.
    Rows { replaced: u64, kept: Vec<StagedFile> },
}

struct ReplacePlan<'a> {
    table: &'a Arc<Table>,
    model_version: String,
    /// The months of the run's origins: rows of the version lie in no other.
    periods: BTreeSet<String>,
    /// The run's rows, written once.
    files: Vec<StagedFile>,
    /// By path, what was found.
    finds: HashMap<String, Find>,
    /// Rows that the state decided on last held of the version.
    replaced_rows: u64,
}

#[async_trait]
impl Plan for ReplacePlan<'_> {
    /// The paths to be removed are taken from the state that is shown, so they are active on it; `rewrite/{table}` makes the commits of others fail
    /// who planned to remove them too.
    async fn decide(&mut self, log: &Log) -> Result<Decision> {
        let mut actions: Vec<Action> = self.files.iter().map(add_action).collect();
        let mut written = self.files.clone();
        self.replaced_rows = 0;
        let mut removes = false;
        for file in log.files().values().filter(|file| self.periods.contains(&file.period)) {
            if !self.finds.contains_key(&file.path) {
                let find = self.look_into(file).await?;
                self.finds.insert(file.path.clone(), find);
            }
            let Some(Find::Rows { replaced, kept }) = self.finds.get(&file.path) else { continue };
            removes = true;
            self.replaced_rows += replaced;
            actions.push(remove(file, true, civil::now()));
            actions.extend(kept.iter().map(add_action));
            written.extend(kept.iter().cloned());
        }
        if let Some(reason) = too_old(&written, MAX_BATCH_AGE) {
            return Err(Error::new(ErrorKind::Unavailable, reason));
        }
        if !removes {
            return Ok(proposal(actions, Vec::new(), append_operation()));
        }
        let planned_on = i64::try_from(log.version()).unwrap_or(i64::MAX);
        let rewrite = (format!("rewrite/{}", self.table.definition().qualified_name()), planned_on);
        let operation = DeltaOperation::Write {
            mode: SaveMode::Overwrite,
            partition_by: Some(vec![PERIOD.to_owned()]),
            predicate: Some(format!("{MODEL_VERSION} = '{}'", self.model_version)),
        };
        Ok(proposal(actions, vec![rewrite], operation))
    }
}

fn proposal(actions: Vec<Action>, transactions: Vec<(String, i64)>, operation: DeltaOperation) -> Decision {
    Decision::Commit(Box::new(Proposal { actions, transactions, operation }))
}

impl ReplacePlan<'_> {
    async fn look_into(&self, file: &ActiveFile) -> Result<Find> {
        let stats: Value =
            file.stats.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let bound = |which: &str| stats[which][MODEL_VERSION].as_str();
        let (low, high, rows) = (bound("minValues"), bound("maxValues"), stats["numRecords"].as_u64());
        let version = self.model_version.as_str();
        if low.is_some_and(|low| low > version) || high.is_some_and(|high| high < version) {
            return Ok(Find::Nothing);
        }
        if let (true, Some(replaced)) = (low == Some(version) && high == Some(version), rows) {
            return Ok(Find::Rows { replaced, kept: Vec::new() });
        }
        let store = self.table.log_store().object_store(None);
        let ours = |rows: &RecordBatch| ours(rows, version);
        let versions = read_file(&store, file, &[MODEL_VERSION]).await?;
        let counts = versions.iter().map(|rows| Ok(ours(rows)?.true_count())).collect::<Result<Vec<_>>>()?;
        let replaced: usize = counts.into_iter().sum();
        if replaced == 0 {
            return Ok(Find::Nothing);
        }
        let failed = |error: arrow::error::ArrowError| Error::internal(format!("{}: {error}", file.path));
        let others = |rows: RecordBatch| {
            let others = arrow::compute::not(&ours(&rows)?).map_err(failed)?;
            filter_record_batch(&rows, &others).map_err(failed)
        };
        let others =
            read_file(&store, file, &[]).await?.into_iter().map(others).collect::<Result<Vec<_>>>()?;
        let kept = match others.first() {
            None => Vec::new(),
            Some(first) => {
                let others = concat_batches(&first.schema(), &others).map_err(failed)?;
                write_files(&store, self.table.definition(), vec![(file.period.clone(), others)]).await?
            }
        };
        Ok(Find::Rows { replaced: replaced as u64, kept })
    }
}

/// Which rows are of the version.
fn ours(rows: &RecordBatch, version: &str) -> Result<BooleanArray> {
    let column = rows.column_by_name(MODEL_VERSION).and_then(|column| column.as_string_opt::<i32>());
    let column =
        column.ok_or_else(|| Error::internal(format!("a file of forecasts lacks {MODEL_VERSION}")))?;
    Ok(column.iter().map(|found| Some(found == Some(version))).collect())
}
