//! Some columns of a file, batch after batch: only their bytes are fetched, and only a batch of rows is decoded at a time. [`crate::read`] reads
//! whole files.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::{Buf, Bytes};
use domain::{Error, ErrorKind, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::async_reader::MetadataFetch;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};

use crate::error::store_error;
use crate::log::ActiveFile;
use crate::retry::retried;

/// What is read of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan<'a> {
    /// The columns, in the file's order.
    pub(crate) columns: &'a [&'a str],
    /// The first row.
    pub(crate) from_row: usize,
    /// Rows that are decoded at a time.
    pub(crate) batch_rows: usize,
}

/// Shows the rows of a file to `visit`, which gathers what it wants and says whether it wants more. Decoding and `visit` run off the async threads.
pub(crate) async fn scan_file<T, F>(
    store: &Arc<dyn ObjectStore>,
    file: &ActiveFile,
    scan: Scan<'_>,
    visit: F,
) -> Result<T>
where
    T: Default + Send + 'static,
    F: Fn(&mut T, &RecordBatch) -> Result<bool> + Send + 'static,
{
    let (metadata, chunks) = retried(|| fetch(store, file, scan.columns)).await?;
    let failed = {
        let path = file.path.clone();
        move |error: &dyn std::fmt::Display| Error::internal(format!("{path} cannot be decoded: {error}"))
    };
    let mask = ProjectionMask::columns(metadata.file_metadata().schema_descr(), scan.columns.iter().copied());
    let (from_row, batch_rows) = (scan.from_row, scan.batch_rows);
    let open = move || -> Result<ParquetRecordBatchReader, ParquetError> {
        let metadata = ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::default())?;
        ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, metadata)
            .with_projection(mask)
            .with_offset(from_row)
            .with_batch_size(batch_rows)
            .build()
    };
    let joined = failed.clone();
    let decode = move || -> Result<T> {
        let mut gathered = T::default();
        for batch in open().map_err(|error| failed(&error))? {
            if !visit(&mut gathered, &batch.map_err(|error| failed(&error))?)? {
                break;
            }
        }
        Ok(gathered)
    };
    tokio::task::spawn_blocking(decode).await.map_err(|error| joined(&error))?
}

/// The footer of a file may be so long without a second request for it.
const FOOTER_BYTES: usize = 64 << 10;

/// The file's footer, and the bytes of the columns.
async fn fetch(
    store: &Arc<dyn ObjectStore>,
    file: &ActiveFile,
    columns: &[&str],
) -> Result<(Arc<ParquetMetaData>, FetchedChunks)> {
    let location = Path::parse(&file.path)
        .map_err(|error| Error::internal(format!("file name `{}`: {error}", file.path)))?;
    let doing = format!("reading {}", file.path);
    let failed = |error: ParquetError| match error {
        ParquetError::External(source) => match source.downcast::<object_store::Error>() {
            Ok(error) => store_error(&doing, *error),
            Err(other) => Error::new(ErrorKind::Unavailable, format!("{doing}: {other}")),
        },
        other => Error::internal(format!("{doing}: {other}")).with_source(other),
    };
    let footer = ParquetMetaDataReader::new()
        .with_prefetch_hint(Some(FOOTER_BYTES))
        .load_and_finish(Fetch { store, location: &location }, file.size_bytes);
    let metadata = footer.await.map_err(failed)?;
    let mask = ProjectionMask::columns(metadata.file_metadata().schema_descr(), columns.iter().copied());
    let wanted = |(at, column): (usize, &ColumnChunkMetaData)| {
        let (start, length) = column.byte_range();
        mask.leaf_included(at).then(|| start..start + length)
    };
    let groups = metadata.row_groups().iter();
    let ranges: Vec<_> =
        groups.flat_map(|group| group.columns().iter().enumerate().filter_map(wanted)).collect();
    let bytes = store.get_ranges(&location, &ranges).await.map_err(|error| store_error(&doing, error))?;
    let parts = ranges.iter().map(|range| range.start).zip(bytes).collect();
    Ok((Arc::new(metadata), FetchedChunks { parts }))
}

struct Fetch<'a> {
    store: &'a Arc<dyn ObjectStore>,
    location: &'a Path,
}

impl MetadataFetch for Fetch<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let bytes = self.store.get_range(self.location, range);
        bytes.map(|bytes| bytes.map_err(|error| ParquetError::External(Box::new(error)))).boxed()
    }
}

/// The parts of a file that were fetched, by where they begin.
#[derive(Debug)]
struct FetchedChunks {
    parts: Vec<(u64, Bytes)>,
}

impl FetchedChunks {
    /// What was fetched from `start` on.
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let within = |(begin, bytes): &&(u64, Bytes)| (*begin..begin + bytes.len() as u64).contains(&start);
        let (begin, bytes) =
            self.parts.iter().find(within).ok_or_else(|| {
                ParquetError::General(format!("the bytes from {start} on were not fetched"))
            })?;
        Ok(bytes.slice(usize::try_from(start - begin).unwrap_or(usize::MAX)..))
    }
}

impl Length for FetchedChunks {
    fn len(&self) -> u64 {
        self.parts.iter().map(|(begin, bytes)| begin + bytes.len() as u64).max().unwrap_or(0)
    }
}

impl ChunkReader for FetchedChunks {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} on were not fetched")));
        }
        Ok(bytes.slice(..length))
    }
}
