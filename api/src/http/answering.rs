//! Asks the engine for a route and writes the answer off the async threads, for as long as the client waits.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{Error, ErrorKind};
use engine::{Limits, Output, Session, Summary, write_output};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::envelope::Failure;
use crate::ApiState;

/// A request may wait so long for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// Time of a query, a little less than that of its request.
const QUERY_TIMEOUT: Duration = Duration::from_secs(50);

/// A whole answer.
pub(super) struct Written {
    pub(super) bytes: Vec<u8>,
    pub(super) columns: Vec<Column>,
    pub(super) tables: BTreeMap<String, u64>,
    pub(super) summary: Summary,
}

/// A column of an answer.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Column {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
    nullable: bool,
}

/// Asks, and writes the answer into memory: a status can still be chosen when it fails half-way. Bounded by rows and bytes, and by how many may do so at
/// once. A client that leaves stops the work.
pub(super) async fn written(
    state: &ApiState,
    session: &Session,
    sql: &str,
    (max_rows, max_bytes): (u64, u64),
    output: Output,
) -> Result<Written, Failure> {
    let turn = tokio::time::timeout(TURN_PATIENCE, state.turns.acquire()).await;
    let _turn = turn.ok().and_then(Result::ok).ok_or_else(|| {
        let message = format!("too many questions at once: none ended within {} s", TURN_PATIENCE.as_secs());
        Failure::from(Error::new(ErrorKind::Unavailable, message))
    })?;
    let limits =
        Limits { max_rows: Some(max_rows), max_bytes: Some(max_bytes), timeout: Some(QUERY_TIMEOUT) };
    let answer = session.query(sql, limits).await?;
    let tables = answer.as_of.clone();
    let columns = answer.schema.fields().iter().map(|field| Column {
        name: field.name().clone(),
        data_type: field.data_type().to_string(),
        nullable: field.is_nullable(),
    });
    let columns = columns.collect();
    let left = CancellationToken::new();
    let _leaving = left.clone().drop_guard();
    let runtime = Handle::current();
    let writing = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        let written = left.run_until_cancelled(write_output(answer, output, &mut bytes));
        let gone = || Err(Error::new(ErrorKind::Cancelled, "the client has left"));
        runtime.block_on(written).unwrap_or_else(gone).map(|summary| (bytes, summary))
    });
    let (bytes, summary) =
        writing.await.map_err(|error| Error::internal(format!("writing an answer: {error}")))??;
    Ok(Written { bytes, columns, tables, summary })
}
