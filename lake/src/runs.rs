//! Runs whose rows carry a version that stands for all that shaped them: written again, they take the place of their own rows, in one commit.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{BooleanArray, RecordBatch};
use domain::ports::WrittenRows;
use domain::{Error, Result};
use serde_json::Value;

use crate::log::ActiveFile;
use crate::replace::{Request, Rows, Share, replace};
use crate::stage::write_files;
use crate::table::Table;

/// Writes the rows of a run, each batch a file of its period, and removes what stands there of its version in `column`.
pub(crate) async fn write_run(
    table: &Arc<Table>,
    column: &'static str,
    version: String,
    rows: Vec<(String, RecordBatch)>,
) -> Result<WrittenRows> {
    let periods = rows.iter().map(|(period, _)| period.clone()).collect();
    let earlier = EarlierRun { column: [column], version, periods };
    let files = write_files(&table.log_store().object_store(None), table.definition(), rows).await?;
    let done = replace(table, Request { rows: Some(&earlier), files, transactions: Vec::new() }).await?;
    Ok(WrittenRows { version: done.version, rows: done.rows, replaced_rows: done.replaced_rows })
}

/// The rows of a version.
#[derive(Debug)]
struct EarlierRun {
    column: [&'static str; 1],
    version: String,
    /// The months of the run: rows of the version lie in no other.
    periods: BTreeSet<String>,
}

impl Rows for EarlierRun {
    fn columns(&self) -> &[&'static str] {
        &self.column
    }

    fn share(&self, file: &ActiveFile, stats: &Value) -> Share {
        let bound = |which: &str| stats[which][self.column[0]].as_str();
        let (low, high, version) = (bound("minValues"), bound("maxValues"), self.version.as_str());
        let is_outside = low.is_some_and(|low| low > version) || high.is_some_and(|high| high < version);
        if is_outside || !self.periods.contains(&file.period) {
            return Share::Nothing;
        }
        if low == Some(version) && high == Some(version) { Share::All } else { Share::Unknown }
    }

    fn mask(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let name = self.column[0];
        let column = rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let column = column.ok_or_else(|| Error::internal(format!("a file of runs lacks {name}")))?;
        Ok(column.iter().map(|found| Some(found == Some(self.version.as_str()))).collect())
    }

    fn predicate(&self) -> String {
        format!("{} = '{}'", self.column[0], self.version)
    }
}
