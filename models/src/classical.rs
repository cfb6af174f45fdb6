//! Models of one series alone: its own past, no covariates.

pub(crate) mod demand;
pub mod ets;
pub mod intermittent;
mod minimise;
mod season;
pub mod theta;
