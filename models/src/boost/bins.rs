//! Features as small numbers: which of a few dozen intervals a value lies in.

use serde::{Deserialize, Serialize};

/// Codes that a feature has: 0 for a missing value, 1 and up for its intervals.
pub(super) const CODES: usize = 64;

/// Features by column, all of one length; NaN is missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// Their names.
    pub names: Vec<String>,
    /// Their values.
    pub values: Vec<Vec<f32>>,
}

impl Columns {
    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.values.first().map_or(0, Vec::len)
    }
}

/// Where the intervals of each feature end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Bins {
    /// Of each feature the first values of its second interval and of those behind it, ascending.
    cuts: Vec<Vec<f32>>,
}

/// Codes, those of a row together.
#[derive(Debug)]
pub(super) struct Codes {
    pub(super) width: usize,
    codes: Vec<u8>,
}

impl Bins {
    /// Intervals that hold about the same number of rows; one for each value where there are few.
    pub(super) fn of(columns: &Columns) -> Self {
        Self { cuts: columns.values.iter().map(|values| cuts(values)).collect() }
    }

    pub(super) fn codes(&self, columns: &Columns) -> Codes {
        let width = self.cuts.len();
        let mut codes = vec![0; columns.rows() * width];
        for (feature, (values, cuts)) in columns.values.iter().zip(&self.cuts).enumerate() {
            for (row, value) in values.iter().enumerate() {
                codes[row * width + feature] = code(*value, cuts);
            }
        }
        Codes { width, codes }
    }
}

impl Codes {
    pub(super) fn row(&self, row: usize) -> &[u8] {
        &self.codes[row * self.width..][..self.width]
    }

    pub(super) fn rows(&self) -> usize {
        self.codes.len().checked_div(self.width).unwrap_or_default()
    }
}

fn code(value: f32, cuts: &[f32]) -> u8 {
    if value.is_nan() {
        return 0;
    }
    1 + cuts.partition_point(|cut| *cut <= value) as u8
}

fn cuts(values: &[f32]) -> Vec<f32> {
    let mut sorted: Vec<f32> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let mut distinct = sorted.clone();
    distinct.dedup();
    let most = CODES - 1;
    if distinct.len() <= most {
        return distinct.into_iter().skip(1).collect();
    }
    let mut cuts: Vec<f32> = (1..most).map(|at| sorted[at * sorted.len() / most]).collect();
    cuts.dedup();
    cuts.retain(|cut| *cut > sorted[0]);
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_have_an_interval_each_and_many_share() {
        let few = cuts(&[3.0, f32::NAN, 1.0, 3.0, 2.0]);
        assert_eq!(few, [2.0, 3.0]);
        assert_eq!([f32::NAN, 0.0, 1.0, 2.5, 9.0].map(|value| code(value, &few)), [0, 1, 1, 2, 3]);
        let many: Vec<f32> = (0..10_000).map(|value| value as f32).collect();
        let bins = cuts(&many);
        assert_eq!(bins.len(), CODES - 2);
        assert!(many.iter().all(|value| (1..CODES as u8).contains(&code(*value, &bins))));
        assert!(cuts(&[f32::NAN]).is_empty());
    }
}
