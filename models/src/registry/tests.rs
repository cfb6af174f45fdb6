//! What is served after models were made, promoted and rolled back.

use std::sync::Mutex;

use async_trait::async_trait;
use domain::forecast::{ForecastRun, SeriesSet};
use domain::ports::{ForecastSink, WrittenRows};

use super::*;
use crate::forecast::tests::{LEAST, article, made_after, set, weekly};
use crate::forecast::{Timings, Way, publish};

const CONFIG: ForecastConfig = ForecastConfig { horizon_days: 28, learning: LEAST, search: false };

/// What the ports were given.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    blobs: Mutex<BTreeMap<String, Vec<u8>>>,
    runs: Mutex<Vec<ForecastRun>>,
    events: Mutex<Vec<ModelEvent>>,
}

#[async_trait]
impl Blobs for Memory {
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        self.blobs.lock().expect("no panic").insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.blobs.lock().expect("no panic").get(name).cloned())
    }
}

#[async_trait]
impl ForecastSink for Memory {
    async fn write_forecasts(&self, run: ForecastRun) -> Result<WrittenRows> {
        // The manifest stands there by now.
        let name = artefact(&run.model_version, "manifest.json");
        assert!(self.blobs.lock().expect("no panic").contains_key(&name));
        self.runs.lock().expect("no panic").push(run);
        Ok(WrittenRows { version: 1, rows: 28, replaced_rows: 0 })
    }
}

#[async_trait]
impl ModelRegistry for Memory {
    async fn model_history(&self, tenant: Option<&str>) -> Result<ModelHistory> {
        let events = self.events.lock().expect("no panic").clone();
        let last = events.len() as i64;
        let of_tenant = |event: &ModelEvent| tenant.is_none_or(|tenant| event.tenant == tenant);
        Ok(ModelHistory { last, events: events.into_iter().filter(of_tenant).collect() })
    }

    async fn add_model_event(&self, event: &ModelEvent) -> Result<()> {
        let mut events = self.events.lock().expect("no panic");
        if event.number != events.len() as i64 + 1 {
            return Err(Error::new(ErrorKind::Conflict, "another was first"));
        }
        events.push(event.clone());
        Ok(())
    }
}

#[tokio::test]
async fn the_manifest_holds_what_the_version_is_the_hash_of() {
    let memory = Memory::default();
    let forecasts = made(&memory, &business(7), CONFIG).await;
    let (identity, version) = (forecasts.identity.clone(), forecasts.model_version.clone());
    let published =
        publish(forecasts, Timings::default(), &memory, &memory, &memory).await.expect("published");
    assert_eq!(published.written.rows, 28);
    let text = memory.get(&published.manifest).await.expect("a store").expect("a manifest");
    let text = String::from_utf8(text).expect("a text");
    assert!(text.contains(&identity), "{text}");
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(manifest["model_version"], version.as_str());
    assert_eq!(manifest["series"]["model"], 1);
    assert_eq!(manifest["backtest"]["sku"]["n"], 28);
    assert_eq!(memory.runs.lock().expect("no panic")[0].model_version, version);
    // What it has learned lies beside it, and is what the version names.
    let learned = memory.get(&artefact(&version, "model.json")).await.expect("a store").expect("a model");
    assert_eq!(manifest["identity"]["weights"], crate::forecast::hash(&learned));
}

/// A business of one article, read at a version of its sales.
fn business(version: u64) -> SeriesSet {
    let lake_versions = [("curated.sales".to_owned(), version)].into();
    SeriesSet { lake_versions, ..set(vec![article("a", weekly(553 + version as usize))]) }
}

async fn made(memory: &Memory, set: &SeriesSet, config: ForecastConfig) -> Forecasts {
    let before = before("t", &set.lake_versions, config, memory, memory).await.expect("a history");
    made_after(&before, set, config)
}

/// Makes a model and stores it.
async fn run(memory: &Memory, version: u64) -> (String, Verdict) {
    let made = made(memory, &business(version), CONFIG).await;
    let model_version = made.model_version.clone();
    let published = publish(made, Timings::default(), memory, memory, memory).await.expect("published");
    (model_version, published.verdict)
}

async fn served(memory: &Memory) -> Option<String> {
    memory.model_history(Some("t")).await.expect("a history").served("t").map(str::to_owned)
}

fn events(memory: &Memory) -> usize {
    memory.events.lock().expect("no panic").len()
}

#[tokio::test]
async fn what_was_promoted_last_is_served_until_it_is_rolled_back() {
    let memory = Memory::default();
    let (first, verdict) = run(&memory, 7).await;
    assert!(verdict.is_served && verdict.reason.starts_with("chosen on "), "{verdict:?}");
    assert_eq!(run(&memory, 7).await, (first.clone(), verdict), "the same again");
    assert_eq!(events(&memory), 1);

    let (second, verdict) = run(&memory, 8).await;
    assert!(verdict.is_served && verdict.reason.starts_with("kept from "), "{verdict:?}");
    assert_eq!(run(&memory, 8).await.0, second, "made again, it comes after what it came after");
    let parent = memory.model_history(None).await.expect("a history").events[1].parent.clone();
    assert_eq!(
        (parent, served(&memory).await, events(&memory)),
        (Some(first.clone()), Some(second.clone()), 2)
    );

    let change = rollback("t", "it is too high", &memory).await.expect("a change");
    assert_eq!((change.served, change.was), (first.clone(), Some(second.clone())));
    let (again, verdict) = run(&memory, 8).await;
    assert_eq!(again, second);
    assert!(!verdict.is_served && verdict.reason.contains("it is too high"), "{verdict:?}");
    assert_eq!(served(&memory).await, Some(first.clone()));
    let refused = rollback("t", "", &memory).await.expect_err("nothing is left");
    assert!(refused.kind() == ErrorKind::NotFound && refused.to_string().contains("first"), "{refused}");

    // The operator's word stands above that.
    let change = promote(&second[..8], "it was right", &memory).await.expect("a change");
    assert_eq!((change.served, change.was), (second.clone(), Some(first)));
    let before = events(&memory);
    assert_eq!(promote(&second, "", &memory).await.expect("a change").was, Some(second.clone()));
    assert_eq!((events(&memory), served(&memory).await), (before, Some(second)));
}

#[tokio::test]
async fn intervals_that_hold_too_little_take_nobodys_place() {
    let memory = Memory::default();
    let poor = |mut made: Forecasts| {
        made.backtest = Backtest { coverage_80: Some(0.5), n: 1_000, ..made.backtest };
        made
    };
    let first = poor(made(&memory, &business(7), CONFIG).await);
    let verdict = settle(&first, &memory).await.expect("a verdict");
    assert!(verdict.is_served, "there is nothing better: {verdict:?}");
    let second = poor(made(&memory, &business(8), CONFIG).await);
    for _ in 0..2 {
        let verdict = settle(&second, &memory).await.expect("a verdict");
        assert!(!verdict.is_served && verdict.reason.contains("50.0 %"), "{verdict:?}");
    }
    assert_eq!((served(&memory).await, events(&memory)), (Some(first.model_version), 2));
}

#[tokio::test]
async fn versions_are_named_by_enough_of_their_digits() {
    let memory = Memory::default();
    for (version, tenant) in [("0123456789", "t"), ("0123456700", "u")] {
        let made = Forecasts {
            model_version: version.to_owned(),
            tenant: tenant.to_owned(),
            ..made(&memory, &business(7), CONFIG).await
        };
        assert!(settle(&made, &memory).await.expect("a verdict").is_served);
    }
    for (digits, kind, expected) in [
        ("0123456", ErrorKind::Invalid, "8 digits"),
        ("01234567", ErrorKind::Invalid, "several"),
        ("0123456788", ErrorKind::NotFound, "models list"),
    ] {
        let error = promote(digits, "", &memory).await.expect_err(digits);
        assert!(error.kind() == kind && error.to_string().contains(expected), "{error}");
    }
    assert_eq!(promote("012345678", "", &memory).await.expect("a change").tenant, "t");
    let error = rollback("nobody", "", &memory).await.expect_err("no model");
    assert!(error.to_string().contains("nobody"), "{error}");
}

#[tokio::test]
async fn another_configuration_begins_anew_and_still_has_a_parent() {
    let memory = Memory::default();
    let (first, _) = run(&memory, 7).await;
    let other = made(&memory, &business(8), ForecastConfig { horizon_days: 14, ..CONFIG }).await;
    assert_eq!((other.way, other.parent), (Way::First, Some(first)));
}
