//! For whom a table's rows are: stated once with the table, kept by whoever answers questions.

/// Which rows of a table a business may see.
///
/// A table for which nothing is stated is no one's but the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TableScope {
    /// The rows whose columns `tenant` and `store` are the caller's; a caller limited to some stores sees no row without a store.
    TenantAndStores,
    /// The rows whose column `tenant` is the caller's, whatever stores the caller may see.
    Tenant,
    /// The rows whose column `tenant` is the caller's or null: what a business says for itself, and what holds for all.
    TenantOrPublic,
    /// Every row: what holds for all businesses, like the weather.
    Public,
    /// None: only the platform operator knows that the table exists.
    OperatorOnly,
}

impl TableScope {
    /// The column that names the business of a row.
    pub const TENANT: &'static str = "tenant";
    /// The column that names the store of a row.
    pub const STORE: &'static str = "store";
}
