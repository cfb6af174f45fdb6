//! Rows in batches of one size, in memory of their own.
//!
//! Where a batch ends shows in sums of floats and in which of several errors is told; how much memory it holds shows in what spills. So both must
//! not depend on the rows that were left out: batches are cut by counting visible rows, and rows are copied out of the buffers that they share with
//! others.

use std::collections::VecDeque;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, MutableArrayData, RecordBatchOptions, StringViewArray, make_array,
};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::{DataFusionError, Result};

/// Gathers batches of any size, gives batches of `size` rows.
#[derive(Debug)]
pub(crate) struct Chunks {
    schema: SchemaRef,
    size: usize,
    waiting: VecDeque<RecordBatch>,
    rows: usize,
}

impl Chunks {
    pub(crate) fn new(schema: SchemaRef, size: usize) -> Self {
        Self { schema, size: size.max(1), waiting: VecDeque::new(), rows: 0 }
    }

    /// Refuses columns that cannot be copied out of shared buffers.
    pub(crate) fn check(schema: &Schema) -> Result<()> {
        let shares = |data_type: &DataType| {
            matches!(
                data_type,
                DataType::Dictionary(..)
                    | DataType::RunEndEncoded(..)
                    | DataType::ListView(_)
                    | DataType::LargeListView(_)
            ) || data_type.is_nested()
        };
        match schema.fields().iter().find(|field| shares(field.data_type())) {
            None => Ok(()),
            Some(field) => {
                let (name, found) = (field.name(), field.data_type());
                Err(DataFusionError::Internal(format!(
                    "the column {name} is {found}, which cannot be scoped"
                )))
            }
        }
    }

    pub(crate) fn push(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows();
        self.waiting.push_back(batch);
    }

    /// A full batch, if there is one.
    pub(crate) fn full(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows < self.size { Ok(None) } else { self.take(self.size).map(Some) }
    }

    /// What is left.
    pub(crate) fn rest(&mut self) -> Result<Option<RecordBatch>> {
        match self.rows {
            0 => Ok(None),
            rows => self.take(rows.min(self.size)).map(Some),
        }
    }

    fn take(&mut self, rows: usize) -> Result<RecordBatch> {
        let mut parts = Vec::new();
        let mut missing = rows;
        while missing > 0 {
            let Some(batch) = self.waiting.pop_front() else { break };
            if batch.num_rows() > missing {
                self.waiting.push_front(batch.slice(missing, batch.num_rows() - missing));
                parts.push(batch.slice(0, missing));
                missing = 0;
            } else {
                missing -= batch.num_rows();
                parts.push(batch);
            }
        }
        self.rows -= rows;
        let columns = 0..self.schema.fields().len();
        let columns = columns.map(|column| copied(&parts, column, rows)).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?)
    }
}

/// A column of the parts, copied into buffers that hold nothing else.
fn copied(parts: &[RecordBatch], column: usize, rows: usize) -> Result<ArrayRef> {
    let data: Vec<_> = parts.iter().map(|part| part.column(column).to_data()).collect();
    let mut copy = MutableArrayData::new(data.iter().collect(), false, rows);
    for (at, part) in data.iter().enumerate() {
        copy.try_extend(at, 0, part.len())?;
    }
    let array = make_array(copy.freeze());
    // Views are copied as views: what they show must be copied too.
    let any = array.as_any();
    let mut array: ArrayRef = if let Some(texts) = any.downcast_ref::<StringViewArray>() {
        std::sync::Arc::new(texts.gc())
    } else if let Some(bytes) = any.downcast_ref::<BinaryViewArray>() {
        std::sync::Arc::new(bytes.gc())
    } else {
        array
    };
    array.shrink_to_fit();
    Ok(array)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Int64Array, StringArray};
    use arrow::compute::{concat_batches, filter_record_batch};
    use proptest::prelude::*;

    use super::*;

    /// Rows with texts, gaps and truths; `hidden` says which are left out.
    fn batch(rows: std::ops::Range<i64>) -> RecordBatch {
        let texts =
            StringArray::from_iter(rows.clone().map(|n| (n % 3 != 0).then(|| "t".repeat((n % 11) as usize))));
        let views = StringViewArray::from_iter(
            rows.clone().map(|n| (n % 4 != 0).then(|| "v".repeat((n % 31) as usize))),
        );
        let truths = BooleanArray::from_iter(rows.clone().map(|n| (n % 5 != 0).then_some(n % 2 == 0)));
        let columns: [(&str, ArrayRef); 4] = [
            ("n", Arc::new(Int64Array::from_iter_values(rows))),
            ("t", Arc::new(texts)),
            ("v", Arc::new(views)),
            ("b", Arc::new(truths)),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
            .expect("a batch")
    }

    /// The visible rows as they come out when they lie in files cut like this.
    fn chunked(size: usize, cuts: &[(usize, Vec<bool>)]) -> Vec<RecordBatch> {
        let schema = batch(0..0).schema();
        let mut chunks = Chunks::new(schema, size);
        let (mut given, mut next) = (Vec::new(), 0);
        for (visible, hidden) in cuts {
            // Hidden rows lie between the visible ones, and share their buffers.
            let mut rows = Vec::new();
            let mut mask = Vec::new();
            for at in 0..*visible {
                if hidden.get(at).copied().unwrap_or(false) {
                    rows.push(batch(1_000..1_007));
                    mask.extend([false; 7]);
                }
                rows.push(batch(next..next + 1));
                mask.push(true);
                next += 1;
            }
            if rows.is_empty() {
                continue;
            }
            let rows = concat_batches(&rows[0].schema(), &rows).expect("one batch");
            chunks.push(filter_record_batch(&rows, &BooleanArray::from(mask)).expect("the visible rows"));
            while let Some(full) = chunks.full().expect("a batch") {
                given.push(full);
            }
        }
        given.extend(chunks.rest().expect("a batch"));
        given
    }

    proptest! {
        #[test]
        fn hidden_rows_change_neither_bounds_nor_memory(
            size in 1_usize..9,
            cuts in prop::collection::vec((0_usize..12, prop::collection::vec(any::<bool>(), 0..12)), 1..6),
        ) {
            let rows: usize = cuts.iter().map(|(visible, _)| visible).sum();
            let seen = chunked(size, &cuts);
            let alone = chunked(size, &[(rows, Vec::new())]);
            prop_assert_eq!(&seen, &alone);
            prop_assert!(seen.iter().rev().skip(1).all(|batch| batch.num_rows() == size));
            let memory = |batches: &[RecordBatch]| -> Vec<usize> {
                batches.iter().map(RecordBatch::get_array_memory_size).collect()
            };
            prop_assert_eq!(memory(&seen), memory(&alone));
        }
    }

    #[test]
    fn rows_without_columns_are_counted() {
        let none = RecordBatch::try_new_with_options(
            Arc::new(Schema::empty()),
            vec![],
            &RecordBatchOptions::new().with_row_count(Some(5)),
        );
        let mut chunks = Chunks::new(Arc::new(Schema::empty()), 3);
        chunks.push(none.expect("a batch"));
        assert_eq!(chunks.full().expect("a batch").expect("full").num_rows(), 3);
        assert_eq!(chunks.full().expect("a batch"), None);
        assert_eq!(chunks.rest().expect("a batch").expect("the rest").num_rows(), 2);
    }
}
