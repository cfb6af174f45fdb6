//! The lake: Delta tables on S3 or a folder, and the only crate that commits to them.
//!
//! A [`Lake`] is opened at a root, checks that its store can hold the commit protocol ([`probe`]) and that its layout is known
//! ([`layout`]), and then implements the ports of `domain` over its tables. How a commit is made safe is told in [`commit`];
//! `docs/decisions/001-commit-protocol.md` says why it is so.

pub mod append;
mod blobs;
pub mod catalog;
mod changes;
pub mod commit;
mod coordinates;
mod counted;
mod decisions;
mod duplicates;
mod error;
mod forecasts;
mod inspection;
mod lake;
pub mod layout;
mod letters;
pub mod log;
pub mod maintenance;
mod marts;
mod newest;
pub mod operations;
mod overrides;
pub mod probe;
mod provider;
mod read;
mod registry;
mod replace;
mod replay;
mod retry;
mod runs;
mod scan;
mod selection;
mod snapshots;
mod stage;
pub mod store;
pub mod table;
pub mod tables;

pub use duplicates::Span;
pub use inspection::Inspection;
pub use lake::{Lake, LakeOptions};
pub use store::{S3Settings, Store, StoreSettings};
pub use table::Table;
