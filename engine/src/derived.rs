//! Names for derived tables that have none.
//!
//! DataFusion 55 takes a projection for its input when both have equal expressions, so that `SELECT q + 1 AS q FROM (SELECT q + 1 AS q ...)` adds 1 once
//! (apache/datafusion#24686, fixed in later releases). Columns of a derived table with a name are qualified, and the two differ.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Ident, TableAlias, TableFactor, VisitMut, VisitorMut};

/// Gives every derived table without a name one of its own.
pub(crate) fn name_derived_tables(statement: &mut Statement) {
    match statement {
        Statement::Statement(inner) => {
            // Nothing here breaks off.
            let _ = inner.visit(&mut Names { given: 0 });
        }
        Statement::Explain(explain) => name_derived_tables(&mut explain.statement),
        _ => {}
    }
}

struct Names {
    given: usize,
}

impl VisitorMut for Names {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { alias: alias @ None, .. } = factor {
            self.given += 1;
            let name = Ident::with_quote('"', format!("derived {}", self.given));
            *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }
}
