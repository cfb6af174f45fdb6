//! Days on which a store is closed although nobody says so.
//!
//! A store that has sold nothing at all on eight Sundays, and on most other days something, is taken to be closed on Sundays; likewise on public holidays. What would be learned otherwise from
//! such days is a demand of none, which articles have that hardly sell, too.

use std::collections::HashMap;

use chrono::{Datelike, Days, NaiveDate};
use domain::forecast::{PlannedDay, SeriesSet};

/// Weeks that are looked at.
const WEEKS: usize = 8;
/// Holidays that tell what a store does on holidays, the newest ones.
const HOLIDAYS: usize = 4;
/// The share of days, the closed ones aside, on which a store has to sell for a day without sales to mean anything.
const SHARE_SOLD: f64 = 0.8;
const SEASON_DAYS: usize = 7;

/// By store, on which kinds of days it is closed.
#[derive(Debug, Clone)]
pub(super) struct Closures(HashMap<String, Kinds>);

#[derive(Debug, Default, Clone, Copy)]
struct Kinds {
    /// From Monday on.
    weekdays: [bool; SEASON_DAYS],
    holidays: bool,
}

impl Closures {
    /// By what stores had sold so many days before the last.
    pub(super) fn of(set: &SeriesSet, days_before: usize) -> Self {
        let stores = set.series.chunk_by(|a, b| a.key.store == b.key.store);
        let of_store = |series: &[domain::forecast::DailySeries]| {
            let first = series.iter().map(|series| series.start).min()?;
            let last = series.first()?.end();
            let known = usize::try_from((last - first).num_days() + 1).ok()?.checked_sub(days_before)?;
            let mut has_sold = vec![false; known];
            for series in series {
                let from = usize::try_from((series.start - first).num_days()).ok()?;
                let days = has_sold.iter_mut().skip(from).zip(&series.units);
                days.for_each(|(sold, units)| *sold |= *units != 0.0);
            }
            let key = &series.first()?.key;
            let plan = set.plans.get(&(key.tenant.clone(), key.store.clone()));
            let is_holiday = |row: usize| {
                let day = first.checked_add_days(Days::new(row as u64));
                plan.zip(day).is_some_and(|(plan, day)| plan.on(day).is_holiday)
            };
            Some((key.store.clone(), Kinds::of(&has_sold, first, is_holiday)))
        };
        Self(stores.filter_map(of_store).collect())
    }

    /// Whether a store is taken to be closed on a day.
    pub(super) fn is_closed(&self, store: &str, day: NaiveDate, planned: PlannedDay) -> bool {
        self.0.get(store).is_some_and(|kinds| {
            kinds.weekdays[day.weekday().num_days_from_monday() as usize]
                || kinds.holidays && planned.is_holiday
        })
    }
}

impl Kinds {
    fn of(has_sold: &[bool], first: NaiveDate, is_holiday: impl Fn(usize) -> bool) -> Self {
        let monday = first.weekday().num_days_from_monday() as usize;
        let weekday = |row: usize| (monday + row) % SEASON_DAYS;
        let Some(from) = has_sold.len().checked_sub(WEEKS * SEASON_DAYS) else { return Self::default() };
        let recent = from..has_sold.len();
        let mut kinds = Self::default();
        for (day, is_closed) in kinds.weekdays.iter_mut().enumerate() {
            *is_closed = !recent.clone().any(|row| weekday(row) == day && has_sold[row]);
        }
        let holidays: Vec<usize> = (0..has_sold.len())
            .rev()
            .filter(|row| is_holiday(*row) && !kinds.weekdays[weekday(*row)])
            .take(HOLIDAYS)
            .collect();
        kinds.holidays = holidays.len() == HOLIDAYS && holidays.iter().all(|row| !has_sold[*row]);
        let is_closed = |row: &usize| kinds.weekdays[weekday(*row)] || kinds.holidays && is_holiday(*row);
        let open: Vec<usize> = recent.filter(|row| !is_closed(row)).collect();
        let sold = open.iter().filter(|row| has_sold[**row]).count() as f64;
        if open.is_empty() || sold < SHARE_SOLD * open.len() as f64 { Self::default() } else { kinds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a Monday on.
    fn kinds(days: usize, has_sold: impl Fn(usize) -> bool, is_holiday: impl Fn(usize) -> bool) -> Kinds {
        let first = NaiveDate::from_ymd_opt(2024, 1, 1).expect("a date");
        Kinds::of(&(0..days).map(has_sold).collect::<Vec<_>>(), first, is_holiday)
    }

    #[test]
    fn a_store_that_never_sells_on_a_weekday_is_closed_on_it() {
        let none = |_: usize| false;
        assert_eq!(
            kinds(100, |day| day % 7 != 6, none).weekdays,
            [false, false, false, false, false, false, true]
        );
        // One Sunday in eight weeks is enough to be open, and fewer weeks tell nothing.
        assert_eq!(kinds(100, |day| day % 7 != 6 || day == 90, none).weekdays, [false; 7]);
        assert_eq!(kinds(55, |day| day % 7 != 6, none).weekdays, [false; 7]);
        // Where days without sales are usual, or nothing sells at all, they mean nothing.
        assert_eq!(kinds(100, |day| day % 2 == 0 && day % 7 != 6, none).weekdays, [false; 7]);
        assert_eq!(kinds(100, none, none).weekdays, [false; 7]);
    }

    #[test]
    fn holidays_tell_whether_the_next_one_is_open() {
        let is_holiday = |day: usize| day % 30 == 2;
        assert!(kinds(200, |day| day % 30 != 2, is_holiday).holidays);
        assert!(!kinds(200, |day| day % 30 != 2 || day == 92, is_holiday).holidays);
        assert!(!kinds(100, |day| day % 30 != 2 || day == 92, is_holiday).holidays);
    }
}
