//! The configuration: defaults < `intellicartel.toml` < `INTELLICARTEL__SECTION__KEY` < flags. Unknown keys are errors.
//!
//! Secrets come as a value or from a file, and are never shown: [`secret`] keeps them.

mod secret;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use domain::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::report::write_text;
pub(crate) use secret::Secret;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Action {
    /// Shows the configuration that is in effect, as TOML; of secrets, only where they come from.
    Print {
        /// Says so; secrets are left out in any case.
        #[arg(long)]
        redacted: bool,
    },
}

/// `--listen`, as every command that serves HTTP takes it.
#[derive(Debug, clap::Args)]
pub(crate) struct Listen {
    /// Where HTTP is served, an address of the loopback; short for --set http.listen=ADDR.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

impl Listen {
    /// The setting, if the flag was given.
    pub(crate) fn setting(&self) -> Option<Setting> {
        let value = self.listen.clone()?;
        Some(Setting { key: "http.listen".to_owned(), value })
    }
}

/// A setting that a flag gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    key: String,
    value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("write it as SECTION.KEY=VALUE")?;
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
        };
        if !key.split_once('.').is_some_and(|(section, key)| is_name(section) && is_name(key)) {
            return Err("write it as SECTION.KEY=VALUE, like http.listen=127.0.0.1:8090".to_owned());
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

/// All settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) kafka: Kafka,
    pub(crate) ingest: Ingest,
    pub(crate) lake: Lake,
    pub(crate) s3: S3,
    pub(crate) http: Http,
    pub(crate) maintenance: Maintenance,
    pub(crate) marts: Marts,
    pub(crate) forecast: Forecast,
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
    pub(crate) group: String,
    pub(crate) group_instance: String,
    pub(crate) flush_ms: u64,
    pub(crate) flush_bytes: usize,
    pub(crate) memory_cap_bytes: usize,
    pub(crate) duplicate_index_bytes: usize,
    pub(crate) batch_seconds: u64,
    pub(crate) stall_seconds: u64,
    pub(crate) error_budget: f64,
    pub(crate) error_budget_seconds: u64,
    pub(crate) error_budget_records: u64,
    pub(crate) pause_on_invalid_tenant: bool,
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
    pub(crate) access_key_id: Option<Secret>,
    pub(crate) secret_access_key: Option<Secret>,
    access_key_id_file: Option<PathBuf>,
    secret_access_key_file: Option<PathBuf>,
    pub(crate) allow_http: bool,
}

/// Where HTTP is served.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) listen: String,
}

/// How tables are kept in shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Maintenance {
    pub(crate) interval_ms: u64,
    pub(crate) lease_seconds: u64,
    pub(crate) memory_bytes: usize,
    pub(crate) small_files_cap: usize,
}

/// How the daily marts are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Marts {
    pub(crate) refresh_ms: u64,
}

/// When `serve` forecasts by itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Forecast {
    pub(crate) every_days: u16,
    pub(crate) horizon_days: u16,
}

impl Default for Forecast {
    fn default() -> Self {
        Self { every_days: 7, horizon_days: 28 }
    }
}

impl Default for Marts {
    fn default() -> Self {
        Self { refresh_ms: 20_000 }
    }
}

impl Default for Maintenance {
    fn default() -> Self {
        Self { interval_ms: 5_000, lease_seconds: 60, memory_bytes: 128 << 20, small_files_cap: 2_000 }
    }
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
            group: String::new(),
            group_instance: String::new(),
            flush_ms: 1_000,
            flush_bytes: 128 << 20,
            memory_cap_bytes: 384 << 20,
            duplicate_index_bytes: 128 << 20,
            batch_seconds: 3_600,
            stall_seconds: 60,
            error_budget: 0.01,
            error_budget_seconds: 600,
            error_budget_records: 100,
            pause_on_invalid_tenant: false,
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

/// The settings that are secrets; each may come from a file, named by its key with `_file` behind it.
const SECRETS: [&str; 2] = ["s3.access_key_id", "s3.secret_access_key"];

impl Config {
    /// Reads the layers; of the flags, a later one wins.
    ///
    /// # Errors
    /// Files that cannot be read, unknown settings, and values that are not usable.
    pub(crate) fn load(file: Option<&Path>, flags: impl IntoIterator<Item = Setting>) -> Result<Self> {
        let named = file.unwrap_or_else(|| Path::new(DEFAULT_FILE));
        let mut layers = config::Config::builder();
        if let Some(text) = file_layer(named, file.is_some())? {
            layers = layers.add_source(config::File::from_str(&text, config::FileFormat::Toml));
        }
        layers = layers.add_source(
            config::Environment::with_prefix("INTELLICARTEL").prefix_separator("__").separator("__"),
        );
        let refused = |error| {
            let error = explained(error);
            Error::invalid(format!(
                "configuration ({}, INTELLICARTEL__* and --set): {error}",
                named.display()
            ))
        };
        for Setting { key, value } in flags {
            if SECRETS.contains(&key.as_str()) {
                return Err(Error::invalid(format!(
                    "--set {key} would show a secret in the list of processes: use {}, or --set {key}_file=FILE",
                    secret::variable(&key)
                )));
            }
            layers = layers.set_override(key, value).map_err(refused)?;
        }
        let mut loaded: Self = layers.build().and_then(config::Config::try_deserialize).map_err(refused)?;
        loaded.s3.read_secrets()?;
        loaded.check()?;
        Ok(loaded)
    }

    fn check(&self) -> Result<()> {
        self.check_group()?;
        let least: usize = 16 << 20;
        let Ingest { memory_cap_bytes, duplicate_index_bytes, .. } = self.ingest;
        if memory_cap_bytes < least.saturating_add(duplicate_index_bytes) {
            return Err(Error::invalid(format!(
                "ingest.memory_cap_bytes is {memory_cap_bytes}: give at least {least} more than ingest.duplicate_index_bytes, which is {duplicate_index_bytes}"
            )));
        }
        if duplicate_index_bytes < 1 << 20 {
            return Err(Error::invalid(format!(
                "ingest.duplicate_index_bytes is {duplicate_index_bytes}: give at least {}, or sales that were sent twice are not known",
                1 << 20
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
        if !(0.0..=1.0).contains(&self.ingest.error_budget) || self.ingest.error_budget_seconds == 0 {
            return Err(Error::invalid(
                "ingest.error_budget is a share from 0 to 1, like 0.01, and ingest.error_budget_seconds must be above 0",
            ));
        }
        if !(1..=365).contains(&self.forecast.horizon_days) {
            return Err(Error::invalid(format!(
                "forecast.horizon_days is {}: give 1 to 365",
                self.forecast.horizon_days
            )));
        }
        let maintenance = &self.maintenance;
        if maintenance.interval_ms == 0 || maintenance.lease_seconds == 0 || maintenance.small_files_cap == 0
        {
            return Err(Error::invalid(
                "maintenance.interval_ms, maintenance.lease_seconds and maintenance.small_files_cap must be above 0",
            ));
        }
        if maintenance.memory_bytes < least {
            return Err(Error::invalid(format!(
                "maintenance.memory_bytes is {}: give at least {least}",
                maintenance.memory_bytes
            )));
        }
        if self.s3.access_key_id.is_some() != self.s3.secret_access_key.is_some() {
            return Err(Error::invalid(
                "s3.access_key_id and s3.secret_access_key go together: give both or none",
            ));
        }
        Ok(())
    }

    fn check_group(&self) -> Result<()> {
        let Ingest { group, group_instance, .. } = &self.ingest;
        let is_name =
            |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        for (key, value) in [("group", group), ("group_instance", group_instance)] {
            if value.len() > 100 || !is_name(value) {
                return Err(Error::invalid(format!(
                    "ingest.{key} `{value}` is not usable: give at most 100 of A-Z a-z 0-9 . _ -"
                )));
            }
        }
        if group.is_empty() && !group_instance.is_empty() {
            return Err(Error::invalid(format!(
                "ingest.group_instance is `{group_instance}`, but ingest.group is empty: name the group too, or leave both empty"
            )));
        }
        if !group.is_empty() && self.kafka.brokers == EMBEDDED {
            return Err(Error::invalid(format!(
                "ingest.group is `{group}`, but kafka.brokers is `{EMBEDDED}`, a broker for one process: give host:port,... of a cluster, or leave ingest.group empty"
            )));
        }
        Ok(())
    }

    /// Prints the settings in effect as TOML, without secrets.
    pub(crate) fn print(&self) -> Result<()> {
        write_text(&toml::to_string(self).map_err(|error| Error::internal(error.to_string()))?)
    }
}

impl S3 {
    fn read_secrets(&mut self) -> Result<()> {
        let [id, secret] = SECRETS;
        self.access_key_id = Secret::given(id, self.access_key_id.take(), self.access_key_id_file.take())?;
        self.secret_access_key =
            Secret::given(secret, self.secret_access_key.take(), self.secret_access_key_file.take())?;
        Ok(())
    }
}

/// The file's text, if there is a file; it is TOML. An error shows no line of it, for that may be a secret's.
fn file_layer(path: &Path, is_required: bool) -> Result<Option<String>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && !is_required => return Ok(None),
        Err(error) => return Err(Error::invalid(format!("configuration file {}: {error}", path.display()))),
    };
    match toml::from_str::<toml::Table>(&text) {
        Ok(_) => Ok(Some(text)),
        Err(error) => {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Err(Error::invalid(format!(
                "configuration file {}, line {line}: {}",
                path.display(),
                error.message()
            )))
        }
    }
}

/// The error, an unknown setting named as it is written everywhere else.
fn explained(error: config::ConfigError) -> String {
    use config::ConfigError::{At, Message};
    let unknown = |section: &str, message: &str| {
        let (field, rest) = message.strip_prefix("unknown field `")?.split_once('`')?;
        Some(format!("there is no setting `{section}{field}`{rest}"))
    };
    let named = match &error {
        Message(message) => unknown("", message),
        At { error, key: Some(section), .. } => unknown(&format!("{section}."), &error.to_string()),
        _ => None,
    };
    named.unwrap_or_else(|| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_flags_are_read_and_secrets_refused() {
        let setting: Setting = "lake.root=s3://a/b=c".parse().expect("a setting");
        assert_eq!(setting, Setting { key: "lake.root".to_owned(), value: "s3://a/b=c".to_owned() });
        for text in ["lake.root", "root=x", ".root=x", "lake.=x", "lake.root.x=y", "lake[0].root=x"] {
            let error = text.parse::<Setting>().expect_err(text);
            assert!(error.contains("SECTION.KEY=VALUE"), "{error}");
        }
        let secret = "s3.secret_access_key=hush".parse::<Setting>().expect("a setting");
        let error = Config::load(None, [secret]).expect_err("a secret").to_string();
        assert!(error.contains("INTELLICARTEL__S3__SECRET_ACCESS_KEY") && !error.contains("hush"), "{error}");
    }
}
