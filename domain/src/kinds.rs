//! The kinds of values that fields of records have: how each is read from JSON, checked, and kept in an Arrow column.
//!
//! A kind is a type without values, named in the list of a feed's fields (`feeds::record`). What a kind refuses becomes a dead letter that names the
//! field, its value and what was expected.

mod numbers;
mod times;

use std::borrow::Cow;
use std::fmt::Debug;
use std::marker::PhantomData;

use arrow_array::ArrayRef;
use arrow_array::builder::{ArrayBuilder, StringBuilder};
use arrow_schema::DataType;

use crate::civil::Micros;
use crate::fields::{Reject, RejectClass};
use crate::ids;
pub use numbers::{Measure, Money, MoneyFromZero, Quantity, QuantityAboveZero, QuantityFromZero, Whole};
pub use times::{Happened, LifeDay, PastDay, PlannedDay};

/// A kind of value.
pub trait FieldKind: 'static {
    /// What it reads as.
    type Value<'a>: Debug + Clone + PartialEq;
    /// What gathers it as a column.
    type Builder: ArrayBuilder + Debug;
    /// What is told when it is missing.
    const EXPECTED: &'static str;

    /// The type of its column.
    fn data_type() -> DataType;

    /// Reads a value that is there from its JSON token; `now` is the wall clock, for bounds on future times.
    ///
    /// # Errors
    /// A [`Reject`] that names the field.
    fn parse<'a>(name: &'static str, raw: &'a str, now: Micros) -> Result<Self::Value<'a>, Reject>;

    /// An empty column.
    fn builder() -> Self::Builder;

    /// Appends a value, or null.
    fn append(builder: &mut Self::Builder, value: Option<&Self::Value<'_>>);

    /// Writes a value behind others so that equal bytes mean equal values. What is written stands in tables as hashes: it never changes.
    fn write(value: &Self::Value<'_>, bytes: &mut Vec<u8>);

    /// The finished column.
    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        builder.finish()
    }
}

/// A text behind its length, so that it does not run into what follows.
fn write_text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// A JSON string.
fn text<'a>(name: &'static str, raw: &'a str, expected: &str) -> Result<Cow<'a, str>, Reject> {
    let inner = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(raw).map(Cow::Owned).map_err(|_| {
            Reject::field(RejectClass::OutOfRange, name, Some(raw), "a text whose escapes are valid Unicode")
        }),
        None => Err(Reject::field(RejectClass::WrongType, name, Some(raw), expected)),
    }
}

/// The kinds that are kept as text: each names what it expects and says whether a text is one.
macro_rules! text_kind {
    ($(#[$meta:meta])* $kind:ident, $expected:literal, $is_one:expr) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $kind;

        impl FieldKind for $kind {
            type Value<'a> = Cow<'a, str>;
            type Builder = StringBuilder;
            const EXPECTED: &'static str = $expected;

            fn data_type() -> DataType {
                DataType::Utf8
            }

            fn parse<'a>(name: &'static str, raw: &'a str, _now: Micros) -> Result<Cow<'a, str>, Reject> {
                let value = text(name, raw, Self::EXPECTED)?;
                let is_one: fn(&str) -> Option<RejectClass> = $is_one;
                match is_one(&value) {
                    None => Ok(value),
                    Some(class) => Err(Reject::field(class, name, Some(raw), Self::EXPECTED)),
                }
            }

            fn builder() -> StringBuilder {
                StringBuilder::new()
            }

            fn append(builder: &mut StringBuilder, value: Option<&Cow<'_, str>>) {
                builder.append_option(value);
            }

            fn write(value: &Cow<'_, str>, bytes: &mut Vec<u8>) {
                write_text(value, bytes);
            }
        }
    };
}

fn blank(text: &str) -> Option<RejectClass> {
    text.trim().is_empty().then_some(RejectClass::MissingField)
}

fn unless(is_one: bool) -> Option<RejectClass> {
    (!is_one).then_some(RejectClass::OutOfRange)
}

text_kind!(
    /// Any text, the empty one too.
    Words,
    "a text",
    |_| None
);
text_kind!(
    /// A text that is not blank.
    Text,
    "a text that is not blank",
    blank
);
text_kind!(
    /// A tenant or store, as [`ids::is_identifier`] has it.
    Identifier,
    "a text of at most 200 characters without `/`, control characters or blanks around",
    |text| blank(text).or(unless(ids::is_identifier(text)))
);
text_kind!(
    /// An ISO 4217 code.
    Currency,
    "an ISO 4217 code of three capital letters, like GBP",
    |text| unless(text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()))
);
text_kind!(
    /// A time zone that the IANA database knows.
    TimeZone,
    "a time zone of the IANA database, like Europe/London",
    |text| unless(text.parse::<chrono_tz::Tz>().is_ok())
);

/// A JSON object, given as one or as a text that holds one; kept as its text.
#[derive(Debug)]
pub struct JsonObject;

impl FieldKind for JsonObject {
    type Value<'a> = Cow<'a, str>;
    type Builder = StringBuilder;
    const EXPECTED: &'static str = "a JSON object, or a text that holds one";

    fn data_type() -> DataType {
        DataType::Utf8
    }

    fn parse<'a>(name: &'static str, raw: &'a str, _now: Micros) -> Result<Cow<'a, str>, Reject> {
        let value = if raw.starts_with('"') { text(name, raw, Self::EXPECTED)? } else { Cow::Borrowed(raw) };
        match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&value) {
            Ok(_) => Ok(value),
            Err(_) => Err(Reject::field(RejectClass::WrongType, name, Some(raw), Self::EXPECTED)),
        }
    }

    fn builder() -> StringBuilder {
        StringBuilder::new()
    }

    fn append(builder: &mut StringBuilder, value: Option<&Cow<'_, str>>) {
        builder.append_option(value);
    }

    fn write(value: &Cow<'_, str>, bytes: &mut Vec<u8>) {
        write_text(value, bytes);
    }
}

/// One of a few words, as `T` lists them.
#[derive(Debug)]
pub struct Choice<T>(PhantomData<T>);

/// The words of a [`Choice`].
pub trait Choices: Debug + Clone + Copy + PartialEq + Send + Sync + 'static {
    /// All of them.
    const ALL: &'static [Self];
    /// What is told when it is none of them.
    const EXPECTED: &'static str;

    /// The stored word.
    fn as_str(self) -> &'static str;
}

impl<T: Choices> FieldKind for Choice<T> {
    type Value<'a> = T;
    type Builder = StringBuilder;
    const EXPECTED: &'static str = T::EXPECTED;

    fn data_type() -> DataType {
        DataType::Utf8
    }

    fn parse(name: &'static str, raw: &str, _now: Micros) -> Result<T, Reject> {
        let word = text(name, raw, T::EXPECTED)?;
        let found = T::ALL.iter().find(|choice| choice.as_str() == word);
        found.copied().ok_or_else(|| Reject::field(RejectClass::OutOfRange, name, Some(raw), T::EXPECTED))
    }

    fn builder() -> StringBuilder {
        StringBuilder::new()
    }

    fn append(builder: &mut StringBuilder, value: Option<&T>) {
        builder.append_option(value.map(|choice| choice.as_str()));
    }

    fn write(value: &T, bytes: &mut Vec<u8>) {
        write_text(value.as_str(), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2025-11-24T16:00:00Z.
    const NOW: Micros = 1_764_000_000_000_000;

    fn fault<T: FieldKind>(raw: &str) -> RejectClass {
        let reject = T::parse("n", raw, NOW).expect_err(raw);
        assert_eq!(reject.field.as_deref(), Some("n"));
        assert!(reject.value.as_deref().is_some_and(|shown| !shown.is_empty()), "{reject}");
        reject.class
    }

    #[test]
    fn texts_are_of_their_kind() {
        assert_eq!(fault::<Text>("7"), RejectClass::WrongType);
        assert_eq!(fault::<Text>("\" \""), RejectClass::MissingField);
        assert_eq!(Words::parse("n", "\"\"", NOW).as_deref(), Ok(""));
        assert_eq!(fault::<Identifier>("\"a/b\""), RejectClass::OutOfRange);
        assert_eq!(fault::<Identifier>("\"\""), RejectClass::MissingField);
        assert_eq!(fault::<Currency>("\"gbp\""), RejectClass::OutOfRange);
        assert_eq!(fault::<TimeZone>("\"Europe/Lundon\""), RejectClass::OutOfRange);
        assert!(TimeZone::parse("n", "\"Asia/Kathmandu\"", NOW).is_ok());
        assert_eq!(JsonObject::parse("n", "{\"a\": [1]}", NOW).as_deref(), Ok("{\"a\": [1]}"));
        assert_eq!(JsonObject::parse("n", r#""{\"a\":1}""#, NOW).as_deref(), Ok("{\"a\":1}"));
        assert_eq!(fault::<JsonObject>("[1]"), RejectClass::WrongType);
    }

    #[test]
    fn numbers_are_exact_and_bounded() {
        assert_eq!(Quantity::parse("n", "\"-1.50\"", NOW), Ok(-1_500));
        assert_eq!(fault::<Quantity>("1.2345"), RejectClass::TooManyDecimals);
        assert_eq!(fault::<Quantity>("1e400"), RejectClass::OutOfRange);
        assert_eq!(fault::<Quantity>("[1]"), RejectClass::WrongType);
        assert_eq!(fault::<QuantityFromZero>("-0.001"), RejectClass::OutOfRange);
        assert_eq!(fault::<QuantityAboveZero>("0"), RejectClass::OutOfRange);
        assert_eq!(fault::<MoneyFromZero>("-1"), RejectClass::OutOfRange);
        assert_eq!(fault::<Whole<0, 9>>("1.5"), RejectClass::OutOfRange);
        assert_eq!(fault::<Whole<0, 9>>("10"), RejectClass::OutOfRange);
        assert_eq!(fault::<Whole<0, 9>>("\"x\""), RejectClass::WrongType);
    }

    #[test]
    fn measures_are_finite_json_numbers() {
        assert_eq!(Measure::<-90, 60>::parse("n", "-11.1", NOW), Ok(-11.1));
        assert_eq!(Measure::<-90, 60>::parse("n", "\"25.6\"", NOW), Ok(25.6));
        assert_eq!(Measure::<-1, 1>::parse("n", "-0.0", NOW).map(f64::to_bits), Ok(0));
        for wrong in ["\"nan\"", "\"inf\"", "\"\"", "true", "\"+1\""] {
            assert_eq!(fault::<Measure<-1, 1>>(wrong), RejectClass::WrongType, "{wrong}");
        }
        for out in ["1.0001", "1e999", "-2"] {
            assert_eq!(fault::<Measure<-1, 1>>(out), RejectClass::OutOfRange, "{out}");
        }
    }

    #[test]
    fn times_lie_within_their_bounds() {
        assert!(Happened::parse("n", "\"2025-11-26T15:59:59Z\"", NOW).is_ok());
        for out in ["\"2025-11-26T16:00:01Z\"", "\"1989-12-31T23:59:59Z\"", "\"2011-02-30T00:00:00Z\""] {
            assert_eq!(fault::<Happened>(out), RejectClass::OutOfRange, "{out}");
        }
        assert_eq!(fault::<Happened>("7"), RejectClass::WrongType);
        assert!(PastDay::parse("n", "\"2025-11-26\"", NOW).is_ok());
        for out in ["\"2025-11-27\"", "\"1989-12-31\"", "\"2025-02-29\"", "\"2025-1-2\"", "\"25-11-24\""] {
            assert_eq!(fault::<PastDay>(out), RejectClass::OutOfRange, "{out}");
        }
        assert!(PlannedDay::parse("n", "\"2028-11-20\"", NOW).is_ok());
        assert_eq!(fault::<PlannedDay>("\"2029-01-01\""), RejectClass::OutOfRange);
        assert!(LifeDay::parse("n", "\"1886-05-01\"", NOW).is_ok());
    }
}
