//! Lakes in a folder whose rows are told in the tests, and answers as text.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod feeder;
pub(crate) mod world;

use std::path::Path;
use std::sync::Arc;

use domain::feeds::RecordMetadata;
use domain::ids::Pipeline;
use domain::ports::{Append, Batch, CommitOutcome, RegisterLog};
use domain::position::{LogIdentity, PartitionRange, TopicState};
use domain::{Feed, Principal, civil};
use engine::{Engine, EngineParts, EngineSettings, Limits, ObjectStoreUrl, Output, Summary, write_output};
use lake::catalog::LakeCatalog;
use lake::{Lake, LakeOptions, StoreSettings};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

const TOPIC: &str = "retail.sales.v1";

/// A row that both kinds of lakes agree on: who, where, which article, how much, when.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) tenant: &'static str,
    pub(crate) store: &'static str,
    pub(crate) sku: String,
    pub(crate) category: Option<String>,
    pub(crate) quantity: i64,
    pub(crate) day: i64,
}

/// A lake with a commit for each list of rows. A row that `keep` refuses leaves a gap at its offset, and everything else as it is.
pub(crate) async fn lake(folder: &Path, commits: &[Vec<Row>], keep: impl Fn(&Row) -> bool) -> Arc<Lake> {
    let root = folder.to_str().expect("a path of text").to_owned();
    let lake = Lake::open(&StoreSettings { root, ..StoreSettings::default() }, LakeOptions::Write).await;
    let lake = lake.expect("the lake opens");
    let pipeline = Pipeline::new("main").expect("a name");
    let identity = LogIdentity { cluster_id: "c".to_owned(), topic_id: "t".to_owned() };
    let known = TopicState::default();
    let request = RegisterLog {
        feed: Feed::Sales,
        pipeline: &pipeline,
        topic: TOPIC,
        identity: &identity,
        known: &known,
        positions: &[],
    };
    let log = lake.register_log(request).await.expect("the first log");
    let mut next = 0;
    for rows in commits {
        let from = next;
        let mut builder = Feed::Sales.builder();
        for row in rows {
            let offset = next;
            next += 1;
            if keep(row) {
                push(builder.as_mut(), row, log, offset);
            }
        }
        let files = lake.stage(Feed::Sales, builder.finish()).await.expect("the files are written");
        let batch = Batch {
            id: Uuid::new_v4(),
            feed: Feed::Sales,
            pipeline: pipeline.clone(),
            topic: TOPIC.to_owned(),
            log,
            ranges: vec![PartitionRange { partition: 0, from: (from > 0).then_some(from), to: next }],
            dead_letters: Vec::new(),
            files,
            marks: None,
            max_age: std::time::Duration::from_secs(3_600),
        };
        let outcome = lake.commit(&batch).await.expect("the store answers");
        assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
    }
    lake
}

fn push(builder: &mut dyn domain::feeds::FeedBuilder, row: &Row, log: i64, offset: i64) {
    let record: Value = json!({
        "tenant": row.tenant,
        "store": row.store,
        "transaction_id": format!("t{offset}"),
        "line": offset % 5 + 1,
        "sku": row.sku,
        "category": row.category,
        "quantity": row.quantity,
        "unit_price": format!("{}.25", offset % 9),
        "currency": "GBP",
        "kind": "sale",
        "occurred_at": format!("2010-{:02}-{:02}T10:00:{:02}Z", row.day / 28 + 1, row.day % 28 + 1, offset % 60),
    });
    let metadata = RecordMetadata {
        topic: TOPIC,
        log,
        partition: 0,
        offset,
        timestamp: Some(civil::EARLIEST + offset),
        // The same in every lake, as if the records had come at the same time.
        ingested_at: civil::EARLIEST + 1_000 * offset,
        history: false,
    };
    builder.push(Some(record.to_string().as_bytes()), &metadata, civil::now()).expect("a good record");
}

/// Bounds that no test meets by chance.
pub(crate) fn settings() -> EngineSettings {
    EngineSettings { memory_bytes: 256 << 20, query_memory_bytes: 128 << 20, ..EngineSettings::default() }
}

pub(crate) fn engine(lake: &Arc<Lake>, settings: EngineSettings) -> Engine {
    let (url, store) = lake.store().bucket();
    let url = ObjectStoreUrl::parse(url.as_str()).expect("the store's URL");
    let catalog = Arc::new(LakeCatalog::new(Arc::clone(lake)));
    let models = Arc::new(models::analysis::SeriesAnalysis);
    let parts = EngineParts { catalog, snapshots: Arc::clone(lake) as _, models, store: (url, store) };
    Engine::new(parts, settings).expect("an engine")
}

pub(crate) fn principal(text: &str) -> Principal {
    match text {
        "operator" => Principal::Operator,
        text => Principal::parse(text).expect("a principal"),
    }
}

/// The whole answer as CSV, with its summary.
pub(crate) async fn ask(
    engine: &Engine,
    who: &str,
    sql: &str,
    limits: Limits,
) -> domain::Result<(String, Summary)> {
    let answer = engine.session(principal(who)).query(sql, limits).await?;
    let mut written = Vec::new();
    let summary = write_output(answer, Output::Csv, &mut written).await?;
    Ok((String::from_utf8(written).expect("text"), summary))
}

/// The rows of an answer without its header.
pub(crate) async fn rows(engine: &Engine, who: &str, sql: &str) -> String {
    let (text, _) =
        ask(engine, who, sql, Limits::default()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    text.lines().skip(1).collect::<Vec<_>>().join(";")
}

/// The words of the error that a query must end with.
pub(crate) async fn refused(engine: &Engine, who: &str, sql: &str) -> domain::Error {
    match ask(engine, who, sql, Limits::default()).await {
        Err(error) => error,
        Ok((text, _)) => panic!("{sql} was answered:\n{text}"),
    }
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}
