//! Asks a store, at every start, for what the commit protocol stands on: of concurrent creates of one key, exactly one wins.
//!
//! A sequential probe would pass on stores that check and then write, so the creates race, several times over.

use std::sync::Arc;
use std::time::Duration;

use domain::{Error, ErrorKind, Result};
use futures::StreamExt;
use futures::future::{join_all, try_join_all};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use uuid::Uuid;

use crate::error::store_error;
use crate::retry::retried;

/// Below the root, where probes write.
pub(crate) const PROBE_FOLDER: &str = "_probe";

const RACERS: usize = 16;
const ROUNDS: usize = 4;
/// Racers that start in the same instant; the next wave follows after the pause, when the first have mostly had their answers. All at once would find
/// nothing more, and make a store that queues for a key (SeaweedFS tries its lock once a second) hold up the start for ten seconds.
const WAVE: usize = 4;
const WAVE_PAUSE: Duration = Duration::from_millis(50);

/// Races creates of fresh keys below `_probe/` and removes them again. The rounds run side by side: a store that locks a key may let losers wait
/// for a second, and a start should not wait for several of them in turn.
///
/// # Errors
/// [`ErrorKind::Incompatible`] when several creates of a round won; errors of reaching the store as they are.
pub async fn probe_conditional_put(store: &Arc<dyn ObjectStore>) -> Result<()> {
    try_join_all((0..ROUNDS).map(|_| race(store))).await?;
    remove_left_overs(store).await;
    Ok(())
}

/// One round: racers create the same key.
async fn race(store: &Arc<dyn ObjectStore>) -> Result<()> {
    let key = &Path::from(format!("{PROBE_FOLDER}/{}", Uuid::new_v4()));
    let racers = (0..RACERS).map(|racer| async move {
        tokio::time::sleep(WAVE_PAUSE * u32::try_from(racer / WAVE).unwrap_or(0)).await;
        create(Arc::clone(store), key.clone(), racer).await
    });
    let outcomes = join_all(racers).await;
    let read = || async {
        let read = async { store.get(key).await?.bytes().await };
        read.await.map_err(|error| store_error("start-up probe", error))
    };
    let stored = retried(read).await;
    // What could not be removed is removed by a later start.
    let _ = store.delete(key).await;
    let mut winners = Vec::new();
    for (racer, outcome) in outcomes.into_iter().enumerate() {
        if outcome? {
            winners.push(racer.to_string());
        }
    }
    let stored = stored?;
    // No winner at all is a winner whose answer was lost on the way; what it wrote stands there all the same.
    let sound = match winners.as_slice() {
        [] => true,
        [winner] => stored == winner.as_bytes(),
        _ => false,
    };
    if sound {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Incompatible,
        format!(
            "the store under lake.root is not safe for commits: {} of {RACERS} concurrent creates of one key were told that they won, \
             where one must; use a store with an atomic conditional PUT (If-None-Match), like AWS S3, SeaweedFS or a local folder",
            winners.len()
        ),
    ))
}

async fn create(store: Arc<dyn ObjectStore>, key: Path, racer: usize) -> Result<bool> {
    let payload = PutPayload::from(racer.to_string().into_bytes());
    match store.put_opts(&key, payload, PutMode::Create.into()).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
            Ok(false)
        }
        Err(error) => Err(store_error("start-up probe", error)),
    }
}

/// Removes keys of probes that were killed; a probe that runs just now loses at worst its own clean-up.
async fn remove_left_overs(store: &Arc<dyn ObjectStore>) {
    let an_hour_ago = chrono::Utc::now() - chrono::TimeDelta::hours(1);
    let mut keys = store.list(Some(&Path::from(PROBE_FOLDER)));
    while let Some(Ok(meta)) = keys.next().await {
        if meta.last_modified < an_hour_ago {
            let _ = store.delete(&meta.location).await;
        }
    }
}
