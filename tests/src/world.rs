//! A world of its own for each test: a topic prefix, a lake, and the binary set up to use both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use domain::Feed;
use domain::ids::Pipeline;
use domain::position::TopicState;
use ingest::kafka::KafkaConfig;
use ingest::kafka::admin::Admin;
use ingest::produce::RecordProducer;
use lake::{Lake, LakeOptions, S3Settings, StoreSettings};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;

use crate::process::{Finished, Process};
use crate::service;

/// Longer than anything here takes on a slow machine; a test never waits so long unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// See the module.
#[derive(Debug)]
pub struct World {
    /// The first part of its topics.
    pub prefix: String,
    /// Its lake's root.
    pub root: String,
    folder: TempDir,
    settings: Vec<(String, Option<String>)>,
    runtime: tokio::runtime::Runtime,
}

impl World {
    /// With a lake in a folder.
    #[must_use]
    pub fn on_folder() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().join("lake").to_string_lossy().into_owned();
        Self::new(folder, root)
    }

    /// With a lake on S3.
    #[must_use]
    pub fn on_s3() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = format!("s3://{}/{}", service("INTELLICARTEL_TEST_BUCKET"), uuid::Uuid::new_v4());
        Self::new(folder, root)
    }

    fn new(folder: TempDir, root: String) -> Self {
        let prefix = format!("t{}", uuid::Uuid::new_v4().simple());
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let mut world =
            Self { prefix: prefix.clone(), root: root.clone(), folder, settings: Vec::new(), runtime };
        world.set("INTELLICARTEL__KAFKA__PREFIX", &prefix);
        world.set("INTELLICARTEL__LAKE__ROOT", &root);
        world.set("INTELLICARTEL__INGEST__FLUSH_MS", "200");
        // Models are made where a test asks for them.
        world.set("INTELLICARTEL__FORECAST__EVERY_DAYS", "0");
        world
    }

    /// Sets a variable of the environment for the processes of this world.
    pub fn set(&mut self, variable: &str, value: &str) {
        self.settings.push((variable.to_owned(), Some(value.to_owned())));
    }

    /// Takes a variable out of the environment of the processes of this world.
    pub fn unset(&mut self, variable: &str) {
        self.settings.push((variable.to_owned(), None));
    }

    /// A path for a test's own files.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The topic of the sales.
    #[must_use]
    pub fn topic(&self) -> String {
        Feed::Sales.topic(&self.prefix)
    }

    /// Starts the binary.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Process {
        self.start_with(arguments, &[])
    }

    /// Starts the binary with further variables in its environment.
    #[must_use]
    pub fn start_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Process {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.folder.path());
        for (variable, value) in &self.settings {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        command.envs(settings.iter().copied());
        Process::start(command, self.folder.path())
    }

    /// Runs the binary to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.start(arguments).finish(PATIENCE)
    }

    /// Reads all there is, and expects that to end well.
    ///
    /// # Panics
    /// When it does not.
    pub fn ingest_to_the_end(&self) -> Finished {
        self.run(&["ingest", "--feeds", "sales", "--until-end"]).expect_success()
    }

    /// A single value that SQL answers.
    ///
    /// # Panics
    /// When the query fails.
    #[must_use]
    pub fn sql(&self, query: &str) -> String {
        let answer = self.run(&["sql", query, "--output", "csv"]).expect_success().stdout;
        answer.lines().skip(1).collect::<Vec<_>>().join("\n")
    }

    /// How the servers are reached.
    #[must_use]
    pub fn kafka(&self) -> KafkaConfig {
        let brokers = service("INTELLICARTEL__KAFKA__BROKERS");
        KafkaConfig { brokers, prefix: self.prefix.clone(), embedded: false }
    }

    /// Creates the topic of the sales.
    ///
    /// # Panics
    /// When the cluster refuses.
    pub fn create_topic(&self, partitions: i32) {
        let admin = Admin::new(&self.kafka()).expect("an admin client");
        self.runtime.block_on(admin.ensure_topic(&self.topic(), partitions)).expect("the topic is created");
    }

    /// Gives the topic of the sales more partitions, so many in all, and waits until the cluster tells of them.
    ///
    /// # Panics
    /// When the cluster refuses.
    pub fn grow_topic(&self, partitions: usize) {
        let client: AdminClient<DefaultClientContext> =
            self.kafka().client().create().expect("an admin client");
        let topic = self.topic();
        let done = self
            .block_on(
                client.create_partitions([&NewPartitions::new(&topic, partitions)], &AdminOptions::new()),
            )
            .expect("the cluster answers");
        assert!(done.iter().all(Result::is_ok), "{done:?}");
        let begun = Instant::now();
        let told = || {
            let metadata = client.inner().fetch_metadata(Some(&topic), Duration::from_secs(10));
            let metadata = metadata.expect("the cluster answers");
            let led = metadata.topics()[0].partitions().iter().filter(|partition| partition.leader() >= 0);
            led.count() == partitions
        };
        while !told() {
            assert!(begun.elapsed() < PATIENCE, "the topic does not grow");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Deletes the topic of the sales, and waits until it is gone.
    ///
    /// # Panics
    /// When the cluster refuses.
    pub fn delete_topic(&self) {
        let admin = Admin::new(&self.kafka()).expect("an admin client");
        self.runtime.block_on(admin.delete_topic(&self.topic())).expect("the topic is deleted");
    }

    /// Whether the topic of the sales is not there, or holds nothing.
    ///
    /// # Panics
    /// When the cluster does not answer.
    #[must_use]
    pub fn topic_is_empty(&self) -> bool {
        let consumer: BaseConsumer = self.kafka().client().create().expect("a consumer");
        let watermarks = consumer.fetch_watermarks(&self.topic(), 0, Duration::from_secs(10));
        !watermarks.is_ok_and(|(_, high)| high > 0)
    }

    /// A producer.
    ///
    /// # Panics
    /// When the settings are wrong.
    #[must_use]
    pub fn producer(&self) -> RecordProducer {
        RecordProducer::new(&self.kafka()).expect("a producer")
    }

    /// Sends records to their feeds' topics, which are created with two partitions where they are not there.
    ///
    /// # Panics
    /// When the cluster refuses, or a record has no key.
    pub fn send(&self, records: &[(Feed, serde_json::Value)]) {
        let (admin, producer) = (Admin::new(&self.kafka()).expect("an admin client"), self.producer());
        let feeds: std::collections::BTreeSet<Feed> = records.iter().map(|(feed, _)| *feed).collect();
        for feed in feeds {
            let topic = feed.topic(&self.prefix);
            self.runtime.block_on(admin.ensure_topic(&topic, 2)).expect("the topic is created");
        }
        for (feed, record) in records {
            let record = record.to_string();
            let key = feed.key(record.as_bytes()).expect("a key");
            let (key, value) = (Some(key.as_bytes()), Some(record.as_bytes()));
            producer.send_raw(&feed.topic(&self.prefix), None, key, value, false).expect("it is sent");
        }
        producer.finish().expect("all is acknowledged");
    }

    /// Opens stores, in UTC and pounds, by tenant and store.
    ///
    /// # Panics
    /// When their records are not taken in.
    pub fn open_stores(&self, stores: &[(&str, &str)]) {
        let record = |(tenant, store): &(&str, &str)| {
            let record = serde_json::json!({"tenant": tenant, "store": store, "valid_from": "2020-01-01", "time_zone": "UTC",
                "currency": "GBP"});
            (Feed::Stores, record)
        };
        self.send(&stores.iter().map(record).collect::<Vec<_>>());
        let _ = self.run(&["ingest", "--feeds", "stores", "--until-end"]).expect_success();
    }

    /// The lake, opened for reading beside the processes, past any proxy that they use.
    ///
    /// # Panics
    /// When it cannot be opened.
    #[must_use]
    pub fn lake(&self) -> std::sync::Arc<Lake> {
        self.try_lake(LakeOptions::Read).expect("the lake can be read")
    }

    /// The lake, opened beside the processes, past any proxy that they use.
    ///
    /// # Errors
    /// Those of [`Lake::open`].
    pub fn try_lake(&self, options: LakeOptions) -> domain::Result<std::sync::Arc<Lake>> {
        let s3 = S3Settings {
            endpoint: Some(service("INTELLICARTEL__S3__ENDPOINT")),
            region: Some(service("INTELLICARTEL__S3__REGION")),
            access_key_id: Some(service("INTELLICARTEL__S3__ACCESS_KEY_ID")),
            secret_access_key: Some(service("INTELLICARTEL__S3__SECRET_ACCESS_KEY")),
            allow_http: true,
        };
        self.block_on(Lake::open(&StoreSettings { root: self.root.clone(), s3 }, options))
    }

    /// The newest version of the sales' table.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn sales_version(&self) -> u64 {
        let lake = self.lake();
        let table = lake.table("curated.sales").expect("ours");
        self.block_on(table.snapshot()).expect("a state").version()
    }

    /// Every key below the lake's root, sorted; nothing where a folder is not there.
    ///
    /// # Panics
    /// When they cannot be listed.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        use futures::TryStreamExt as _;
        if !self.root.contains("://") && !Path::new(&self.root).exists() {
            return Vec::new();
        }
        let lake = self.lake();
        let keys = lake.store().root().list(None).map_ok(|object| object.location.to_string());
        let mut keys: Vec<String> = self.block_on(keys.try_collect()).expect("the keys are listed");
        keys.sort();
        keys
    }

    /// What the table knows of the topic.
    ///
    /// # Panics
    /// When the table cannot be read.
    #[must_use]
    pub fn topic_state(&self) -> TopicState {
        use domain::ports::Append as _;
        let (lake, pipeline) = (self.lake(), Pipeline::new("main").expect("a name"));
        self.block_on(lake.topic_state(Feed::Sales, &pipeline, &self.topic())).expect("the table can be read")
    }

    /// Waits until the table's positions fulfil a condition, as an ingest beside it moves them.
    ///
    /// # Panics
    /// When they do not in time, or the ingest ends.
    pub fn await_positions(&self, ingest: &mut Process, is_met: impl Fn(&BTreeMap<i32, i64>) -> bool) {
        let begun = Instant::now();
        loop {
            // Until ingest has created it there is no lake, or no table.
            let lake = self.try_lake(LakeOptions::Read);
            let log = lake.and_then(|lake| self.block_on(lake.table("curated.sales")?.snapshot()));
            let transactions = log.iter().flat_map(|log| log.transactions());
            let positions = transactions.filter(|(id, _)| id.starts_with("main/"));
            let partition = |id: &str| id.rsplit('/').next()?.parse().ok();
            let positions = positions.filter_map(|(id, to)| Some((partition(id)?, *to))).collect();
            if is_met(&positions) {
                return;
            }
            assert!(ingest.is_running(), "{}", ingest.log());
            assert!(begun.elapsed() < PATIENCE, "it stays at {positions:?}: {}", ingest.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stores another position for partition 0, past the checks that `accept-log` makes.
    ///
    /// # Panics
    /// When the table cannot be written.
    pub fn set_position(&self, next: i64) {
        use domain::ports::{Append as _, RegisterLog};
        let settings = StoreSettings { root: self.root.clone(), s3: S3Settings::default() };
        let lake = self.block_on(Lake::open(&settings, LakeOptions::Write)).expect("the lake can be written");
        let pipeline = Pipeline::new("main").expect("a name");
        let known = self.topic_state();
        let request = RegisterLog {
            feed: Feed::Sales,
            pipeline: &pipeline,
            topic: &self.topic(),
            identity: &known.current("main").expect("a log is registered").identity,
            known: &known,
            positions: &[(0, next)],
        };
        self.block_on(lake.register_log(request)).expect("the position is stored");
    }

    /// Makes the cluster forget partition 0's records before an offset, as its retention does.
    ///
    /// # Panics
    /// When the cluster refuses.
    pub fn delete_records_before(&self, offset: i64) {
        let client: AdminClient<DefaultClientContext> =
            self.kafka().client().create().expect("an admin client");
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.topic(), 0, Offset::Offset(offset)).expect("a partition");
        let done = self
            .block_on(client.delete_records(&offsets, &AdminOptions::new()))
            .expect("the cluster answers");
        assert!(done.elements().iter().all(|element| element.error().is_ok()), "{done:?}");
    }

    /// Removes the files of the sales' folder that no version of the table names, whatever their age: a vacuum at its worst. Gives their number.
    ///
    /// # Panics
    /// When the lake is not in a folder, or a file cannot be removed.
    pub fn sweep_unreferenced_files(&self) -> usize {
        let table = Path::new(&self.root).join("lake/curated/sales");
        let log =
            self.block_on(self.lake().table("curated.sales").expect("ours").snapshot()).expect("a state");
        let mut swept = 0;
        for period in std::fs::read_dir(&table).expect("the table's folder").flatten() {
            let name = period.file_name().to_string_lossy().into_owned();
            for file in std::fs::read_dir(period.path()).into_iter().flatten().flatten() {
                let path = format!("{name}/{}", file.file_name().to_string_lossy());
                if name.starts_with("period=") && !log.files().contains_key(&path) {
                    std::fs::remove_file(file.path()).expect("the file is removed");
                    swept += 1;
                }
            }
        }
        swept
    }

    /// Runs a future on the world's runtime.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

/// The binary, which lies beside the tests in the target folder.
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let debug = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    debug.join("intellicartel")
}
