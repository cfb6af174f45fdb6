//! Models of one series alone: its own past, no covariates.

pub mod ets;
mod minimise;
