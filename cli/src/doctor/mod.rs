//! `doctor`: checks what this machine needs to run, side by side, and says how to mend what is amiss.
//!
//! No check creates anything that stays, waits for longer than [`PATIENCE`], or hides another one.

mod broker;
mod machine;
mod store;

use std::process::ExitCode;
use std::time::Duration;

use domain::{Error, ErrorKind, Result};
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Config;
use crate::report::{Form, Output, write_json, write_rows};

/// What a check may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Failed,
}

/// The outcome of a check.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    check: String,
    status: Status,
    found: String,
    /// What to do; nothing where all is well.
    fix: Option<String>,
}

impl Finding {
    fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), status: Status::Ok, found: found.into(), fix: None }
    }

    fn warning(check: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.into(), status: Status::Warning, found: found.into(), fix: Some(fix.into()) }
    }

    fn failed(check: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { status: Status::Failed, ..Self::warning(check, found, fix) }
    }
}

/// Checks and reports; the exit status is 1 when something failed.
pub(crate) async fn run(config: &Config, output: Output) -> Result<ExitCode> {
    let (http, lake_disk, temp_disk, broker, store) = tokio::join!(
        machine::http(config),
        machine::lake_disk(config),
        machine::temp_disk(),
        broker::check(config),
        store::check(config),
    );
    let findings: Vec<Finding> = [http, machine::memory(config)]
        .into_iter()
        .chain(lake_disk)
        .chain([temp_disk])
        .chain(broker)
        .chain(store)
        .collect();
    match output.form {
        Form::Json => write_json(&json!(findings))?,
        Form::Table => write_rows(Form::Table, &["check", "status", "found"], &lines(&findings))?,
    }
    let has_failed = findings.iter().any(|finding| finding.status == Status::Failed);
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A line for each finding, and one below it for the fix, which would make the table too wide beside it.
fn lines(findings: &[Finding]) -> Vec<Value> {
    let mut lines = Vec::new();
    for finding in findings {
        lines.push(json!(finding));
        lines.extend(finding.fix.as_ref().map(|fix| json!({ "found": format!("fix: {fix}") })));
    }
    lines
}

/// The outcome of a question that is given up after a while.
async fn within<T>(patience: Duration, question: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::new(ErrorKind::Unavailable, format!("no answer within {} s", patience.as_secs()));
    tokio::time::timeout(patience, question).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
}

/// As [`within`], for a question that blocks a thread.
async fn blocking<T: Send + 'static>(question: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let asked = tokio::task::spawn_blocking(question);
    within(PATIENCE, async { asked.await.map_err(|error| Error::internal(error.to_string()))? }).await
}
