//! The version of a lake's layout, in `lake/_layout.json`: written once, by a conditional PUT, and checked at every start.

use std::sync::Arc;

use domain::{Error, ErrorKind, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::store_error;

/// The layout that this release reads and writes.
pub const LAYOUT_VERSION: u32 = 1;

/// The table property that names the columns' contract, and its value in this release.
pub const CONTRACT_PROPERTY: &str = "intellicartel.contract";
/// See [`CONTRACT_PROPERTY`].
pub const CONTRACT_VERSION: &str = "4";

const KEY: &str = "lake/_layout.json";

#[derive(Debug, Serialize, Deserialize)]
struct Layout {
    layout: u32,
    created_by: String,
    created_at: String,
}

/// Writes the layout into a new lake, or checks the one that is there.
///
/// # Errors
/// [`ErrorKind::Incompatible`] when another layout stands there, or a text that is none.
pub async fn ensure(root: &Arc<dyn ObjectStore>, url: &Url) -> Result<()> {
    let key = Path::from(KEY);
    let layout = Layout {
        layout: LAYOUT_VERSION,
        created_by: format!("intellicartel {}", env!("CARGO_PKG_VERSION")),
        created_at: domain::civil::format_instant(domain::civil::now()),
    };
    let text = serde_json::to_vec_pretty(&layout).map_err(|error| Error::internal(error.to_string()))?;
    match root.put_opts(&key, PutPayload::from(text), PutMode::Create.into()).await {
        Ok(_) => Ok(()),
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
            check(root, url).await.map_err(unexplained_conflict)
        }
        Err(error) => Err(store_error(KEY, error)),
    }
}

/// A store may report a conflict while it is busy, although nobody created the key: that is a call to make again.
fn unexplained_conflict(error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    Error::new(
        ErrorKind::Unavailable,
        format!("the store reports a conflict for {KEY}, but nothing stands there: is it healthy?"),
    )
}

/// Checks the layout that is there.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is none; [`ErrorKind::Incompatible`] as for [`ensure`].
pub async fn check(root: &Arc<dyn ObjectStore>, url: &Url) -> Result<()> {
    let key = Path::from(KEY);
    let read = async { root.get(&key).await?.bytes().await };
    let stored = read.await.map_err(|error| match store_error(KEY, error) {
        missing if missing.kind() == ErrorKind::NotFound => Error::new(
            ErrorKind::NotFound,
            format!("there is no lake at {url}: mend lake.root, or let `ingest` create the lake"),
        ),
        other => other,
    })?;
    match serde_json::from_slice::<Layout>(&stored) {
        Ok(Layout { layout: LAYOUT_VERSION, .. }) => Ok(()),
        Ok(Layout { layout, created_by, .. }) => Err(Error::new(
            ErrorKind::Incompatible,
            format!(
                "the lake has layout {layout} (created by {created_by}), this release knows {LAYOUT_VERSION}: use the release that fits, or another lake.root"
            ),
        )),
        Err(error) => Err(Error::new(
            ErrorKind::Incompatible,
            format!("lake/_layout.json is not a layout of ours ({error}): is lake.root right?"),
        )),
    }
}
