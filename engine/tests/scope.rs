//! What a tenant is answered is a function of the rows that it may see: the same words, digits and order, whether other tenants' rows lie in the
//! same files or not.

#[path = "scope/growth.rs"]
mod growth;
#[path = "scope/hostile.rs"]
mod hostile;
#[path = "scope/limits.rs"]
mod limits;
#[path = "scope/series.rs"]
mod series;
#[path = "scope/time_travel.rs"]
mod time_travel;
#[path = "scope/visibility.rs"]
mod visibility;

mod support;
