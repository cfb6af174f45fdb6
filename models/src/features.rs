//! What a model of many series is told of a period ahead: rows of numbers, each as of an origin.
//!
//! A row is about a target period of a series, asked from an origin before it. Nothing that came at the origin or behind it enters the row, except what is
//! known for the future (a plan, a calendar), and that as far as the horizon reaches. Rows to learn from and rows to forecast from are made alike: a
//! period of the past is asked from an origin a random number of periods before it, so that one model serves all horizons and each uses the newest
//! values that it may.

mod calendar;
mod history;
mod market;
mod plan;

use crate::boost::Columns;
use crate::panel::{Frequency, LongSeries, LongTable};
use history::History;
use market::Market;
pub(crate) use market::sums as market;

/// Rows before an origin that a net reads one by one, at most: where seasons are long, more would fill the memory.
const NEWEST: usize = 64;

/// How series are looked at. Covariates are given by their places in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Periods in a season.
    pub season: usize,
    /// Periods ahead, at most.
    pub horizon: usize,
    /// The covariate that is 0 where a series is closed; such rows are no history.
    pub mask: Option<usize>,
    /// Covariates that part a series' past into like periods, beside the place in the season.
    pub by: Vec<usize>,
    /// Covariates that are looked at around a target, too.
    pub around: Vec<usize>,
    /// Whether covariates that are known for the future are told.
    pub known: bool,
    /// Whether what really came in the future is told: an experiment, no forecast.
    pub oracle: bool,
}

/// A period of a series, asked from an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Which of the table's series.
    pub series: usize,
    /// The period's row.
    pub target: usize,
    /// How many rows are known; the target is none of them.
    pub origin: usize,
    /// Whether what is forecast of the target ([`crate::panel::Role::Forecast`]) is told, where it is there.
    pub foresees: bool,
}

/// What is told, and in which unit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// The features; values of a series are in its levels.
    pub columns: Columns,
    /// Of each question the level of its series as of the origin, in the series' unit; above 0.
    pub levels: Vec<f64>,
    /// What came in like periods before the origin, raised for the time of the year, in levels.
    pub like: Vec<f32>,
}

/// The series of a table, ready to be asked.
#[derive(Debug)]
pub struct Features<'a> {
    table: &'a LongTable,
    view: &'a View,
    histories: Vec<History<'a>>,
    market: Market,
}

impl<'a> Features<'a> {
    /// `known` says of each series how many rows may be asked about and learned from; 0 of those that take no part.
    #[must_use]
    pub fn new(table: &'a LongTable, view: &'a View, known: &[usize]) -> Self {
        let series = table.series.iter().zip(known);
        let histories = series.map(|(series, known)| History::new(table, series, view, *known)).collect();
        Self { table, view, histories, market: Market::new(table, view, known) }
    }

    /// Whether a series is open in a row, with a value.
    #[must_use]
    pub fn is_active(&self, series: usize, row: usize) -> bool {
        is_active(&self.table.series[series], self.view, row)
    }

    /// The newest values of a series before an origin, for a net to read: a row as long for each series.
    pub(crate) fn newest(&self, series: usize, origin: usize, into: &mut Vec<f32>) {
        let history = &self.histories[series];
        history.newest(origin, NEWEST.min(2 * history.near), history.level(origin), into);
    }

    /// Answers each question with a row.
    #[must_use]
    pub fn tell(&self, questions: &[Question]) -> Told {
        let mut told = Told::default();
        let mut row = Row::default();
        for question in questions {
            let history = &self.histories[question.series];
            let level = history.level(question.origin);
            told.levels.push(level);
            let rise = self.market.rise(self.table, question);
            told.like.push((rise * history.like(question, level) / level) as f32);
            row.values.clear();
            row.push("ahead", (question.target + 1 - question.origin) as f64);
            history.tell(&mut row, question, level);
            self.market.tell(&mut row, self.table, question);
            calendar::tell(
                &mut row,
                self.table.frequency,
                self.table.series[question.series].periods[question.target],
            );
            plan::tell(&mut row, self.table, self.view, question);
            row.named = true;
            told.columns.values.resize_with(row.values.len(), || Vec::with_capacity(questions.len()));
            told.columns.values.iter_mut().zip(&row.values).for_each(|(column, value)| column.push(*value));
        }
        told.columns.names = row.names;
        told
    }
}

/// Periods after which the same time of year comes again, in whole weeks where there are days.
fn cycle(frequency: Frequency) -> usize {
    match frequency {
        Frequency::Hourly => 24 * 364,
        Frequency::Daily => 364,
        Frequency::Weekly(_) => 52,
        Frequency::MonthStart => 12,
        Frequency::Steps(_) => usize::MAX,
    }
}

fn is_active(series: &LongSeries, view: &View, row: usize) -> bool {
    series.y[row].is_finite() && view.mask.is_none_or(|mask| series.covariates[mask][row] != 0.0)
}

/// The values of a row; the first row names them.
#[derive(Debug, Default)]
struct Row {
    names: Vec<String>,
    named: bool,
    values: Vec<f32>,
}

impl Row {
    fn push(&mut self, name: &str, value: f64) {
        self.push_of(name, "", value);
    }

    fn push_of(&mut self, of: &str, name: &str, value: f64) {
        if !self.named {
            self.names.push([of, name].join(" ").trim_end().to_owned());
        }
        self.values.push(value as f32);
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Days, NaiveDate};
    use proptest::prelude::*;

    use super::*;
    use crate::panel::{Covariate, LongTableBuilder, Role};

    const DAYS: usize = 420;
    const HORIZON: usize = 14;

    /// Two series, the second of which begins later, with a mask, a plan and what really came.
    fn table(seed: u64) -> LongTable {
        let named = |name: &str, role| Covariate { name: name.to_owned(), role };
        let covariates =
            vec![named("open", Role::Known), named("promo", Role::Known), named("rain", Role::Oracle)];
        let mut builder = LongTableBuilder::new(Frequency::Daily, covariates);
        let first = NaiveDate::from_ymd_opt(2023, 1, 2).expect("a date");
        for (id, begin) in [("a", 0), ("b", 100)] {
            for day in begin..DAYS as u64 {
                let of = |salt: u64| (day * 2_654_435_761 + salt * 40_503 + seed) % 97;
                let date = (first + Days::new(day)).to_string();
                let y = (of(1) % 13).to_string();
                let others = [u64::from(day % 7 != 6), of(2) % 2, of(3) % 9].map(|value| value.to_string());
                builder
                    .push(Some(id), Some(&date), Some(&y), others.iter().map(|text| Some(text.as_str())))
                    .expect("a row");
            }
        }
        builder.finish().expect("a table")
    }

    fn view() -> View {
        View {
            season: 7,
            horizon: HORIZON,
            mask: Some(0),
            by: vec![1],
            around: vec![0, 1],
            known: true,
            oracle: false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn nothing_that_comes_at_the_origin_or_behind_it_is_told(
            seed in 0..1_000_u64, series in 0..2_usize, origin in 1..300_usize, ahead in 0..HORIZON, rubbish in -1e6..1e6_f64,
        ) {
            let view = view();
            let before = table(seed);
            let mut after = before.clone();
            let now = before.series[series].periods[origin];
            for series in &mut after.series {
                let future: Vec<usize> = (0..series.y.len()).filter(|row| series.periods[*row] >= now).collect();
                for row in &future {
                    series.y[*row] = rubbish;
                    series.covariates[2][*row] = rubbish;
                }
                for row in future.iter().skip(HORIZON) {
                    series.covariates[0][*row] = 1.0;
                    series.covariates[1][*row] = rubbish;
                }
            }
            let question = [Question { series, target: origin + ahead, origin, foresees: false }];
            let known = before.series.iter().map(|series| series.y.len()).collect::<Vec<_>>();
            let told = |table: &LongTable| {
                let features = Features::new(table, &view, &known);
                let told = features.tell(&question);
                // Bits, since missing is not equal to missing.
                let bits = told.columns.values.iter().map(|column| column[0].to_bits()).collect::<Vec<_>>();
                let mut newest = Vec::new();
                features.newest(series, origin, &mut newest);
                (told.columns.names, bits, told.levels, told.like, newest)
            };
            prop_assert_eq!(told(&before), told(&after));
        }
    }

    #[test]
    fn weeks_begin_half_of_the_way_that_all_went_a_year_before() {
        let mut builder = LongTableBuilder::new(Frequency::Weekly(chrono::Weekday::Mon), Vec::new());
        let first = NaiveDate::from_ymd_opt(2021, 1, 4).expect("a date");
        for week in 0..100_u64 {
            // Four times as much from the fortieth week of a year on, for six weeks.
            let y = if (40..46).contains(&(week % 52)) { "8" } else { "2" };
            let date = (first + Days::new(7 * week)).to_string();
            for id in ["a", "b"] {
                builder.push(Some(id), Some(&date), Some(y), std::iter::empty()).expect("a row");
            }
        }
        let table = builder.finish().expect("a table");
        let view = View { season: 52, mask: None, by: Vec::new(), around: Vec::new(), ..view() };
        let features = Features::new(&table, &view, &[92, 92]);
        let like = |origin: usize, target: usize| {
            let told = features.tell(&[Question { series: 0, target, origin, foresees: false }]);
            f64::from(told.like[0]) * told.levels[0]
        };
        // What the newest weeks had is 2; all series had four times that a year before: half of the way is twice.
        assert!((like(90, 90 + 4) - 4.0).abs() < 0.05, "{}", like(90, 94));
        assert!((like(88, 88) - 2.0).abs() < 0.05, "{}", like(88, 88));
        // The first time, nothing was a year before.
        assert!((like(38, 42) - 2.0).abs() < 0.05, "{}", like(38, 42));
    }

    #[test]
    fn what_is_told_is_what_came() {
        let (table, view) = (table(0), view());
        let features = Features::new(&table, &view, &[DAYS, DAYS - 100]);
        let question = Question { series: 0, target: 372, origin: 370, foresees: false };
        let told = features.tell(&[question]);
        let value = |name: &str| {
            let at =
                told.columns.names.iter().position(|of| of == name).unwrap_or_else(|| panic!("no {name}"));
            f64::from(told.columns.values[at][0])
        };
        let series = &table.series[0];
        let open = |rows: std::ops::Range<usize>| {
            let open: Vec<f64> =
                rows.filter(|row| series.covariates[0][*row] != 0.0).map(|row| series.y[row]).collect();
            open.iter().sum::<f64>() / open.len() as f64
        };
        let level = told.levels[0];
        assert!((level * value("mean of 28") - open(342..370)).abs() < 1e-4);
        assert!((level * value("mean of 7") - open(363..370)).abs() < 1e-4);
        assert_eq!((value("ahead"), value("weekday"), value("promo")), (3.0, 1.0, series.covariates[1][372]));
        assert_eq!(value("promo before"), series.covariates[1][371]);
        assert!(told.columns.names.iter().all(|name| !name.contains("rain")), "{:?}", told.columns.names);
        let all = View { oracle: true, ..view.clone() };
        let told_of_rain = Features::new(&table, &all, &[DAYS, DAYS - 100]).tell(&[question]).columns;
        assert!(told_of_rain.names.iter().any(|name| name == "rain"), "{:?}", told_of_rain.names);
        let newest = (0..370).rev().find(|row| {
            series.periods[*row].rem_euclid(7 * 86_400_000_000)
                == series.periods[372].rem_euclid(7 * 86_400_000_000)
        });
        assert!((level * value("place in season newest") - series.y[newest.expect("a week")]).abs() < 1e-4);
    }
}
