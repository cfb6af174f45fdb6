//! Files of a table, read whole or by some columns, outside of SQL: for maintenance and for looking up dead letters.

use std::sync::Arc;

use arrow_array::RecordBatch;
use domain::{Error, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::store_error;
use crate::log::ActiveFile;
use crate::retry::retried;

/// The rows of a file; no columns named means all. The file is fetched in one request and decoded off the async threads.
pub(crate) async fn read_file(
    store: &Arc<dyn ObjectStore>,
    file: &ActiveFile,
    columns: &[&str],
) -> Result<Vec<RecordBatch>> {
    let path = Path::parse(&file.path)
        .map_err(|error| Error::internal(format!("file name `{}`: {error}", file.path)))?;
    let fetch = || async {
        let fetched = async { store.get(&path).await?.bytes().await };
        fetched.await.map_err(|error| store_error(&format!("reading {}", file.path), error))
    };
    let bytes = retried(fetch).await?;
    let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
    let decode = move || -> Result<Vec<RecordBatch>, Box<dyn std::error::Error + Send + Sync>> {
        let mut builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
        if !columns.is_empty() {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().map(String::as_str));
            builder = builder.with_projection(mask);
        }
        Ok(builder.build()?.collect::<Result<_, _>>()?)
    };
    let failed =
        |error: &dyn std::fmt::Display| Error::internal(format!("{} cannot be decoded: {error}", file.path));
    tokio::task::spawn_blocking(decode)
        .await
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error).with_source(error))
}
