//! Many series over the same time: a long table, its periods, and the origins at which it is cut.

mod period;
mod table;
mod window;

pub use period::{Frequency, Period};
pub use table::{Covariate, LongSeries, LongTable, LongTableBuilder, Role};
pub use window::{MOST_ROWS, Part, Settings, Window};

pub(crate) use window::on_threads;
