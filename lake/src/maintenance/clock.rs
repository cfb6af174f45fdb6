//! The clock that maintenance looks at. It is handed in, so that a test may let hours pass in an instant.

use std::fmt;
use std::sync::Arc;

use domain::civil::{self, Micros};

/// Tells the time. By itself it is the system's clock.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Micros + Send + Sync>);

impl Clock {
    /// A clock that `now` reads, in microseconds since 1970.
    pub fn new(now: impl Fn() -> Micros + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The current instant.
    #[must_use]
    pub fn now(&self) -> Micros {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(civil::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&civil::format_instant(self.now())).finish()
    }
}
