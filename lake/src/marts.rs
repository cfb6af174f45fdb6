//! The daily marts in the lake: days replaced whole, with the versions of the sources that they are made from.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::Date32Type;
use arrow_array::{BooleanArray, RecordBatch};
use async_trait::async_trait;
use domain::marts::{Day, DaySet, Mart, StoreDays, date_of, day_of};
use domain::ports::{MartState, Replace, Replaced, Replacement, StagedFile};
use domain::{Error, Feed, Result};
use serde_json::Value;

use crate::lake::Lake;
use crate::log::ActiveFile;
use crate::replace::{Request, Rows, Share, replace};
use crate::stage::write_files;

/// Store-days that a commit names one by one in the table's history.
const NAMED_DAYS: usize = 3;

/// The application id under which the version of a source is kept.
fn source_id(mart: Mart, source: Feed) -> String {
    format!("mart/{}/{}", mart.name(), source.name())
}

#[async_trait]
impl Replace for Lake {
    async fn mart_state(&self, mart: Mart) -> Result<MartState> {
        let log = self.table(&mart.qualified_name())?.snapshot().await?;
        let version = |source: Feed| {
            let version = log.transaction(&source_id(mart, source))?;
            Some((source, u64::try_from(version).ok()?))
        };
        let sources = mart.sources().iter().filter_map(|source| version(*source)).collect();
        Ok(MartState { version: log.version(), sources })
    }

    async fn stage_days(&self, mart: Mart, rows: Vec<(String, RecordBatch)>) -> Result<Vec<StagedFile>> {
        let table = self.table(&mart.qualified_name())?;
        write_files(&table.log_store().object_store(None), table.definition(), rows).await
    }

    async fn replace_days(&self, replacement: Replacement) -> Result<Replaced> {
        let Replacement { mart, seen, sources, days, files } = replacement;
        let as_txn = |versions: &BTreeMap<Feed, u64>, source: &Feed| {
            versions.get(source).map(|version| i64::try_from(*version).unwrap_or(i64::MAX))
        };
        let transactions = mart.sources().iter().filter_map(|source| {
            Some((source_id(mart, *source), as_txn(&seen, source), as_txn(&sources, source)?))
        });
        let transactions = transactions.collect();
        let rows = OfDays(days);
        let table = self.table(&mart.qualified_name())?;
        let done = replace(table, Request { rows: Some(&rows), files, transactions }).await?;
        Ok(Replaced {
            version: done.version,
            rows: done.rows,
            replaced_rows: done.replaced_rows,
            kept_rows: done.kept_rows,
        })
    }
}

/// The rows of a set of days.
#[derive(Debug)]
struct OfDays(DaySet);

impl Rows for OfDays {
    fn columns(&self) -> &[&'static str] {
        &["tenant", "store", "date"]
    }

    fn share(&self, _: &ActiveFile, stats: &Value) -> Share {
        let Some(mut stores) = self.0.stores() else { return Share::All };
        let bound = |which: &str, column: &str| stats[which][column].as_str().map(ToOwned::to_owned);
        let bounds = |column: &str| (bound("minValues", column), bound("maxValues", column));
        let (tenants, in_stores, dates) = (bounds("tenant"), bounds("store"), bounds("date"));
        let within = |(low, high): &(Option<String>, Option<String>), value: &str| {
            low.as_deref().is_none_or(|low| low <= value) && high.as_deref().is_none_or(|high| high >= value)
        };
        let day = |text: Option<&String>| text.and_then(|text| text.parse().ok()).map(day_of);
        let (first, last) =
            (day(dates.0.as_ref()).unwrap_or(Day::MIN), day(dates.1.as_ref()).unwrap_or(Day::MAX));
        let meets = stores.any(|(tenant, store, days)| {
            within(&tenants, tenant)
                && within(&in_stores, store)
                && match days {
                    StoreDays::All => true,
                    StoreDays::Only(days) => first <= last && days.range(first..=last).next().is_some(),
                }
        });
        if meets { Share::Unknown } else { Share::Nothing }
    }

    fn mask(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let lacks = |name: &str| Error::internal(format!("a file of a mart lacks {name}"));
        let text = |name: &'static str| {
            let column = rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            column.ok_or_else(|| lacks(name))
        };
        let (tenants, stores) = (text("tenant")?, text("store")?);
        let dates = rows.column_by_name("date").and_then(|column| column.as_primitive_opt::<Date32Type>());
        let dates = dates.ok_or_else(|| lacks("date"))?;
        let goes = |row| self.0.contains(tenants.value(row), stores.value(row), dates.value(row));
        Ok((0..dates.len()).map(|row| Some(goes(row))).collect())
    }

    fn predicate(&self) -> String {
        let Some(stores) = self.0.stores() else { return "true".to_owned() };
        let quoted = |text: &str| text.replace('\'', "''");
        let mut named = Vec::new();
        let (mut whole_stores, mut some_days) = (0, 0);
        for (tenant, store, days) in stores {
            let of_store = format!("tenant = '{}' AND store = '{}'", quoted(tenant), quoted(store));
            match days {
                StoreDays::All => {
                    whole_stores += 1;
                    named.push(of_store);
                }
                StoreDays::Only(days) => {
                    some_days += days.len();
                    // One more than are named tells that they are too many.
                    let dates = days.iter().take(NAMED_DAYS + 1);
                    named.extend(dates.map(|day| format!("{of_store} AND date = DATE '{}'", date_of(*day))));
                }
            }
        }
        if named.len() <= NAMED_DAYS {
            return named.join(" OR ");
        }
        format!("{some_days} store-days and {whole_stores} whole stores")
    }
}
