//! Whether files are in the lake already: a marker by the files' hash, so that a demo that runs twice leaves the same totals.

use std::io::Read as _;
use std::path::Path;

use domain::ports::Blobs;
use domain::{Error, Result};
use sha2::{Digest, Sha256};

/// How far a load came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadState {
    /// Nothing was sent.
    New,
    /// It was begun, and perhaps cut off.
    Begun,
    /// All of it stands in the lake.
    Complete,
}

/// The load of some files.
#[derive(Debug)]
pub(crate) struct Load {
    marker: String,
}

const BEGUN: &[u8] = b"begun\n";
const COMPLETE: &[u8] = b"complete\n";

impl Load {
    /// The load of files, known by the SHA-256 of their bytes one after the other.
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<Self> {
        let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 16]);
        for file in files {
            let failed = |error: std::io::Error| {
                Error::invalid(format!("{}: {error}; give its folder by --data", file.display()))
            };
            let mut source = std::fs::File::open(file).map_err(failed)?;
            loop {
                match source.read(&mut piece).map_err(failed)? {
                    0 => break,
                    length => hash.update(&piece[..length]),
                }
            }
        }
        let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { marker: format!("demo/loads/{digits}") })
    }

    pub(crate) async fn state(&self, blobs: &dyn Blobs) -> Result<LoadState> {
        Ok(match blobs.get(&self.marker).await?.as_deref() {
            None => LoadState::New,
            Some(COMPLETE) => LoadState::Complete,
            Some(_) => LoadState::Begun,
        })
    }

    pub(crate) async fn begin(&self, blobs: &dyn Blobs) -> Result<()> {
        blobs.put(&self.marker, BEGUN.to_vec()).await
    }

    pub(crate) async fn complete(&self, blobs: &dyn Blobs) -> Result<()> {
        blobs.put(&self.marker, COMPLETE.to_vec()).await
    }
}
