//! Models: series in, forecasts out, each with a version that names all that shaped it.
//!
//! What is computed here is pure: the same series, configuration and seed give the same bytes, and no clock has a part in it.
//! Reading and storing go through the ports of `domain`.

pub mod analysis;
pub mod backtest;
pub mod boost;
pub mod candidates;
mod censored;
pub mod classical;
pub mod decide;
pub mod drift;
pub mod features;
pub mod forecast;
pub mod panel;
pub mod registry;
pub mod tide;
pub mod what_if;
