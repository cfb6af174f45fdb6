//! Pages of rows that a question finds.

use std::fmt::Debug;

use axum::response::Response;
use domain::Error;
use engine::Output;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::answering::written;
use super::envelope::{Failure, Meta, Pagination, page};
use super::parameters::MAX_PER_PAGE;
use super::tenant::Caller;
use crate::ApiState;

/// Bytes of a page at most.
pub(super) const MAX_BYTES: u64 = 32 << 20;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// Its columns, as SQL selects them.
    pub(super) columns: &'a str,
    /// Where they are found: `FROM` and what belongs to it.
    pub(super) found: &'a str,
    /// Their order.
    pub(super) order: &'a str,
    /// The number of the page, and how many rows it has.
    pub(super) page: (u64, u64),
}

/// A page of rows, and how many there are in all.
pub(super) async fn answer<T: DeserializeOwned + Debug, S: Serialize>(
    state: &ApiState,
    caller: &Caller,
    wanted: Wanted<'_>,
    shown: impl Fn(T) -> S,
) -> Result<Response, Failure> {
    let Wanted { columns, found, order, page: (number, per_page) } = wanted;
    let sql = format!(
        "SELECT {columns} {found} ORDER BY {order} LIMIT {per_page} OFFSET {}",
        (number - 1) * per_page
    );
    let session = state.engine.session(caller.principal.clone());
    let rows = written(state, &session, &sql, (MAX_PER_PAGE, MAX_BYTES), Output::Json).await?;
    let counted =
        written(state, &session, &format!("SELECT count(*) AS n {found}"), (1, MAX_BYTES), Output::Json)
            .await?;
    let unreadable = |error| Error::internal(format!("rows that are not what was asked for: {error}"));
    #[derive(Deserialize)]
    struct Count {
        n: u64,
    }
    let counts: Vec<Count> = serde_json::from_slice(&counted.bytes).map_err(unreadable)?;
    let total = counts.first().map_or(0, |count| count.n);
    let found: Vec<T> = serde_json::from_slice(&rows.bytes).map_err(unreadable)?;
    let found: Vec<S> = found.into_iter().map(shown).collect();
    let meta = Meta::of(&caller.context).with_as_of(state.newest_sales.as_of(&session, rows.tables).await);
    Ok(page(&found, &meta, Pagination::new(number, per_page, total)))
}
