//! Models: series in, forecasts out, each with a version that names all that shaped it.
//!
//! What is computed here is pure: the same series and configuration give the same bytes, and no clock and no random number has a part in it.
//! Reading and storing go through the ports of `domain`.

pub mod backtest;
pub mod classical;
pub mod forecast;
