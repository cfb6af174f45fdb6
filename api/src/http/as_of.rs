//! The state of the lake that an answer stands on: the versions of its tables, and the newest sale in them that the caller may see.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::{Principal, Result};
use engine::{Limits, Output, Session, write_output};
use serde::{Deserialize, Serialize};

/// The table whose rows tell when something happened.
const SALES: &str = "curated.sales";

/// The newest sale is an extra of an answer, which must not wait long for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Entries that are remembered.
const REMEMBERED: usize = 10_000;

/// See the module.
#[derive(Debug, Clone, Serialize)]
pub(super) struct AsOf {
    /// The version that each table was read at.
    tables: BTreeMap<String, u64>,
    /// The newest `occurred_at` among the caller's rows of the sales that were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    newest_occurred_at: Option<String>,
}

/// The newest sale by caller and version of the table; a version never changes.
#[derive(Debug, Default)]
pub(crate) struct NewestSales {
    known: Mutex<HashMap<(Principal, u64), Option<String>>>,
}

impl NewestSales {
    /// The state behind an answer to this session.
    pub(super) async fn as_of(&self, session: &Session, tables: BTreeMap<String, u64>) -> AsOf {
        let mut newest = None;
        for (table, version) in &tables {
            if table.split('@').next() == Some(SALES) {
                newest = newest.max(self.newest(session, *version).await);
            }
        }
        AsOf { tables, newest_occurred_at: newest }
    }

    async fn newest(&self, session: &Session, version: u64) -> Option<String> {
        let key = (session.principal().clone(), version);
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        match ask(session, version).await {
            Ok(newest) => {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(key, newest.clone());
                newest
            }
            Err(error) => {
                tracing::warn!(%error, "the newest sale is not known");
                None
            }
        }
    }
}

#[derive(Deserialize)]
struct Newest {
    at: Option<String>,
}

async fn ask(session: &Session, version: u64) -> Result<Option<String>> {
    let limits = Limits { timeout: Some(TIMEOUT), ..Limits::default() };
    let sql = format!("SELECT max(occurred_at) AS at FROM as_of('{SALES}', {version})");
    let mut text = Vec::new();
    write_output(session.query(&sql, limits).await?, Output::Json, &mut text).await?;
    let rows: Vec<Newest> = serde_json::from_slice(&text)
        .map_err(|error| domain::Error::internal(format!("an answer that is not JSON: {error}")))?;
    Ok(rows.into_iter().next().and_then(|row| row.at))
}
