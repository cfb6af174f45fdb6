//! Artefacts below the lake's root, beside the tables: manifests of models, reports, uploads.

use async_trait::async_trait;
use domain::ports::Blobs;
use domain::{Error, Result};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use crate::error::store_error;
use crate::lake::Lake;
use crate::retry::retried;

/// First folders that belong to others: the tables, the probes of the start, and what maintenance keeps.
const RESERVED: [&str; 4] = ["lake", "_probe", "_lease", "_maintenance"];

/// Longest name in bytes: S3 allows 1,024 for the whole key.
const MAX_NAME_BYTES: usize = 800;
/// Longest part of a name in bytes: file systems allow 255.
const MAX_PART_BYTES: usize = 200;

#[async_trait]
impl Blobs for Lake {
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let path = path_of(name)?;
        let payload = PutPayload::from(bytes);
        let put = || async {
            let put = self.store().root().put(&path, payload.clone()).await;
            put.map(|_| ()).map_err(|error| store_error(&format!("writing {name}"), error))
        };
        retried(put).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = path_of(name)?;
        let get = || async {
            let get = async { self.store().root().get(&path).await?.bytes().await };
            match get.await {
                Ok(bytes) => Ok(Some(Vec::from(bytes))),
                Err(object_store::Error::NotFound { source, .. })
                    if !source.to_string().contains("NoSuchBucket") =>
                {
                    Ok(None)
                }
                Err(error) => Err(store_error(&format!("reading {name}"), error)),
            }
        };
        retried(get).await
    }
}

/// A name as a path that stays below the root and out of the tables.
fn path_of(name: &str) -> Result<Path> {
    let refused = |why: &str| Error::invalid(format!("`{name}` is not a name of an artefact: {why}"));
    if name.len() > MAX_NAME_BYTES {
        return Err(refused(&format!("it is longer than {MAX_NAME_BYTES} bytes")));
    }
    for part in name.split('/') {
        if matches!(part, "" | "." | "..") {
            return Err(refused(
                "write parts joined by single `/`, none of them `.` or `..`, and none in front",
            ));
        }
        // Stores and file systems take these differently, or decode them.
        if part.len() > MAX_PART_BYTES
            || part.contains(['\\', '%', '#', '?'])
            || part.chars().any(char::is_control)
        {
            return Err(refused("a part is too long, or holds a control character or one of \\ % # ?"));
        }
    }
    if name.split('/').next().is_some_and(|first| RESERVED.contains(&first)) {
        return Err(refused("that folder belongs to the tables"));
    }
    Path::parse(name).map_err(|error| refused(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_root_and_out_of_the_tables() {
        for name in [
            "a",
            "ml-models/forecasting/0f/manifest.json",
            "exports/Köln 1/reports/x.csv",
            "a/..b",
            "lakes/a",
        ] {
            assert_eq!(path_of(name).expect(name).as_ref(), name);
        }
        let long = "a".repeat(MAX_PART_BYTES + 1);
        let longer = vec!["a"; MAX_NAME_BYTES].join("/");
        for name in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/./b",
            "a\\..\\b",
            "a/%2e%2e/b",
            "a\0b",
            "a\nb",
            "lake/curated/sales/x",
            "lake",
            "_probe/x",
            &long,
            &longer,
        ] {
            let error = path_of(name).expect_err(name);
            assert_eq!(error.kind(), domain::ErrorKind::Invalid, "{name}");
        }
    }
}
