//! Records of any feed, committed into a lake as ingest does it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use domain::feeds::RecordMetadata;
use domain::ids::Pipeline;
use domain::ports::{Append, Batch, CommitOutcome, RegisterLog};
use domain::position::{LogIdentity, PartitionRange, TopicState};
use domain::{Feed, civil};
use lake::{Lake, LakeOptions, StoreSettings};
use serde_json::Value;
use uuid::Uuid;

/// A lake, and where each feed's topic stands.
pub(crate) struct Feeder {
    pub(crate) lake: Arc<Lake>,
    pipeline: Pipeline,
    /// Log and next offset.
    next: HashMap<Feed, (i64, i64)>,
}

impl Feeder {
    pub(crate) async fn on(folder: &Path) -> Self {
        let root = folder.to_str().expect("a path of text").to_owned();
        let settings = StoreSettings { root, ..StoreSettings::default() };
        let lake = Lake::open(&settings, LakeOptions::Write).await.expect("the lake opens");
        Self { lake, pipeline: Pipeline::new("main").expect("a name"), next: HashMap::new() }
    }

    /// Commits records as one batch.
    pub(crate) async fn send(&mut self, feed: Feed, records: &[Value]) {
        let topic = feed.topic("retail");
        if !self.next.contains_key(&feed) {
            let identity = LogIdentity { cluster_id: "c".to_owned(), topic_id: feed.name().to_owned() };
            let known = TopicState::default();
            let (pipeline, topic, identity) = (&self.pipeline, topic.as_str(), &identity);
            let request = RegisterLog { feed, pipeline, topic, identity, known: &known, positions: &[] };
            let log = self.lake.register_log(request).await.expect("the first log");
            self.next.insert(feed, (log, 0));
        }
        let (log, from) = self.next[&feed];
        let mut builder = feed.builder();
        let mut next = from;
        for record in records {
            let metadata = RecordMetadata {
                topic: &topic,
                log,
                partition: 0,
                offset: next,
                timestamp: Some(civil::now()),
                ingested_at: civil::now(),
                history: false,
            };
            builder
                .push(Some(record.to_string().as_bytes()), &metadata, civil::now())
                .expect("a good record");
            next += 1;
        }
        let batch = Batch {
            id: Uuid::new_v4(),
            feed,
            pipeline: self.pipeline.clone(),
            topic,
            log,
            ranges: vec![PartitionRange { partition: 0, from: (from > 0).then_some(from), to: next }],
            dead_letters: Vec::new(),
            files: self.lake.stage(feed, builder.finish()).await.expect("the files are written"),
            max_age: std::time::Duration::from_secs(3_600),
            marks: None,
        };
        let outcome = self.lake.commit(&batch).await.expect("the store answers");
        assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
        self.next.insert(feed, (log, next));
    }
}
