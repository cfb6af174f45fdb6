//! Which model of a business is served: what the next one comes after, and whether it is promoted.
//!
//! A model is stored whole before it is promoted: what it has learned, its manifest, its forecasts. So none is served that cannot be looked up, and a run
//! that ends in between changes nothing that is served.

use std::collections::BTreeMap;

use domain::forecast::Backtest;
use domain::ports::{Blobs, ModelRegistry};
use domain::registry::{ModelAction, ModelEvent, ModelHistory};
use domain::{Error, ErrorKind, Result, civil};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::forecast::{Before, CODE_VERSION, Configuration, ForecastConfig, Forecasts, Selection};

/// The share of what came that the 80 % interval has to hold, for a model that is to take another's place.
pub const LEAST_COVERAGE: f64 = 0.65;
/// Forecast days below which a coverage says nothing.
const FEWEST_DAYS: usize = 200;

/// How often an event is decided on, where other processes were first.
const ATTEMPTS: usize = 20;

/// Digits that a version must be given by, at least.
const FEWEST_DIGITS: usize = 8;

/// Whether a version is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether its forecasts are those that are served.
    pub is_served: bool,
    /// Why, in words.
    pub reason: String,
}

/// The name of an artefact of a version, below the lake's root.
#[must_use]
pub fn artefact(version: &str, name: &str) -> String {
    format!("ml-models/forecasting/{version}/{name}")
}

/// What is read of a manifest.
#[derive(Debug, Deserialize)]
struct Known {
    identity: KnownIdentity,
    selection: Option<Selection>,
}

#[derive(Debug, Deserialize)]
struct KnownIdentity {
    code_version: String,
    configuration: Box<RawValue>,
    lake_versions: BTreeMap<String, u64>,
    parent: Option<String>,
}

/// What a model of a business comes after, if it is made of these versions of the tables: the one that is served. If that one was made
/// of the same, and in the same way, what it came after itself, so that it is made again.
///
/// # Errors
/// Those of the ports.
pub async fn before(
    tenant: &str,
    lake_versions: &BTreeMap<String, u64>,
    config: ForecastConfig,
    registry: &dyn ModelRegistry,
    blobs: &dyn Blobs,
) -> Result<Before> {
    let history = registry.model_history(Some(tenant)).await?;
    let configuration = Configuration::text(config);
    let is_alike = |known: &Known| {
        let identity = &known.identity;
        identity.code_version == CODE_VERSION && identity.configuration.get() == configuration
    };
    let Some(served) = history.served(tenant).map(str::to_owned) else { return Ok(Before::default()) };
    let mut parent = Some(served.clone());
    let mut known = known(&served, blobs).await?.filter(is_alike);
    if let Some(same) = known.take_if(|known| known.identity.lake_versions == *lake_versions) {
        parent = same.identity.parent;
        known = match &parent {
            Some(parent) => self::known(parent, blobs).await?.filter(is_alike),
            None => None,
        };
    }
    Ok(Before { parent, selection: known.and_then(|known| known.selection) })
}

/// The manifest of a version; none where it is gone or of another release.
async fn known(version: &str, blobs: &dyn Blobs) -> Result<Option<Known>> {
    let bytes = blobs.get(&artefact(version, "manifest.json")).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Says of a stored model whether it is served from now on: unless it was rolled back, or its intervals hold too little and another is served.
/// Saying so again changes nothing.
///
/// # Errors
/// Those of the ports.
pub async fn settle(made: &Forecasts, registry: &dyn ModelRegistry) -> Result<Verdict> {
    let (tenant, version) = (made.tenant.as_str(), made.model_version.as_str());
    let decide = |history: &ModelHistory| {
        let served = history.served(tenant);
        let stands = |is_served, reason| Ok(Step::Stands(Verdict { is_served, reason }));
        match history.last_of(tenant, version) {
            Some(event) if served == Some(version) => return stands(true, event.reason.clone()),
            Some(event) if event.action == ModelAction::RolledBack => {
                return stands(false, format!("it was rolled back: {}", event.reason));
            }
            Some(event) if event.action == ModelAction::Held => return stands(false, event.reason.clone()),
            _ => {}
        }
        let fault = fault(&made.backtest).filter(|_| served.is_some());
        let is_served = fault.is_none();
        let (action, now_served) = match served {
            Some(served) if !is_served => (ModelAction::Held, served),
            _ => (ModelAction::Promoted, version),
        };
        let reason = fault.unwrap_or_else(|| made.way.describe(made.selection.as_ref()));
        let event = ModelEvent {
            number: history.last + 1,
            tenant: tenant.to_owned(),
            at: civil::now(),
            action,
            model_version: version.to_owned(),
            served_version: Some(now_served.to_owned()),
            reason: reason.clone(),
            parent: made.parent.clone(),
            origin: made.origins.map(|(_, last)| last),
            backtest: made.backtest,
        };
        Ok(Step::Add(Box::new(event), Verdict { is_served, reason }))
    };
    added(registry, tenant, decide).await
}

/// What speaks against serving a model.
fn fault(backtest: &Backtest) -> Option<String> {
    let coverage = backtest.coverage_80.filter(|_| backtest.n >= FEWEST_DAYS)?;
    (coverage < LEAST_COVERAGE).then(|| {
        format!(
            "its 80 % intervals held {:.1} % of what came on the last horizon, less than {:.0} %",
            coverage * 100.0,
            LEAST_COVERAGE * 100.0
        )
    })
}

/// What is served of a business from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The business.
    pub tenant: String,
    /// The version that is served.
    pub served: String,
    /// The one that was served until now; none where there was none, the same where nothing changed.
    pub was: Option<String>,
}

/// Serves a version that was made before. It may be given by its first digits, eight at least.
///
/// # Errors
/// [`ErrorKind::NotFound`] for a version that was never made, [`ErrorKind::Invalid`] for digits that are too few or of several; those of the port.
pub async fn promote(version: &str, reason: &str, registry: &dyn ModelRegistry) -> Result<Change> {
    let known = named(version, &registry.model_history(None).await?)?;
    let decide = |history: &ModelHistory| {
        let was = history.served(&known.tenant).map(str::to_owned);
        let is_served = was.as_ref() == Some(&known.model_version);
        let change = Change { tenant: known.tenant.clone(), served: known.model_version.clone(), was };
        if is_served {
            return Ok(Step::Stands(change));
        }
        let event = ModelEvent {
            number: history.last + 1,
            at: civil::now(),
            action: ModelAction::Promoted,
            served_version: Some(known.model_version.clone()),
            reason: reason.to_owned(),
            ..known.clone()
        };
        Ok(Step::Add(Box::new(event), change))
    };
    added(registry, &known.tenant, decide).await
}

/// Serves what was served before the version that is served now.
///
/// # Errors
/// [`ErrorKind::NotFound`] where there is no such version; those of the port.
pub async fn rollback(tenant: &str, reason: &str, registry: &dyn ModelRegistry) -> Result<Change> {
    let decide = |history: &ModelHistory| {
        let promoted = history.promoted(tenant);
        let [.., back, now] = promoted.as_slice() else {
            let message = match history.served(tenant) {
                Some(served) => format!(
                    "`{tenant}`: {served} is the first that was promoted: there is none to go back to"
                ),
                None => format!("no model of a business `{tenant}` was promoted: run `forecast run` first"),
            };
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        let event = ModelEvent {
            number: history.last + 1,
            at: civil::now(),
            action: ModelAction::RolledBack,
            served_version: Some(back.model_version.clone()),
            reason: reason.to_owned(),
            ..ModelEvent::clone(now)
        };
        let change = Change {
            tenant: tenant.to_owned(),
            served: back.model_version.clone(),
            was: Some(now.model_version.clone()),
        };
        Ok(Step::Add(Box::new(event), change))
    };
    added(registry, tenant, decide).await
}

/// The last event of the one version that begins with some digits.
///
/// # Errors
/// As of [`promote`].
pub fn named(digits: &str, history: &ModelHistory) -> Result<ModelEvent> {
    if digits.len() < FEWEST_DIGITS {
        return Err(Error::invalid(format!(
            "`{digits}` is not enough of a model version: give its first {FEWEST_DIGITS} digits at least"
        )));
    }
    let found = history.events.iter().rev().filter(|event| event.model_version.starts_with(digits));
    let found: Vec<&ModelEvent> = found.collect();
    let Some(last) = found.first() else {
        let message =
            format!("there is no model version `{digits}`: `models list` shows those that there are");
        return Err(Error::new(ErrorKind::NotFound, message));
    };
    if found.iter().any(|event| event.model_version != last.model_version) {
        return Err(Error::invalid(format!(
            "several model versions begin with `{digits}`: give more digits"
        )));
    }
    Ok((*last).clone())
}

/// What is to be done by a history.
enum Step<T> {
    /// Nothing: it holds already.
    Stands(T),
    /// Add an event, after which it holds.
    Add(Box<ModelEvent>, T),
}

/// Decides by the history until the event that is decided on is the next one.
async fn added<T>(
    registry: &dyn ModelRegistry,
    tenant: &str,
    decide: impl Fn(&ModelHistory) -> Result<Step<T>>,
) -> Result<T> {
    let mut attempts = 1;
    loop {
        let (event, holds) = match decide(&registry.model_history(Some(tenant)).await?)? {
            Step::Stands(holds) => return Ok(holds),
            Step::Add(event, holds) => (event, holds),
        };
        match registry.add_model_event(&event).await {
            Ok(()) => return Ok(holds),
            Err(error) if error.kind() == ErrorKind::Conflict && attempts < ATTEMPTS => attempts += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
