//! Source files, plain or compressed, as one stream of bytes; what they are is read from their first bytes, not from their names.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::{Error, Result};

/// An opened file.
pub struct Source {
    /// Its decompressed content.
    pub content: Box<dyn Read + Send>,
    /// Bytes read so far from the file as it lies there.
    pub read: Arc<AtomicU64>,
    /// Its size as it lies there.
    pub size_bytes: u64,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}

/// Opens a file.
///
/// # Errors
/// When it cannot be read, naming it.
pub fn open(path: &Path) -> Result<Source> {
    let failed = |error: std::io::Error| {
        Error::invalid(format!("--file {}: {error}", path.display())).with_source(error)
    };
    let mut file = File::open(path).map_err(failed)?;
    let size_bytes = file.metadata().map_err(failed)?.len();
    let mut magic = [0_u8; 6];
    let length = file.read(&mut magic).map_err(failed)?;
    file.rewind().map_err(failed)?;
    let read = Arc::new(AtomicU64::new(0));
    let counted = BufReader::with_capacity(1 << 20, Counted { file, read: Arc::clone(&read) });
    let content: Box<dyn Read + Send> = match &magic[..length] {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(counted)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(liblzma::read::XzDecoder::new_multi_decoder(counted)),
        _ => Box::new(counted),
    };
    Ok(Source { content, read, size_bytes })
}

struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
