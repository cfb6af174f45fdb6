//! What a model that is served would forecast if days were planned otherwise.

use std::fmt::Debug;

use async_trait::async_trait;
use chrono::NaiveDate;

use crate::error::Result;
use crate::forecast::PlannedDay;
use crate::principal::Principal;

/// What is to be otherwise on a day; what is not named stays as it is planned.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Change {
    /// Whether the store is closed.
    pub is_closed: Option<bool>,
    /// Whether a promotion is on.
    pub is_promotion: Option<bool>,
    /// Whether it is a public holiday.
    pub is_holiday: Option<bool>,
    /// Whether schools are closed.
    pub is_school_holiday: Option<bool>,
    /// Mean temperature in degrees Celsius.
    pub temp_mean_c: Option<f64>,
    /// Rain in millimetres.
    pub precipitation_mm: Option<f64>,
}

impl Change {
    /// A day as it would be.
    #[must_use]
    pub fn of(&self, day: PlannedDay) -> PlannedDay {
        let mut changed = day;
        changed.is_closed = self.is_closed.unwrap_or(day.is_closed);
        changed.is_promotion = self.is_promotion.unwrap_or(day.is_promotion);
        changed.is_holiday = self.is_holiday.unwrap_or(day.is_holiday);
        changed.is_school_holiday = self.is_school_holiday.unwrap_or(day.is_school_holiday);
        changed.weather.temp_mean_c = self.temp_mean_c.or(day.weather.temp_mean_c);
        changed.weather.precipitation_mm = self.precipitation_mm.or(day.weather.precipitation_mm);
        changed
    }
}

/// A question about an article.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The store.
    pub store: String,
    /// The article.
    pub sku: String,
    /// What is to be otherwise, each day once.
    pub changes: Vec<(NaiveDate, Change)>,
}

/// What is forecast of a day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Expected net units.
    pub mean: f64,
    /// Quantiles at [`crate::forecast::QUANTILES_PER_MILLE`].
    pub quantiles: [f64; 11],
}

/// A day as it is planned, and as it would be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The day.
    pub date: NaiveDate,
    /// What is forecast as it is planned by now.
    pub planned: Expected,
    /// What would be.
    pub changed: Expected,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcomes {
    /// The model that answers: the one that is served.
    pub model_version: String,
    /// The last day whose sales it knows.
    pub origin: NaiveDate,
    /// All days that it forecasts.
    pub days: Vec<Outcome>,
    /// Why the article does not have the model proper, if it does not.
    pub fallback: Option<String>,
}

/// Answers by the models that are served, which learn nothing of it.
#[async_trait]
pub trait WhatIf: Send + Sync + Debug {
    /// What a model would forecast.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] for an article that the principal does not see, or that has no forecast; [`crate::ErrorKind::Invalid`] for a change on a day that is
    /// not forecast or of what the model was never told; [`crate::ErrorKind::Incompatible`] for a model of another release.
    async fn what_if(&self, whose: &Principal, question: &Question) -> Result<Outcomes>;
}
