//! Which months of item days are made in one go: as many as keep what is held in memory small, since each question has a cost of its own.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::Int64Type;
use domain::marts::{Day, DaySet, StoreDays, date_of, day_of, month_of};
use domain::{Feed, Result};

use super::sold::condition;
use super::windows::Windows;
use super::work::{Columns, Work};

/// Rows of the sources that a piece may be made of, unless a month alone has more.
const PIECE_ROWS: i64 = 250_000;

/// Ranges of days, from the first of a month to the last of a month, in which all days of the set lie for which sources have rows.
pub(super) async fn pieces(
    work: &Work,
    versions: &BTreeMap<Feed, u64>,
    days: &DaySet,
) -> Result<Vec<(Day, Day)>> {
    let windows = Windows::of(days);
    let named = named_months(days);
    let mut months: BTreeMap<Day, i64> = BTreeMap::new();
    for (feed, instant) in [(Feed::Sales, "occurred_at"), (Feed::Inventory, "as_of")] {
        let version = versions.get(&feed).copied().unwrap_or_default();
        let sql = format!(
            "SELECT CAST(date_trunc('day', {instant}) AS DATE) AS day, count(*) AS rows FROM raw.\"{}@{version}\" WHERE {} GROUP BY 1",
            feed.name(),
            condition(&windows, instant)
        );
        for batch in work.rows(&sql).await? {
            let (days, rows) =
                (Columns(&batch).days("day")?, Columns(&batch).primitive::<Int64Type>("rows")?);
            for (day, rows) in days.values().iter().zip(rows.values()) {
                // A store's day lies up to a day beside the one in UTC.
                let beside = BTreeSet::from([first_of_month(day - 1), first_of_month(day + 1)]);
                let wanted = beside
                    .into_iter()
                    .filter(|first| named.as_ref().is_none_or(|named| named.contains(first)));
                wanted.for_each(|first| *months.entry(first).or_default() += rows);
            }
        }
    }
    Ok(joined(months))
}

/// The months of the set's days, by their first day; none where all days of some store are in the set.
fn named_months(days: &DaySet) -> Option<BTreeSet<Day>> {
    let mut months = BTreeSet::new();
    for (_, _, days) in days.stores()? {
        match days {
            StoreDays::All => return None,
            StoreDays::Only(days) => months.extend(days.iter().map(|day| first_of_month(*day))),
        }
    }
    Some(months)
}

/// Months, with their rows, as few pieces.
fn joined(months: BTreeMap<Day, i64>) -> Vec<(Day, Day)> {
    let (mut pieces, mut held): (Vec<(Day, Day)>, i64) = (Vec::new(), 0);
    for (first, rows) in months {
        held += rows;
        match pieces.last_mut() {
            Some((_, last)) if held <= PIECE_ROWS => *last = last_of_month(first),
            _ => {
                pieces.push((first, last_of_month(first)));
                held = rows;
            }
        }
    }
    pieces
}

fn first_of_month(day: Day) -> Day {
    use chrono::Datelike;
    let date = date_of(day);
    day_of(date.with_day(1).unwrap_or(date))
}

fn last_of_month(first: Day) -> Day {
    let month = month_of(first);
    let is_within = |day: &Day| month_of(*day) == month;
    (first..first + 31).take_while(is_within).last().unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_months_are_made_together_and_a_large_one_alone() {
        let day = |text: &str| day_of(text.parse().expect("a date"));
        let months = [
            ("2023-12-01", 100_000),
            ("2024-01-01", 150_000),
            ("2024-02-01", 1),
            ("2024-03-01", 900_000),
            ("2024-06-01", 5),
            ("2024-08-01", 5),
        ];
        let pieces = joined(months.into_iter().map(|(first, rows)| (day(first), rows)).collect());
        let expected = [
            ("2023-12-01", "2024-01-31"),
            ("2024-02-01", "2024-02-29"),
            ("2024-03-01", "2024-03-31"),
            ("2024-06-01", "2024-08-31"),
        ];
        assert_eq!(pieces, expected.map(|(first, last)| (day(first), day(last))));
    }
}
