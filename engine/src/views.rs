//! Tables that are questions: `marts.daily_demand` and `marts.sales_live`; what they show stands in [`domain::views`].
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
pub(crate) static VIEWS: [SqlView; 2] = [DAILY_DEMAND, SALES_LIVE];

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
