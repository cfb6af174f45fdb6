//! Days as conditions by which files are left out. They say too little rather than too much: rows are judged by [`super::stores::wanted`].

use domain::marts::{Day, DaySet, StoreDays, date_of};

use super::work::literal;

/// Runs of days that a condition names at most.
const MAX_RUNS: usize = 32;

/// Stores that a condition names at most: DataFusion leaves files out by lists of up to 20.
const MAX_NAMES: usize = 20;

/// Runs of days, ascending; none stands for all days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Windows {
    runs: Option<Vec<(Day, Day)>>,
    names: Option<(Vec<String>, Vec<String>)>,
}

impl Windows {
    /// Of a set of days.
    pub(super) fn of(days: &DaySet) -> Self {
        let Some(stores) = days.stores() else { return Self { runs: None, names: None } };
        let (mut all, mut runs) = (false, std::collections::BTreeSet::new());
        let (mut tenants, mut names) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        for (tenant, store, days) in stores {
            tenants.insert(tenant.to_owned());
            names.insert(store.to_owned());
            match days {
                StoreDays::All => all = true,
                StoreDays::Only(days) => runs.extend(days.iter().copied()),
            }
        }
        let few = tenants.len() <= MAX_NAMES && names.len() <= MAX_NAMES;
        let names = few.then(|| (tenants.into_iter().collect(), names.into_iter().collect()));
        Self { runs: (!all).then(|| joined(runs.into_iter().map(|day| (day, day)).collect())), names }
    }

    /// Of all days from one to another.
    pub(super) fn between(first: Day, last: Day) -> Self {
        Self { runs: Some(vec![(first, last)]), names: None }
    }

    /// Within a range of days.
    pub(super) fn within(&self, first: Day, last: Day) -> Self {
        let runs = self.runs.clone().unwrap_or_else(|| vec![(first, last)]);
        let cut = runs.into_iter().map(|(from, to)| (from.max(first), to.min(last)));
        Self { runs: Some(cut.filter(|(from, to)| from <= to).collect()), names: self.names.clone() }
    }

    /// A condition on a column of instants. A day begins up to 14 hours before it does in UTC and ends up to 12 hours after.
    pub(super) fn of_instants(&self, column: &str) -> String {
        let at = |day: Day| format!("TIMESTAMP '{}T00:00:00Z'", date_of(day));
        self.either(|from, to| format!("({column} >= {} AND {column} < {})", at(from - 1), at(to + 2)))
    }

    /// A condition on a column of days.
    pub(super) fn of_days(&self, column: &str) -> String {
        self.either(|from, to| {
            format!("({column} BETWEEN DATE '{}' AND DATE '{}')", date_of(from), date_of(to))
        })
    }

    /// A condition on the columns `tenant` and `store`.
    pub(super) fn of_stores(&self) -> String {
        let Some((tenants, stores)) = &self.names else { return "true".to_owned() };
        let list = |names: &[String]| names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", ");
        if tenants.is_empty() {
            return "false".to_owned();
        }
        format!("tenant IN ({}) AND store IN ({})", list(tenants), list(stores))
    }

    fn either(&self, of: impl Fn(Day, Day) -> String) -> String {
        match &self.runs {
            None => "true".to_owned(),
            Some(runs) if runs.is_empty() => "false".to_owned(),
            Some(runs) => {
                let parts: Vec<_> = runs.iter().map(|(from, to)| of(*from, *to)).collect();
                format!("({})", parts.join(" OR "))
            }
        }
    }
}

/// Neighbouring runs joined, and the nearest ones too until few are left.
fn joined(mut runs: Vec<(Day, Day)>) -> Vec<(Day, Day)> {
    let mut gap = 1;
    loop {
        let mut fewer: Vec<(Day, Day)> = Vec::with_capacity(runs.len());
        for (from, to) in runs {
            match fewer.last_mut() {
                Some((_, end)) if from - *end <= gap => *end = to,
                _ => fewer.push((from, to)),
            }
        }
        if fewer.len() <= MAX_RUNS {
            return fewer;
        }
        runs = fewer;
        gap *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_few_runs_that_hold_them_all() {
        let mut days = DaySet::default();
        days.insert("t", "a", [0, 1, 2, 10]);
        let windows = Windows::of(&days);
        assert_eq!(windows.runs, Some(vec![(0, 2), (10, 10)]));
        assert_eq!(
            windows.of_days("d"),
            "((d BETWEEN DATE '1970-01-01' AND DATE '1970-01-03') OR (d BETWEEN DATE '1970-01-11' AND DATE '1970-01-11'))"
        );
        assert_eq!(
            windows.within(2, 9).of_instants("i"),
            "((i >= TIMESTAMP '1970-01-02T00:00:00Z' AND i < TIMESTAMP '1970-01-05T00:00:00Z'))"
        );
        assert_eq!(windows.within(3, 9).of_days("d"), "false");
        assert_eq!(windows.of_stores(), "tenant IN ('t') AND store IN ('a')");
        days.insert("t", "a", (0..500).map(|at| at * 7));
        let runs = Windows::of(&days).runs.expect("runs");
        assert!(
            runs.len() <= MAX_RUNS && runs.iter().any(|(from, to)| (*from..=*to).contains(&3_493)),
            "{runs:?}"
        );
        days.insert_store("t", "b");
        assert_eq!(Windows::of(&days).of_days("d"), "true");
    }
}
