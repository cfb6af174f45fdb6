//! The words that all crates share: identifiers, feed records with their Arrow schemas, positions, series and forecasts, callers with what they
//! may see, and ports.
//!
//! This crate does no I/O. It promises that a record's meaning (types, ranges, keys) is stated once, here; adapters live in the crates that
//! implement the [`ports`].

pub mod analysis;
pub mod civil;
pub mod dead_letter;
pub mod decimal;
pub mod decision;
pub mod duplicates;
pub mod error;
pub mod feeds;
pub mod fields;
pub mod forecast;
pub mod ids;
pub mod jobs;
pub mod kinds;
pub mod marts;
pub mod planning;
pub mod ports;
pub mod position;
pub mod principal;
pub mod registry;
pub mod replay;
pub mod scope;
pub mod table;
pub mod views;
pub mod what_if;
pub mod zone;

pub use dead_letter::DeadLetter;
pub use error::{Error, ErrorKind, Result};
pub use feeds::Feed;
pub use principal::{Principal, StoreScope};
pub use scope::TableScope;
