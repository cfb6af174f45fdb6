//! `POST /api/v1/forecast/what-if`: what the model that is served would forecast of an article if days were planned otherwise.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::Response;
use chrono::NaiveDate;
use domain::forecast::INTERVAL_80;
use domain::what_if::{Change, Expected, Outcome, Outcomes, Question};
use serde::{Deserialize, Serialize};

use super::envelope::{Failure, Meta, malformed, success};
use super::tenant::Caller;
use crate::ApiState;

/// What a weather is within.
const TEMPERATURES: std::ops::RangeInclusive<f64> = -90.0..=60.0;
const MOST_RAIN: f64 = 2_000.0;

/// What a body looks like.
const BODY: &str = r#"{"store": "online", "sku": "85123A", "days": [{"date": "2011-12-24", "promotion": true}]}, each day with one or more of closed, promotion, holiday, school_holiday, temp_mean_c and precipitation_mm,"#;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    store: String,
    sku: String,
    days: Vec<Day>,
}

/// What is to be otherwise on a day.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Day {
    date: NaiveDate,
    closed: Option<bool>,
    promotion: Option<bool>,
    holiday: Option<bool>,
    school_holiday: Option<bool>,
    temp_mean_c: Option<f64>,
    precipitation_mm: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Answer {
    store: String,
    sku: String,
    unit: &'static str,
    origin: NaiveDate,
    /// Of all days.
    total: Means,
    days: Vec<DayAnswer>,
    fallback: Option<String>,
    model_version: String,
}

#[derive(Debug, Serialize)]
struct Means {
    planned_mean: f64,
    changed_mean: f64,
    difference: f64,
}

#[derive(Debug, Serialize)]
struct DayAnswer {
    forecast_date: NaiveDate,
    planned: Figures,
    changed: Figures,
    difference: f64,
}

#[derive(Debug, Serialize)]
struct Figures {
    mean: f64,
    lower_bound: f64,
    upper_bound: f64,
}

impl From<&Expected> for Figures {
    fn from(expected: &Expected) -> Self {
        let Expected { mean, quantiles } = *expected;
        Self { mean, lower_bound: quantiles[INTERVAL_80.0], upper_bound: quantiles[INTERVAL_80.1] }
    }
}

pub(super) async fn what_if(
    State(state): State<ApiState>,
    caller: Caller,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Response {
    let answered = answer(&state, &caller, asked).await;
    answered.unwrap_or_else(|failure| failure.into_response(&caller.context))
}

async fn answer(
    state: &ApiState,
    caller: &Caller,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Result<Response, Failure> {
    let Json(Asked { store, sku, days }) = asked.map_err(|rejection| malformed(&rejection, BODY))?;
    check(&days)?;
    let changes = days.into_iter().map(|day| (day.date, day.change())).collect();
    let question = Question { store: store.clone(), sku: sku.clone(), changes };
    let Outcomes { model_version, origin, days, fallback } =
        state.what_if.what_if(&caller.principal, &question).await?;
    let sum = |of: fn(&Outcome) -> f64| days.iter().map(of).sum::<f64>();
    let (planned_mean, changed_mean) = (sum(|day| day.planned.mean), sum(|day| day.changed.mean));
    let answer = Answer {
        store,
        sku,
        unit: "units",
        origin,
        total: Means { planned_mean, changed_mean, difference: changed_mean - planned_mean },
        days: days.iter().map(DayAnswer::from).collect(),
        fallback,
        model_version,
    };
    Ok(success(&answer, &Meta::of(&caller.context)))
}

/// All faults at once, each under the name of its field.
fn check(days: &[Day]) -> Result<(), Failure> {
    let mut faults = Vec::new();
    if days.is_empty() {
        faults.push((
            "days",
            "give one day at least, like {\"date\": \"2011-12-24\", \"promotion\": true}".to_owned(),
        ));
    }
    for day in days {
        if day.temp_mean_c.is_some_and(|degrees| !TEMPERATURES.contains(&degrees)) {
            faults.push(("temp_mean_c", format!("{}: give degrees Celsius from -90 to 60", day.date)));
        }
        if day.precipitation_mm.is_some_and(|rain| !(0.0..=MOST_RAIN).contains(&rain)) {
            faults.push(("precipitation_mm", format!("{}: give millimetres from 0 to 2000", day.date)));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::fields(&faults)) }
}

impl Day {
    fn change(&self) -> Change {
        Change {
            is_closed: self.closed,
            is_promotion: self.promotion,
            is_holiday: self.holiday,
            is_school_holiday: self.school_holiday,
            temp_mean_c: self.temp_mean_c,
            precipitation_mm: self.precipitation_mm,
        }
    }
}

impl From<&Outcome> for DayAnswer {
    fn from(day: &Outcome) -> Self {
        Self {
            forecast_date: day.date,
            planned: Figures::from(&day.planned),
            changed: Figures::from(&day.changed),
            difference: day.changed.mean - day.planned.mean,
        }
    }
}
