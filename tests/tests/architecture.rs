//! The crates depend on each other in one direction only, and heavy libraries are named where DESIGN allows it.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each of our crates may use of our crates.
const MAY_USE: [(&str, &[&str]); 9] = [
    ("domain", &[]),
    ("ingest", &["domain"]),
    ("lake", &["domain"]),
    ("engine", &["domain"]),
    ("models", &["domain"]),
    ("api", &["domain", "engine"]),
    ("cli", &["domain", "ingest", "lake", "engine", "models", "api"]),
    ("tests", &["domain", "ingest", "lake", "engine"]),
    ("benches", &["domain", "ingest", "lake", "engine", "models"]),
];

/// They stand outside of the product.
const EXEMPT: [&str; 2] = ["tests", "benches"];

/// Libraries that one crate alone may name.
const OWNERS: [(&str, &str); 8] = [
    ("deltalake", "lake"),
    ("buoyant_kernel", "lake"),
    ("object_store", "lake"),
    ("microlp", "models"),
    ("rdkafka", "ingest"),
    ("csv", "ingest"),
    ("axum", "api"),
    ("clap", "cli"),
];

/// All that `domain`, which does no I/O, may name.
const OF_DOMAIN: [&str; 12] = [
    "arrow-array",
    "arrow-schema",
    "async-trait",
    "chrono",
    "chrono-tz",
    "hashbrown",
    "serde",
    "serde_json",
    "thiserror",
    "twox-hash",
    "uuid",
    "vader-sentimental",
];

#[test]
fn crates_depend_in_one_direction() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo describes the workspace");
    let may_use: BTreeMap<_, BTreeSet<_>> =
        MAY_USE.into_iter().map(|(name, others)| (name, others.iter().copied().collect())).collect();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(ours, may_use.keys().copied().collect(), "a crate is missing in this test's list");
    for package in &metadata.packages {
        let name = package.name.as_str();
        for dependency in
            package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal)
        {
            let used = dependency.name.as_str();
            assert!(!ours.contains(used) || may_use[name].contains(used), "{name} may not use {used}");
            let owner = OWNERS.into_iter().find(|(library, _)| *library == used).map(|(_, owner)| owner);
            assert!(
                owner.is_none_or(|owner| owner == name || EXEMPT.contains(&name)),
                "{name} may not name {used}"
            );
            assert!(name != "domain" || OF_DOMAIN.contains(&used), "domain may not name {used}");
        }
    }
}
