//! The kinds of numbers: exact decimals, whole numbers and measures.

use arrow_array::builder::{Decimal128Builder, Float64Builder, Int64Builder};
use arrow_schema::DataType;

use super::FieldKind;
use crate::civil::Micros;
use crate::decimal::{self, PRECISION};
use crate::fields::{Reject, RejectClass};

/// The kinds that are exact decimals: a JSON number, or a text that holds one.
macro_rules! decimal_kind {
    ($(#[$meta:meta])* $kind:ident, $scale:literal, $expected:literal, $is_one:expr) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $kind;

        impl FieldKind for $kind {
            /// The number times 10 to the power of the scale.
            type Value<'a> = i128;
            type Builder = Decimal128Builder;
            const EXPECTED: &'static str = $expected;

            fn data_type() -> DataType {
                DataType::Decimal128(PRECISION, $scale)
            }

            fn parse(name: &'static str, raw: &str, _now: Micros) -> Result<i128, Reject> {
                let value = decimal_token(name, raw, $scale, Self::EXPECTED)?;
                let is_one: fn(i128) -> bool = $is_one;
                if is_one(value) {
                    return Ok(value);
                }
                Err(Reject::field(RejectClass::OutOfRange, name, Some(raw), Self::EXPECTED))
            }

            fn builder() -> Decimal128Builder {
                let builder = Decimal128Builder::new().with_precision_and_scale(PRECISION, $scale);
                builder.expect("precision and scale are within Decimal128")
            }

            fn append(builder: &mut Decimal128Builder, value: Option<&i128>) {
                builder.append_option(value.copied());
            }

            fn write(value: &i128, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
    };
}

decimal_kind!(
    /// A number of units, with three decimals.
    Quantity,
    3,
    "a decimal number with at most 3 decimals and 18 digits",
    |_| true
);
decimal_kind!(
    /// A number of units that is not below 0.
    QuantityFromZero,
    3,
    "a decimal number from 0 on, with at most 3 decimals and 18 digits",
    |value| value >= 0
);
decimal_kind!(
    /// A number of units above 0.
    QuantityAboveZero,
    3,
    "a decimal number above 0, with at most 3 decimals and 18 digits",
    |value| value > 0
);
decimal_kind!(
    /// An amount of money, with four decimals.
    Money,
    4,
    "a decimal number with at most 4 decimals and 18 digits",
    |_| true
);
decimal_kind!(
    /// An amount of money that is not below 0.
    MoneyFromZero,
    4,
    "a decimal number from 0 on, with at most 4 decimals and 18 digits",
    |value| value >= 0
);

/// A JSON number's text, be it quoted or not.
fn unquoted(raw: &str) -> &str {
    raw.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(raw)
}

fn decimal_token(name: &'static str, raw: &str, scale: u32, expected: &'static str) -> Result<i128, Reject> {
    decimal::parse(unquoted(raw), scale).map_err(|error| {
        let class = match error {
            decimal::DecimalError::TooManyDecimals => RejectClass::TooManyDecimals,
            decimal::DecimalError::OutOfRange => RejectClass::OutOfRange,
            decimal::DecimalError::Syntax => RejectClass::WrongType,
        };
        Reject::field(class, name, Some(raw), expected)
    })
}

/// A value that is of the right JSON type for a number but not readable is out of range; all else is of the wrong type.
fn class_of(raw: &str) -> RejectClass {
    if raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        RejectClass::OutOfRange
    } else {
        RejectClass::WrongType
    }
}

/// A whole number from `LOW` to `HIGH`: a JSON number, or a text that holds one.
#[derive(Debug)]
pub struct Whole<const LOW: i64, const HIGH: i64>;

impl<const LOW: i64, const HIGH: i64> FieldKind for Whole<LOW, HIGH> {
    type Value<'a> = i64;
    type Builder = Int64Builder;
    const EXPECTED: &'static str = "a whole number";

    fn data_type() -> DataType {
        DataType::Int64
    }

    fn parse(name: &'static str, raw: &str, _now: Micros) -> Result<i64, Reject> {
        let expected = || format!("a whole number from {LOW} to {HIGH}");
        let written = unquoted(raw);
        let value: i64 =
            written.parse().map_err(|_| Reject::field(class_of(written), name, Some(raw), expected()))?;
        if !(LOW..=HIGH).contains(&value) {
            return Err(Reject::field(RejectClass::OutOfRange, name, Some(raw), expected()));
        }
        Ok(value)
    }

    fn builder() -> Int64Builder {
        Int64Builder::new()
    }

    fn append(builder: &mut Int64Builder, value: Option<&i64>) {
        builder.append_option(value.copied());
    }

    fn write(value: &i64, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
}

/// A measured number from `LOW` to `HIGH`: a JSON number, or a text that holds one. Money and quantities are never measures.
#[derive(Debug)]
pub struct Measure<const LOW: i64, const HIGH: i64>;

impl<const LOW: i64, const HIGH: i64> FieldKind for Measure<LOW, HIGH> {
    type Value<'a> = f64;
    type Builder = Float64Builder;
    const EXPECTED: &'static str = "a number";

    fn data_type() -> DataType {
        DataType::Float64
    }

    fn parse(name: &'static str, raw: &str, _now: Micros) -> Result<f64, Reject> {
        let expected = || format!("a number from {LOW} to {HIGH}");
        let written = unquoted(raw);
        // Rust also reads `inf`, `nan` and `+1`, which are no JSON numbers.
        let value = written.parse::<f64>().ok().filter(|_| class_of(written) == RejectClass::OutOfRange);
        let value = value.ok_or_else(|| Reject::field(class_of(written), name, Some(raw), expected()))?;
        if !(LOW as f64..=HIGH as f64).contains(&value) {
            return Err(Reject::field(RejectClass::OutOfRange, name, Some(raw), expected()));
        }
        // A negative zero would be another value to whoever compares bits.
        Ok(value + 0.0)
    }

    fn builder() -> Float64Builder {
        Float64Builder::new()
    }

    fn append(builder: &mut Float64Builder, value: Option<&f64>) {
        builder.append_option(value.copied());
    }

    fn write(value: &f64, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}
