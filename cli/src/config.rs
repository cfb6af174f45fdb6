//! The configuration: defaults < `intellicartel.toml` < `INTELLICARTEL__SECTION__KEY`. Unknown keys are errors.

use std::io::Write;
use std::path::Path;

use domain::{Error, Result};
use serde::{Deserialize, Serialize};

/// All settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) kafka: Kafka,
    pub(crate) ingest: Ingest,
    pub(crate) lake: Lake,
    pub(crate) s3: S3,
    pub(crate) http: Http,
}

/// How Kafka is reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Kafka {
    pub(crate) brokers: String,
    pub(crate) prefix: String,
}

/// How feeds are read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ingest {
    pub(crate) pipeline: String,
    pub(crate) flush_ms: u64,
    pub(crate) flush_bytes: usize,
    pub(crate) memory_cap_bytes: usize,
    pub(crate) batch_seconds: u64,
    pub(crate) stall_seconds: u64,
}

/// Where the tables lie.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Lake {
    pub(crate) root: String,
}

/// How S3 is reached; absent values come from the environment and the machine's role.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct S3 {
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) access_key_id: Option<String>,
    pub(crate) secret_access_key: Option<String>,
    pub(crate) allow_http: bool,
}

/// Where HTTP is served.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) listen: String,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8080".to_owned() }
    }
}

impl Default for Kafka {
    fn default() -> Self {
        Self { brokers: EMBEDDED.to_owned(), prefix: "intellicartel".to_owned() }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            pipeline: "main".to_owned(),
            flush_ms: 1_000,
            flush_bytes: 128 << 20,
            memory_cap_bytes: 384 << 20,
            batch_seconds: 3_600,
            stall_seconds: 60,
        }
    }
}

impl Default for Lake {
    fn default() -> Self {
        Self { root: "intellicartel-data".to_owned() }
    }
}

/// The value of `kafka.brokers` that stands for the broker inside the demo.
pub(crate) const EMBEDDED: &str = "embedded";

const DEFAULT_FILE: &str = "intellicartel.toml";

impl Config {
    /// Reads the layers.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self> {
        let named = file.unwrap_or_else(|| Path::new(DEFAULT_FILE));
        let layers = config::Config::builder()
            .add_source(config::File::from(named).format(config::FileFormat::Toml).required(file.is_some()))
            .add_source(
                config::Environment::with_prefix("INTELLICARTEL").prefix_separator("__").separator("__"),
            );
        let loaded: Self = layers.build().and_then(config::Config::try_deserialize).map_err(|error| {
            Error::invalid(format!("configuration ({} and INTELLICARTEL__*): {error}", named.display()))
        })?;
        loaded.check()?;
        Ok(loaded)
    }

    fn check(&self) -> Result<()> {
        let least = 16 << 20;
        if self.ingest.memory_cap_bytes < least {
            return Err(Error::invalid(format!(
                "ingest.memory_cap_bytes is {}: give at least {least}",
                self.ingest.memory_cap_bytes
            )));
        }
        if self.ingest.flush_bytes == 0 || self.ingest.flush_ms == 0 {
            return Err(Error::invalid("ingest.flush_bytes and ingest.flush_ms must be above 0"));
        }
        if !(1..=3_600).contains(&self.ingest.batch_seconds) {
            return Err(Error::invalid(format!(
                "ingest.batch_seconds is {}: give 1 to 3600, for vacuum may take the files of an older batch",
                self.ingest.batch_seconds
            )));
        }
        if self.s3.access_key_id.is_some() != self.s3.secret_access_key.is_some() {
            return Err(Error::invalid(
                "s3.access_key_id and s3.secret_access_key go together: give both or none",
            ));
        }
        Ok(())
    }

    /// Prints the settings in effect as TOML, the secret left out.
    pub(crate) fn print(&self) -> Result<()> {
        let mut shown = self.clone();
        if shown.s3.secret_access_key.is_some() {
            shown.s3.secret_access_key = Some("(set)".to_owned());
        }
        let text = toml::to_string(&shown).map_err(|error| Error::internal(error.to_string()))?;
        std::io::stdout().write_all(text.as_bytes()).map_err(|error| Error::internal(error.to_string()))
    }
}
