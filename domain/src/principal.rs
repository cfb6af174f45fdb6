//! Who asks, and which rows that lets them see.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::ids::is_identifier;

/// Which of a tenant's stores a principal may see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StoreScope {
    /// Every store of the tenant.
    All,
    /// Only these stores; rows without a store are not visible.
    Only(BTreeSet<String>),
}

/// The caller on whose behalf a query runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The platform operator: the command line without `--as`. Sees every tenant's rows and the tables of operators.
    Operator,
    /// A business, limited to a part of its stores or not.
    Tenant {
        /// The business.
        tenant: String,
        /// Its stores that the caller may see.
        stores: StoreScope,
    },
}

impl Principal {
    /// A business with all its stores.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when `tenant` is not an identifier.
    pub fn tenant(tenant: impl Into<String>) -> Result<Self> {
        Ok(Self::Tenant { tenant: checked(tenant)?, stores: StoreScope::All })
    }

    /// Reads `TENANT` or `TENANT/STORE[,STORE...]`, the form of `--as`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] naming the part that is not an identifier.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((tenant, stores)) = text.split_once('/') else { return Self::tenant(text) };
        let stores: BTreeSet<String> = stores.split(',').map(str::to_owned).collect();
        if let Some(bad) = stores.iter().find(|store| !is_identifier(store)) {
            return Err(Error::invalid(format!(
                "`{bad}` in `{text}` is not a store: write TENANT/STORE,STORE"
            )));
        }
        Ok(Self::Tenant { tenant: checked(tenant)?, stores: StoreScope::Only(stores) })
    }
}

fn checked(tenant: impl Into<String>) -> Result<String> {
    let tenant = tenant.into();
    if is_identifier(&tenant) {
        return Ok(tenant);
    }
    Err(Error::invalid(format!("`{tenant}` is not a tenant: give its name without `/` or blanks around it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_as_form() {
        assert_eq!(Principal::parse("a").ok(), Principal::tenant("a").ok());
        let Ok(Principal::Tenant { stores: StoreScope::Only(stores), .. }) = Principal::parse("a/y,x,y")
        else {
            panic!()
        };
        assert_eq!(stores.into_iter().collect::<Vec<_>>(), ["x", "y"]);
        for bad in ["", "/x", "a/", "a/x,", "a/x/y"] {
            assert!(Principal::parse(bad).is_err(), "{bad:?}");
        }
    }
}
