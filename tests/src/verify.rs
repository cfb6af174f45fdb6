//! What stands in a lake, as an independent reader sees it: Python's deltalake for the log, DuckDB over the active files.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::process::Process;
use crate::service;
use crate::stream::bad_before;
use crate::world::{PATIENCE, World};

/// What a script of `tests/python` prints of a world's lake.
fn python(world: &World, script: &str, arguments: &[&Path]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    let mut command = Command::new(service("INTELLICARTEL_PYTHON"));
    command.arg(script).arg(&world.root).args(arguments);
    let finished = Process::start(command, &world.path("")).finish(PATIENCE).expect_success();
    serde_json::from_str(&finished.stdout).expect("the script prints JSON")
}

/// Asserts that tables read row by row the same through `sql` and through Python's deltalake and DuckDB, and gives their rows.
///
/// # Panics
/// When one does not.
#[must_use]
pub fn rows_that_all_readers_agree_on(world: &World, tables: &[&str]) -> BTreeMap<String, i64> {
    let answers = world.path("answers");
    std::fs::create_dir_all(&answers).expect("a folder");
    for table in tables {
        let answer =
            world.run(&["sql", &format!("SELECT * FROM {table}"), "--output", "csv"]).expect_success();
        std::fs::write(answers.join(format!("{table}.csv")), answer.stdout).expect("the answer is written");
    }
    let report = python(world, "verify_tables.py", &[&answers]);
    let rows = |table: &&str| {
        let told = &report[*table];
        assert_eq!((&told["only_theirs"], &told["only_ours"]), (&0.into(), &0.into()), "{table}: {report}");
        ((*table).to_owned(), told["rows"].as_i64().expect("a number"))
    };
    tables.iter().map(rows).collect()
}

/// The report of `tests/python/verify_sales.py`; its docstring says what the figures are.
#[derive(Debug)]
pub struct Report(Value);

impl Report {
    /// Reads a world's lake.
    ///
    /// # Panics
    /// When the tables cannot be read.
    #[must_use]
    pub fn of(world: &World) -> Self {
        Self(python(world, "verify_sales.py", &[]))
    }

    /// A figure by its name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn number(&self, name: &str) -> i64 {
        self.0[name].as_i64().unwrap_or_else(|| panic!("{name} is not a number in {}", self.0))
    }

    /// A text by its name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("{name} is not a text in {}", self.0))
    }

    /// The whole report.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// Asserts that every record stands exactly once, a row or a dead letter.
    ///
    /// # Panics
    /// When one does not.
    pub fn expect_exact(&self) {
        for doubled in ["doubled_rows", "doubled_letters", "in_both"] {
            assert_eq!(self.number(doubled), 0, "{doubled}: {}", self.0);
        }
    }

    /// Asserts that the lake holds [`crate::stream`]'s records up to these positions, each once, each where it belongs.
    ///
    /// # Panics
    /// When it does not.
    pub fn expect_stream(&self, acknowledged: &[i64]) {
        self.expect_exact();
        assert_eq!(self.number("misplaced"), 0, "{}", self.0);
        let partitions: BTreeMap<String, Value> =
            serde_json::from_value(self.0["partitions"].clone()).expect("partitions are an object");
        for (partition, &count) in acknowledged.iter().enumerate() {
            let found = &partitions[&partition.to_string()];
            let figure = |name: &str| found[name].as_i64().expect("a number");
            assert_eq!(
                (figure("rows"), figure("letters"), figure("first"), figure("last")),
                (count - bad_before(count), bad_before(count), 0, count - 1),
                "partition {partition}: {}",
                self.0
            );
        }
        assert_eq!(partitions.len(), acknowledged.len());
    }
}
