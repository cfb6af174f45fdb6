//! The long table that a backtest reads: a row for each series and period, with covariates beside the value.
//!
//! Rows may come in any order. A series has a value for each period from its first to its last; where the file has no row, or no number, the value is
//! missing (NaN) and the gap is counted. What cannot be a series (a period twice, one off the grid, text where numbers belong) is an error of the file.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{Error, Result};

use super::period::{Frequency, Period};

/// Periods that a series may span: beyond, a date is more likely mistyped than meant.
const MAX_PERIODS: usize = 1_000_000;

/// What a column beyond `unique_id`, `ds` and `y` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Known for the future: a plan or a calendar.
    Known,
    /// Constant for each series: a category or a number.
    Static,
    /// Known for the future only where it was forecast, like weather.
    Forecast,
    /// What really came, like weather: no model sees its future.
    Oracle,
}

/// A covariate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covariate {
    /// Its column's name.
    pub name: String,
    /// What it is.
    pub role: Role,
}

/// One series, dense from its first to its last period.
#[derive(Debug, Clone, PartialEq)]
pub struct LongSeries {
    /// Its `unique_id`.
    pub id: String,
    /// Its periods, ascending.
    pub periods: Vec<Period>,
    /// The value of each period; NaN where it is missing.
    pub y: Vec<f64>,
    /// Of each covariate its value in each period, in the order of [`LongTable::covariates`]; NaN where it is missing. Categories are numbered.
    pub covariates: Vec<Vec<f64>>,
}

/// All series of a file, ordered by `unique_id`.
#[derive(Debug, Clone, PartialEq)]
pub struct LongTable {
    /// What the series carry beside their values.
    pub covariates: Vec<Covariate>,
    /// The distance of two periods.
    pub frequency: Frequency,
    /// The series.
    pub series: Vec<LongSeries>,
    /// Of a table that holds some series of a business alone: what all of them come to, by period.
    pub market: Option<Arc<BTreeMap<Period, f64>>>,
}

/// Takes the rows of a file.
#[derive(Debug)]
pub struct LongTableBuilder {
    frequency: Frequency,
    covariates: Vec<Covariate>,
    rows: BTreeMap<String, Vec<Row>>,
    /// By covariate, the texts of a category.
    categories: Vec<BTreeMap<String, f64>>,
    count: usize,
}

#[derive(Debug)]
struct Row {
    period: Period,
    y: f64,
    covariates: Vec<f64>,
    /// Of static columns, what stands there.
    texts: Vec<Option<String>>,
}

impl LongTableBuilder {
    /// For rows with these covariates.
    #[must_use]
    pub fn new(frequency: Frequency, covariates: Vec<Covariate>) -> Self {
        let categories = vec![BTreeMap::new(); covariates.len()];
        Self { frequency, covariates, rows: BTreeMap::new(), categories, count: 0 }
    }

    /// Takes a row: texts as the file has them, `None` for nothing. `covariates` are in the order given to [`Self::new`].
    ///
    /// # Errors
    /// [`domain::ErrorKind::Invalid`], naming the row, its column and what is expected there.
    pub fn push<'a>(
        &mut self,
        id: Option<&str>,
        ds: Option<&str>,
        y: Option<&str>,
        covariates: impl Iterator<Item = Option<&'a str>>,
    ) -> Result<()> {
        self.count += 1;
        let row = self.count;
        let faulty = |column: &str, what: String| Error::invalid(format!("row {row}, {column}: {what}"));
        let id = id.ok_or_else(|| faulty("unique_id", "is empty; each row names its series".to_owned()))?;
        let ds = ds.ok_or_else(|| faulty("ds", "is empty; each row has a period".to_owned()))?;
        let period = self.frequency.parse(ds).map_err(|what| faulty("ds", what))?;
        let y = number(y).map_err(|what| faulty("y", what))?;
        let (mut values, mut texts) = (Vec::new(), Vec::new());
        for (covariate, text) in self.covariates.iter().zip(covariates) {
            match covariate.role {
                Role::Static => {
                    values.push(f64::NAN);
                    texts.push(text.map(ToOwned::to_owned));
                }
                Role::Known | Role::Forecast | Role::Oracle => {
                    let value = number(text).map_err(|what| {
                        faulty(
                            &covariate.name,
                            format!("{what}; if it is no number, name it in --static or --ignore"),
                        )
                    });
                    values.push(value?);
                    texts.push(None);
                }
            }
        }
        self.rows.entry(id.to_owned()).or_default().push(Row { period, y, covariates: values, texts });
        Ok(())
    }

    /// The table.
    ///
    /// # Errors
    /// [`domain::ErrorKind::Invalid`] for no rows, a period that a series has twice or that lies off its grid, and a static column that changes.
    pub fn finish(mut self) -> Result<LongTable> {
        if self.count == 0 {
            return Err(Error::invalid("the file has no rows"));
        }
        self.number_categories();
        let mut series = Vec::with_capacity(self.rows.len());
        for (id, mut rows) in std::mem::take(&mut self.rows) {
            rows.sort_by_key(|row| row.period);
            series.push(self.dense(id, rows)?);
        }
        Ok(LongTable { covariates: self.covariates, frequency: self.frequency, series, market: None })
    }

    /// A static column of numbers keeps them; one with any other text is a category, numbered in order of its texts.
    fn number_categories(&mut self) {
        for (at, covariate) in self.covariates.iter().enumerate() {
            if covariate.role != Role::Static {
                continue;
            }
            let texts: std::collections::BTreeSet<&str> =
                self.rows.values().flatten().filter_map(|row| row.texts[at].as_deref()).collect();
            let as_number = |text: &&str| number(Some(text)).ok().filter(|value| value.is_finite());
            let all_numbers = texts.iter().all(|text| as_number(text).is_some());
            let value = |(code, text): (usize, &str)| {
                let value = if all_numbers { as_number(&text).unwrap_or(f64::NAN) } else { code as f64 };
                (text.to_owned(), value)
            };
            self.categories[at] = texts.into_iter().enumerate().map(value).collect();
        }
    }

    fn dense(&self, id: String, rows: Vec<Row>) -> Result<LongSeries> {
        let faulty = |what: String| Error::invalid(format!("series `{id}`: {what}"));
        let mut series = LongSeries {
            id: id.clone(),
            periods: Vec::new(),
            y: Vec::new(),
            covariates: vec![Vec::new(); self.covariates.len()],
        };
        let mut statics: Vec<Option<f64>> = vec![None; self.covariates.len()];
        for row in rows {
            self.fill_up_to(&mut series, row.period).map_err(faulty)?;
            for (at, text) in row.texts.iter().enumerate() {
                let Some(text) = text else { continue };
                let value = self.categories[at].get(text).copied().unwrap_or(f64::NAN);
                if *statics[at].get_or_insert(value) != value {
                    let (name, found) = (&self.covariates[at].name, self.frequency.show(row.period));
                    return Err(faulty(format!(
                        "{name} changes to `{text}` at {found}, but --static says that it does not"
                    )));
                }
            }
            series.push(row.period, row.y, row.covariates.iter().copied());
        }
        for (values, held) in series.covariates.iter_mut().zip(statics) {
            if let Some(held) = held {
                values.fill(held);
            }
        }
        Ok(series)
    }

    /// Missing values from behind a series' last period up to another.
    fn fill_up_to(&self, series: &mut LongSeries, period: Period) -> Result<(), String> {
        let Some(before) = series.periods.last().copied() else { return Ok(()) };
        let shown = |period| self.frequency.show(period);
        if before == period {
            return Err(format!("has {} twice; keep one row for each period", shown(period)));
        }
        let mut next = self.frequency.after(before);
        while next < period {
            if series.periods.len() >= MAX_PERIODS {
                let first = shown(series.periods[0]);
                return Err(format!(
                    "spans more than {MAX_PERIODS} periods from {first} on; is a date mistyped?"
                ));
            }
            series.push(next, f64::NAN, std::iter::repeat(f64::NAN));
            next = self.frequency.after(next);
        }
        if next == period {
            return Ok(());
        }
        let (found, before) = (shown(period), shown(before));
        Err(format!("{found} is not a whole number of periods ({}) after {before}", self.frequency))
    }
}

impl LongSeries {
    fn push(&mut self, period: Period, y: f64, covariates: impl Iterator<Item = f64>) {
        self.periods.push(period);
        self.y.push(y);
        self.covariates.iter_mut().zip(covariates).for_each(|(column, value)| column.push(value));
    }
}

impl LongTable {
    /// Whether there is anything that may be forecast or not.
    pub(crate) fn has_forecasts(&self) -> bool {
        self.covariates.iter().any(|covariate| covariate.role == Role::Forecast)
    }

    /// Keeps the first series only.
    pub fn keep_first(&mut self, series: usize) {
        self.series.truncate(series);
    }

    /// Leaves the last rows of each series out, as if they had not happened yet. Series that have no more are left out.
    pub fn hold_back(&mut self, rows: usize) {
        for series in &mut self.series {
            let kept = series.y.len().saturating_sub(rows);
            series.periods.truncate(kept);
            series.y.truncate(kept);
            series.covariates.iter_mut().for_each(|column| column.truncate(kept));
        }
        self.series.retain(|series| !series.y.is_empty());
    }

    /// Periods without a value.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.series.iter().flat_map(|series| &series.y).filter(|y| y.is_nan()).count()
    }

    /// Where a covariate stands among those of each series.
    #[must_use]
    pub fn covariate(&self, name: &str) -> Option<usize> {
        self.covariates.iter().position(|covariate| covariate.name == name)
    }
}

/// A number; NaN for nothing, and for what is no finite number but is written as one (`NaN`, `inf`).
fn number(text: Option<&str>) -> Result<f64, String> {
    let Some(text) = text else { return Ok(f64::NAN) };
    match text {
        "true" | "True" => return Ok(1.0),
        "false" | "False" => return Ok(0.0),
        _ => {}
    }
    let value: f64 = text.trim().parse().map_err(|_| format!("`{text}` is no number"))?;
    Ok(if value.is_finite() { value } else { f64::NAN })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, &str, &str, &str)], role: Role) -> Result<LongTable> {
        let covariate = Covariate { name: "extra".to_owned(), role };
        let mut builder = LongTableBuilder::new("D".parse().expect("a frequency"), vec![covariate]);
        for (id, ds, y, extra) in rows {
            let given = |text: &'static str| Some(text).filter(|text| !text.is_empty());
            builder.push(
                given(leak(id)),
                given(leak(ds)),
                given(leak(y)),
                std::iter::once(given(leak(extra))),
            )?;
        }
        builder.finish()
    }

    fn leak(text: &str) -> &'static str {
        text.to_owned().leak()
    }

    #[test]
    fn rows_in_any_order_become_dense_series() {
        let rows = [
            ("b", "2024-03-01", "4", "x"),
            ("a", "2024-02-28", "1.5", "x"),
            ("a", "2024-03-02", "inf", "x"),
            ("a", "2024-03-01", "2", "x"),
            ("b", "2024-02-29", "3", "y"),
        ];
        let error = table(&rows, Role::Static).expect_err("b is x and y");
        assert_eq!(
            error.to_string(),
            "series `b`: extra changes to `x` at 2024-03-01, but --static says that it does not"
        );
        let table = table(&rows[1..], Role::Static).expect("a table");
        let [a, b] = table.series.as_slice() else { panic!("{table:?}") };
        assert_eq!((a.id.as_str(), a.y.len(), a.y[0], a.y[2]), ("a", 4, 1.5, 2.0));
        assert!(a.y[1].is_nan() && a.y[3].is_nan() && table.missing() == 2);
        assert_eq!(
            (a.covariates[0].as_slice(), b.covariates[0].as_slice()),
            ([0.0; 4].as_slice(), [1.0].as_slice())
        );
    }

    #[test]
    fn what_cannot_be_a_series_is_told() {
        let told =
            |rows: &[(&str, &str, &str, &str)]| table(rows, Role::Known).expect_err("a fault").to_string();
        assert_eq!(told(&[]), "the file has no rows");
        assert_eq!(
            told(&[("", "2024-03-01", "1", "")]),
            "row 1, unique_id: is empty; each row names its series"
        );
        assert_eq!(
            told(&[("a", "1 March", "1", "")]),
            "row 1, ds: `1 March` is no date; write it like 2024-12-31, or with a time like 2024-12-31 23:00:00"
        );
        assert_eq!(told(&[("a", "2024-03-01", "many", "")]), "row 1, y: `many` is no number");
        assert_eq!(
            told(&[("a", "2024-03-01", "1", "red")]),
            "row 1, extra: `red` is no number; if it is no number, name it in --static or --ignore"
        );
        let twice = [("a", "2024-03-01", "1", ""), ("a", "2024-03-01", "2", "")];
        assert_eq!(told(&twice), "series `a`: has 2024-03-01 twice; keep one row for each period");
        let hours = [("a", "2024-03-01", "1", ""), ("a", "2024-03-02 06:00:00", "2", "")];
        assert_eq!(
            told(&hours),
            "series `a`: 2024-03-02 06:00:00 is not a whole number of periods (D) after 2024-03-01"
        );
        let far = [("a", "0001-01-01", "1", ""), ("a", "9999-01-01", "2", "")];
        assert_eq!(
            told(&far),
            "series `a`: spans more than 1000000 periods from 0001-01-01 on; is a date mistyped?"
        );
    }
}
