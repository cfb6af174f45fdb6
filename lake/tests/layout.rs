//! What a start refuses, and what it leaves alone: lakes and tables of other releases, and tables that another engine has changed.

mod support;

use std::path::Path;

use domain::ports::Append;
use domain::{ErrorKind, Feed};
use futures::future::join_all;
use lake::{Lake, LakeOptions};
use serde_json::{Value, json};
use support::*;

const SALES_LOG: &str = "lake/curated/sales/_delta_log";

/// Changes the lines of a table's first log entry.
fn edit_first_entry(folder: &Path, change: impl Fn(&mut Value)) {
    let path = folder.join(SALES_LOG).join(format!("{:020}.json", 0));
    let text = std::fs::read_to_string(&path).expect("the first entry");
    let lines = text.lines().map(|line| {
        let mut action: Value = serde_json::from_str(line).expect("an action");
        change(&mut action);
        action.to_string()
    });
    let lines: Vec<String> = lines.collect();
    assert_ne!(text, lines.join("\n"), "nothing was changed");
    std::fs::write(&path, lines.join("\n")).expect("the entry is written");
}

fn set_property(folder: &Path, name: &str, value: &str) {
    edit_first_entry(folder, |action| {
        if action.get("metaData").is_some() {
            action["metaData"]["configuration"][name] = value.into();
        }
    });
}

fn set_features(folder: &Path, feature: &str) {
    edit_first_entry(folder, |action| {
        if action.get("protocol").is_some() {
            *action = protocol_with(feature);
        }
    });
}

fn protocol_with(feature: &str) -> Value {
    json!({"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": [feature], "writerFeatures": [feature],
    }})
}

/// A start in both modes fails as incompatible, with these words; the reader fails at the table, if not at the opening.
async fn is_refused(folder: &Path, words: &[&str]) {
    let error = refusal(folder).await;
    assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
    assert!(words.iter().all(|word| error.to_string().contains(word)), "{words:?} in: {error}");

    let reader = Lake::open(&settings(folder), LakeOptions::Read).await.expect("nothing is checked yet");
    let error = reader.table(SALES).expect("a table").snapshot().await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
}

/// A dangling link is a key that cannot be created and is not there: what S3 shows for a moment when it answers 409 to a create.
#[tokio::test]
async fn a_conflict_that_nobody_caused_is_tried_again() {
    let folder = folder();
    let layout = folder.path().join("lake/_layout.json");
    std::fs::create_dir_all(folder.path().join("lake")).expect("a folder");
    std::os::unix::fs::symlink(folder.path().join("nowhere"), &layout).expect("a link");
    let error = refusal(folder.path()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("reports a conflict"), "{error}");

    let (lake, ()) = tokio::join!(open(folder.path()), async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        std::fs::remove_file(&layout).expect("removed");
    });
    assert!(lake.exists().await.expect("it can be asked"));
}

#[tokio::test]
async fn another_layout_is_refused_by_its_number() {
    let folder = folder();
    drop(lake_with_log(folder.path()).await);
    let path = folder.path().join("lake/_layout.json");
    let stored = std::fs::read_to_string(&path).expect("the layout");
    let mut layout: Value = serde_json::from_str(&stored).expect("JSON");
    assert_eq!(layout["layout"], 1);
    layout["layout"] = 99.into();
    layout["created_by"] = "intellicartel 9.0.0".into();
    std::fs::write(&path, layout.to_string()).expect("written");
    let error = refusal(folder.path()).await;
    assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
    let words = ["layout 99", "intellicartel 9.0.0", "knows 1", "lake.root"];
    assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    assert_eq!(
        std::fs::read_to_string(&path).expect("the layout"),
        layout.to_string(),
        "it is left as it was"
    );

    std::fs::write(&path, stored).expect("written");
    assert_eq!(topic_state(&*open(folder.path()).await).await.logs.len(), 1);
}

#[tokio::test]
async fn a_layout_that_is_none_is_refused_by_its_path() {
    for garbage in ["", "garbage", "[]", "{}", r#"{"layout":"1"}"#, "\u{0}"] {
        let folder = folder();
        std::fs::create_dir(folder.path().join("lake")).expect("a folder");
        std::fs::write(folder.path().join("lake/_layout.json"), garbage).expect("written");
        let error = refusal(folder.path()).await;
        assert_eq!(error.kind(), ErrorKind::Incompatible, "{garbage:?}: {error}");
        assert!(error.to_string().contains("lake/_layout.json"), "{garbage:?}: {error}");
        assert!(!folder.path().join(SALES_LOG).exists(), "no table is created in a lake that is refused");
    }
}

#[tokio::test]
async fn a_table_under_another_contract_is_refused() {
    let folder = folder();
    drop(open(folder.path()).await);
    set_property(folder.path(), "intellicartel.contract", "1");
    is_refused(folder.path(), &["curated.sales", "intellicartel.contract is 1", "knows 4"]).await;
}

#[tokio::test]
async fn a_table_that_is_not_ours_is_refused() {
    let folder = folder();
    drop(open(folder.path()).await);
    edit_first_entry(folder.path(), |action| {
        if action.get("metaData").is_some() {
            action["metaData"]["configuration"] = json!({});
        }
    });
    is_refused(folder.path(), &["curated.sales", "intellicartel.contract", "lake.root"]).await;
}

#[tokio::test]
async fn features_of_other_engines_are_refused_by_name() {
    for feature in ["deletionVectors", "columnMapping", "v2Checkpoint", "timestampNtz"] {
        let folder = folder();
        drop(open(folder.path()).await);
        set_features(folder.path(), feature);
        is_refused(folder.path(), &["curated.sales", feature]).await;
    }
}

#[tokio::test]
async fn protocols_that_bring_features_without_naming_them_are_refused() {
    for (reader, writer) in [(1, 3), (1, 4), (2, 5), (2, 6)] {
        let folder = folder();
        drop(open(folder.path()).await);
        edit_first_entry(folder.path(), |action| {
            if action.get("protocol").is_some() {
                *action = json!({"protocol": {"minReaderVersion": reader, "minWriterVersion": writer}});
            }
        });
        is_refused(folder.path(), &["curated.sales", &format!("reader {reader} and writer {writer}")]).await;
    }
}

#[tokio::test]
async fn positions_that_expire_are_refused() {
    let folder = folder();
    drop(open(folder.path()).await);
    set_property(folder.path(), "delta.setTransactionRetentionDuration", "interval 7 days");
    is_refused(folder.path(), &["curated.sales", "delta.setTransactionRetentionDuration"]).await;
}

#[tokio::test]
async fn a_feature_turned_on_under_an_open_lake_stops_its_commits() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    must_commit(&lake, &Draft::new(1).range(0, None, 10).stage(&lake).await).await;
    let batch = Draft::new(1).range(0, 10, 20).stage(&lake).await;
    let next = version(&lake, SALES).await + 1;
    std::fs::write(entry(&lake, SALES, next), protocol_with("deletionVectors").to_string()).expect("written");
    for _ in 0..2 {
        let error = lake.commit(&batch).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
        assert!(error.to_string().contains("deletionVectors"), "{error}");
        assert!(!entry(&lake, SALES, next + 1).exists(), "nothing is committed on top of it");
    }
    let error = lake.topic_state(FEED, &pipeline(), TOPIC).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_start_at_once_create_one_lake() {
    let folder = folder();
    let lakes = join_all((0..8).map(|_| {
        let settings = settings(folder.path());
        tokio::spawn(async move { Lake::open(&settings, LakeOptions::Write).await.expect("the lake opens") })
    }));
    for lake in lakes.await {
        let lake = lake.expect("no panic");
        for table in lake.tables().keys() {
            assert_eq!(version(&lake, table).await, 0, "{table}");
        }
    }
}

#[tokio::test]
async fn a_lake_opened_again_is_left_as_it_was() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    must_commit(&lake, &Draft::new(1).range(0, None, 10).bad([(0, 3)]).stage(&lake).await).await;
    let layout = folder.path().join("lake/_layout.json");
    let before = (version(&lake, SALES).await, version(&lake, LETTERS).await);
    let written = std::fs::read(&layout).expect("the layout");
    let again = open(folder.path()).await;
    assert_eq!((version(&again, SALES).await, version(&again, LETTERS).await), before);
    assert_eq!(std::fs::read(&layout).expect("the layout"), written);
    let probes = std::fs::read_dir(folder.path().join("_probe")).map_or(0, Iterator::count);
    assert_eq!(probes, 0, "a probe removes what it wrote");
}

#[tokio::test]
async fn a_reader_writes_nothing() {
    let folder = folder();
    let reader = Lake::open(&settings(folder.path()), LakeOptions::Read).await.expect("it opens");
    assert!(!reader.exists().await.expect("the store answers"));
    let error = reader.table(SALES).expect("a table").snapshot().await.expect_err("no table yet");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the root").count(), 0);

    // A root that is not there, perhaps mistyped, is told and not created.
    let mistyped = folder.path().join("intelicartel-data");
    let error = Lake::open(&settings(&mistyped), LakeOptions::Read).await.expect_err("no such folder");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(
        ["lake.root", "intelicartel-data"].iter().all(|word| error.to_string().contains(word)),
        "{error}"
    );
    assert!(!mistyped.exists());

    // What a writer creates and commits later, the same reader sees.
    let lake = lake_with_log(folder.path()).await;
    must_commit(&lake, &Draft::new(1).range(0, None, 10).stage(&lake).await).await;
    assert!(reader.exists().await.expect("the store answers"));
    assert_eq!(coordinates(&reader, SALES).await, range(0, 0..10));
}

#[tokio::test]
async fn a_table_that_is_not_there_is_told_with_those_that_are() {
    let folder = folder();
    let error = open(folder.path()).await.table("curated.sale").expect_err("no such table").to_string();
    assert!([SALES, LETTERS, "`curated.sale`"].iter().all(|word| error.contains(word)), "{error}");
}

#[tokio::test]
async fn tables_say_what_they_are_and_keep_their_commits() {
    let folder = folder();
    drop(open(folder.path()).await);
    let text = std::fs::read_to_string(folder.path().join(SALES_LOG).join(format!("{:020}.json", 0)));
    let text = text.expect("the first entry");
    let actions: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("an action")).collect();
    let metadata = actions.iter().find_map(|action| action.get("metaData")).expect("metadata");
    assert_eq!(metadata["description"], Feed::Sales.comment());
    assert_eq!(metadata["partitionColumns"], json!(["period"]));
    let schema: Value =
        serde_json::from_str(metadata["schemaString"].as_str().expect("a text")).expect("JSON");
    let fields = schema["fields"].as_array().expect("fields");
    let comments = fields.iter().map(|field| (field["name"].clone(), field["metadata"]["comment"].clone()));
    let mut expected: Vec<(Value, Value)> =
        Feed::Sales.columns().iter().map(|column| (column.name.into(), column.comment.into())).collect();
    expected.push(("period".into(), "UTC month by which files are kept apart, YYYY-MM".into()));
    assert_eq!(comments.collect::<Vec<_>>(), expected);

    let property = |name: &str| metadata["configuration"][name].as_str();
    assert_eq!(property("intellicartel.contract"), Some("4"));
    assert_eq!(property("delta.enableExpiredLogCleanup"), Some("false"));
    assert_eq!(property("delta.deletedFileRetentionDuration"), Some("interval 1 days"));
    assert_eq!(property("delta.logRetentionDuration"), Some("interval 1 days"));
    assert_eq!(property("delta.setTransactionRetentionDuration"), None);
}
