//! How large a result can become, told from the arguments.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;

/// Bytes that a function may make of one batch.
const MAX_BYTES: u64 = 64 << 20;

/// Rows of a batch: a scalar is repeated that often wherever an array is wanted.
const BATCH_ROWS: usize = 8_192;

/// A list of dates spans decades and is seldom repeated; it may be so many times larger.
const LIST_ALLOWANCE: u64 = 8;

const NANOS_PER_DAY: i128 = 86_400_000_000_000;

/// How a function's result depends on its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Growth {
    /// All arguments side by side, so many times.
    Sum(u64),
    /// The first, as often as the second says.
    Repeated,
    /// Texts of as many characters as the second says.
    Padded,
    /// The first, with the third in places of the second.
    Replaced,
    /// The first, with the third, and parts of the first within, at every place.
    RegexReplaced,
    /// The first between the others: `concat_ws`.
    Separated,
    /// Elements of the first as texts, with the others between them; also elements replaced by the third.
    PerElement,
    /// Elements from the first argument to the second in steps of the third.
    Series,
    /// As many elements as the second says, each like the third.
    Resized,
}

impl Growth {
    /// That of a function, by its name; none for one whose result is no larger than a small multiple of what it is given.
    pub(super) fn of(function: &str) -> Option<Self> {
        Some(match function {
            "concat" | "overlay" | "array_concat" | "array_append" | "array_prepend" | "array_union"
            | "arrays_zip" | "make_array" | "map" => Self::Sum(1),
            "encode" => Self::Sum(2),
            "string_to_array" => Self::Sum(6),
            "concat_ws" => Self::Separated,
            "repeat" | "array_repeat" => Self::Repeated,
            "lpad" | "rpad" => Self::Padded,
            "replace" => Self::Replaced,
            "regexp_replace" => Self::RegexReplaced,
            "array_to_string" | "array_replace" | "array_replace_n" | "array_replace_all" => Self::PerElement,
            "range" | "generate_series" => Self::Series,
            "array_resize" => Self::Resized,
            _ => return None,
        })
    }

    /// Whether what comes of the arguments is within the bound.
    pub(super) fn is_within(self, args: &[ColumnarValue], rows: usize) -> bool {
        let is_scalar = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { rows.max(BATCH_ROWS) } else { rows };
        let allowed = if self == Self::Series { MAX_BYTES * LIST_ALLOWANCE } else { MAX_BYTES };
        self.bytes(args, rows) <= allowed
    }

    fn bytes(self, args: &[ColumnarValue], rows: usize) -> u64 {
        let total = |at: usize| args.get(at).map_or(0, |arg| total_bytes(arg, rows));
        let longest = |at: usize| args.get(at).map_or(0, longest_bytes);
        let all_but_first = || args.iter().skip(1).map(longest_bytes).fold(0, u64::saturating_add);
        match self {
            Self::Sum(times) => {
                let sum = (0..args.len()).map(total).fold(0, u64::saturating_add);
                sum.saturating_mul(times)
            }
            Self::Separated => {
                let separators = total(0).saturating_mul(args.len() as u64);
                (1..args.len()).map(total).fold(separators, u64::saturating_add)
            }
            Self::Repeated => {
                let counts = Numbers::of(args.get(1));
                each(rows, |row| bytes_at(&args[0], row).saturating_mul(counts.count(row)))
            }
            Self::Padded => {
                let lengths = Numbers::of(args.get(1));
                // A character takes four bytes at most.
                each(rows, |row| lengths.count(row).saturating_mul(4))
            }
            Self::Replaced => {
                let places = total(0).saturating_add(rows as u64) / shortest_bytes(args.get(1)).max(1);
                total(0).saturating_add(places.saturating_mul(longest(2)))
            }
            Self::RegexReplaced => {
                let places = total(0).saturating_add(rows as u64);
                total(0).saturating_add(places.saturating_mul(longest(2).saturating_mul(2)))
            }
            Self::PerElement => {
                // The longest number takes 40 digits.
                let elements = elements(args.first(), rows);
                total(0).saturating_add(elements.saturating_mul(all_but_first().saturating_add(40)))
            }
            Self::Series => series_bytes(args, rows),
            Self::Resized => {
                let (lengths, element) = (Numbers::of(args.get(1)), longest(2).max(8));
                each(rows, |row| lengths.count(row).saturating_mul(element))
            }
        }
    }
}

fn each(rows: usize, bytes: impl Fn(usize) -> u64) -> u64 {
    (0..rows).map(bytes).fold(0, u64::saturating_add)
}

/// Bytes of all rows, a scalar's once for each.
fn total_bytes(value: &ColumnarValue, rows: usize) -> u64 {
    match value {
        ColumnarValue::Scalar(scalar) => scalar_bytes(scalar).saturating_mul(rows as u64),
        ColumnarValue::Array(array) => array_bytes(array),
    }
}

fn scalar_bytes(scalar: &ScalarValue) -> u64 {
    match scalar.try_as_str() {
        Some(text) => text.map_or(0, str::len) as u64,
        None => scalar.to_array().map_or(u64::MAX, |array| array_bytes(&array)),
    }
}

fn array_bytes(array: &ArrayRef) -> u64 {
    if is_of_bytes(array.data_type()) {
        return (0..array.len()).map(|row| array_bytes_at(array, row)).sum();
    }
    match array.data_type() {
        // What lies in views is not in the buffers that are counted.
        DataType::List(_) => array_bytes(&list_values(array)) + 4 * array.len() as u64,
        _ => array.to_data().get_slice_memory_size().map_or(u64::MAX, |bytes| bytes as u64),
    }
}

/// The elements of a list that the array shows.
fn list_values(array: &ArrayRef) -> ArrayRef {
    let list = array.as_list::<i32>();
    let offsets = list.value_offsets();
    let (from, to) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
    list.values().slice(from, to - from)
}

fn is_of_bytes(of: &DataType) -> bool {
    use DataType as T;
    matches!(of, T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Binary | T::LargeBinary | T::BinaryView)
}

/// Bytes of one value of texts or bytes.
fn array_bytes_at(array: &ArrayRef, row: usize) -> u64 {
    if array.is_null(row) {
        return 0;
    }
    let bytes = match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value_length(row) as usize,
        DataType::LargeUtf8 => array.as_string::<i64>().value_length(row) as usize,
        DataType::Utf8View => array.as_string_view().value(row).len(),
        DataType::Binary => array.as_binary::<i32>().value_length(row) as usize,
        DataType::LargeBinary => array.as_binary::<i64>().value_length(row) as usize,
        _ => array.as_binary_view().value(row).len(),
    };
    bytes as u64
}

fn bytes_at(value: &ColumnarValue, row: usize) -> u64 {
    match value {
        ColumnarValue::Scalar(scalar) => scalar_bytes(scalar).max(1),
        ColumnarValue::Array(array) if is_of_bytes(array.data_type()) => array_bytes_at(array, row),
        ColumnarValue::Array(array) => array_bytes(&array.slice(row, 1)).max(1),
    }
}

fn longest_bytes(value: &ColumnarValue) -> u64 {
    match value {
        ColumnarValue::Scalar(scalar) => scalar_bytes(scalar),
        ColumnarValue::Array(array) => (0..array.len()).map(|row| bytes_at(value, row)).max().unwrap_or(0),
    }
}

fn shortest_bytes(value: Option<&ColumnarValue>) -> u64 {
    match value {
        None => 0,
        Some(ColumnarValue::Scalar(scalar)) => scalar_bytes(scalar),
        Some(ColumnarValue::Array(array)) => {
            let lengths =
                (0..array.len()).filter(|row| !array.is_null(*row)).map(|row| array_bytes_at(array, row));
            lengths.min().unwrap_or(0)
        }
    }
}

/// The whole numbers of an argument.
struct Numbers {
    array: Option<PrimitiveArray<Int64Type>>,
    is_scalar: bool,
}

impl Numbers {
    fn of(value: Option<&ColumnarValue>) -> Self {
        let (array, is_scalar) = match value {
            None => (None, true),
            Some(ColumnarValue::Scalar(scalar)) => (scalar.to_array().ok(), true),
            Some(ColumnarValue::Array(array)) => (Some(Arc::clone(array)), false),
        };
        let numbers = array.and_then(|array| cast(&array, &DataType::Int64).ok());
        Self { array: numbers.map(|numbers| numbers.as_primitive().clone()), is_scalar }
    }

    fn at(&self, row: usize) -> Option<i64> {
        let row = if self.is_scalar { 0 } else { row };
        self.array.as_ref().filter(|array| array.is_valid(row)).map(|array| array.value(row))
    }

    /// None below 0.
    fn count(&self, row: usize) -> u64 {
        u64::try_from(self.at(row).unwrap_or(0)).unwrap_or(0)
    }
}

/// Elements of all lists of the argument.
fn elements(value: Option<&ColumnarValue>, rows: usize) -> u64 {
    match value {
        None => 0,
        Some(ColumnarValue::Scalar(scalar)) => {
            let elements = scalar.to_array().map_or(u64::MAX, |array| elements_of(&array));
            elements.saturating_mul(rows as u64)
        }
        Some(ColumnarValue::Array(array)) => elements_of(array),
    }
}

fn elements_of(array: &ArrayRef) -> u64 {
    match array.data_type() {
        DataType::List(_) => list_values(array).len() as u64,
        DataType::LargeList(_) => array.as_list::<i64>().values().len() as u64,
        DataType::FixedSizeList(..) => array.as_fixed_size_list().values().len() as u64,
        _ => array.len() as u64,
    }
}

/// Bytes of the elements of series: numbers, or days and instants with an interval between them.
fn series_bytes(args: &[ColumnarValue], rows: usize) -> u64 {
    let Some(first) = args.first() else { return 0 };
    let nanos_per_unit: i128 = match first.data_type() {
        DataType::Date32 => NANOS_PER_DAY,
        DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
        DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        _ => 1,
    };
    let [first, second] = [0, 1].map(|at| Numbers::of(args.get(at)));
    let step = Steps::of(args.get(2));
    each(rows, |row| {
        // A single argument is the end.
        let (from, to) =
            if args.len() == 1 { (Some(0), first.at(row)) } else { (first.at(row), second.at(row)) };
        let Some((from, to)) = from.zip(to) else { return 0 };
        // A step of nothing is refused by the function itself.
        let Some(step) = step.at(row).map(i128::abs).filter(|step| *step > 0) else { return 0 };
        let span = (i128::from(to) - i128::from(from)).abs().saturating_mul(nanos_per_unit);
        u64::try_from(span / step + 1).unwrap_or(u64::MAX).saturating_mul(8)
    })
}

/// What lies between two elements: a number, or nanoseconds at least.
enum Steps {
    One,
    Numbers(Numbers),
    Intervals(Option<PrimitiveArray<IntervalMonthDayNanoType>>, bool),
}

impl Steps {
    fn of(step: Option<&ColumnarValue>) -> Self {
        let Some(step) = step else { return Self::One };
        if step.data_type() != DataType::Interval(IntervalUnit::MonthDayNano) {
            return Self::Numbers(Numbers::of(Some(step)));
        }
        match step {
            ColumnarValue::Scalar(scalar) => {
                Self::Intervals(scalar.to_array().ok().map(|array| array.as_primitive().clone()), true)
            }
            ColumnarValue::Array(array) => Self::Intervals(Some(array.as_primitive().clone()), false),
        }
    }

    fn at(&self, row: usize) -> Option<i128> {
        match self {
            Self::One => Some(1),
            Self::Numbers(numbers) => numbers.at(row).map(i128::from),
            Self::Intervals(intervals, is_scalar) => {
                let row = if *is_scalar { 0 } else { row };
                let step = intervals.as_ref().filter(|steps| steps.is_valid(row))?.value(row);
                // The shortest month has 28 days.
                let days = i128::from(step.months) * 28 + i128::from(step.days);
                Some(days * NANOS_PER_DAY + i128::from(step.nanoseconds))
            }
        }
    }
}
