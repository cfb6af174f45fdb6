//! `GET /api/v1/forecast/predictions`: the forecasts that are served of articles, categories, stores or the business, day by day.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::Error;
use engine::{Output, Session};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answering::written;
use super::envelope::{Failure, Meta, Pagination, page};
use super::paged::MAX_BYTES;
use super::parameters::{Faults, MAX_PER_PAGE, equal, given};
use super::tenant::Caller;
use crate::ApiState;

/// The intervals that can be asked for, in per cent, and the quantiles that bound them.
const LEVELS: [(u64, &str, &str); 5] = [
    (20, "q400", "q600"),
    (40, "q300", "q700"),
    (60, "q200", "q800"),
    (80, "q100", "q900"),
    (95, "q025", "q975"),
];

/// The level whose coverage is measured.
const MEASURED_LEVEL: u64 = 80;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    subject: Option<String>,
    category: Option<String>,
    product_id: Option<String>,
    sku: Option<String>,
    store: Option<String>,
    from: Option<String>,
    to: Option<String>,
    level: Option<String>,
    page: Option<String>,
    per_page: Option<String>,
}

/// A row, in the names that clients know. Figures keep their digits.
#[derive(Debug, Deserialize)]
struct Row {
    subject: String,
    store: Option<String>,
    category: Option<String>,
    sku: Option<String>,
    product_name: Option<String>,
    unit: String,
    forecast_date: String,
    origin: String,
    predicted_demand: i64,
    mean: Box<RawValue>,
    lower_bound: Box<RawValue>,
    upper_bound: Box<RawValue>,
    total_mean: Box<RawValue>,
    total_q500: Box<RawValue>,
    total_q900: Box<RawValue>,
    total_q975: Box<RawValue>,
    confidence_score: Option<Box<RawValue>>,
    wape: Option<Box<RawValue>>,
    naive_wape: Option<Box<RawValue>>,
    coverage_80: Option<Box<RawValue>>,
    n: i64,
    fallback: Option<String>,
    override_units: Option<Box<RawValue>>,
    override_author: Option<String>,
    override_reason: Option<String>,
    model_version: String,
    lake_versions: String,
    created_at: String,
    total: u64,
}

#[derive(Debug, Serialize)]
struct Prediction<'a> {
    subject: &'a str,
    store: Option<&'a str>,
    category: Option<&'a str>,
    sku: Option<&'a str>,
    product_name: Option<&'a str>,
    unit: &'a str,
    forecast_date: &'a str,
    origin: &'a str,
    /// The mean in whole units.
    predicted_demand: i64,
    mean: &'a RawValue,
    /// Per cent of the interval between the bounds.
    level: u64,
    lower_bound: &'a RawValue,
    upper_bound: &'a RawValue,
    total: Total<'a>,
    /// The measured coverage of the interval; none for a level that is not measured, or without a measure.
    confidence_score: Option<&'a RawValue>,
    backtest: Backtest<'a>,
    fallback: Option<&'a str>,
    /// What a planner expects in the model's place.
    r#override: Option<Override<'a>>,
    note: Option<&'static str>,
    model_version: &'a str,
    lake_versions: &'a RawValue,
    created_at: &'a str,
}

/// Of all days from the first one ahead up to and with this one.
#[derive(Debug, Serialize)]
struct Total<'a> {
    mean: &'a RawValue,
    q500: &'a RawValue,
    q900: &'a RawValue,
    q975: &'a RawValue,
}

/// A planner's word.
#[derive(Debug, Serialize)]
struct Override<'a> {
    units: &'a RawValue,
    author: Option<&'a str>,
    reason: Option<&'a str>,
}

/// How good such forecasts were at past origins.
#[derive(Debug, Serialize)]
struct Backtest<'a> {
    wape: Option<&'a RawValue>,
    naive_wape: Option<&'a RawValue>,
    coverage_80: Option<&'a RawValue>,
    n: i64,
}

pub(super) async fn predictions(
    State(state): State<ApiState>,
    caller: Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Response {
    let answered = answer(&state, &caller, parameters).await;
    answered.unwrap_or_else(|failure| failure.into_response(&caller.context))
}

async fn answer(
    state: &ApiState,
    caller: &Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Failure> {
    let parameters = given(parameters)?;
    let wanted = Wanted::check(parameters)?;
    let session = state.engine.session(caller.principal.clone());
    let found = written(state, &session, &wanted.rows(), (MAX_PER_PAGE, MAX_BYTES), Output::Json).await?;
    let rows: Vec<Row> = parsed(&found.bytes)?;
    let total = match rows.first() {
        Some(row) => row.total,
        // Nothing matches, or the page lies behind the last.
        None => wanted.total(state, &session).await?,
    };
    let predictions = rows.iter().map(|row| row.prediction(wanted.level)).collect::<Result<Vec<_>, _>>()?;
    let meta = Meta::of(&caller.context).with_as_of(state.newest_sales.as_of(&session, found.tables).await);
    Ok(page(&predictions, &meta, Pagination::new(wanted.page, wanted.per_page, total)))
}

fn parsed<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::internal(format!("rows that are not predictions: {error}")))
}

/// A checked question.
struct Wanted {
    /// Which series.
    series: String,
    /// Which of their days.
    days: String,
    level: u64,
    bounds: (&'static str, &'static str),
    page: u64,
    per_page: u64,
}

impl Wanted {
    fn check(parameters: Parameters) -> Result<Self, Failure> {
        let mut faults = Faults::default();
        if parameters.product_id.is_some() {
            faults.add("product_id", "products have no ids yet: name the article by sku".to_owned());
        }
        let subject = faults.subject(parameters.subject);
        let (from, to) = faults.span(parameters.from, parameters.to);
        let level = faults.number("level", parameters.level, MEASURED_LEVEL, (1, 99));
        let bounds = LEVELS.into_iter().find(|(known, ..)| *known == level).map(|(_, low, high)| (low, high));
        if bounds.is_none() {
            faults.add("level", format!("{level} % is not stored: give 20, 40, 60, 80 or 95"));
        }
        let (page, per_page) = faults.page(parameters.page, parameters.per_page);
        faults.check()?;
        // A level without bounds was a fault.
        let bounds = bounds.unwrap_or_default();
        let named = [("sku", parameters.sku), ("store", parameters.store), ("category", parameters.category)];
        let series = format!("level = '{subject}'{}", equal(named));
        let from = from.map(|from| format!(" AND forecast_date >= DATE '{from}'")).unwrap_or_default();
        let to = to.map(|to| format!(" AND forecast_date <= DATE '{to}'")).unwrap_or_default();
        Ok(Self { series, days: format!("{from}{to}"), level, bounds, page, per_page })
    }

    /// The wanted days of the forecasts that are served.
    fn served(&self) -> String {
        format!("marts.served_forecasts WHERE {}{}", self.series, self.days)
    }

    fn rows(&self) -> String {
        let (lower, upper) = self.bounds;
        let confidence = if self.level == MEASURED_LEVEL { "coverage_80" } else { "CAST(NULL AS DOUBLE)" };
        format!(
            "SELECT level AS subject, store, category, sku, product_name, unit, forecast_date, origin, CAST(round(mean) AS BIGINT) AS predicted_demand, mean, \
             {lower} AS lower_bound, {upper} AS upper_bound, total_mean, total_q500, total_q900, total_q975, {confidence} AS confidence_score, backtest_wape AS wape, naive_wape, coverage_80, \
             backtest_n AS n, fallback, override_units, override_author, override_reason, model_version, lake_versions, created_at, count(*) OVER () AS total \
             FROM {} ORDER BY store, category, sku, forecast_date LIMIT {} OFFSET {}",
            self.served(),
            self.per_page,
            (self.page - 1) * self.per_page
        )
    }

    /// How many predictions there are when the page has none; none at all is told apart from none for this question.
    async fn total(&self, state: &ApiState, session: &Session) -> Result<u64, Failure> {
        #[derive(Deserialize)]
        struct Totals {
            wanted: u64,
            of_business: u64,
        }
        let sql = format!(
            "SELECT (SELECT count(*) FROM {}) AS wanted, (SELECT count(*) FROM (SELECT 1 FROM marts.served_forecasts LIMIT 1)) AS of_business",
            self.served()
        );
        let found = written(state, session, &sql, (1, MAX_BYTES), Output::Json).await?;
        match parsed::<Vec<Totals>>(&found.bytes)?.first() {
            Some(totals) if totals.of_business > 0 => Ok(totals.wanted),
            _ => {
                let message = "no forecast was made for this business yet: run `intellicartel forecast run`";
                Err(Failure::new(StatusCode::NOT_FOUND, "FORECAST_NOT_FOUND", message))
            }
        }
    }
}

impl Row {
    fn prediction(&self, level: u64) -> Result<Prediction<'_>, Error> {
        let lake_versions = serde_json::from_str(&self.lake_versions)
            .map_err(|error| Error::internal(format!("lake_versions of a forecast: {error}")))?;
        Ok(Prediction {
            subject: &self.subject,
            store: self.store.as_deref(),
            category: self.category.as_deref(),
            sku: self.sku.as_deref(),
            product_name: self.product_name.as_deref(),
            unit: &self.unit,
            forecast_date: &self.forecast_date,
            origin: &self.origin,
            predicted_demand: self.predicted_demand,
            mean: &self.mean,
            level,
            lower_bound: &self.lower_bound,
            upper_bound: &self.upper_bound,
            total: Total {
                mean: &self.total_mean,
                q500: &self.total_q500,
                q900: &self.total_q900,
                q975: &self.total_q975,
            },
            confidence_score: self.confidence_score.as_deref(),
            backtest: Backtest {
                wape: self.wape.as_deref(),
                naive_wape: self.naive_wape.as_deref(),
                coverage_80: self.coverage_80.as_deref(),
                n: self.n,
            },
            fallback: self.fallback.as_deref(),
            r#override: self.override_units.as_deref().map(|units| Override {
                units,
                author: self.override_author.as_deref(),
                reason: self.override_reason.as_deref(),
            }),
            note: (self.n == 0).then_some("the history is too short to measure how good this forecast is"),
            model_version: &self.model_version,
            lake_versions,
            created_at: &self.created_at,
        })
    }
}
