//! Competitors' prices: what each asked last.

use std::collections::{BTreeSet, HashMap};

use arrow::datatypes::{Decimal128Type, TimestampMicrosecondType};
use domain::Result;
use domain::civil::Micros;

use super::posts::named;
use super::work::{Columns, Work};

/// A competitor's prices in one currency, by time.
#[derive(Debug)]
struct Asked {
    competitor: String,
    currency: String,
    prices: Vec<(Micros, i128)>,
}

/// Prices by tenant and article.
#[derive(Debug, Default)]
pub(super) struct Rivals(HashMap<String, HashMap<String, Vec<Asked>>>);

impl Rivals {
    /// The prices of some articles up to an instant, at a version of `curated.prices`.
    pub(super) async fn load(
        work: &Work,
        version: u64,
        skus: &BTreeSet<&str>,
        until: Micros,
    ) -> Result<Self> {
        if skus.is_empty() {
            return Ok(Self::default());
        }
        let sql = format!(
            "SELECT tenant, sku, competitor, currency, observed_at, price FROM curated.\"prices@{version}\" \
             WHERE {} AND observed_at < to_timestamp_micros({until}) ORDER BY tenant, sku, competitor, currency, observed_at",
            named("sku", skus)
        );
        let mut rivals = Self::default();
        for batch in work.rows(&sql).await? {
            let columns = Columns(&batch);
            let (tenants, names) = (columns.text("tenant")?, columns.text("sku")?);
            let (competitors, currencies) = (columns.text("competitor")?, columns.text("currency")?);
            let instants = columns.primitive::<TimestampMicrosecondType>("observed_at")?;
            let prices = columns.primitive::<Decimal128Type>("price")?;
            for row in 0..batch.num_rows() {
                let of_tenant = rivals.0.entry(tenants.value(row).to_owned()).or_default();
                let of_sku = of_tenant.entry(names.value(row).to_owned()).or_default();
                let (competitor, currency) = (competitors.value(row), currencies.value(row));
                let price = (instants.value(row), prices.value(row));
                match of_sku.last_mut() {
                    Some(asked) if asked.competitor == competitor && asked.currency == currency => {
                        asked.prices.push(price);
                    }
                    _ => of_sku.push(Asked {
                        competitor: competitor.to_owned(),
                        currency: currency.to_owned(),
                        prices: vec![price],
                    }),
                }
            }
        }
        Ok(rivals)
    }

    /// The lowest of the prices that held just before an instant.
    pub(super) fn lowest(&self, tenant: &str, sku: &str, currency: &str, before: Micros) -> Option<i128> {
        let asked = self.0.get(tenant)?.get(sku)?.iter().filter(|asked| asked.currency == currency);
        let held = asked.filter_map(|asked| {
            let later = asked.prices.partition_point(|(at, _)| *at < before);
            asked.prices[..later].last().map(|(_, price)| *price)
        });
        held.min()
    }
}
