//! How much a query may give and how long it may take.
//!
//! Rows and bytes cut the answer: what fits is given, and the summary says what cut it. Time stops the query with an error, because how far it came
//! would be chance.

use std::time::Duration;

use arrow::array::Array;
use arrow::record_batch::RecordBatch;

/// Bounds of one query; none means unbounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Rows of the answer.
    pub max_rows: Option<u64>,
    /// Bytes of the answer's columns in memory.
    pub max_bytes: Option<u64>,
    /// From the question to the last row, whatever the reader's pace.
    pub timeout: Option<Duration>,
}

/// What cut an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// [`Limits::max_rows`].
    Rows(u64),
    /// [`Limits::max_bytes`].
    Bytes(u64),
}

impl Cut {
    /// The limit's name.
    #[must_use]
    pub fn limit(self) -> &'static str {
        match self {
            Self::Rows(_) => "max_rows",
            Self::Bytes(_) => "max_bytes",
        }
    }
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows(rows) => write!(f, "{}: {rows} rows", self.limit()),
            Self::Bytes(bytes) => write!(f, "{}: {bytes} bytes", self.limit()),
        }
    }
}

/// What is known of an answer once it was given to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Rows given.
    pub rows: u64,
    /// Bytes given, in columns in memory.
    pub bytes: u64,
    /// What cut the answer, if it was cut.
    pub truncated: Option<Cut>,
    /// From the question to the end.
    pub elapsed: Duration,
}

/// Lets batches through as far as the limits allow.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    rows: u64,
    bytes: u64,
}

impl Meter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, rows: 0, bytes: 0 }
    }

    /// What of the next batch may be given, and what cut it.
    pub(crate) fn admit(&mut self, batch: &RecordBatch) -> (RecordBatch, Option<Cut>) {
        let mut admitted = batch.clone();
        let mut cut = None;
        if let Some(max) = self.limits.max_rows {
            let left = usize::try_from(max - self.rows).unwrap_or(usize::MAX);
            if batch.num_rows() > left {
                admitted = batch.slice(0, left);
                cut = Some(Cut::Rows(max));
            }
        }
        if let Some(max) = self.limits.max_bytes {
            let left = max - self.bytes;
            if size(&admitted) > left {
                admitted = admitted.slice(0, rows_within(&admitted, left));
                cut = Some(Cut::Bytes(max));
            }
        }
        self.rows += admitted.num_rows() as u64;
        self.bytes += size(&admitted);
        (admitted, cut)
    }

    pub(crate) fn summary(&self, truncated: Option<Cut>, elapsed: Duration) -> Summary {
        Summary { rows: self.rows, bytes: self.bytes, truncated, elapsed }
    }
}

/// Bytes of the rows themselves, whatever buffers they lie in.
fn size(batch: &RecordBatch) -> u64 {
    if batch.num_rows() == 0 {
        return 0;
    }
    let columns = batch.columns().iter();
    columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0) as u64).sum()
}

/// How many of the first rows fit.
fn rows_within(batch: &RecordBatch, bytes: u64) -> usize {
    let (mut fits, mut beyond) = (0, batch.num_rows());
    while fits + 1 < beyond {
        let middle = fits + (beyond - fits) / 2;
        if size(&batch.slice(0, middle)) <= bytes {
            fits = middle;
        } else {
            beyond = middle;
        }
    }
    fits
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn batch(rows: usize) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
        let texts: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..rows).map(|row| "x".repeat(row % 7))));
        RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).expect("a batch")
    }

    proptest! {
        #[test]
        fn no_limit_is_passed_and_none_is_named_in_vain(
            sizes in prop::collection::vec(0_usize..40, 0..8), rows in 0_u64..200, bytes in 0_u64..4_000,
        ) {
            let mut meter = Meter::new(Limits { max_rows: Some(rows), max_bytes: Some(bytes), timeout: None });
            let (mut given, mut cut) = (0_u64, None);
            for rows in &sizes {
                let (admitted, by) = meter.admit(&batch(*rows));
                given += admitted.num_rows() as u64;
                cut = by;
                if cut.is_some() { break; }
            }
            let summary = meter.summary(cut, Duration::ZERO);
            prop_assert_eq!(summary.rows, given);
            prop_assert!(given <= rows && summary.bytes <= bytes);
            let all = sizes.iter().sum::<usize>() as u64;
            prop_assert_eq!(cut.is_none(), given == all);
        }
    }
}
