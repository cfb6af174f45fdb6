//! What was done last for a table, in `_maintenance/{schema}.{table}.json`. The leader of maintenance writes it, so that a restart and another leader
//! go on from there. A record that is lost, or an older one that won, costs work and nothing else.

use std::sync::Arc;

use domain::civil::Micros;
use domain::{Error, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};

use crate::error::store_error;
use crate::retry::retried;

/// When maintenance did what last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Files were joined.
    #[serde(with = "optional_instant")]
    pub compacted_at: Option<Micros>,
    /// The log was looked through for files to remove, and expired entries of it were removed.
    #[serde(with = "optional_instant")]
    pub vacuumed_at: Option<Micros>,
    /// The first version whose removed files are not gone yet.
    pub vacuumed_to: u64,
    /// The table's folder was listed for files to remove.
    #[serde(with = "optional_instant")]
    pub swept_at: Option<Micros>,
    /// A checkpoint was written by maintenance; whoever commits writes them too.
    #[serde(with = "optional_instant")]
    pub checkpointed_at: Option<Micros>,
    /// What failed last, unless it went well since.
    pub failure: Option<Failure>,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    #[serde(with = "instant")]
    pub at: Micros,
    /// Which step, like `compaction`.
    pub step: String,
    /// Why.
    pub message: String,
}

fn key(table: &str) -> Path {
    Path::from(format!("_maintenance/{table}.json"))
}

impl Record {
    /// The record of a table, empty where there is none.
    ///
    /// # Errors
    /// Those of reaching the store.
    pub(crate) async fn read(root: &Arc<dyn ObjectStore>, table: &str) -> Result<Self> {
        let path = key(table);
        let get = || async {
            let get = async { root.get(&path).await?.bytes().await };
            match get.await {
                Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
                Err(object_store::Error::NotFound { .. }) => Ok(Self::default()),
                Err(error) => Err(store_error(&format!("the record of {table}'s maintenance"), error)),
            }
        };
        retried(get).await
    }

    pub(crate) async fn write(&self, root: &Arc<dyn ObjectStore>, table: &str) -> Result<()> {
        let path = key(table);
        let text = serde_json::to_vec_pretty(self).map_err(|error| Error::internal(error.to_string()))?;
        let payload = PutPayload::from(text);
        let put = || async {
            let put = root.put(&path, payload.clone()).await;
            put.map(|_| ())
                .map_err(|error| store_error(&format!("the record of {table}'s maintenance"), error))
        };
        retried(put).await
    }
}

/// Instants as RFC 3339.
pub(crate) mod instant {
    use domain::civil::{Micros, format_instant, parse_instant};
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(instant: &Micros, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format_instant(*instant))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Micros, D::Error> {
        let text = String::deserialize(from)?;
        parse_instant(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is not an instant")))
    }
}

mod optional_instant {
    use domain::civil::{Micros, format_instant, parse_instant};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(instant: &Option<Micros>, to: S) -> Result<S::Ok, S::Error> {
        instant.map(format_instant).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Micros>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.and_then(|text| parse_instant(&text)))
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn it_is_read_as_it_was_written_and_nonsense_is_none() {
        let root: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        assert_eq!(Record::read(&root, "a.b").await.expect("read"), Record::default());
        let record = Record {
            compacted_at: Some(1_700_000_000_123_456),
            vacuumed_to: 42,
            failure: Some(Failure { at: 5, step: "vacuum".to_owned(), message: "no".to_owned() }),
            ..Record::default()
        };
        record.write(&root, "a.b").await.expect("written");
        assert_eq!(Record::read(&root, "a.b").await.expect("read"), record);
        root.put(&key("a.b"), "[]".into()).await.expect("put");
        assert_eq!(Record::read(&root, "a.b").await.expect("read"), Record::default());
        root.put(&key("a.b"), r#"{"vacuumed_to": 3, "of_a_later_release": 1}"#.into()).await.expect("put");
        assert_eq!(Record::read(&root, "a.b").await.expect("read").vacuumed_to, 3);
    }
}
