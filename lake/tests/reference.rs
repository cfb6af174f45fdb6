//! `docs/reference/tables.md` says what the tables say of themselves.

use std::fmt::Write as _;
use std::path::Path;

use arrow_schema::DataType;
use domain::table::Column;
use domain::views::View;
use domain::{Feed, TableScope};
use lake::tables::{self, TableDefinition};

/// What to do when the page is behind.
const UPDATE: &str = "UPDATE_REFERENCE";

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "text".to_owned(),
        DataType::Binary => "bytes".to_owned(),
        DataType::Boolean => "true or false".to_owned(),
        DataType::Int32 | DataType::Int64 => "whole number".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Date32 => "day".to_owned(),
        DataType::Timestamp(..) => "instant, UTC, to the microsecond".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        other => panic!("a name for {other} is missing here"),
    }
}

fn scope_text(scope: TableScope) -> &'static str {
    match scope {
        TableScope::TenantAndStores => {
            "a business sees its own rows, and who is limited to some stores those of them"
        }
        TableScope::Tenant => "a business sees its own rows",
        TableScope::TenantOrPublic => "a business sees its own rows and those without a tenant",
        TableScope::Public => "everyone sees every row",
        TableScope::OperatorOnly => "the platform operator alone sees it",
    }
}

fn section(text: &mut String, table: &TableDefinition) {
    let feed =
        Feed::ALL.into_iter().find(|feed| table.qualified_name() == format!("curated.{}", feed.name()));
    writeln!(text, "\n## {}\n\n{}\n", table.qualified_name(), table.comment).expect("text");
    writeln!(text, "Rows: {}.", scope_text(table.scope)).expect("text");
    if let Some(feed) = feed {
        writeln!(text, "Records are told apart by {}.", feed.natural_key().join(", ")).expect("text");
    }
    let kept = if table.has_periods { "kept apart by `period` and" } else { "not kept apart;" };
    writeln!(text, "Files are {kept} clustered by {}.\n", table.clustering.join(", ")).expect("text");
    columns(text, &table.all_columns());
}

fn columns(text: &mut String, columns: &[Column]) {
    text.push_str("| column | type | null | what it holds |\n|---|---|---|---|\n");
    for column in columns {
        let null = if column.nullable { "yes" } else { "" };
        let (name, kind) = (column.name, type_name(&column.data_type));
        writeln!(text, "| `{name}` | {kind} | {null} | {} |", column.comment).expect("text");
    }
}

#[test]
fn the_page_of_tables_is_what_they_say() {
    let mut text =
        "# Tables\n\nMade from the comments that the tables carry (`lake/tests/reference.rs`); do not edit. \
        BI tools show the same comments, and SQL the column `comment` of `information_schema.tables` and `information_schema.columns`.\n"
            .to_owned();
    let mut all = tables::all();
    all.sort_by_key(TableDefinition::qualified_name);
    all.iter().for_each(|table| section(&mut text, table));
    for view in View::ALL {
        let (name, shown) = (view.qualified_name(), view.description());
        let scope = "A view: who sees all that it reads sees it";
        writeln!(text, "\n## {name}\n\n{}\n\n{scope}.\n", shown.comment).expect("text");
        columns(&mut text, &shown.columns);
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/tables.md");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&page, &text).expect("the page is written");
    }
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(written == text, "docs/reference/tables.md is behind: run the test once with {UPDATE}=1");
}
