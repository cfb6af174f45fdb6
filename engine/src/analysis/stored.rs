//! `explain_forecast('sku' [, 'store'])` and `risk_score('sku' [, 'store'])` in the place of a table: questions about what is stored.

use std::ops::ControlFlow;

use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Statement as SqlStatement, TableAlias,
    TableFactor, Value, VisitMut, VisitorMut,
};
use domain::{Error, Result};

/// In their text, `{t}` stands for `tenant` where the caller sees that column, and `{is}` for conditions on article and store.
const EXPLAIN_FORECAST: &str = "\
SELECT {t}store, sku, forecast_date, mean,
  unnest(make_array('base', 'trend', 'season', 'promotion', 'events', 'weather', 'adjustment')) AS effect,
  unnest(make_array(effect_base, effect_trend, effect_season, effect_promotion, effect_events, effect_weather, effect_adjustment)) AS units
FROM marts.served_forecasts WHERE level = 'sku' AND {is}";

/// The run that was made last is the one that holds.
const RISK_SCORE: &str = "\
WITH newest AS (SELECT {t}last_value(decision_version ORDER BY created_at) AS decision_version FROM marts.risk_scores GROUP BY {t}1 + 0)
SELECT {r.t}r.store, r.sku, r.product_name, r.decided_on, r.risk, r.score, r.level, r.at_stake, r.currency, r.reason
FROM marts.risk_scores AS r JOIN newest AS n ON {n.t = r.t}n.decision_version = r.decision_version WHERE {is}";

/// Rewrites every call of them for a caller who sees the column `tenant`, or does not.
///
/// # Errors
/// [`domain::ErrorKind::Invalid`] when arguments are others than an article and a store.
pub(crate) fn rewrite(statement: &mut Statement, has_tenant: bool) -> Result<()> {
    match statement {
        Statement::Statement(inner) => match inner.visit(&mut Rewriter { has_tenant }) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        },
        Statement::Explain(explain) => rewrite(&mut explain.statement, has_tenant),
        _ => Ok(()),
    }
}

struct Rewriter {
    has_tenant: bool,
}

impl VisitorMut for Rewriter {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let TableFactor::Table { name, alias, args: Some(arguments), .. } = factor else {
            return ControlFlow::Continue(());
        };
        let Some(called) = function(name) else { return ControlFlow::Continue(()) };
        let text = match called.as_str() {
            "explain_forecast" => EXPLAIN_FORECAST,
            "risk_score" => RISK_SCORE,
            _ => return ControlFlow::Continue(()),
        };
        let Some(is) = conditions(&arguments.args) else {
            return ControlFlow::Break(Error::invalid(format!(
                "{called} takes an article, and a store if one is meant, like {called}('85123A') or {called}('85123A', 'online')"
            )));
        };
        match self.question(text, &is) {
            Ok(subquery) => {
                let name = Ident::with_quote('"', called);
                let of_name = TableAlias { explicit: true, name, columns: Vec::new(), at: None };
                let alias = alias.take().or(Some(of_name));
                *factor = TableFactor::Derived { lateral: false, subquery, alias, sample: None };
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Rewriter {
    fn question(&self, text: &str, is: &str) -> Result<Box<datafusion::sql::sqlparser::ast::Query>> {
        let mut text = text.to_owned();
        for (mark, with) in
            [("{t}", "tenant, "), ("{r.t}", "r.tenant, "), ("{n.t = r.t}", "n.tenant = r.tenant AND ")]
        {
            text = text.replace(mark, if self.has_tenant { with } else { "" });
        }
        // Last of all: an article may be named like a mark.
        let text = text.replace("{is}", is);
        let defect = || Error::internal("a table function is written as no question");
        let mut parsed = DFParser::parse_sql(&text).map_err(|_| defect())?;
        match parsed.pop_front() {
            Some(Statement::Statement(statement)) => match *statement {
                SqlStatement::Query(query) => Ok(query),
                _ => Err(defect()),
            },
            _ => Err(defect()),
        }
    }
}

fn conditions(arguments: &[FunctionArg]) -> Option<String> {
    let (sku, store) = match arguments {
        [sku] => (sku, None),
        [sku, store] => (sku, Some(store)),
        _ => return None,
    };
    let text = |argument: &FunctionArg| match literal(argument) {
        Some(Value::SingleQuotedString(text)) => Some(text.replace('\'', "''")),
        _ => None,
    };
    let sku = format!("sku = '{}'", text(sku)?);
    match store {
        Some(store) => Some(format!("{sku} AND store = '{}'", text(store)?)),
        None => Some(sku),
    }
}

/// The name of a function, in lower case unless it is quoted.
pub(super) fn function(name: &ObjectName) -> Option<String> {
    let [part] = name.0.as_slice() else { return None };
    part.as_ident().map(|ident| match ident.quote_style {
        None => ident.value.to_ascii_lowercase(),
        Some(_) => ident.value.clone(),
    })
}

pub(super) fn literal(argument: &FunctionArg) -> Option<&Value> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => Some(&value.value),
        _ => None,
    }
}
