//! Which rows are visible.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray, BooleanArray, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::prelude::{ident, lit};
use domain::{Principal, StoreScope, TableScope};

/// The rows of a table that a caller sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowScope {
    /// Every row.
    All,
    /// Those of a tenant, and of some of its stores where they are limited.
    Tenant { tenant: String, stores: Option<BTreeSet<String>> },
    /// Those of a tenant, and those without one.
    TenantOrPublic { tenant: String },
}

impl RowScope {
    /// What `principal` sees of a table; none when it does not see the table at all.
    pub(crate) fn of(principal: &Principal, table: Option<TableScope>) -> Option<Self> {
        let (tenant, stores) = match (principal, table?) {
            (Principal::Operator, _) | (_, TableScope::Public) => return Some(Self::All),
            (_, TableScope::OperatorOnly) => return None,
            (Principal::Tenant { tenant, .. }, TableScope::TenantOrPublic) => {
                return Some(Self::TenantOrPublic { tenant: tenant.clone() });
            }
            (Principal::Tenant { tenant, .. }, TableScope::Tenant) => (tenant, &StoreScope::All),
            (Principal::Tenant { tenant, stores }, TableScope::TenantAndStores) => (tenant, stores),
        };
        let stores = match stores {
            StoreScope::All => None,
            StoreScope::Only(stores) => Some(stores.clone()),
        };
        Some(Self::Tenant { tenant: tenant.clone(), stores })
    }

    /// The columns that it looks at.
    pub(crate) fn columns(&self) -> &'static [&'static str] {
        match self {
            Self::All => &[],
            Self::Tenant { stores: None, .. } | Self::TenantOrPublic { .. } => &[TableScope::TENANT],
            Self::Tenant { stores: Some(_), .. } => &[TableScope::TENANT, TableScope::STORE],
        }
    }

    /// The columns that the caller does not see.
    pub(crate) fn hidden(&self) -> &'static [&'static str] {
        match self {
            Self::All => &[],
            Self::Tenant { .. } | Self::TenantOrPublic { .. } => &[TableScope::TENANT],
        }
    }

    /// Refuses tables whose columns cannot carry the scope.
    pub(crate) fn check(&self, schema: &Schema) -> Result<()> {
        for column in self.columns() {
            let field = schema.field_with_name(column)?;
            if field.data_type() != &DataType::Utf8 {
                let found = field.data_type();
                return Err(DataFusionError::Internal(format!("the column {column} is {found}, not a text")));
            }
        }
        Ok(())
    }

    /// The scope as filters, by which files may be left out. Rows are judged by [`Self::mask`] alone.
    pub(crate) fn filters(&self) -> Vec<Expr> {
        let of = |tenant: &str| ident(TableScope::TENANT).eq(lit(tenant));
        let (tenant, stores) = match self {
            Self::All => return Vec::new(),
            Self::TenantOrPublic { tenant } => {
                return vec![ident(TableScope::TENANT).is_null().or(of(tenant))];
            }
            Self::Tenant { tenant, stores } => (tenant, stores),
        };
        let mut filters = vec![of(tenant)];
        if let Some(stores) = stores.as_ref().filter(|stores| !stores.is_empty()) {
            let list = stores.iter().map(|store| lit(store.as_str())).collect();
            filters.push(ident(TableScope::STORE).in_list(list, false));
        }
        filters
    }

    /// Which rows of a batch are visible; none means all.
    pub(crate) fn mask(&self, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let (tenant, stores, is_public_without) = match self {
            Self::All => return Ok(None),
            Self::Tenant { tenant, stores } => (tenant, stores.as_ref(), false),
            Self::TenantOrPublic { tenant } => (tenant, None, true),
        };
        let of_tenant = cmp::eq(text(batch, TableScope::TENANT)?, &StringArray::new_scalar(tenant))?;
        let mut visible = match of_tenant.nulls() {
            None => of_tenant.values().clone(),
            Some(known) if is_public_without => of_tenant.values() | &!known.inner(),
            // A row without a tenant is nobody's.
            Some(known) => of_tenant.values() & known.inner(),
        };
        if let Some(stores) = stores {
            let column = text(batch, TableScope::STORE)?;
            visible = BooleanBuffer::collect_bool(batch.num_rows(), |row| {
                visible.value(row) && column.is_valid(row) && stores.contains(column.value(row))
            });
        }
        Ok(Some(BooleanArray::new(visible, None)))
    }
}

fn text<'a>(batch: &'a RecordBatch, column: &str) -> Result<&'a StringArray> {
    let found = batch.column_by_name(column).and_then(|column| column.as_string_opt::<i32>());
    found.ok_or_else(|| DataFusionError::Internal(format!("there is no text column {column} to scope by")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::ArrayRef;

    use super::*;

    fn visible(principal: &str, table: TableScope) -> Vec<usize> {
        let tenants: ArrayRef =
            Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, Some("a"), Some("a"), Some("ab")]));
        let stores: ArrayRef =
            Arc::new(StringArray::from(vec![Some("x"), Some("x"), Some("x"), None, Some("y"), Some("x")]));
        let batch = RecordBatch::try_from_iter([("tenant", tenants), ("store", stores)]).expect("a batch");
        let principal = Principal::parse(principal).expect("a principal");
        let scope = RowScope::of(&principal, Some(table)).expect("visible");
        let mask = scope.mask(&batch).expect("a mask");
        (0..batch.num_rows()).filter(|row| mask.as_ref().is_none_or(|mask| mask.value(*row))).collect()
    }

    #[test]
    fn rows_are_visible_by_tenant_and_store() {
        assert_eq!(visible("a", TableScope::TenantAndStores), [0, 3, 4]);
        assert_eq!(visible("a/x", TableScope::TenantAndStores), [0]);
        assert_eq!(visible("a/x,y", TableScope::TenantAndStores), [0, 4]);
        assert_eq!(visible("a/x", TableScope::Tenant), [0, 3, 4]);
        assert_eq!(visible("c", TableScope::TenantAndStores), [0; 0]);
        assert_eq!(visible("a/x", TableScope::TenantOrPublic), [0, 2, 3, 4]);
        assert_eq!(visible("c", TableScope::TenantOrPublic), [2]);
        assert_eq!(visible("c/x", TableScope::Public), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn nothing_stated_is_nothing_seen() {
        let tenant = Principal::parse("a").expect("a principal");
        assert_eq!(RowScope::of(&tenant, None), None);
        assert_eq!(RowScope::of(&tenant, Some(TableScope::OperatorOnly)), None);
        let no_stores =
            Principal::Tenant { tenant: "a".to_owned(), stores: StoreScope::Only(BTreeSet::new()) };
        let scope =
            RowScope::of(&no_stores, Some(TableScope::TenantAndStores)).expect("the table is visible");
        let column: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let batch = RecordBatch::try_from_iter([("tenant", Arc::clone(&column)), ("store", column)]);
        let mask = scope.mask(&batch.expect("a batch")).expect("a mask").expect("a scope");
        assert_eq!(mask.true_count(), 0);
    }
}
