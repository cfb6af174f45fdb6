//! A bounded retry with jitter for calls that may be made again, above the retries inside one request: object_store tries a connection again, but not
//! an answer that ended half-way, nor a conflict that a store reports while it is busy.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use domain::{Error, Result};

/// Calls until it succeeds, fails for good, or has failed six times.
pub(crate) async fn retried<T, F: Future<Output = Result<T>>>(call: impl FnMut() -> F) -> Result<T> {
    let policy = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(5)
        .with_jitter();
    call.retry(policy)
        .when(Error::is_retryable)
        .notify(|error, _| {
            metrics::counter!("intellicartel_lake_retries_total").increment(1);
            tracing::debug!(%error, "a call of the store is made again");
        })
        .await
}
