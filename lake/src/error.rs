//! Maps the errors of stores and of the Delta log to kinds that callers can act on.

use deltalake::DeltaTableError;
use domain::{Error, ErrorKind};

/// An error of the object store, with what was being done.
pub(crate) fn store_error(doing: &str, error: object_store::Error) -> Error {
    use object_store::Error as E;
    let text = error.to_string();
    let (kind, hint) = match &error {
        E::NotFound { .. } if text.contains("NoSuchBucket") || text.contains("bucket does not exist") => {
            (ErrorKind::Invalid, "the bucket does not exist: create it, or mend lake.root")
        }
        E::NotFound { .. } => (ErrorKind::NotFound, "not found"),
        _ if text.contains("RequestTimeTooSkewed") => {
            (ErrorKind::Invalid, "the store refuses requests because this machine's clock is wrong: set it")
        }
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => (
            ErrorKind::Invalid,
            "access is refused: check s3.access_key_id, s3.secret_access_key and the bucket's policy",
        ),
        E::AlreadyExists { .. } | E::Precondition { .. } => (ErrorKind::Conflict, "another writer was first"),
        E::NotSupported { .. } | E::NotImplemented { .. } => {
            (ErrorKind::Incompatible, "the store lacks an operation that is needed")
        }
        E::Generic { .. }
            if text.contains("InvalidAccessKeyId") || text.contains("SignatureDoesNotMatch") =>
        {
            (ErrorKind::Invalid, "access is refused: check s3.access_key_id and s3.secret_access_key")
        }
        E::Generic { .. } if text.contains("No space left") || text.contains("StorageFull") => {
            (ErrorKind::LimitExceeded, "the disk is full: free some space and start again, nothing was lost")
        }
        E::Generic { .. } if text.contains("Permission denied") => {
            (ErrorKind::Invalid, "the folder is not writable: check its owner, or mend lake.root")
        }
        _ => {
            (ErrorKind::Unavailable, "the store did not answer: check lake.root, s3.endpoint and the network")
        }
    };
    Error::new(kind, format!("{doing}: {hint} ({})", shorten(&text))).with_source(error)
}

/// An error of the Delta log, with what was being done.
pub(crate) fn delta_error(doing: &str, error: DeltaTableError) -> Error {
    match error {
        DeltaTableError::ObjectStore { source } => store_error(doing, source),
        other => {
            let text = other.to_string();
            Error::new(ErrorKind::Unavailable, format!("{doing}: {}", shorten(&text))).with_source(other)
        }
    }
}

/// Errors of stores repeat whole answers; people need their beginning.
fn shorten(text: &str) -> String {
    const SHOWN_CHARS: usize = 300;
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_stores_name_the_setting_at_fault() {
        let generic =
            |text: &str| object_store::Error::Generic { store: "S3", source: text.to_owned().into() };
        let missing = |text: &str| object_store::Error::NotFound {
            path: "x".to_owned(),
            source: text.to_owned().into(),
        };
        for (error, kind, word) in [
            (missing("<Code>NoSuchBucket</Code>"), ErrorKind::Invalid, "lake.root"),
            (missing("no such file"), ErrorKind::NotFound, "not found"),
            (generic("<Code>InvalidAccessKeyId</Code>"), ErrorKind::Invalid, "s3.access_key_id"),
            (generic("<Code>RequestTimeTooSkewed</Code>"), ErrorKind::Invalid, "clock"),
            (generic("No space left on device (os error 28)"), ErrorKind::LimitExceeded, "disk is full"),
            (generic("Permission denied (os error 13)"), ErrorKind::Invalid, "not writable"),
            (generic("connection refused"), ErrorKind::Unavailable, "s3.endpoint"),
        ] {
            let error = store_error("reading x", error);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
