//! The object store under a lake: a folder or an S3 bucket, with time-outs and bounded retries.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use domain::{Error, ErrorKind, Result};
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use crate::error::store_error;

/// How S3 is reached. Absent values come from the environment and the machine's role, as AWS's own tools do it.
#[derive(Clone, Default)]
pub struct S3Settings {
    /// `s3.endpoint`; absent: AWS.
    pub endpoint: Option<String>,
    /// `s3.region`.
    pub region: Option<String>,
    /// `s3.access_key_id`.
    pub access_key_id: Option<String>,
    /// `s3.secret_access_key`.
    pub secret_access_key: Option<String>,
    /// `s3.allow_http`.
    pub allow_http: bool,
}

impl std::fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Settings")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// Where a lake lies.
#[derive(Debug, Clone, Default)]
pub struct StoreSettings {
    /// `lake.root`: `s3://bucket/prefix` or a folder.
    pub root: String,
    /// How S3 is reached.
    pub s3: S3Settings,
}

/// One attempt of a request may take this long, its answer's body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings of other engines under which a commit is not atomic; delta-rs ignores them with a mere log line.
const REFUSED_ENVIRONMENT: [&str; 4] = [
    "AWS_S3_LOCKING_PROVIDER",
    "DELTA_DYNAMO_TABLE_NAME",
    "DYNAMO_LOCK_TABLE_NAME",
    "AWS_S3_ALLOW_UNSAFE_RENAME",
];

/// An opened root.
#[derive(Debug, Clone)]
pub struct Store {
    /// The store whose `/` is the bucket, or the file system's root.
    bucket: Arc<dyn ObjectStore>,
    /// `bucket` below the root's prefix.
    root: Arc<dyn ObjectStore>,
    /// The root as a URL that ends with `/`.
    url: Url,
    /// The folder, unless the root is S3.
    folder: Option<PathBuf>,
}

impl Store {
    /// Opens the root; a folder is created when absent. Nothing is read or written on S3 yet.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the root or a setting is not usable.
    pub fn open(settings: &StoreSettings) -> Result<Self> {
        Self::open_root(settings, true)
    }

    /// Opens the root without creating anything.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the root is a folder that is not there; [`ErrorKind::Invalid`] as for [`Self::open`].
    pub fn open_existing(settings: &StoreSettings) -> Result<Self> {
        Self::open_root(settings, false)
    }

    fn open_root(settings: &StoreSettings, create: bool) -> Result<Self> {
        refuse_unsafe_environment(|name| std::env::var(name).ok())?;
        if settings.root.trim().is_empty() {
            return Err(Error::invalid("lake.root is empty: give a folder or s3://bucket/prefix"));
        }
        match settings.root.split_once("://") {
            Some(("s3", _)) => Self::open_s3(settings),
            Some((scheme, _)) => Err(Error::invalid(format!(
                "lake.root `{}` begins with `{scheme}://`: give a folder or s3://bucket/prefix",
                settings.root
            ))),
            None => Self::open_folder(Path::new(&settings.root), create),
        }
    }

    fn open_folder(path: &Path, create: bool) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::invalid(format!("lake.root `{}` cannot be used: {error}", path.display()))
                .with_source(error)
        };
        if create {
            std::fs::create_dir_all(path).map_err(failed)?;
        } else if !path.try_exists().map_err(failed)? {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "there is no folder lake.root = `{}`: mend it, or let `ingest` create the lake",
                    path.display()
                ),
            ));
        }
        let folder = path.canonicalize().map_err(failed)?;
        if !folder.is_dir() {
            return Err(Error::invalid(format!(
                "lake.root `{}` is a file: give a folder or s3://bucket/prefix",
                path.display()
            )));
        }
        // The Delta kernel decodes a path once more than it was encoded, and takes a backslash for a separator.
        if folder.to_string_lossy().contains(['%', '\\']) {
            return Err(Error::invalid(format!(
                "lake.root `{}` holds a `%` or `\\`, which Delta's paths do not survive: choose another folder",
                folder.display()
            )));
        }
        let url = Url::from_directory_path(&folder).map_err(|()| {
            Error::invalid(format!("lake.root `{}` is not a path that a URL can hold", path.display()))
        })?;
        let bucket: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
        Ok(Self { root: below(&bucket, &url)?, bucket, url, folder: Some(folder) })
    }

    fn open_s3(settings: &StoreSettings) -> Result<Self> {
        let mut url = Url::parse(&settings.root).map_err(|error| {
            Error::invalid(format!("lake.root `{}` is not a URL: {error}", settings.root))
        })?;
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let name = url.host_str().filter(|name| !name.is_empty());
        let name =
            name.ok_or_else(|| Error::invalid(format!("lake.root `{}` names no bucket", settings.root)))?;
        let s3 = &settings.s3;
        let client = ClientOptions::new()
            .with_allow_http(s3.allow_http)
            .with_timeout(REQUEST_TIMEOUT)
            .with_connect_timeout(CONNECT_TIMEOUT);
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(name)
            .with_client_options(client)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retries());
        if let Some(endpoint) = &s3.endpoint {
            builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
        }
        if let Some(region) = &s3.region {
            builder = builder.with_region(region);
        }
        if let (Some(id), Some(secret)) = (&s3.access_key_id, &s3.secret_access_key) {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        }
        let bucket = builder.build().map_err(|error| store_error("s3 settings", error))?;
        let bucket: Arc<dyn ObjectStore> = Arc::new(bucket);
        Ok(Self { root: below(&bucket, &url)?, bucket, url, folder: None })
    }

    /// The store below the root's prefix.
    #[must_use]
    pub fn root(&self) -> &Arc<dyn ObjectStore> {
        &self.root
    }

    /// The root as a URL that ends with `/`.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Removes everything below the root.
    ///
    /// # Errors
    /// Those of reaching the store; what is removed by then stays removed.
    pub async fn clear(&self) -> Result<()> {
        let failed = |error| store_error("emptying the lake", error);
        let keys = self.root.list(None).map_ok(|object| object.location).boxed();
        self.root.delete_stream(keys).try_for_each(|_| async { Ok(()) }).await.map_err(failed)
    }

    /// The store and the URL under which query engines register it: the whole bucket or file system.
    #[must_use]
    pub fn bucket(&self) -> (Url, Arc<dyn ObjectStore>) {
        let mut url = self.url.clone();
        url.set_path("/");
        (url, Arc::clone(&self.bucket))
    }

    /// The folder, unless the root is S3.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The Delta log of the table at `path` below the root.
    pub(crate) fn log_store(&self, path: &str) -> Result<LogStoreRef> {
        let url = self
            .url
            .join(&format!("{path}/"))
            .map_err(|e| Error::internal(format!("table path `{path}`: {e}")))?;
        let table = below(&self.bucket, &url)?;
        Ok(default_logstore(table, Arc::clone(&self.bucket), &url, &StorageConfig::default()))
    }
}

/// `bucket` with `/` at the path of `url`.
fn below(bucket: &Arc<dyn ObjectStore>, url: &Url) -> Result<Arc<dyn ObjectStore>> {
    let prefix = object_store::path::Path::from_url_path(url.path())
        .map_err(|error| Error::invalid(format!("lake.root `{url}` is not a usable path: {error}")))?;
    if prefix.as_ref().is_empty() {
        return Ok(Arc::clone(bucket));
    }
    Ok(Arc::new(PrefixStore::new(Arc::clone(bucket), prefix)))
}

/// Retries inside one request: few and short, for the commit loop and its callers retry above it.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(2),
            ..BackoffConfig::default()
        },
        max_retries: 5,
        retry_timeout: Duration::from_secs(30),
    }
}

fn refuse_unsafe_environment(variable: impl Fn(&str) -> Option<String>) -> Result<()> {
    for name in REFUSED_ENVIRONMENT {
        let Some(value) = variable(name) else { continue };
        if !matches!(value.to_ascii_lowercase().as_str(), "" | "false" | "0") {
            return Err(Error::new(
                ErrorKind::Incompatible,
                format!(
                    "the environment sets {name}={value}: commits are made by conditional PUT alone; unset it, and let no DynamoDB or unsafe-rename writer touch this lake"
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_settings_and_roots_are_refused_by_name() {
        let dynamo = |name: &str| (name == "AWS_S3_LOCKING_PROVIDER").then(|| "dynamodb".to_owned());
        let error = refuse_unsafe_environment(dynamo).expect_err("refused");
        assert!(error.to_string().contains("AWS_S3_LOCKING_PROVIDER=dynamodb"), "{error}");
        assert!(refuse_unsafe_environment(|_| Some("false".to_owned())).is_ok());
        for (root, word) in [("", "empty"), ("gs://x/y", "gs://"), ("s3:///y", "bucket")] {
            let error =
                Store::open(&StoreSettings { root: root.to_owned(), ..Default::default() }).expect_err(root);
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
