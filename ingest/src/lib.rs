//! Kafka and files in, checked batches out.
//!
//! [`produce`] replays a mapped file to a topic; [`pipeline`] reads a feed's topic into its table through the port
//! [`domain::ports::Append`], each record exactly once; [`accept_log`] lets a feed go on that stopped because its topic is not the log that the
//! table knows. This crate never names the lake.

pub mod accept_log;
mod buffer;
pub mod files;
pub mod kafka;
pub mod mapping;
pub mod pipeline;
pub mod preview;
pub mod produce;
pub mod source;
