//! How many records of each tenant are refused, against the share that is tolerated.
//!
//! Committed batches are counted in windows that follow each other. A tenant whose share of dead letters passes the budget is named in the log once a window,
//! and in a gauge. Letters without a valid tenant are counted together, against all records of the feed; on request the feed stops when their share
//! passes the budget. Nobody else's letters stop anything. Counts are bounded, however many tenants the records name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use domain::{DeadLetter, Error, ErrorKind, Feed};

/// What is tolerated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErrorBudgetOptions {
    /// `ingest.error_budget`: the share of dead letters that is tolerated, 0 to 1.
    pub share: f64,
    /// `ingest.error_budget_seconds`: over such a window.
    pub window: Duration,
    /// `ingest.error_budget_records`: a share of fewer records says nothing.
    pub least_records: u64,
    /// `ingest.pause_on_invalid_tenant`: the feed stops when letters without a valid tenant pass the budget.
    pub pause_on_invalid_tenant: bool,
}

/// Tenants that are counted by themselves in a window; the others are counted together.
const MAX_TENANTS: usize = 1_000;

/// Tenants that get a series of the gauge, over the life of the process.
const MAX_LABELS: usize = 100;

/// Kinds of faults that are told apart for a tenant.
const MAX_FAULTS: usize = 64;

/// The name under which those beyond the bounds are counted; no tenant has a `/` in its name.
const OTHERS: &str = "others/";

/// Records of a batch by tenant.
#[derive(Debug, Default)]
pub(super) struct Tally {
    good: HashMap<String, u64>,
    refused: HashMap<Option<String>, HashMap<String, u64>>,
    records: u64,
}

impl Tally {
    pub(super) fn of(rows: &[(String, RecordBatch)], letters: &[DeadLetter]) -> Self {
        let mut tally = Self::default();
        for (_, batch) in rows {
            tally.records += batch.num_rows() as u64;
            if let Some(tenants) =
                batch.column_by_name("tenant").and_then(|column| column.as_string_opt::<i32>())
            {
                // Rows of a tenant often follow each other.
                let mut run = (None, 0);
                for row in 0..batch.num_rows() {
                    let tenant = tenants.is_valid(row).then(|| tenants.value(row));
                    if run.0 != tenant {
                        tally.add(run);
                        run = (tenant, 0);
                    }
                    run.1 += 1;
                }
                tally.add(run);
            }
        }
        for letter in letters {
            tally.records += 1;
            let field = letter.reject.field.as_deref().map(|field| format!(" in `{field}`"));
            let fault = format!("{}{}", letter.reject.class.as_str(), field.unwrap_or_default());
            *tally.refused.entry(letter.tenant.clone()).or_default().entry(fault).or_insert(0) += 1;
        }
        tally
    }

    fn add(&mut self, (tenant, rows): (Option<&str>, u64)) {
        let Some(tenant) = tenant else { return };
        match self.good.get_mut(tenant) {
            Some(count) => *count += rows,
            None => {
                self.good.insert(tenant.to_owned(), rows);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    good: u64,
    refused: u64,
    faults: BTreeMap<String, u64>,
    is_told: bool,
}

impl Counts {
    fn refuse(&mut self, faults: HashMap<String, u64>) {
        for (fault, count) in faults {
            self.refused += count;
            let is_known = self.faults.len() < MAX_FAULTS || self.faults.contains_key(&fault);
            *self.faults.entry(if is_known { fault } else { OTHERS.to_owned() }).or_insert(0) += count;
        }
    }

    fn most_frequent(&self) -> &str {
        let most = self.faults.iter().max_by_key(|(_, count)| **count);
        most.map_or("", |(fault, _)| fault)
    }
}

/// The counts of a feed.
#[derive(Debug)]
pub(super) struct ErrorBudget {
    feed: Feed,
    options: ErrorBudgetOptions,
    begun: Option<Instant>,
    records: u64,
    tenants: HashMap<String, Counts>,
    without_tenant: Counts,
    labels: BTreeSet<String>,
}

/// A budget that is exceeded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Excess {
    /// `None`: letters without a valid tenant.
    pub(super) tenant: Option<String>,
    pub(super) refused: u64,
    pub(super) records: u64,
    pub(super) most_frequent: String,
}

impl ErrorBudget {
    pub(super) fn new(feed: Feed, options: ErrorBudgetOptions) -> Self {
        Self {
            feed,
            options,
            begun: None,
            records: 0,
            tenants: HashMap::new(),
            without_tenant: Counts::default(),
            labels: BTreeSet::new(),
        }
    }

    /// Counts a committed batch and tells of what it exceeds; gives the error with which the feed is to stop.
    pub(super) fn spend(&mut self, tally: Tally, now: Instant) -> Option<Error> {
        let exceeded = self.count(tally, now);
        for excess in &exceeded {
            self.tell(excess);
        }
        let needs_tenant = self.feed.required_fields().any(|required| required == "tenant");
        let stops = self.options.pause_on_invalid_tenant && needs_tenant;
        exceeded.iter().find(|excess| stops && excess.tenant.is_none()).map(|excess| self.stop(excess))
    }

    /// Counts a batch; gives what exceeds the budget and was not given in this window.
    fn count(&mut self, tally: Tally, now: Instant) -> Vec<Excess> {
        if self.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= self.options.window) {
            self.begun = Some(now);
            self.records = 0;
            self.tenants.clear();
            self.without_tenant = Counts::default();
            for tenant in &self.labels {
                self.gauge(tenant).set(0.0);
            }
        }
        self.records += tally.records;
        for (tenant, rows) in tally.good {
            self.tenant(tenant).good += rows;
        }
        for (tenant, faults) in tally.refused {
            match tenant {
                Some(tenant) => self.tenant(tenant).refuse(faults),
                None => self.without_tenant.refuse(faults),
            }
        }
        let ErrorBudgetOptions { share, least_records, .. } = self.options;
        let all = self.records;
        let exceeds = |refused: u64, records: u64| {
            records >= least_records.max(1) && refused as f64 > share * records as f64
        };
        let tenants = self.tenants.iter_mut().map(|(tenant, counts)| {
            let records = counts.good + counts.refused;
            (Some(tenant.clone()), records, counts)
        });
        let without = std::iter::once((None, all, &mut self.without_tenant));
        let told = tenants.chain(without).filter_map(|(tenant, records, counts)| {
            if counts.is_told || !exceeds(counts.refused, records) {
                return None;
            }
            counts.is_told = true;
            let most_frequent = counts.most_frequent().to_owned();
            Some(Excess { tenant, refused: counts.refused, records, most_frequent })
        });
        told.collect()
    }

    fn tenant(&mut self, tenant: String) -> &mut Counts {
        let is_full = self.tenants.len() >= MAX_TENANTS && !self.tenants.contains_key(&tenant);
        self.tenants.entry(if is_full { OTHERS.to_owned() } else { tenant }).or_default()
    }

    fn tell(&mut self, excess: &Excess) {
        let label = match &excess.tenant {
            None => "none/",
            Some(tenant) if self.labels.len() < MAX_LABELS || self.labels.contains(tenant) => tenant,
            Some(_) => OTHERS,
        };
        self.gauge(label).set(1.0);
        self.labels.insert(label.to_owned());
        tracing::warn!(
            feed = self.feed.name(),
            tenant = excess.tenant.as_deref().unwrap_or("(none that is valid)"),
            share = %percent(excess),
            records = excess.records,
            window_seconds = self.options.window.as_secs(),
            most_frequent = excess.most_frequent,
            "more records are refused than ingest.error_budget tolerates: look at `intellicartel dlq list`"
        );
    }

    fn gauge(&self, tenant: &str) -> metrics::Gauge {
        metrics::gauge!("intellicartel_ingest_error_budget_exceeded", "feed" => self.feed.name(), "tenant" => tenant.to_owned())
    }

    fn stop(&self, excess: &Excess) -> Error {
        Error::new(
            ErrorKind::LimitExceeded,
            format!(
                "{} of {} records have no valid tenant (most often {}), above ingest.error_budget, and ingest.pause_on_invalid_tenant is set: nothing is \
                 lost, all that was read is committed; look at `intellicartel dlq list --feed {}`, mend the sender, and start again, or set \
                 ingest.pause_on_invalid_tenant=false",
                percent(excess),
                excess.records,
                excess.most_frequent,
                self.feed.name()
            ),
        )
    }
}

fn percent(excess: &Excess) -> String {
    format!("{:.1} %", 100.0 * excess.refused as f64 / excess.records.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(pause: bool) -> ErrorBudget {
        let options = ErrorBudgetOptions {
            share: 0.1,
            window: Duration::from_secs(60),
            least_records: 20,
            pause_on_invalid_tenant: pause,
        };
        ErrorBudget::new(Feed::Sales, options)
    }

    fn tally(good: &[(&str, u64)], refused: &[(Option<&str>, &str, u64)]) -> Tally {
        let mut tally = Tally::default();
        for (tenant, rows) in good {
            tally.good.insert((*tenant).to_owned(), *rows);
            tally.records += rows;
        }
        for (tenant, fault, count) in refused {
            let of_tenant = tally.refused.entry(tenant.map(str::to_owned)).or_default();
            *of_tenant.entry((*fault).to_owned()).or_insert(0) += count;
            tally.records += count;
        }
        tally
    }

    #[test]
    fn a_tenant_is_named_once_a_window_and_only_for_its_own_records() {
        let (mut budget, start) = (budget(false), Instant::now());
        let bad = || tally(&[("a", 16), ("b", 100)], &[(Some("a"), "missing_field in `sku`", 3)]);
        assert_eq!(budget.count(bad(), start), [], "19 records are too few to judge");
        let told = budget.count(bad(), start);
        let expected = Excess {
            tenant: Some("a".to_owned()),
            refused: 6,
            records: 38,
            most_frequent: "missing_field in `sku`".to_owned(),
        };
        assert_eq!(told, [expected]);
        assert_eq!(budget.count(bad(), start + Duration::from_secs(59)), []);
        assert_eq!(
            budget.count(bad(), start + Duration::from_secs(60)),
            [],
            "a new window begins at nothing"
        );
        assert_eq!(budget.count(bad(), start + Duration::from_secs(61)).len(), 1);
        let exact = tally(&[("c", 90)], &[(Some("c"), "x", 10)]);
        assert_eq!(
            budget.count(exact, start + Duration::from_secs(62)),
            [],
            "the budget itself is tolerated"
        );
    }

    #[test]
    fn only_letters_without_a_tenant_stop_a_feed_and_only_on_request() {
        let rubbish = || tally(&[("a", 50)], &[(Some("b"), "x", 1_000)]);
        let nobody = || tally(&[("a", 50)], &[(None, "malformed_json", 10)]);
        assert!(budget(true).spend(rubbish(), Instant::now()).is_none());
        assert!(budget(false).spend(nobody(), Instant::now()).is_none());
        let error = budget(true).spend(nobody(), Instant::now()).expect("it stops");
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        for words in ["16.7 % of 60", "malformed_json", "pause_on_invalid_tenant=false"] {
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn counts_are_bounded_however_many_tenants_and_faults_there_are() {
        let mut budget = budget(false);
        for round in 0..3_000_u64 {
            let (tenant, fault) = (format!("t{round}"), format!("f{round}"));
            budget.spend(tally(&[], &[(Some(&tenant), "x", 30), (Some("t0"), &fault, 1)]), Instant::now());
        }
        assert!(budget.tenants.len() <= MAX_TENANTS + 1, "{}", budget.tenants.len());
        assert!(budget.labels.len() <= MAX_LABELS + 2, "{}", budget.labels.len());
        assert!(budget.tenants["t0"].faults.len() <= MAX_FAULTS + 1);
        assert_eq!(budget.tenants["t0"].refused, 3_030);
    }
}
