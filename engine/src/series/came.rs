//! Days that are forecast: those of a business that have come, beside what came, and those of an article that are served.

use arrow::datatypes::{Date32Type, Float64Type};
use chrono::NaiveDate;
use domain::forecast::{ForecastDay, ServedDay};
use domain::principal::Principal;
use domain::{Error, Result};

use super::standing::values;
use super::{SeriesReader, scope, text};
use crate::marts::literal;

impl SeriesReader {
    /// A day has come when it has in every store, those aside whose sales ended four weeks before the newest.
    pub(super) async fn read_forecast_days(&self, tenant: &str) -> Result<Vec<ForecastDay>> {
        let scope = scope(&Principal::tenant(tenant)?);
        let sql = format!(
            "WITH days AS (SELECT store, date, CAST(units - returned_units AS DOUBLE) AS units FROM marts.store_days WHERE {scope}), \
             came AS (SELECT date, sum(units) AS units FROM days GROUP BY date), \
             ends AS (SELECT store, max(date) AS last FROM days GROUP BY store), \
             known AS (SELECT min(last) AS last FROM ends WHERE last > (SELECT max(date) FROM days) - INTERVAL '28 days'), \
             promoted AS (SELECT model_version AS version, max(number) AS number FROM ops.model_versions WHERE action = 'promoted' AND {scope} GROUP BY model_version), \
             told AS (SELECT forecast_date, origin, mean, row_number() OVER (PARTITION BY forecast_date ORDER BY origin DESC, number DESC) AS nth \
                      FROM promoted AS p JOIN marts.forecasts AS f ON f.model_version = p.version WHERE f.level = 'business' AND f.{scope}) \
             SELECT forecast_date, origin, mean, came.units FROM told JOIN came ON came.date = forecast_date \
             WHERE nth = 1 AND forecast_date <= (SELECT last FROM known) ORDER BY forecast_date"
        );
        let mut found = Vec::new();
        let take = |batch: &arrow::array::RecordBatch| {
            let (dates, origins) =
                (values::<Date32Type>(batch, "forecast_date")?, values::<Date32Type>(batch, "origin")?);
            let (means, units) =
                (values::<Float64Type>(batch, "mean")?, values::<Float64Type>(batch, "units")?);
            for row in 0..batch.num_rows() {
                found.push(ForecastDay {
                    date: day(dates.value(row))?,
                    origin: day(origins.value(row))?,
                    mean: means.value(row),
                    units: units.value(row),
                });
            }
            Ok(())
        };
        self.each(&sql, take).await?;
        Ok(found)
    }

    pub(super) async fn read_served_days(
        &self,
        principal: &Principal,
        store: &str,
        sku: &str,
    ) -> Result<Vec<ServedDay>> {
        let sql = format!(
            "SELECT forecast_date, origin, model_version, mean FROM marts.served_forecasts \
             WHERE level = 'sku' AND {} AND store = {} AND sku = {} ORDER BY forecast_date",
            scope(principal),
            literal(store),
            literal(sku)
        );
        let mut found = Vec::new();
        let take = |batch: &arrow::array::RecordBatch| {
            let (dates, origins) =
                (values::<Date32Type>(batch, "forecast_date")?, values::<Date32Type>(batch, "origin")?);
            let (versions, means) = (text(batch, "model_version")?, values::<Float64Type>(batch, "mean")?);
            for row in 0..batch.num_rows() {
                found.push(ServedDay {
                    date: day(dates.value(row))?,
                    origin: day(origins.value(row))?,
                    model_version: versions.value(row).to_owned(),
                    mean: means.value(row),
                });
            }
            Ok(())
        };
        self.each(&sql, take).await?;
        Ok(found)
    }
}

fn day(day: i32) -> Result<NaiveDate> {
    let beyond = || Error::internal("marts.forecasts holds a day beyond the calendar");
    Date32Type::to_naive_date_opt(day).ok_or_else(beyond)
}
