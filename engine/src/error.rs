//! Errors of queries: ours where one lies inside, else DataFusion's words, as far as the caller may read them.

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use domain::{Error, ErrorKind, Principal};

/// The error of a query as `principal` may see it.
///
/// The operator reads everything. A tenant reads what its own query and rows caused; what comes from files, stores or defects is logged and told
/// in fixed words, because the original may name paths, sizes and values that are not the tenant's.
pub(crate) fn query_error(principal: &Principal, error: DataFusionError) -> Error {
    if let Some(ours) = ours(&error) {
        return ours;
    }
    let kind = kind(&error);
    if *principal == Principal::Operator {
        return Error::new(kind, error.strip_backtrace());
    }
    match kind {
        ErrorKind::Invalid => Error::new(kind, without_places(&error.strip_backtrace())),
        ErrorKind::LimitExceeded => Error::new(
            kind,
            "the query needs more memory than a query may take: narrow it, or sort and group less at once",
        ),
        ErrorKind::Unavailable => {
            tracing::warn!(%error, "a query could not be answered");
            Error::new(kind, "the query cannot be answered at the moment: try again later")
        }
        _ => {
            tracing::error!(%error, "a query failed by a defect");
            Error::new(
                ErrorKind::Internal,
                "the query failed by a defect of ours: the log of the server tells more",
            )
        }
    }
}

/// An error of ours that lies inside.
fn ours(error: &DataFusionError) -> Option<Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(ours) = inner.downcast_ref::<Error>() {
            return Some(Error::new(ours.kind(), ours.to_string()));
        }
        cause = inner.source();
    }
    None
}

fn kind(error: &DataFusionError) -> ErrorKind {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => ErrorKind::LimitExceeded,
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) | DataFusionError::ParquetError(_) => {
            ErrorKind::Unavailable
        }
        DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
            ArrowError::IoError(..) | ArrowError::ParquetError(_) => ErrorKind::Unavailable,
            ArrowError::ExternalError(_) | ArrowError::CDataInterface(_) => ErrorKind::Internal,
            _ => ErrorKind::Invalid,
        },
        DataFusionError::Internal(_)
        | DataFusionError::External(_)
        | DataFusionError::ExecutionJoin(_)
        | DataFusionError::Ffi(_) => ErrorKind::Internal,
        _ => ErrorKind::Invalid,
    }
}

/// The text with URLs and absolute paths left out: a second net, should an error of an expression ever quote where data lies.
fn without_places(text: &str) -> String {
    let is_edge = |c: char| {
        c.is_whitespace() || matches!(c, '\'' | '"' | '`' | '(' | ')' | ',' | ';' | '=' | '[' | ']')
    };
    let is_place =
        |word: &str| word.contains("://") || (word.starts_with('/') && word.matches('/').count() > 1);
    let mut cleaned = String::with_capacity(text.len());
    for piece in text.split_inclusive(is_edge) {
        let word = piece.trim_end_matches(is_edge);
        if is_place(word) {
            cleaned.push_str("(place)");
            cleaned.push_str(&piece[word.len()..]);
        } else {
            cleaned.push_str(piece);
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> Principal {
        Principal::tenant("a").expect("a name")
    }

    #[test]
    fn places_are_left_out() {
        let text = "cannot read 'file:///tmp/lake/x.parquet' (/tmp/lake/y), 1/2 and s3://bucket/k: a/b/c";
        assert_eq!(without_places(text), "cannot read '(place)' ((place)), 1/2 and (place) a/b/c");
    }

    #[test]
    fn a_tenant_reads_fixed_words_where_files_or_sizes_are_named() {
        for error in [
            DataFusionError::ResourcesExhausted("12 MB for HashJoin".to_owned()),
            DataFusionError::IoError(std::io::Error::other("/tmp/lake")),
            DataFusionError::External("secret".into()),
            DataFusionError::Internal("secret".to_owned()),
        ] {
            let operators = query_error(&Principal::Operator, DataFusionError::Execution(error.to_string()));
            let tenants = query_error(&tenant(), error).to_string();
            for word in ["12 MB", "/tmp", "secret"] {
                assert!(!tenants.contains(word), "{tenants} / {operators}");
            }
        }
    }

    #[test]
    fn our_own_errors_keep_kind_and_words() {
        let inner = Error::new(ErrorKind::NotFound, "no version 12");
        let wrapped = DataFusionError::External(Box::new(inner)).context("planning");
        let seen = query_error(&tenant(), wrapped);
        assert_eq!((seen.kind(), seen.to_string().as_str()), (ErrorKind::NotFound, "no version 12"));
    }
}
