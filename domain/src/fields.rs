//! The fields of one JSON record, taken by name and type; what nobody takes becomes `_extra`.
//!
//! Values stay raw tokens until they are asked for by their [kind](crate::kinds), so that a decimal is read from the digits that the producer wrote.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::civil::Micros;
use crate::kinds::FieldKind;

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

    /// A field that may be absent.
    ///
    /// # Errors
    /// A [`Reject`] when it is there and not of its kind.
    pub fn optional<T: FieldKind>(
        &mut self,
        name: &'static str,
        now: Micros,
    ) -> Result<Option<T::Value<'a>>, Reject> {
        self.take(name).map(|raw| T::parse(name, raw, now)).transpose()
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// A [`Reject`] when it is absent or null, or not of its kind.
    pub fn required<T: FieldKind>(
        &mut self,
        name: &'static str,
        now: Micros,
    ) -> Result<T::Value<'a>, Reject> {
        let raw = self
            .take(name)
            .ok_or_else(|| Reject::field(RejectClass::MissingField, name, None, T::EXPECTED))?;
        T::parse(name, raw, now)
    }

    /// Whether a field is there, be it null.
    #[must_use]
    pub fn states(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
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
    use crate::kinds::{Quantity, Text};

    fn reject<T: fmt::Debug>(json: &str, take: impl Fn(&mut Fields<'_>) -> Result<T, Reject>) -> Reject {
        let mut fields = match Fields::parse(Some(json.as_bytes())) {
            Ok(fields) => fields,
            Err(reject) => return reject,
        };
        take(&mut fields).expect_err("must be refused")
    }

    #[test]
    fn absent_repeated_and_unreadable_records_are_told_apart() {
        for absent in ["{}", r#"{"n":null}"#, r#"{"n":" "}"#] {
            assert_eq!(
                reject(absent, |f| f.required::<Text>("n", 0).map(drop)).class,
                RejectClass::MissingField,
                "{absent}"
            );
        }
        assert_eq!(
            reject(r#"{"a":1,"n":1,"a":2}"#, |f| f.required::<Text>("n", 0).map(drop)).class,
            RejectClass::DuplicateField
        );
        assert_eq!(reject("[]", |f| f.required::<Text>("n", 0).map(drop)).class, RejectClass::MalformedJson);
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
        assert_eq!(fields.required::<Quantity>("n", 0), Ok(1_500));
        assert_eq!(fields.required::<Text>("b", 0).as_deref(), Ok("x"));
        assert!(fields.states("z") && !fields.states("y"));
        assert_eq!(fields.into_extra().as_deref(), Some(r#"{"we\"ird":{"deep":[1, 2.50]},"z":null}"#));
    }

    #[test]
    fn a_long_value_is_shortened_in_the_message() {
        let json = format!(r#"{{"n":"{}"}}"#, "é".repeat(5_000));
        let shown = reject(&json, |f| f.required::<Quantity>("n", 0)).to_string();
        assert!(shown.len() < 500 && shown.contains("..."), "{shown}");
    }
}
