//! Rows to Parquet files below a table's folder, with the statistics that readers prune by. Nothing here is visible before a commit.

use std::sync::Arc;

use arrow_array::RecordBatch;
use domain::duplicates::HASHES;
use domain::ports::StagedFile;
use domain::{Error, Result, civil};
use futures::future::try_join_all;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use uuid::Uuid;

use crate::error::store_error;
use crate::retry::retried;
use crate::tables::{PERIOD, TableDefinition};

mod statistics;

pub(crate) use statistics::FileStatistics;

/// Writes batches, each a period's rows, as one file each; encoding runs in parallel off the async threads.
pub(crate) async fn write_files(
    store: &Arc<dyn ObjectStore>,
    definition: &TableDefinition,
    rows: Vec<(String, RecordBatch)>,
) -> Result<Vec<StagedFile>> {
    let filled = rows.into_iter().filter(|(_, batch)| batch.num_rows() > 0);
    try_join_all(filled.map(|(period, batch)| write_file(store, definition, period, batch))).await
}

async fn write_file(
    store: &Arc<dyn ObjectStore>,
    definition: &TableDefinition,
    period: String,
    batch: RecordBatch,
) -> Result<StagedFile> {
    let indexed = definition.indexed_texts;
    let rows = batch.num_rows() as u64;
    let encode = move || -> Result<(Vec<u8>, String)> {
        let stats = FileStatistics::of(&batch, indexed).to_json();
        Ok((encode(&batch)?, stats))
    };
    // Names grow with time: a period's files in the order of their names are in the order in which they were staged, and so are read.
    let folder = if period.is_empty() { String::new() } else { format!("{PERIOD}={period}/") };
    let path = format!("{folder}part-{}.snappy.parquet", Uuid::now_v7());
    let joined = tokio::task::spawn_blocking(encode).await;
    let (bytes, stats) = joined.map_err(|error| Error::internal(format!("encoding Parquet: {error}")))??;
    let size_bytes = bytes.len() as u64;
    put(store, &path, bytes).await?;
    metrics::counter!("intellicartel_lake_written_bytes_total", "table" => definition.qualified_name())
        .increment(size_bytes);
    Ok(StagedFile { path, period, size_bytes, rows, stats, written_at: civil::now() })
}

/// Puts a file under a name that nobody else uses, so that a repeated put does no harm.
async fn put(store: &Arc<dyn ObjectStore>, path: &str, bytes: Vec<u8>) -> Result<()> {
    let payload = PutPayload::from(bytes);
    let key = Path::parse(path).map_err(|error| Error::internal(format!("file name `{path}`: {error}")))?;
    let put = || async {
        let put = store.put(&key, payload.clone()).await;
        put.map(|_| ()).map_err(|error| store_error(&format!("writing {path}"), error))
    };
    retried(put).await
}

fn encode(batch: &RecordBatch) -> Result<Vec<u8>> {
    let failed = |error: parquet::errors::ParquetError| {
        Error::internal(format!("encoding Parquet: {error}")).with_source(error)
    };
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::Chunk);
    // Hashes do not repeat, so that a dictionary of them is work for nothing.
    for column in HASHES {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    let mut bytes = Vec::with_capacity(batch.num_rows() * 32);
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).map_err(failed)?;
    writer.write(batch).map_err(failed)?;
    writer.close().map_err(failed)?;
    Ok(bytes)
}
