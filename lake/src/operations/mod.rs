//! What keeps tables in shape, one verb a file. Nothing here is needed for rows to be right.

pub mod checkpoint;
