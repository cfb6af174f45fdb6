//! The fields of one JSON record, taken by name and type; what nobody takes becomes `_extra`.
//!
//! Values stay raw tokens until they are asked for, so that a decimal is read from the digits that the producer wrote.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::civil::{self, Micros};
use crate::decimal;
use crate::ids;

/// The longest part of an offending value that a message repeats, in characters.
const SHOWN_CHARS: usize = 120;

/// The longest value that is taken for a record. A feed's record has some hundred bytes; what is far longer was sent to the wrong topic.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Why a record was refused. The names are stored in `raw.dead_letters.error_class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectClass {
    /// No value at all (a tombstone).
    EmptyValue,
    /// The bytes are not UTF-8.
    InvalidUtf8,
    /// The value is longer than [`MAX_RECORD_BYTES`].
    TooLarge,
    /// The text is not one JSON object.
    MalformedJson,
    /// A needed field is absent or null.
    MissingField,
    /// The field stands more than once.
    DuplicateField,
    /// The field is of another JSON type.
    WrongType,
    /// The field's value is outside what the column can hold or the feed allows.
    OutOfRange,
    /// Non-zero digits stand beyond the column's scale.
    TooManyDecimals,
    /// Two fields contradict each other.
    Inconsistent,
}

impl RejectClass {
    /// The stored name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmptyValue => "empty_value",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::TooLarge => "too_large",
            Self::MalformedJson => "malformed_json",
            Self::MissingField => "missing_field",
            Self::DuplicateField => "duplicate_field",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::TooManyDecimals => "too_many_decimals",
            Self::Inconsistent => "inconsistent",
        }
    }
}

/// A refused record: what was wrong, where, and what would have been right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The kind of fault.
    pub class: RejectClass,
    /// The field at fault, when it is one field's.
    pub field: Option<Cow<'static, str>>,
    /// The offending value, shortened.
    pub value: Option<String>,
    /// What was expected instead.
    pub expected: String,
}

impl Reject {
    /// A fault of one field.
    #[must_use]
    pub fn field(
        class: RejectClass,
        field: &'static str,
        value: Option<&str>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            class,
            field: Some(Cow::Borrowed(field)),
            value: value.map(shorten),
            expected: expected.into(),
        }
    }

    /// A fault of the record as a whole.
    #[must_use]
    pub fn record(class: RejectClass, expected: impl Into<String>) -> Self {
        Self { class, field: None, value: None, expected: expected.into() }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class.as_str())?;
        if let Some(field) = &self.field {
            write!(f, " in `{field}`")?;
        }
        if let Some(value) = &self.value {
            write!(f, ": got {value}")?;
        }
        write!(f, "; expected {}", self.expected)
    }
}

fn shorten(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}...", &value[..at]),
        None => value.to_owned(),
    }
}

/// The fields of one record, in the order in which they were written.
#[derive(Debug)]
pub struct Fields<'a> {
    entries: Vec<Entry<'a>>,
    /// Where the next look-up begins: producers mostly write fields in one order.
    cursor: usize,
}

#[derive(Debug)]
struct Entry<'a> {
    name: Cow<'a, str>,
    value: &'a RawValue,
    taken: bool,
}

impl<'a> Fields<'a> {
    /// Reads the outer object of a message.
    ///
    /// # Errors
    /// A [`Reject`] when there is no value, it is not UTF-8, or not one JSON object.
    pub fn parse(payload: Option<&'a [u8]>) -> Result<Self, Reject> {
        match payload {
            Some(bytes) if bytes.len() > MAX_RECORD_BYTES => Err(Reject::record(
                RejectClass::TooLarge,
                format!("at most {MAX_RECORD_BYTES} bytes; the value has {}", bytes.len()),
            )),
            _ => Self::read(payload),
        }
    }

    /// [`Self::parse`] without a bound on the length.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn read(payload: Option<&'a [u8]>) -> Result<Self, Reject> {
        let bytes = payload.filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
            Reject::record(
                RejectClass::EmptyValue,
                "a JSON object; empty values (tombstones) delete nothing here",
            )
        })?;
        let text = std::str::from_utf8(bytes).map_err(|error| {
            Reject::record(
                RejectClass::InvalidUtf8,
                format!("UTF-8 text; byte {} is not", error.valid_up_to()),
            )
        })?;
        let fields: Self = serde_json::from_str(text).map_err(|error| {
            Reject::record(RejectClass::MalformedJson, format!("one JSON object ({error})"))
        })?;
        match fields.repeated_name() {
            Some(name) => Err(Reject {
                class: RejectClass::DuplicateField,
                field: Some(Cow::Owned(shorten(name))),
                value: None,
                expected: "each field once".to_owned(),
            }),
            None => Ok(fields),
        }
    }

    /// A name that stands twice. One bit for each look of a name keeps the comparison of all pairs off the common path.
    fn repeated_name(&self) -> Option<&str> {
        let mut seen = 0_u128;
        for (at, entry) in self.entries.iter().enumerate() {
            let name = entry.name.as_bytes();
            let look = name
                .iter()
                .fold(name.len() as u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
            let bit = 1_u128 << (look % 128);
            if seen & bit != 0 && self.entries[..at].iter().any(|earlier| earlier.name == entry.name) {
                return Some(&entry.name);
            }
            seen |= bit;
        }
        None
    }

    /// Takes a field as it stands, if it is there; null counts as absent.
    pub fn take(&mut self, name: &str) -> Option<&'a str> {
        let count = self.entries.len();
        let at = (self.cursor..count)
            .chain(0..self.cursor.min(count))
            .find(|&at| self.entries[at].name == name)?;
        self.cursor = at + 1;
        self.entries[at].taken = true;
        let raw = self.entries[at].value.get();
        (raw != "null").then_some(raw)
    }

    /// A text that may be absent.
    ///
    /// # Errors
    /// A [`Reject`] when it is there and not a JSON string.
    pub fn optional_text(&mut self, name: &'static str) -> Result<Option<Cow<'a, str>>, Reject> {
        self.take(name).map(|raw| text(name, raw)).transpose()
    }

    /// A text that must be there and not empty.
    ///
    /// # Errors
    /// A [`Reject`] when it is absent, not a JSON string, or blank.
    pub fn text(&mut self, name: &'static str) -> Result<Cow<'a, str>, Reject> {
        let value = text(name, self.needed(name, "a text")?)?;
        if value.trim().is_empty() {
            return Err(Reject::field(
                RejectClass::MissingField,
                name,
                Some("\"\""),
                "a text that is not blank",
            ));
        }
        Ok(value)
    }

    /// A tenant or store: a text that [`ids::is_identifier`] accepts.
    ///
    /// # Errors
    /// A [`Reject`] when it is absent, null, blank or not an identifier.
    pub fn identifier(&mut self, name: &'static str) -> Result<Cow<'a, str>, Reject> {
        let value = self.text(name)?;
        if !ids::is_identifier(&value) {
            let expected = "at most 200 characters without `/`, control characters or blanks around";
            return Err(Reject::field(RejectClass::OutOfRange, name, Some(&value), expected));
        }
        Ok(value)
    }

    /// A decimal as a JSON number or string, scaled by `10^scale`; it may be absent.
    ///
    /// # Errors
    /// A [`Reject`] when it is no decimal, loses digits, or does not fit 18 digits.
    pub fn optional_decimal(&mut self, name: &'static str, scale: u32) -> Result<Option<i128>, Reject> {
        self.take(name).map(|raw| decimal_token(name, raw, scale)).transpose()
    }

    /// A decimal that must be there.
    ///
    /// # Errors
    /// As [`Self::optional_decimal`], and when it is absent.
    pub fn decimal(&mut self, name: &'static str, scale: u32) -> Result<i128, Reject> {
        let raw = self.needed(name, "a decimal number or a text that holds one")?;
        decimal_token(name, raw, scale)
    }

    /// A whole number that must be there and lie in `range`.
    ///
    /// # Errors
    /// A [`Reject`] when it is absent, no whole number, or outside `range`.
    pub fn integer(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<i64, Reject> {
        let raw = self.needed(name, "a whole number")?;
        let expected = || format!("a whole number from {} to {}", range.start(), range.end());
        let value: i64 =
            raw.parse().map_err(|_| Reject::field(class_of(raw), name, Some(raw), expected()))?;
        if !range.contains(&value) {
            return Err(Reject::field(RejectClass::OutOfRange, name, Some(raw), expected()));
        }
        Ok(value)
    }

    /// An RFC 3339 instant that must be there, between [`civil::EARLIEST`] and `latest`.
    ///
    /// # Errors
    /// A [`Reject`] when it is absent, no instant, or outside the range.
    pub fn instant(&mut self, name: &'static str, latest: Micros) -> Result<Micros, Reject> {
        let raw = self.needed(name, "an RFC 3339 instant")?;
        let written = text(name, raw)?;
        let instant = civil::parse_instant(&written).ok_or_else(|| {
            let expected = "an RFC 3339 instant with its offset, like 2026-11-25T09:30:00Z";
            Reject::field(RejectClass::OutOfRange, name, Some(raw), expected)
        })?;
        if !(civil::EARLIEST..=latest).contains(&instant) {
            let expected =
                format!("an instant from 1990-01-01T00:00:00Z to {}", civil::format_instant(latest));
            return Err(Reject::field(RejectClass::OutOfRange, name, Some(raw), expected));
        }
        Ok(instant)
    }

    /// The fields that nobody took, as one JSON object; `None` when there are none.
    #[must_use]
    pub fn into_extra(self) -> Option<String> {
        let mut extra = String::new();
        for entry in self.entries.iter().filter(|entry| !entry.taken) {
            extra.push(if extra.is_empty() { '{' } else { ',' });
            extra.push_str(&serde_json::Value::from(entry.name.as_ref()).to_string());
            extra.push(':');
            extra.push_str(entry.value.get());
        }
        (!extra.is_empty()).then(|| extra + "}")
    }

    fn needed(&mut self, name: &'static str, expected: &str) -> Result<&'a str, Reject> {
        self.take(name).ok_or_else(|| Reject::field(RejectClass::MissingField, name, None, expected))
    }
}

/// A value that is of the right JSON type for a number but not readable is out of range; all else is of the wrong type.
fn class_of(raw: &str) -> RejectClass {
    if raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        RejectClass::OutOfRange
    } else {
        RejectClass::WrongType
    }
}

fn text<'a>(name: &'static str, raw: &'a str) -> Result<Cow<'a, str>, Reject> {
    let inner = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(raw).map(Cow::Owned).map_err(|_| {
            Reject::field(RejectClass::OutOfRange, name, Some(raw), "a text whose escapes are valid Unicode")
        }),
        None => Err(Reject::field(RejectClass::WrongType, name, Some(raw), "a text")),
    }
}

fn decimal_token(name: &'static str, raw: &str, scale: u32) -> Result<i128, Reject> {
    let quoted = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"'));
    let expected = || format!("a decimal number with at most {scale} decimals and 18 digits");
    decimal::parse(quoted.unwrap_or(raw), scale).map_err(|error| {
        let class = match error {
            decimal::DecimalError::TooManyDecimals => RejectClass::TooManyDecimals,
            decimal::DecimalError::OutOfRange => RejectClass::OutOfRange,
            decimal::DecimalError::Syntax => RejectClass::WrongType,
        };
        Reject::field(class, name, Some(raw), expected())
    })
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::with_capacity(24);
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    entries.push(Entry { name, value, taken: false });
                }
                Ok(Fields { entries, cursor: 0 })
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// A key, borrowed from the message unless it holds escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject<T: fmt::Debug>(json: &str, take: impl Fn(&mut Fields<'_>) -> Result<T, Reject>) -> Reject {
        let mut fields = match Fields::parse(Some(json.as_bytes())) {
            Ok(fields) => fields,
            Err(reject) => return reject,
        };
        take(&mut fields).expect_err("must be refused")
    }

    #[test]
    fn every_fault_names_field_value_and_what_was_expected() {
        let cases = [
            (reject(r#"{"n":1.2345}"#, |f| f.decimal("n", 3)), RejectClass::TooManyDecimals, "1.2345"),
            (reject(r#"{"n":1e400}"#, |f| f.decimal("n", 3)), RejectClass::OutOfRange, "1e400"),
            (reject(r#"{"n":[1]}"#, |f| f.decimal("n", 3)), RejectClass::WrongType, "[1]"),
            (reject(r#"{"n":7}"#, |f| f.text("n").map(drop)), RejectClass::WrongType, "7"),
            (reject(r#"{"n":"a/b"}"#, |f| f.identifier("n").map(drop)), RejectClass::OutOfRange, "a/b"),
            (reject(r#"{"n":1.5}"#, |f| f.integer("n", 0..=9)), RejectClass::OutOfRange, "1.5"),
            (reject(r#"{"n":"x"}"#, |f| f.integer("n", 0..=9)), RejectClass::WrongType, "x"),
            (
                reject(r#"{"n":"2011-02-30T00:00:00Z"}"#, |f| f.instant("n", i64::MAX)),
                RejectClass::OutOfRange,
                "02-30",
            ),
            (
                reject(r#"{"n":"1989-12-31T23:59:59Z"}"#, |f| f.instant("n", i64::MAX)),
                RejectClass::OutOfRange,
                "1989",
            ),
        ];
        for (reject, class, value) in cases {
            assert_eq!((reject.class, reject.field.as_deref()), (class, Some("n")), "{reject}");
            assert!(reject.value.as_deref().is_some_and(|shown| shown.contains(value)), "{reject}");
        }
        for absent in ["{}", r#"{"n":null}"#, r#"{"n":" "}"#] {
            assert_eq!(
                reject(absent, |f| f.text("n").map(drop)).class,
                RejectClass::MissingField,
                "{absent}"
            );
        }
        assert_eq!(
            reject(r#"{"a":1,"n":1,"a":2}"#, |f| f.text("n").map(drop)).class,
            RejectClass::DuplicateField
        );
        assert_eq!(reject("[]", |f| f.text("n").map(drop)).class, RejectClass::MalformedJson);
        assert_eq!(
            Fields::parse(Some(b"{\"n\":\"\xff\"}")).expect_err("bytes").class,
            RejectClass::InvalidUtf8
        );
        for empty in [None, Some(&b""[..])] {
            assert_eq!(Fields::parse(empty).expect_err("empty").class, RejectClass::EmptyValue);
        }
    }

    #[test]
    fn untaken_fields_are_kept_as_they_were_written() {
        let json = r#"{"b":"x","n":"1.50","we\"ird":{"deep":[1, 2.50]},"z":null}"#;
        let mut fields = Fields::parse(Some(json.as_bytes())).expect("an object");
        assert_eq!(fields.decimal("n", 2), Ok(150));
        assert_eq!(fields.text("b").as_deref(), Ok("x"));
        assert_eq!(fields.into_extra().as_deref(), Some(r#"{"we\"ird":{"deep":[1, 2.50]},"z":null}"#));
    }

    #[test]
    fn a_long_value_is_shortened_in_the_message() {
        let json = format!(r#"{{"n":"{}"}}"#, "é".repeat(5_000));
        let shown = reject(&json, |f| f.decimal("n", 3)).to_string();
        assert!(shown.len() < 500 && shown.contains("..."), "{shown}");
    }
}
