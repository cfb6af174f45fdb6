//! Who maintains a lake: a lease in the lake itself, so that of several processes one does the work.
//!
//! The lease is a row of objects, `_lease/maintenance/{n}.json`, each created once and never changed; the greatest number counts. It is renewed by
//! creating the next one, and taken over in the same way once it has expired. Clocks may differ and a process may sleep: then two hold it for a
//! while, which costs work and nothing else. That no row is lost or doubled is the commit's to keep (`operations/compact.rs`).

use std::sync::Arc;
use std::time::Duration;

use domain::civil::Micros;
use domain::{Error, Result};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::clock::Clock;
use crate::error::store_error;
use crate::retry::retried;

const FOLDER: &str = "_lease/maintenance";

/// What a lease object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseHolder {
    /// Unique to a maintainer.
    pub holder: String,
    /// Where it runs, for people.
    pub process: String,
    /// Until when, by the holder's clock.
    #[serde(with = "super::record::instant")]
    pub expires_at: Micros,
}

/// One side of the lease: it holds it or not.
#[derive(Debug)]
pub(crate) struct Lease {
    root: Arc<dyn ObjectStore>,
    clock: Clock,
    term: Duration,
    holder: String,
    process: String,
    held: Mutex<Option<Held>>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    number: u64,
    expires_at: Micros,
}

impl Lease {
    pub(crate) fn new(root: Arc<dyn ObjectStore>, clock: Clock, term: Duration) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let process = format!("process {} on {}", std::process::id(), host.trim());
        Self { root, clock, term, holder: Uuid::new_v4().to_string(), process, held: Mutex::default() }
    }

    /// Whether we hold it: it is taken if it is free, and renewed in the second half of its term.
    ///
    /// # Errors
    /// Those of reaching the store; whether it is held is not known then.
    pub(crate) async fn hold(&self) -> Result<bool> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        let term = i64::try_from(self.term.as_micros()).unwrap_or(i64::MAX);
        if held.is_some_and(|held| now < held.expires_at.saturating_sub(term / 2)) {
            return Ok(true);
        }
        *held = None;
        let numbers = numbers(&self.root).await?;
        let greatest = numbers.last().copied().unwrap_or(0);
        if greatest > 0
            && let Some(known) = read(&self.root, greatest).await?
            && known.holder != self.holder
            && known.expires_at > now
        {
            return Ok(false);
        }
        let mine = Held { number: greatest + 1, expires_at: now.saturating_add(term) };
        // Whoever looked before us may have created a later one, while the one that we looked at was removed.
        let is_newest = self.create(mine).await? && self.numbers_from(mine.number).await? == [mine.number];
        *held = is_newest.then_some(mine);
        if is_newest {
            self.remove(&numbers).await;
        }
        Ok(is_newest)
    }

    /// Gives it back, so that another need not wait for its end.
    pub(crate) async fn release(&self) -> Result<()> {
        let Some(held) = self.held.lock().await.take() else { return Ok(()) };
        let free = Held { number: held.number + 1, expires_at: self.clock.now() };
        if self.create(free).await? {
            self.remove(&[held.number]).await;
        }
        Ok(())
    }

    async fn numbers_from(&self, least: u64) -> Result<Vec<u64>> {
        Ok(numbers(&self.root).await?.into_iter().filter(|number| *number >= least).collect())
    }

    /// Creates an object; `false`: another was first.
    async fn create(&self, held: Held) -> Result<bool> {
        let says = LeaseHolder {
            holder: self.holder.clone(),
            process: self.process.clone(),
            expires_at: held.expires_at,
        };
        let text = serde_json::to_vec_pretty(&says).map_err(|error| Error::internal(error.to_string()))?;
        match self.root.put_opts(&key(held.number), PutPayload::from(text), PutMode::Create.into()).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(false)
            }
            Err(error) => Err(store_error("the lease of maintenance", error)),
        }
    }

    /// Removes objects that count no more; those that stay are removed with the next ones.
    async fn remove(&self, numbers: &[u64]) {
        for number in numbers {
            if let Err(error) = self.root.delete(&key(*number)).await {
                tracing::debug!(number, %error, "an old lease stays for now");
            }
        }
    }
}

/// Who holds the lease of a lake, or held it last.
///
/// # Errors
/// Those of reaching the store.
pub(crate) async fn holder(root: &Arc<dyn ObjectStore>) -> Result<Option<LeaseHolder>> {
    match numbers(root).await?.last() {
        Some(&greatest) => read(root, greatest).await,
        None => Ok(None),
    }
}

fn key(number: u64) -> Path {
    Path::from(format!("{FOLDER}/{number}.json"))
}

/// The numbers of the objects that are there, in order.
async fn numbers(root: &Arc<dyn ObjectStore>) -> Result<Vec<u64>> {
    let list = || async {
        let listed = root.list(Some(&Path::from(FOLDER))).try_collect::<Vec<_>>().await;
        listed.map_err(|error| store_error("the lease of maintenance", error))
    };
    let listed = retried(list).await?;
    let number =
        |path: &Path| path.filename().and_then(|name| name.strip_suffix(".json")?.parse::<u64>().ok());
    let mut numbers: Vec<u64> = listed.iter().filter_map(|object| number(&object.location)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// What an object says; `None` when it was removed meanwhile, or is not one of ours: nobody holds it then.
async fn read(root: &Arc<dyn ObjectStore>, number: u64) -> Result<Option<LeaseHolder>> {
    let path = key(number);
    let get = || async {
        let get = async { root.get(&path).await?.bytes().await };
        match get.await {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(store_error("the lease of maintenance", error)),
        }
    };
    retried(get).await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use object_store::memory::InMemory;

    use super::*;

    const TERM: Duration = Duration::from_secs(60);

    struct Place {
        root: Arc<dyn ObjectStore>,
        now: Arc<AtomicI64>,
    }

    impl Place {
        fn new() -> Self {
            Self { root: Arc::new(InMemory::new()), now: Arc::new(AtomicI64::new(1_000_000_000)) }
        }

        fn lease(&self) -> Lease {
            let now = Arc::clone(&self.now);
            Lease::new(Arc::clone(&self.root), Clock::new(move || now.load(Ordering::Relaxed)), TERM)
        }

        fn pass(&self, seconds: i64) {
            self.now.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
        }

        async fn numbers(&self) -> Vec<u64> {
            numbers(&self.root).await.expect("they are listed")
        }
    }

    async fn holds(lease: &Lease) -> bool {
        lease.hold().await.expect("the store answers")
    }

    #[tokio::test]
    async fn one_holds_it_renews_it_and_is_followed_once_it_expired() {
        let place = Place::new();
        let (first, second) = (place.lease(), place.lease());
        assert!(holds(&first).await && !holds(&second).await);
        place.pass(29);
        assert!(holds(&first).await);
        assert_eq!(place.numbers().await, [1], "the first half of a term needs no renewal");
        place.pass(2);
        assert!(holds(&first).await);
        assert_eq!(place.numbers().await, [2], "renewed, and the old one removed");
        place.pass(59);
        assert!(!holds(&second).await, "not expired yet");
        place.pass(1);
        assert!(holds(&second).await && !holds(&first).await);
        assert_eq!(place.numbers().await, [3]);
        let said = holder(&place.root).await.expect("it is read").expect("somebody holds it");
        assert_eq!(said.holder, second.holder);
        assert!(said.process.contains(&std::process::id().to_string()), "{said:?}");
    }

    #[tokio::test]
    async fn whoever_gives_it_back_is_followed_at_once() {
        let place = Place::new();
        let (first, second) = (place.lease(), place.lease());
        assert!(holds(&first).await && !holds(&second).await);
        first.release().await.expect("the store answers");
        second.release().await.expect("nothing to give back");
        assert!(holds(&second).await && !holds(&first).await);
    }

    #[tokio::test]
    async fn a_renewal_whose_answer_was_lost_is_known_again() {
        let place = Place::new();
        let lease = place.lease();
        let lost = Held { number: 1, expires_at: place.lease().clock.now() + 60_000_000 };
        assert!(lease.create(lost).await.expect("it is created"));
        assert!(holds(&lease).await, "it is our own");
        assert!(!holds(&place.lease()).await);
    }

    #[tokio::test]
    async fn a_number_below_anothers_is_no_lease() {
        let place = Place::new();
        let (late, other) = (place.lease(), place.lease());
        for _ in 0..3 {
            assert!(holds(&other).await);
            place.pass(31);
        }
        // It looked long ago, and creates the number that was the next one then.
        let mine = Held { number: 2, expires_at: i64::MAX };
        assert!(late.create(mine).await.expect("the number is free again"));
        assert_eq!(late.numbers_from(2).await.expect("listed"), [2, 3]);
        assert!(!holds(&late).await && holds(&other).await);
        assert_eq!(place.numbers().await, [4], "left-overs go with the next renewal");
    }

    #[tokio::test]
    async fn of_many_that_ask_at_once_one_gets_it_and_nonsense_counts_for_nothing() {
        let place = Place::new();
        place.root.put(&key(7), "nonsense".into()).await.expect("it is put");
        let leases: Vec<_> = (0..8).map(|_| place.lease()).collect();
        let held = futures::future::join_all(leases.iter().map(holds)).await;
        assert_eq!(held.iter().filter(|held| **held).count(), 1, "{held:?}");
        assert_eq!(place.numbers().await, [8]);
    }
}
