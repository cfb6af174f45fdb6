//! Tables that are questions: `marts.daily_demand`, `marts.sales_live`, `marts.forecast_accuracy`, `marts.served_forecasts` and `marts.override_value`; what they show stands in [`domain::views`].
//!
//! A view is planned over the tables as its caller sees them, so that it shows what they show, and reads the versions that the rest of the query reads.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Builder};
use arrow::datatypes::{DataType, TimestampNanosecondType};
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{CatalogProviderList, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::execution::{SessionState, SessionStateBuilder};
use domain::Error;
use domain::marts::day_of;
use domain::views::View;
use domain::zone::Zone;

use crate::marts::function;

/// A question under a name.
#[derive(Debug)]
pub(crate) struct SqlView {
    pub(crate) view: View,
    /// The tables that it reads: who sees them all sees it.
    pub(crate) tables: &'static [&'static str],
    sql: &'static str,
}

/// All views. In their text, `{t}` stands for `tenant` where the caller sees that column, and for a constant where it does not.
pub(crate) static VIEWS: [SqlView; 5] =
    [DAILY_DEMAND, SALES_LIVE, FORECAST_ACCURACY, SERVED_FORECASTS, OVERRIDE_VALUE];

const DAILY_DEMAND: SqlView = SqlView {
    view: View::DailyDemand,
    tables: &["marts.item_days", "marts.store_days", "curated.products"],
    sql: "\
WITH series AS (SELECT {t}store, sku, min(date) AS first_date FROM marts.item_days WHERE sale_lines > 0 GROUP BY {t}store, sku),
named AS (SELECT {t}sku, last_value(name ORDER BY valid_from) AS product_name, last_value(category ORDER BY valid_from) AS category
          FROM curated.products GROUP BY {t}sku)
SELECT {s.t}s.store, s.sku, d.date, n.product_name, n.category,
       coalesce(i.units, 0) AS units, coalesce(i.returned_units, 0) AS returned_units, coalesce(i.revenue, 0) AS revenue,
       coalesce(i.refunds, 0) AS refunds, coalesce(i.discounts, 0) AS discounts, coalesce(i.sale_lines, 0) AS sale_lines,
       coalesce(i.return_lines, 0) AS return_lines, coalesce(i.other_currency_lines, 0) AS other_currency_lines, d.currency,
       i.price, coalesce(i.is_promoted, false) AS is_promoted, i.on_hand, i.is_stocked_out, i.rival_price,
       i.sentiment AS sku_sentiment, coalesce(i.posts, 0) AS sku_posts,
       d.is_closed, d.holiday, d.is_school_holiday, d.is_promotion, d.events, d.expected_attendance, d.signals,
       d.weather_kind, d.temp_mean_c, d.temp_min_c, d.temp_max_c, d.precipitation_mm, d.wind_kmh, d.humidity, d.condition,
       d.sentiment AS place_sentiment, d.posts AS place_posts
FROM series AS s
JOIN marts.store_days AS d ON {d.t = s.t}d.store = s.store AND d.date >= s.first_date
LEFT JOIN marts.item_days AS i ON {i.t = s.t}i.store = s.store AND i.sku = s.sku AND i.date = d.date
LEFT JOIN named AS n ON {n.t = s.t}n.sku = s.sku",
};

const SALES_LIVE: SqlView = SqlView {
    view: View::SalesLive,
    tables: &["curated.sales", "curated.stores"],
    sql: "\
WITH dated AS (SELECT {t}store, time_zone, currency, valid_from, local_date(now(), time_zone) AS today FROM curated.stores),
ranked AS (SELECT {t}store, time_zone, currency, today, row_number() OVER (PARTITION BY {t}store
             ORDER BY valid_from <= today DESC, CASE WHEN valid_from <= today THEN valid_from END DESC, valid_from) AS nth FROM dated),
recent AS (SELECT {t}store, kind, quantity, unit_price, currency, occurred_at FROM curated.sales
           WHERE NOT _duplicate AND occurred_at >= now() - INTERVAL '50 hours')
SELECT {r.t}r.store, r.today AS date, r.currency,
       coalesce(sum(s.quantity) FILTER (WHERE s.kind = 'sale'), 0) AS units,
       coalesce(-sum(s.quantity) FILTER (WHERE s.kind = 'return'), 0) AS returned_units,
       coalesce(sum(s.quantity * s.unit_price) FILTER (WHERE s.kind = 'sale' AND s.currency = r.currency), 0) AS revenue,
       coalesce(-sum(s.quantity * s.unit_price) FILTER (WHERE s.kind = 'return' AND s.currency = r.currency), 0) AS refunds,
       count(*) FILTER (WHERE s.kind = 'sale') AS sale_lines,
       max(s.occurred_at) AS last_sale_at
FROM ranked AS r
LEFT JOIN recent AS s ON {s.t = r.t}s.store = r.store AND local_date(s.occurred_at, r.time_zone) = r.today
WHERE r.nth = 1
GROUP BY {r.t}r.store, r.today, r.currency",
};

/// Of what is not about a store, a category or an article, the name is empty: names are never, and equal ones join. The business is known up to the last day of the
/// store that is behind the others, those aside whose sales ended four weeks before the newest.
const FORECAST_ACCURACY: SqlView = SqlView {
    view: View::ForecastAccuracy,
    tables: &["marts.forecasts", "marts.item_days", "marts.store_days", "curated.products"],
    sql: "\
WITH named AS (SELECT {t}sku, last_value(category ORDER BY valid_from) AS category FROM curated.products GROUP BY {t}sku),
items AS (SELECT {t}store, sku, date, CAST(units - returned_units AS DOUBLE) AS units FROM marts.item_days),
stores AS (SELECT {t}store, date, CAST(units - returned_units AS DOUBLE) AS units FROM marts.store_days),
came AS (SELECT {t}'sku' AS level, store, '' AS category, sku, date, units FROM items
  UNION ALL SELECT {s.t}'category', s.store, n.category, '', s.date, sum(s.units) FROM items AS s JOIN named AS n ON {n.t = s.t}n.sku = s.sku
            WHERE n.category IS NOT NULL GROUP BY {s.t}s.store, n.category, s.date
  UNION ALL SELECT {t}'store', store, '', '', date, units FROM stores
  UNION ALL SELECT {t}'business', '', '', '', date, sum(units) FROM stores GROUP BY {t}date),
ends AS (SELECT {t}store, max(date) AS last FROM stores GROUP BY {t}store),
newest AS (SELECT {t}max(last) AS newest FROM ends GROUP BY {t}1 + 0),
known AS (SELECT {t}store, last FROM ends
  UNION ALL SELECT {s.t}'', min(s.last) FROM ends AS s JOIN newest AS d ON {d.t = s.t}s.last > d.newest - INTERVAL '28 days' GROUP BY {s.t}1 + 0),
told AS (SELECT {t}level, store, category, sku, coalesce(store, '') AS at_store, coalesce(category, '') AS of_category, coalesce(sku, '') AS of_sku,
           origin, model_version, forecast_date, mean, q025, q100, q900, q975,
           origin + CAST((CAST(forecast_date AS INT) - CAST(origin AS INT) - 1) % 7 - 6 AS INT) AS week_before FROM marts.forecasts),
days AS (SELECT {s.t}s.level, s.store, s.category, s.sku, s.origin, s.model_version, s.mean, s.q025, s.q100, s.q900, s.q975,
           coalesce(i.units, 0) AS units, greatest(coalesce(n.units, 0), 0) AS naive
         FROM told AS s
         JOIN known AS d ON {d.t = s.t}d.store = s.at_store AND d.last >= s.forecast_date
         LEFT JOIN came AS i ON {i.t = s.t}i.level = s.level AND i.store = s.at_store AND i.category = s.of_category AND i.sku = s.of_sku AND i.date = s.forecast_date
         LEFT JOIN came AS n ON {n.t = s.t}n.level = s.level AND n.store = s.at_store AND n.category = s.of_category AND n.sku = s.of_sku AND n.date = s.week_before),
sums AS (SELECT {t}level, store, category, sku, origin, model_version, count(*) AS days, sum(units) AS units, sum(mean) AS forecast_units,
           sum(abs(mean - units)) AS off, sum(abs(naive - units)) AS naive_off, nullif(sum(abs(units)), 0) AS whole,
           avg(CASE WHEN units BETWEEN q100 AND q900 THEN 1.0 ELSE 0.0 END) AS coverage_80,
           avg(CASE WHEN units BETWEEN q025 AND q975 THEN 1.0 ELSE 0.0 END) AS coverage_95
         FROM days GROUP BY {t}level, store, category, sku, origin, model_version)
SELECT {t}level, store, category, sku, origin, model_version, days, units, forecast_units, off / whole AS wape, naive_off / whole AS naive_wape,
       (naive_off - off) / whole AS value_added, (forecast_units - units) / nullif(units, 0) AS bias, coverage_80, coverage_95
FROM sums",
};

/// An event's row is written behind the forecasts of its version: where it is seen, they are.
const SERVED_FORECASTS: SqlView = SqlView {
    view: View::ServedForecasts,
    tables: &["marts.forecasts", "ops.model_versions", "marts.forecast_overrides"],
    sql: "\
WITH said AS (SELECT {t}last_value(served_version ORDER BY number) AS served_version FROM ops.model_versions GROUP BY {t}1 + 0),
words AS (SELECT {t}store, sku, forecast_date, last_value(units ORDER BY at) AS override_units, last_value(author ORDER BY at) AS override_author,
            last_value(reason ORDER BY at) AS override_reason FROM marts.forecast_overrides GROUP BY {t}store, sku, forecast_date)
SELECT s.* EXCLUDE (period), i.override_units, CASE WHEN i.override_units IS NOT NULL THEN i.override_author END AS override_author,
       CASE WHEN i.override_units IS NOT NULL THEN i.override_reason END AS override_reason
FROM said AS n JOIN marts.forecasts AS s ON {n.t = s.t}n.served_version = s.model_version
LEFT JOIN words AS i ON {i.t = s.t}i.store = s.store AND i.sku = s.sku AND i.forecast_date = s.forecast_date",
};

/// A word counts that was said before its day was known: a day that the model knew is none to speak of.
const OVERRIDE_VALUE: SqlView = SqlView {
    view: View::OverrideValue,
    tables: &["marts.forecast_overrides", "marts.item_days", "marts.store_days"],
    sql: "\
WITH words AS (SELECT {t}store, sku, forecast_date, last_value(units ORDER BY at) AS override_units, last_value(author ORDER BY at) AS author,
                 last_value(reason ORDER BY at) AS reason, last_value(model_version ORDER BY at) AS model_version, last_value(mean ORDER BY at) AS mean
               FROM marts.forecast_overrides WHERE origin < forecast_date GROUP BY {t}store, sku, forecast_date),
came AS (SELECT {t}store, date FROM marts.store_days),
sold AS (SELECT {t}store, sku, date, CAST(units - returned_units AS DOUBLE) AS units FROM marts.item_days)
SELECT {s.t}s.store, s.sku, s.forecast_date, s.author, s.reason, s.model_version, s.override_units, s.mean, coalesce(i.units, 0) AS units,
       abs(s.mean - coalesce(i.units, 0)) - abs(s.override_units - coalesce(i.units, 0)) AS value_added
FROM words AS s
JOIN came AS d ON {d.t = s.t}d.store = s.store AND d.date = s.forecast_date
LEFT JOIN sold AS i ON {i.t = s.t}i.store = s.store AND i.sku = s.sku AND i.date = s.forecast_date
WHERE s.override_units IS NOT NULL",
};

impl SqlView {
    /// The view of a name like `marts.daily_demand`.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        VIEWS.iter().find(|known| known.name() == name)
    }

    /// Its name in SQL.
    pub(crate) fn name(&self) -> &'static str {
        self.view.qualified_name()
    }

    /// Its text for a caller who sees the column `tenant`, or does not.
    fn text(&self, has_tenant: bool) -> String {
        let marks = [
            ("{t}", "tenant, "),
            ("{s.t}", "s.tenant, "),
            ("{r.t}", "r.tenant, "),
            ("{d.t = s.t}", "d.tenant = s.tenant AND "),
            ("{i.t = s.t}", "i.tenant = s.tenant AND "),
            ("{n.t = s.t}", "n.tenant = s.tenant AND "),
            ("{s.t = r.t}", "s.tenant = r.tenant AND "),
        ];
        marks.iter().fold(self.sql.to_owned(), |sql, (mark, with)| {
            sql.replace(mark, if has_tenant { with } else { "" })
        })
    }

    /// The view over what `catalogs` shows.
    pub(crate) async fn open(
        &self,
        reader: &SessionState,
        catalogs: Arc<dyn CatalogProviderList>,
        has_tenant: bool,
    ) -> DfResult<Arc<dyn TableProvider>> {
        let mut state = SessionStateBuilder::new_from_existing(reader.clone())
            .with_default_features()
            .with_catalog_list(catalogs)
            .build();
        datafusion::execution::FunctionRegistry::register_udf(&mut state, Arc::new(local_date()))?;
        let text = self.text(has_tenant);
        let plan = Box::pin(state.create_logical_plan(&text)).await?;
        Ok(Arc::new(ViewTable::new(plan, Some(text))))
    }
}

/// `local_date(instant, time_zone)`: the day that it is there.
fn local_date() -> datafusion::logical_expr::ScalarUDF {
    let of = |arguments: &[ArrayRef]| -> domain::Result<ArrayRef> {
        let unusable = || Error::internal("local_date was given columns of another type");
        let instants = arguments[0].as_primitive_opt::<TimestampNanosecondType>().ok_or_else(unusable)?;
        let zones = arguments[1].as_string_opt::<i32>().ok_or_else(unusable)?;
        let mut days = Date32Builder::with_capacity(instants.len());
        let mut last: Option<(&str, Zone)> = None;
        for row in 0..instants.len() {
            if instants.is_null(row) || zones.is_null(row) {
                days.append_null();
                continue;
            }
            let name = zones.value(row);
            let zone = match last {
                Some((known, zone)) if known == name => zone,
                _ => Zone::parse(name)?,
            };
            last = Some((name, zone));
            days.append_value(day_of(zone.day(instants.value(row).div_euclid(1_000))));
        }
        Ok(Arc::new(days.finish()))
    };
    let instant = DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, Some("+00:00".into()));
    function("local_date", vec![instant, DataType::Utf8], DataType::Date32, of)
}
