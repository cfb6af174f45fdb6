//! What `serve` forecasts: on request, and of each business once so many days have come since its newest model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::lake::Lake;
use api::Health;
use chrono::NaiveDate;
use domain::civil::{self, Micros};
use domain::jobs::{JobRunner, Work};
use domain::ports::ModelRegistry;
use domain::registry::ModelHistory;
use domain::{Error, ErrorKind, Result};
use futures::FutureExt;
use models::forecast::{ForecastConfig, Learning};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::jobs::InProcess;
use crate::{forecast, wire};

/// Between two looks at which business is due.
const LOOKS: Duration = Duration::from_secs(60);

/// What ended is not begun again by itself for so long: it may have failed, or its business may have called it off.
const PAUSE: Micros = 6 * 3_600_000_000;

/// The last day that the marts know of each business.
const LAST_DAYS: &str =
    "SELECT tenant, CAST(max(date) AS VARCHAR) AS last FROM marts.item_days GROUP BY tenant ORDER BY tenant";

/// Does forecasts over a lake.
pub(crate) fn runner(lake: &Arc<Lake>) -> InProcess {
    let lake = Arc::clone(lake);
    InProcess::new(Arc::new(move |tenant, work, progress| {
        let Work::Forecast { horizon_days, is_quick, searches } = work;
        let learning = if is_quick { Learning::QUICK } else { Learning::FULL };
        let config = ForecastConfig { horizon_days, learning, search: searches };
        forecast::run_business(Arc::clone(&lake), tenant, config, progress).boxed()
    }))
}

/// Submits forecasts that are due until the shutdown.
pub(crate) async fn keep(
    config: &Config,
    lake: Arc<Lake>,
    jobs: InProcess,
    health: Health,
    shutdown: CancellationToken,
) {
    const PART: &str = "forecasts";
    let settings = &config.forecast;
    if settings.every_days == 0 {
        return health.tell(PART, Ok("on request alone"));
    }
    health.tell(PART, Ok("begins"));
    let work =
        Work::Forecast { horizon_days: settings.horizon_days.into(), is_quick: false, searches: false };
    let keep = async {
        loop {
            match submit_due(&lake, &jobs, settings.every_days.into(), work).await {
                Ok(()) => health.tell(PART, Ok("ok")),
                Err(error) => {
                    tracing::warn!(%error, "which forecasts are due cannot be told, and it will be tried again");
                    health.tell(PART, Err(error.to_string()));
                }
            }
            tokio::time::sleep(LOOKS).await;
        }
    };
    tokio::select! {
        () = keep => {}
        () = shutdown.cancelled() => {}
    }
}

async fn submit_due(lake: &Arc<Lake>, jobs: &InProcess, every_days: i64, work: Work) -> Result<()> {
    let history = lake.model_history(None).await?;
    for (tenant, last) in last_days(lake).await? {
        if !is_due(&history, &tenant, last, every_days) {
            continue;
        }
        let newest = jobs.jobs(&tenant).await?.into_iter().next();
        let has_just_ended = |ended: Micros| civil::now() - ended < PAUSE;
        if newest.is_none_or(|job| job.ended_at.is_some_and(|ended| !has_just_ended(ended))) {
            match jobs.submit(&tenant, work).await {
                // So many wait that the others come later.
                Err(error) if error.kind() == ErrorKind::Unavailable => break,
                submitted => drop(submitted?),
            }
        }
    }
    Ok(())
}

async fn last_days(lake: &Arc<Lake>) -> Result<BTreeMap<String, NaiveDate>> {
    let unreadable = || Error::internal("the last days of businesses are told in another form");
    let text = |value: Option<&serde_json::Value>| value.and_then(|value| value.as_str()).map(str::to_owned);
    let of_row = |row: serde_json::Map<String, serde_json::Value>| {
        let (tenant, last) = (text(row.get("tenant")), text(row.get("last")));
        let last = last.and_then(|last| last.parse().ok());
        tenant.zip(last).ok_or_else(unreadable)
    };
    wire::ask(lake, LAST_DAYS).await?.into_iter().map(of_row).collect()
}

/// Whether so many days have come since the newest model of a business, served or held.
fn is_due(history: &ModelHistory, tenant: &str, last: NaiveDate, every_days: i64) -> bool {
    let origins =
        history.events.iter().filter(|event| event.tenant == tenant).filter_map(|event| event.origin);
    origins.max().is_none_or(|origin| (last - origin).num_days() >= every_days)
}
