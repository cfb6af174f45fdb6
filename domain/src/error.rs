//! One error for what crosses crate borders: a kind that the caller can act on, and a message that names the fix.

use std::fmt;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request, file, mapping or setting is wrong: mend it and try again.
    Invalid,
    /// The named thing does not exist, or the caller may not see it.
    NotFound,
    /// Another writer won, or stored state contradicts what the caller assumed.
    Conflict,
    /// A server, bucket or broker did not answer in time: try again later.
    Unavailable,
    /// A limit on rows, bytes, memory or time was reached.
    LimitExceeded,
    /// A stored layout, table or store is not one that this release can use safely.
    Incompatible,
    /// The caller cancelled, or the process is shutting down.
    Cancelled,
    /// Anything else: a defect, or a failure that needs an operator.
    Internal,
}

/// An error of any crate, as its callers see it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with a message for people: lower case, naming the thing and the fix.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Keeps the cause for the log; it is not part of [`fmt::Display`].
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Shorthand for [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Shorthand for [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether trying the same call again may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Conflict)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
