//! What a tenant sees of a table: its own rows, as if the others did not exist.
//!
//! [`table`] gives the planner a table without the column `tenant` and without statistics. [`scan`] is the plan's leaf: it reads, keeps the visible
//! rows ([`rows`]) before any expression of the user runs, and gives them in batches whose bounds depend on visible rows alone ([`chunks`]).
//! Of the user's filters only comparisons that cannot fail reach it ([`comparisons`]), and it applies them to rows too, so that leaving out a file
//! changes nothing else. Why it is so: `docs/decisions/002-row-scope.md`.

mod chunks;
mod comparisons;
mod rows;
mod scan;
mod table;

pub(crate) use rows::RowScope;
pub(crate) use table::ScopedTable;
