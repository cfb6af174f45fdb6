//! What is computed while a query is planned, before any rule sees it: the arguments of table functions.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, TableFactor, Visit, Visitor};
use domain::{Error, Result};

use crate::analysis::is_over_series;

/// Refuses table functions whose arguments would have to be computed.
///
/// # Errors
/// [`domain::ErrorKind::Invalid`] naming the argument.
pub(crate) fn check_table_functions(statement: &Statement) -> Result<()> {
    match statement {
        Statement::Statement(inner) => match inner.visit(&mut Literals) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        },
        Statement::Explain(explain) => check_table_functions(&explain.statement),
        _ => Ok(()),
    }
}

struct Literals;

impl Visitor for Literals {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        let arguments = match factor {
            TableFactor::Table { name, args: Some(arguments), .. } => {
                // The question that comes first is planned like any other.
                let skipped = usize::from(is_over_series(name));
                arguments.args.get(skipped..).unwrap_or_default()
            }
            TableFactor::Function { args, .. } => args.as_slice(),
            TableFactor::TableFunction { expr, .. } => return refuse(expr),
            _ => return ControlFlow::Continue(()),
        };
        for argument in arguments {
            let (FunctionArg::Unnamed(value)
            | FunctionArg::Named { arg: value, .. }
            | FunctionArg::ExprNamed { arg: value, .. }) = argument;
            match value {
                FunctionArgExpr::Expr(expression) if !is_literal(expression) => return refuse(expression),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

fn refuse(expression: &Expr) -> ControlFlow<Error> {
    ControlFlow::Break(Error::invalid(format!("a table function takes literals, not `{expression}`")))
}

fn is_literal(expression: &Expr) -> bool {
    match expression {
        Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::UnaryOp { expr, .. } | Expr::Cast { expr, .. } | Expr::Nested(expr) => is_literal(expr),
        Expr::Interval(interval) => is_literal(&interval.value),
        _ => false,
    }
}
