//! Filters that cannot fail: columns compared with values of their own type, and what logic makes of such.
//!
//! Only these may decide which files are read. A cast, a division or a function is left to the plan above, where it meets visible rows alone.

use arrow::datatypes::Schema;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// Whether a filter is made of comparisons only.
pub(crate) fn cannot_fail(filter: &Expr, schema: &Schema) -> bool {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And | Operator::Or => cannot_fail(left, schema) && cannot_fail(right, schema),
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq => alike(left, right, schema) || alike(right, left, schema),
            _ => false,
        },
        Expr::Not(inner) => cannot_fail(inner, schema),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => matches!(inner.as_ref(), Expr::Column(_)),
        Expr::Between(between) => {
            alike(&between.expr, &between.low, schema) && alike(&between.expr, &between.high, schema)
        }
        Expr::InList(list) => list.list.iter().all(|value| alike(&list.expr, value, schema)),
        _ => false,
    }
}

/// Whether `column` is a column, and `value` a value of the column's type.
fn alike(column: &Expr, value: &Expr, schema: &Schema) -> bool {
    let (Expr::Column(column), Expr::Literal(value, _)) = (column, value) else { return false };
    schema.field_with_name(column.name()).is_ok_and(|field| field.data_type() == &value.data_type())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datafusion::prelude::{cast, col, lit};

    use super::*;

    #[test]
    fn casts_and_arithmetic_are_left_to_the_plan() {
        let schema = Schema::new(vec![
            Field::new("sku", DataType::Utf8, true),
            Field::new("line", DataType::Int64, false),
        ]);
        for filter in [
            col("sku").eq(lit("1")),
            lit(3_i64).lt(col("line")),
            col("line").between(lit(1_i64), lit(2_i64)),
            col("sku").in_list(vec![lit("1"), lit("2")], true).or(col("sku").is_null()),
            !(col("line").gt(lit(3_i64)).and(col("sku").not_eq(lit("x")))),
        ] {
            assert!(cannot_fail(&filter, &schema), "{filter}");
        }
        for filter in [
            cast(col("sku"), DataType::Int64).eq(lit(1_i64)),
            (lit(1_i64) / col("line")).gt(lit(0_i64)),
            col("sku").eq(lit(1_i64)),
            col("sku").eq(col("sku")),
            col("sku").like(lit("%")),
            col("line").gt(lit(1_i64)).and(cast(col("sku"), DataType::Int64).eq(lit(1_i64))),
            col("other").eq(lit(1_i64)),
        ] {
            assert!(!cannot_fail(&filter, &schema), "{filter}");
        }
    }
}
