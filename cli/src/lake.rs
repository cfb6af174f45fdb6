//! `lake`: what the tables are and hold, and what keeps them in shape.

use std::sync::Arc;

use ::lake::maintenance::vacuum;
use ::lake::operations::checkpoint::checkpoint;
use ::lake::operations::compact::{CompactOptions, CompactReport, compact};
use ::lake::operations::describe::{Description, TableSize, describe};
use ::lake::operations::history::{Commit, history};
use ::lake::operations::vacuum::{VacuumMode, VacuumReport};
use ::lake::{Lake, LakeOptions, Table};
use clap::Subcommand;
use domain::{Error, ErrorKind, Result, civil};
use serde_json::{Value, json};

use crate::config::Config;
use crate::report::{Form, Output, write_json, write_record, write_rows, write_text};
use crate::wire;

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Lists the tables with what they hold.
    Tables {
        #[command(flatten)]
        output: Output,
    },
    /// Describes a table: columns, properties, size, positions.
    Describe {
        /// The table, like curated.sales.
        table: String,
        #[command(flatten)]
        output: Output,
    },
    /// Lists a table's commits, newest first.
    History {
        /// The table, like curated.sales.
        table: String,
        /// Commits at most.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Makes one file of many small ones, ordered for queries; no row changes.
    Compact {
        /// The table, like curated.sales.
        table: String,
        /// Only this period, YYYY-MM.
        #[arg(long)]
        period: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Writes a checkpoint, and removes log entries that have expired.
    Checkpoint {
        /// The table, like curated.sales.
        table: String,
        #[command(flatten)]
        output: Output,
    },
    /// Finds files that no version within the retention needs; removes them with --apply.
    Vacuum {
        /// The table, like curated.sales.
        table: String,
        /// Lists the table's folder, which also finds files that no commit ever named.
        #[arg(long)]
        full: bool,
        /// Removes them; without it, nothing is changed.
        #[arg(long)]
        apply: bool,
        #[command(flatten)]
        output: Output,
    },
}

pub(crate) async fn run(config: &Config, action: Action) -> Result<()> {
    match action {
        Action::Tables { output } => {
            let lake = wire::lake(config, LakeOptions::Read).await?;
            list_tables(&lake, &config.lake.root, output.form).await
        }
        Action::Describe { table, output } => {
            let table = find(config, LakeOptions::Read, &table).await?;
            write_description(&describe(&table).await?, output.form)
        }
        Action::History { table, limit, output } => {
            let table = find(config, LakeOptions::Read, &table).await?;
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            write_history(&history(&table, limit).await?, output.form)
        }
        Action::Compact { table, period, output } => {
            let table = find(config, LakeOptions::Upkeep, &table).await?;
            let options = CompactOptions { period, ..CompactOptions::default() };
            let report = compact(&table, &options).await?;
            write_compaction(&table, &report, output.form)
        }
        Action::Checkpoint { table, output } => {
            let table = find(config, LakeOptions::Upkeep, &table).await?;
            let report = checkpoint(&table).await?;
            let fields = [
                ("table", table.definition().qualified_name().into()),
                ("version", report.version.into()),
                ("removed_log_entries", report.removed_log_entries.into()),
            ];
            write_record(output.form, fields.map(|(name, value)| (name.to_owned(), value)).into())
        }
        Action::Vacuum { table, full, apply, output } => {
            let lake = wire::lake(config, LakeOptions::Upkeep).await?;
            let table = lake.table(&table)?;
            let mode = if full { VacuumMode::Full } else { VacuumMode::Lite };
            let report = vacuum(&lake, table, mode, apply).await?;
            write_vacuum(table, &report, output.form)
        }
    }
}

async fn find(config: &Config, options: LakeOptions, table: &str) -> Result<Arc<Table>> {
    let lake = wire::lake(config, options).await?;
    lake.table(table).cloned()
}

async fn list_tables(lake: &Lake, root: &str, form: Form) -> Result<()> {
    let mut rows = Vec::new();
    let mut is_lake = false;
    for (name, table) in lake.tables() {
        let size = match table.snapshot().await {
            Ok(log) => Some(TableSize::of(&log)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        is_lake |= size.is_some();
        rows.push(json!({
            "table": name,
            "version": size.map(|size| size.version),
            "files": size.map(|size| size.files),
            "bytes": size.map(|size| size.bytes),
            "rows": size.and_then(|size| size.rows),
            "comment": table.definition().comment,
        }));
    }
    if !is_lake {
        return Err(no_table(root));
    }
    write_rows(form, &["table", "version", "files", "bytes", "rows", "comment"], &rows)
}

/// Says that a lake has no tables.
pub(crate) fn no_table(root: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("there is no table at lake.root = {root} yet: `ingest` creates them; or mend lake.root"),
    )
}

fn write_description(description: &Description, form: Form) -> Result<()> {
    let columns: Vec<Value> = description
        .columns
        .iter()
        .map(|column| {
            json!({
                "column": column.name,
                "type": column.data_type,
                "nullable": column.nullable,
                "comment": column.comment,
            })
        })
        .collect();
    let size = description.size;
    let fields = [
        ("table", description.name.as_str().into()),
        ("comment", description.comment.as_str().into()),
        ("version", size.version.into()),
        ("files", size.files.into()),
        ("bytes", size.bytes.into()),
        ("rows", size.rows.into()),
        ("partitioned_by", description.partitioned_by.join(", ").into()),
    ];
    let mut fields: Vec<(String, Value)> =
        fields.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect();
    let pairs = |name: &str, value: &str, pairs: Vec<(String, Value)>| -> Vec<Value> {
        pairs.into_iter().map(|(key, of)| json!({ name: key, value: of })).collect()
    };
    let properties = description.properties.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
    let properties = pairs("property", "value", properties.collect());
    let transactions = description.transactions.iter().map(|(id, version)| (id.clone(), (*version).into()));
    let transactions = pairs("transaction", "version", transactions.collect());
    if form == Form::Json {
        let lists = [("columns", columns), ("properties", properties), ("transactions", transactions)];
        fields.extend(lists.map(|(name, list)| (name.to_owned(), list.into())));
        return write_record(form, fields);
    }
    write_record(form, fields)?;
    write_text("\n")?;
    write_rows(form, &["column", "type", "nullable", "comment"], &columns)?;
    write_text("\n")?;
    write_rows(form, &["property", "value"], &properties)?;
    write_text("\n")?;
    write_rows(form, &["transaction", "version"], &transactions)
}

fn write_history(commits: &[Commit], form: Form) -> Result<()> {
    let rows: Vec<Value> = commits
        .iter()
        .map(|commit| {
            let transactions = commit.transactions.iter();
            let transactions: Vec<Value> = match form {
                Form::Json => {
                    transactions.map(|(id, version)| json!({ "id": id, "version": version })).collect()
                }
                Form::Table => transactions.map(|(id, version)| format!("{id}={version}").into()).collect(),
            };
            let mut row = json!({
                "version": commit.version,
                "committed_at": commit.committed_at.map(civil::format_instant),
                "operation": commit.operation,
                "files_added": commit.files_added,
                "files_removed": commit.files_removed,
                "bytes_added": commit.bytes_added,
                "bytes_removed": commit.bytes_removed,
                "rows_added": commit.rows_added,
                "rows_removed": commit.rows_removed,
                "commit_id": commit.commit_id,
                "transactions": transactions,
            });
            if form == Form::Table {
                let texts = row["transactions"].as_array().into_iter().flatten().filter_map(Value::as_str);
                row["transactions"] = texts.collect::<Vec<_>>().join(" ").into();
            }
            row
        })
        .collect();
    let columns = [
        "version",
        "committed_at",
        "operation",
        "files_added",
        "files_removed",
        "rows_added",
        "rows_removed",
        "commit_id",
        "transactions",
    ];
    write_rows(form, &columns, &rows)
}

fn write_compaction(table: &Table, report: &CompactReport, form: Form) -> Result<()> {
    let name = table.definition().qualified_name();
    if form == Form::Json {
        return write_json(&json!({
            "table": name,
            "files_before": report.files_before,
            "files_after": report.files_after,
            "bytes_before": report.bytes_before,
            "bytes_after": report.bytes_after,
            "rows": report.rows,
            "version": report.version,
            "given_up": report.given_up,
        }));
    }
    let done = report.version.map(|version| {
        format!(
            "{name}: {} files of {} bytes became {} of {} bytes, with the same {} rows; version {version}\n",
            report.files_before, report.bytes_before, report.files_after, report.bytes_after, report.rows
        )
    });
    let given_up = report.given_up.as_ref().map(|reason| format!("{name}: given up: {reason}\n"));
    let text = [done, given_up].into_iter().flatten().collect::<String>();
    write_text(if text.is_empty() { "nothing to do\n" } else { &text })
}

fn write_vacuum(table: &Table, report: &VacuumReport, form: Form) -> Result<()> {
    let name = table.definition().qualified_name();
    let hours = report.retention.as_secs() / 3_600;
    if form == Form::Json {
        return write_json(&json!({
            "table": name,
            "files": report.files,
            "bytes": report.bytes,
            "applied": report.applied,
            "retention_hours": hours,
        }));
    }
    let did = if report.applied { "removed" } else { "would be removed (--apply removes them)" };
    write_text(&format!(
        "{name}: {} files of {} bytes {did}; no version of the last {hours} hours needs them\n",
        report.files, report.bytes
    ))
}
