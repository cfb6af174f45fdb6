//! Names that become parts of keys, paths and transaction identifiers, checked once.

use crate::error::{Error, Result};

/// The longest identifier that a record may carry, in characters.
pub const MAX_IDENTIFIER_CHARS: usize = 200;

/// Whether `text` can be a tenant or store: not empty, no `/`, no control characters, no surrounding blanks.
///
/// A `/` is refused because scopes (`TENANT/STORE`) and message keys join the two with it.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_IDENTIFIER_CHARS * 4
        && text.chars().count() <= MAX_IDENTIFIER_CHARS
        && text.trim() == text
        && !text.chars().any(|c| c == '/' || c.is_control())
}

/// The name under which an ingest keeps its positions in the tables.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pipeline(String);

/// First parts of application transaction ids that mean something else.
const RESERVED: [&str; 5] = ["log", "rewrite", "replay", "mart", "job"];

impl Pipeline {
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] unless the name is 1 to 64 of `A-Z a-z 0-9 . _ -` and not reserved.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.is_empty()
            || name.len() > 64
            || !name.bytes().all(allowed)
            || RESERVED.contains(&name.as_str())
        {
            return Err(Error::invalid(format!(
                "ingest.pipeline `{name}` is not usable: give 1 to 64 of A-Z a-z 0-9 . _ - and none of {}",
                RESERVED.join(", ")
            )));
        }
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_and_pipelines() {
        assert!(is_identifier("gift-uk") && is_identifier("Köln 1"));
        for bad in ["", " a", "a ", "a/b", "a\nb"] {
            assert!(!is_identifier(bad), "{bad:?}");
        }
        assert!(!is_identifier(&"a".repeat(201)));
        assert!(Pipeline::new("main").is_ok());
        for bad in ["", "log", "a/b", "a b"] {
            assert!(Pipeline::new(bad).is_err(), "{bad:?}");
        }
    }
}
