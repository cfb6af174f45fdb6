//! Source files, plain or compressed; what they are is read from their first bytes, not from their names.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

/// A file opened to be read from its beginning to its end.
pub struct Stream {
    /// Its decompressed content.
    pub content: Box<dyn Read + Send>,
    /// Bytes read so far from the file as it lies there.
    pub read: Arc<AtomicU64>,
    /// Its size as it lies there.
    pub size_bytes: u64,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Xz,
}

/// Opens a file, which a flag of the command line names, as a stream.
///
/// # Errors
/// When it cannot be read, naming flag and file.
pub fn stream(flag: &str, path: &Path) -> Result<Stream> {
    let (file, packing) = open(flag, path)?;
    let size_bytes = file.metadata().map_err(|error| failed(flag, path, error))?.len();
    let read = Arc::new(AtomicU64::new(0));
    let counted = BufReader::with_capacity(1 << 20, Counted { file, read: Arc::clone(&read) });
    let content: Box<dyn Read + Send> = match packing {
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(counted)),
        Packing::Xz => Box::new(liblzma::read::XzDecoder::new_multi_decoder(counted)),
        Packing::Plain => Box::new(counted),
    };
    Ok(Stream { content, read, size_bytes })
}

/// Opens a file for reading at any place. A compressed one is unpacked into a nameless file in the system's temporary folder, which goes when it is closed.
///
/// # Errors
/// When it cannot be read or unpacked, naming it; when it was cancelled.
pub fn seekable(flag: &str, path: &Path, cancel: &CancellationToken) -> Result<File> {
    let (file, packing) = open(flag, path)?;
    if packing == Packing::Plain {
        return Ok(file);
    }
    let mut content = stream(flag, path)?.content;
    let mut unpack = || -> std::io::Result<File> {
        let mut unpacked = tempfile::tempfile()?;
        while !cancel.is_cancelled() && std::io::copy(&mut (&mut content).take(64 << 20), &mut unpacked)? > 0
        {
        }
        Ok(unpacked)
    };
    let unpacked = unpack().map_err(|error| {
        let folder = std::env::temp_dir();
        let what = format!("{flag} {}: unpacking it into {}: {error}", path.display(), folder.display());
        Error::invalid(what).with_source(error)
    })?;
    if cancel.is_cancelled() {
        return Err(Error::new(ErrorKind::Cancelled, "stopped while it was unpacked"));
    }
    Ok(unpacked)
}

fn open(flag: &str, path: &Path) -> Result<(File, Packing)> {
    let begin = || -> std::io::Result<(File, Packing)> {
        let mut file = File::open(path)?;
        let mut magic = Vec::new();
        (&mut file).take(6).read_to_end(&mut magic)?;
        file.rewind()?;
        let packing = match magic[..] {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Packing::Xz,
            _ => Packing::Plain,
        };
        Ok((file, packing))
    };
    begin().map_err(|error| failed(flag, path, error))
}

fn failed(flag: &str, path: &Path, error: std::io::Error) -> Error {
    Error::invalid(format!("{flag} {}: {error}", path.display())).with_source(error)
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
