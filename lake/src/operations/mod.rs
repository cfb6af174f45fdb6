//! What keeps tables in shape, one verb a file. Nothing here is needed for rows to be right.

pub mod checkpoint;
pub mod compact;
pub mod describe;
pub mod history;
pub mod vacuum;
