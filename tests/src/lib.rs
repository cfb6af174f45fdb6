//! End-to-end tests of the spine, in `tests/`; this library holds what they share.
