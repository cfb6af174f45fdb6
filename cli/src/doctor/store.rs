//! The bucket or folder under `lake.root`: whether it can hold a lake, whether one is there, and whether its clock is this machine's.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use domain::{Error, ErrorKind, Result};
use lake::maintenance::status::ToDo;
use lake::{Inspection, LakeOptions};
use tokio::time::Instant;

use super::machine::{existing_ancestor, writable};
use super::{Finding, PATIENCE, blocking, within};
use crate::config::Config;
use crate::wire;

const STORE: &str = "store";
const LAKE: &str = "lake";
const CLOCK: &str = "clock";

/// Differences of clocks that are worth a word, and that stop the work: S3 refuses requests that are far off.
const NOTABLE_SKEW: TimeDelta = TimeDelta::seconds(5);
const FATAL_SKEW: TimeDelta = TimeDelta::minutes(5);

/// Years that a clock which was never set does not show.
const PLAUSIBLE_YEARS: std::ops::Range<i32> = 2025..2100;

const SET_CLOCK: &str = "set this machine's clock, and let NTP keep it (`timedatectl set-ntp true`)";
const NO_LAKE: &str = "no lake yet: `intellicartel ingest` creates it";

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let inspection = match Inspection::open(&wire::store(config)) {
        Ok(inspection) => inspection,
        Err(error) if error.kind() == ErrorKind::NotFound => return folder_to_come(config).await,
        Err(error) => return unusable(config, &error),
    };
    let begun = Instant::now();
    let lake = match within(PATIENCE, inspection.has_lake()).await {
        Err(error) if error.kind() != ErrorKind::Incompatible => return unusable(config, &error),
        answered => answered,
    };
    let probed = within(PATIENCE.saturating_sub(begun.elapsed()), inspection.probe()).await;
    let upkeep = match &lake {
        Ok(true) => Some(upkeep(config, PATIENCE.saturating_sub(begun.elapsed())).await),
        _ => None,
    };
    let found = [store(config, &probed), lake_found(lake), clock(Utc::now(), probed.ok())];
    found.into_iter().chain(upkeep).collect()
}

/// What `status` says of the tables.
async fn upkeep(config: &Config, patience: Duration) -> Finding {
    const CHECK: &str = "upkeep";
    let looked = async {
        let lake = wire::lake(config, LakeOptions::Read).await?;
        lake::maintenance::status::status(&lake).await
    };
    let status = match within(patience, looked).await {
        Ok(status) => status,
        Err(error) => return Finding::warning(CHECK, error.to_string(), "intellicartel status"),
    };
    let to_do = status.to_do(config.maintenance.small_files_cap);
    if to_do.is_empty() {
        let leader = status.leader().map_or("nobody", |leader| leader.process.as_str());
        return Finding::ok(
            CHECK,
            format!("{} tables are within their limits; {leader} maintains them", status.tables.len()),
        );
    }
    let joined =
        |of: fn(&ToDo) -> &String, between| to_do.iter().map(of).cloned().collect::<Vec<_>>().join(between);
    Finding::warning(CHECK, joined(|to_do| &to_do.what, "; "), joined(|to_do| &to_do.command, "; "))
}

fn store(config: &Config, probed: &Result<TimeDelta>) -> Finding {
    let root = &config.lake.root;
    match probed {
        Ok(_) => {
            Finding::ok(STORE, format!("{root} can be read and written, of concurrent creates one wins"))
        }
        Err(error) => Finding::failed(STORE, format!("{root}: {error}"), fix(config)),
    }
}

fn lake_found(lake: Result<bool>) -> Finding {
    match lake {
        Ok(true) => Finding::ok(LAKE, format!("a lake of layout {} is there", lake::layout::LAYOUT_VERSION)),
        Ok(false) => Finding::ok(LAKE, NO_LAKE),
        Err(error) => Finding::failed(
            LAKE,
            error.to_string(),
            "use the release that fits, or another lake.root (INTELLICARTEL__LAKE__ROOT)",
        ),
    }
}

/// The clock, with how far the store's is ahead where that is known.
fn clock(now: DateTime<Utc>, ahead: Option<TimeDelta>) -> Finding {
    let shown = now.format("%Y-%m-%dT%H:%M:%SZ");
    if !PLAUSIBLE_YEARS.contains(&now.year()) {
        return Finding::failed(CLOCK, format!("it is {shown} here, which cannot be"), SET_CLOCK);
    }
    let Some(ahead) = ahead else {
        return Finding::warning(
            CLOCK,
            format!("it is {shown} here; not compared with the store's"),
            "mend the store first",
        );
    };
    let direction = if ahead < TimeDelta::zero() { "behind" } else { "ahead" };
    let found =
        format!("it is {shown} here, the store's clock is {} s {direction}", ahead.num_seconds().abs());
    match ahead.abs() {
        skew if skew > FATAL_SKEW => Finding::failed(CLOCK, found, SET_CLOCK),
        skew if skew > NOTABLE_SKEW => Finding::warning(CLOCK, found, SET_CLOCK),
        _ => Finding::ok(CLOCK, format!("it is {shown} here, and the same in the store")),
    }
}

/// A folder that is not there is well if it can be created.
async fn folder_to_come(config: &Config) -> Vec<Finding> {
    let root = config.lake.root.clone();
    let parent = blocking(move || {
        let parent = existing_ancestor(Path::new(&root));
        let refused = |error| Error::invalid(format!("{}: {error}", parent.display()));
        writable(&parent).map_err(refused).map(|()| parent)
    });
    let store = match parent.await {
        Ok(parent) => {
            Finding::ok(STORE, format!("{} can be created in {}", config.lake.root, parent.display()))
        }
        Err(error) => {
            Finding::failed(STORE, format!("{} cannot be created: {error}", config.lake.root), fix(config))
        }
    };
    vec![store, Finding::ok(LAKE, NO_LAKE), clock(Utc::now(), Some(TimeDelta::zero()))]
}

fn unusable(config: &Config, error: &Error) -> Vec<Finding> {
    let store = Finding::failed(STORE, error.to_string(), fix(config));
    let lake = Finding::warning(LAKE, "not looked for: the store cannot be used", "mend the store first");
    vec![store, lake, clock(Utc::now(), None)]
}

fn fix(config: &Config) -> String {
    let root = "lake.root (INTELLICARTEL__LAKE__ROOT)";
    if !config.lake.root.starts_with("s3://") {
        return format!("give the folder to this user, or choose another {root}");
    }
    let endpoint = config.s3.endpoint.as_deref().unwrap_or("AWS's own");
    format!(
        "mend the one that is named: {root}, s3.endpoint (it is {endpoint}), s3.region, s3.access_key_id, s3.secret_access_key; `intellicartel config` shows what is in effect"
    )
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn clocks_are_judged_by_their_difference_and_their_year() {
        let now: DateTime<Utc> = "2026-01-31T08:00:00Z".parse().expect("an instant");
        let never_set: DateTime<Utc> = "1970-01-01T00:10:00Z".parse().expect("an instant");
        for (now, ahead, status) in [
            (now, Some(TimeDelta::seconds(5)), Status::Ok),
            (now, Some(TimeDelta::seconds(-6)), Status::Warning),
            (now, Some(TimeDelta::seconds(301)), Status::Failed),
            (now, None, Status::Warning),
            (never_set, Some(TimeDelta::zero()), Status::Failed),
        ] {
            assert_eq!(clock(now, ahead).status, status, "{now} {ahead:?}");
        }
        assert!(clock(now, Some(TimeDelta::seconds(-6))).found.contains("6 s behind"));
    }
}
