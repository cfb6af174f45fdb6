//! A topic and a lake of its own for each run, and the binary set up to use both.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::ids::Pipeline;
use domain::ports::Append as _;
use domain::{ErrorKind, Feed};
use engine::{Engine, EngineParts, EngineSettings, ObjectStoreUrl};
use ingest::kafka::KafkaConfig;
use ingest::kafka::admin::Admin;
use lake::catalog::LakeCatalog;
use lake::{Lake, LakeOptions, S3Settings, StoreSettings};
use tempfile::TempDir;

pub(crate) const PARTITIONS: i32 = 4;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Where a lake lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    Folder,
    S3,
}

impl std::fmt::Display for Ground {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Folder => "folder",
            Self::S3 => "SeaweedFS",
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) prefix: String,
    pub(crate) runtime: tokio::runtime::Runtime,
    root: String,
    folder: TempDir,
}

/// What `scripts/services env` exports.
pub(crate) fn service(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run `make bench`"))
}

/// A process of `scripts/services`, by its name.
pub(crate) fn server(name: &str) -> u32 {
    let file = PathBuf::from(service("INTELLICARTEL_SERVICES")).join(format!("{name}.pid"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.trim().parse().expect("a process id")
}

impl Place {
    pub(crate) fn new(ground: Ground, prefix: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = match ground {
            Ground::Folder => folder.path().join("lake").to_string_lossy().into_owned(),
            Ground::S3 => format!("s3://{}/{}", service("INTELLICARTEL_TEST_BUCKET"), uuid::Uuid::new_v4()),
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        Self { prefix: prefix.to_owned(), root, folder, runtime }
    }

    /// A prefix that no other run has.
    pub(crate) fn fresh_prefix() -> String {
        format!("b{}", uuid::Uuid::new_v4().simple())
    }

    pub(crate) fn topic(&self) -> String {
        Feed::Sales.topic(&self.prefix)
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) fn kafka(&self) -> KafkaConfig {
        let brokers = service("INTELLICARTEL__KAFKA__BROKERS");
        KafkaConfig { brokers, prefix: self.prefix.clone(), embedded: false }
    }

    pub(crate) fn create_topic(&self) {
        let admin = Admin::new(&self.kafka()).expect("an admin client");
        let created = self.runtime.block_on(admin.ensure_topic(&self.topic(), PARTITIONS));
        created.expect("the topic is created");
    }

    /// Starts the binary; its log goes to a file in the folder.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let own = std::env::current_exe().expect("the path of this program");
        let mut command = Command::new(own.with_file_name("intellicartel"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("INTELLICARTEL__KAFKA__PREFIX", &self.prefix)
            .env("INTELLICARTEL__LAKE__ROOT", &self.root);
        self.spawn(command)
    }

    pub(crate) fn spawn(&self, mut command: Command) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.log());
        let log = log.expect("a file for the log");
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        spawned.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The lake, for reading, once the first ingest has created it.
    pub(crate) fn lake(&self) -> Arc<Lake> {
        let s3 = S3Settings {
            endpoint: Some(service("INTELLICARTEL__S3__ENDPOINT")),
            region: Some(service("INTELLICARTEL__S3__REGION")),
            access_key_id: Some(service("INTELLICARTEL__S3__ACCESS_KEY_ID")),
            secret_access_key: Some(service("INTELLICARTEL__S3__SECRET_ACCESS_KEY")),
            allow_http: true,
        };
        let settings = StoreSettings { root: self.root.clone(), s3 };
        let begun = Instant::now();
        loop {
            let lake = self.runtime.block_on(Lake::open(&settings, LakeOptions::Read));
            match lake.and_then(|lake| Ok((self.runtime.block_on(lake.exists())?, lake))) {
                Ok((true, lake)) => return lake,
                Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
            assert!(begun.elapsed() < PATIENCE, "no lake came; the log is {}", self.log().display());
        }
    }

    /// How many records a feed's table covers.
    pub(crate) fn covered(&self, lake: &Lake, feed: Feed) -> i64 {
        let pipeline = Pipeline::new("main").expect("a name");
        let state = self.runtime.block_on(lake.topic_state(feed, &pipeline, &feed.topic(&self.prefix)));
        state.expect("the table can be read").next_offsets.values().sum()
    }
}

/// Answers questions over a lake, with the memory that the binary allows itself.
pub(crate) fn engine(lake: &Arc<Lake>) -> Engine {
    let (url, store) = lake.store().bucket();
    let url = ObjectStoreUrl::parse(url.as_str()).expect("the store's URL");
    let catalog = Arc::new(LakeCatalog::new(Arc::clone(lake)));
    let models = Arc::new(models::analysis::SeriesAnalysis);
    let parts = EngineParts { catalog, snapshots: Arc::clone(lake) as _, models, store: (url, store) };
    Engine::new(parts, EngineSettings::default()).expect("an engine")
}
