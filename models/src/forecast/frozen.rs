//! A model as it was stored, asked about plans that are not.
//!
//! It is asked of one article at a time: the rest of the business is held as what it decides of that article's rows ([`Shape`]), so that an answer takes
//! milliseconds. Asked about the plans as they were when it was made, it gives the forecasts that it made then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{Days, NaiveDate};
use domain::forecast::{DailySeries, PlannedDay, SeriesSet, StorePlan};
use domain::what_if::{Change, Expected, Outcome, Outcomes, Question};
use domain::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::business::{Business, HOLIDAY, OPEN, PROMOTION, RAIN, SCHOOL_HOLIDAY, Shape, TEMPERATURE, Told};
use super::leaf::{Leaf, fallback, leaves};
use super::{CODE_VERSION, Configuration, ForecastConfig};
use crate::candidates::{Chosen, Members};

/// A model with the series that it was made from.
#[derive(Debug)]
pub struct Frozen {
    version: String,
    config: ForecastConfig,
    shape: Shape,
    /// None where no article has history enough.
    model: Option<(Chosen, Members)>,
    set: SeriesSet,
    /// By store and article, where it stands in the set.
    places: HashMap<(String, String), usize>,
}

/// What is read of a manifest.
#[derive(Debug, Deserialize)]
struct Manifest {
    model_version: String,
    identity: Identity,
    last_days: BTreeMap<String, NaiveDate>,
    told: Told,
}

#[derive(Debug, Deserialize)]
struct Identity {
    code_version: String,
    configuration: Configuration,
    tenant: String,
}

impl Frozen {
    /// Of a manifest, of what was learned, and of the series of the business as they are by now, of which it looks at the days that it knows.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`] for what was stored by another release.
    pub fn of(manifest: &[u8], learned: Option<&[u8]>, mut set: SeriesSet) -> Result<Self> {
        let another = |what: &str| {
            let message =
                format!("the model was stored by another release ({what}): run `forecast run` first");
            Error::new(ErrorKind::Incompatible, message)
        };
        let manifest: Manifest =
            serde_json::from_slice(manifest).map_err(|error| another(&error.to_string()))?;
        if manifest.identity.code_version != CODE_VERSION {
            return Err(another(&manifest.identity.code_version));
        }
        let config = manifest.identity.configuration.config();
        let is_known = |series: &mut DailySeries| {
            let Some(last) = manifest.last_days.get(&series.key.store) else { return false };
            let is_unsold = series.units.is_empty();
            if let (true, Some(start)) = (is_unsold, last.succ_opt()) {
                series.start = start;
            }
            let days = usize::try_from((*last - series.start).num_days() + 1).unwrap_or_default();
            series.units.truncate(days);
            (is_unsold || days > 0) && series.key.tenant == manifest.identity.tenant
        };
        set.series.retain_mut(is_known);
        let mut shape = Shape::told(&set, &manifest.told);
        let business = Business::shaped(&set, shape.clone(), &config, 0);
        let window = business.window();
        let model = learned.map(|learned| {
            shape.market = Some(Arc::new(Members::market(&window)));
            Members::of(learned, &business.settings).ok_or_else(|| another("its weights"))
        });
        let model = model.transpose()?;
        drop(business);
        let key = |series: &DailySeries| (series.key.store.clone(), series.key.sku.clone());
        let places = set.series.iter().map(key).zip(0..).collect();
        Ok(Self { version: manifest.model_version, config, shape, model, set, places })
    }

    /// What it forecasts of an article as its days are planned, and as they would be.
    ///
    /// # Errors
    /// As of [`domain::what_if::WhatIf::what_if`].
    pub fn ask(&self, question: &Question) -> Result<Outcomes> {
        let Question { store, sku, changes } = question;
        let place = self.places.get(&(store.clone(), sku.clone())).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("there is no forecast of `{sku}` in the store `{store}`"))
        })?;
        let series = &self.set.series[*place];
        let origin = series.end();
        self.check(origin, changes)?;
        let key = (series.key.tenant.clone(), series.key.store.clone());
        let known = self.set.plans.get(&key);
        let changes: HashMap<NaiveDate, &Change> =
            changes.iter().map(|(date, change)| (*date, change)).collect();
        let (planned, reason) = self.forecast(series, known, |_, day| day);
        let (changed, _) =
            self.forecast(series, known, |date, day| changes.get(&date).map_or(day, |change| change.of(day)));
        let date = |ahead: usize| origin.checked_add_days(Days::new(ahead as u64 + 1));
        let days = planned.into_iter().zip(changed).enumerate();
        let days = days
            .map_while(|(ahead, (planned, changed))| Some(Outcome { date: date(ahead)?, planned, changed }));
        Ok(Outcomes { model_version: self.version.clone(), origin, days: days.collect(), fallback: reason })
    }

    /// All faults of the changes at once.
    fn check(&self, origin: NaiveDate, changes: &[(NaiveDate, Change)]) -> Result<()> {
        let last = origin.checked_add_days(Days::new(self.config.horizon_days as u64)).unwrap_or(origin);
        let mut faults = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for (date, change) in changes {
            if *date <= origin || *date > last {
                let first = origin.succ_opt().unwrap_or(origin);
                faults.push(format!("{date} is not forecast: give days from {first} to {last}"));
            }
            if !seen.insert(date) {
                faults.push(format!("{date} is given twice"));
            }
            let told = [
                (OPEN, change.is_closed.is_some()),
                (PROMOTION, change.is_promotion.is_some()),
                (HOLIDAY, change.is_holiday.is_some()),
                (SCHOOL_HOLIDAY, change.is_school_holiday.is_some()),
                (TEMPERATURE, change.temp_mean_c.is_some()),
                (RAIN, change.precipitation_mm.is_some()),
            ];
            if !told.iter().any(|(_, is_named)| *is_named) {
                faults.push(format!("{date}: nothing is to be otherwise"));
            }
            // Whoever is closed sells nothing, for that no model is needed.
            let unknown =
                told.iter().filter(|(name, is_named)| *is_named && *name != OPEN && !self.shape.tells(name));
            faults.extend(unknown.map(|(name, _)| {
                format!(
                    "{date}: the model knows nothing of {name}, for that was always the same, or never told"
                )
            }));
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::invalid(faults.join("; "))) }
    }

    /// Of an article whose days ahead are planned otherwise, and why the model proper does not forecast it.
    fn forecast(
        &self,
        series: &DailySeries,
        plan: Option<&StorePlan>,
        otherwise: impl Fn(NaiveDate, PlannedDay) -> PlannedDay,
    ) -> (Vec<Expected>, Option<String>) {
        let set = SeriesSet {
            series: vec![series.clone()],
            plans: plan
                .map(|plan| ((series.key.tenant.clone(), series.key.store.clone()), plan.clone()))
                .into_iter()
                .collect(),
            ..SeriesSet::default()
        };
        let mut business = Business::shaped(&set, self.shape.clone(), &self.config, 0);
        let date = |ahead: usize| series.end().checked_add_days(Days::new(ahead as u64 + 1));
        let days: Vec<PlannedDay> = business
            .ahead(0)
            .into_iter()
            .enumerate()
            .map(|(ahead, day)| date(ahead).map_or(day, |date| otherwise(date, day)))
            .collect();
        business.replan(0, &days);
        let mut window = business.window();
        if self.model.is_none() {
            window.parts.clear();
        }
        let answers = self
            .model
            .as_ref()
            .map(|(chosen, members)| chosen.blend(&window, &members.ask(&window, &[chosen])));
        let made = leaves(&business, &window, answers.unwrap_or_default()).pop().flatten();
        let Some(Leaf { mean, quantiles, .. }) = &made else { return (Vec::new(), None) };
        let of_day = |((mean, quantiles), day): ((&f64, &[f64; 11]), &PlannedDay)| {
            let is_open = f64::from(u8::from(!day.is_closed));
            Expected { mean: mean * is_open, quantiles: quantiles.map(|units| units * is_open) }
        };
        let reason = made.as_ref().and_then(|leaf| fallback(&business, 0, leaf, self.model.is_some()));
        (mean.iter().zip(quantiles).zip(&days).map(of_day).collect(), reason)
    }
}

#[cfg(test)]
mod tests;
