//! `as_of('schema.table', VERSION)` and `as_of('schema.table', 'INSTANT')` in the place of a table.
//!
//! It is another way to write `schema."table@..."` and is rewritten to that before planning, so that both are looked up and scoped by the same code.

use std::ops::ControlFlow;

use datafusion::common::TableReference;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, TableAlias, TableFactor, Value, VisitMut,
    VisitorMut,
};
use domain::{Error, Result};

/// What stands between a table's name and its version or instant.
pub(crate) const AT: char = '@';

/// Rewrites every `as_of(...)`.
///
/// # Errors
/// [`domain::ErrorKind::Invalid`] when its arguments are others than a table with a version or an instant.
pub(crate) fn rewrite(statement: &mut Statement) -> Result<()> {
    match statement {
        Statement::Statement(inner) => match inner.visit(&mut Rewriter) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        },
        Statement::Explain(explain) => rewrite(&mut explain.statement),
        _ => Ok(()),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let TableFactor::Table { name, alias, args, .. } = factor else { return ControlFlow::Continue(()) };
        let (Some(arguments), true) = (args.as_ref(), is_as_of(name)) else {
            return ControlFlow::Continue(());
        };
        let Some((table, at)) = table_at(&arguments.args).map(|(table, at)| (table, at.to_owned())) else {
            return ControlFlow::Break(Error::invalid(
                "as_of takes a table with a version or an instant, like as_of('curated.sales', 12) or as_of('curated.sales', '2026-01-31T00:00:00Z')",
            ));
        };
        *args = None;
        let quoted = |text: &str| Ident::with_quote('"', text);
        if alias.is_none() {
            let name = quoted(table.table());
            *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        }
        let versioned = format!("{}{AT}{at}", table.table());
        let parts = [table.catalog(), table.schema(), Some(versioned.as_str())];
        *name = ObjectName::from(parts.into_iter().flatten().map(quoted).collect::<Vec<_>>());
        ControlFlow::Continue(())
    }
}

fn is_as_of(name: &ObjectName) -> bool {
    let [part] = name.0.as_slice() else { return false };
    part.as_ident().is_some_and(|ident| match ident.quote_style {
        None => ident.value.eq_ignore_ascii_case("as_of"),
        Some(_) => ident.value == "as_of",
    })
}

fn table_at(arguments: &[FunctionArg]) -> Option<(TableReference, &str)> {
    let [table, at] = arguments else { return None };
    let Value::SingleQuotedString(table) = literal(table)? else { return None };
    let (Value::SingleQuotedString(at) | Value::Number(at, _)) = literal(at)? else { return None };
    Some((TableReference::parse_str(table), at))
}

fn literal(argument: &FunctionArg) -> Option<&Value> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => Some(&value.value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn rewritten(sql: &str) -> Result<String> {
        let mut statement = DFParser::parse_sql(sql).expect("SQL").pop_front().expect("a statement");
        rewrite(&mut statement).map(|()| statement.to_string())
    }

    #[test]
    fn it_becomes_a_versioned_name_wherever_a_table_may_stand() {
        for (sql, expected) in [
            ("SELECT * FROM as_of('curated.sales', 12)", r#"SELECT * FROM "curated"."sales@12" AS "sales""#),
            (
                "SELECT * FROM AS_OF('sales', '2026-01-31T00:00:00Z') s",
                r#"SELECT * FROM "sales@2026-01-31T00:00:00Z" s"#,
            ),
            (
                "EXPLAIN SELECT (SELECT count(*) FROM as_of('Curated.Sales', 1)) FROM sales",
                r#"SELECT (SELECT count(*) FROM "curated"."sales@1" AS "sales") FROM sales"#,
            ),
            ("SELECT as_of FROM as_of", "SELECT as_of FROM as_of"),
            (r#"SELECT * FROM "AS_OF"('sales', 1)"#, r#"SELECT * FROM "AS_OF"('sales', 1)"#),
        ] {
            let seen = rewritten(sql).expect("rewritten");
            assert!(seen.ends_with(expected), "{sql}: {seen}");
        }
    }

    #[test]
    fn other_arguments_are_refused_with_an_example() {
        for sql in [
            "as_of('sales')",
            "as_of(sales, 1)",
            "as_of('sales', -1)",
            "as_of('sales', now())",
            "as_of('a', 1, 2)",
        ] {
            let error = rewritten(&format!("SELECT * FROM {sql}")).expect_err(sql);
            assert!(error.to_string().contains("as_of('curated.sales', 12)"), "{error}");
        }
    }
}
