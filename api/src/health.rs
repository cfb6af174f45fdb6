//! How the parts of a process that do more than answer are: feeds that are read, tables that are maintained.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The state of each part, as it told it last.
#[derive(Debug, Clone, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, Result<String, String>>>>,
}

impl Health {
    /// A part tells that it goes well, or what is amiss.
    pub fn tell(&self, part: &str, state: Result<&str, String>) {
        let state = state.map(str::to_owned);
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(part.to_owned(), state);
    }

    /// What was told last, by part.
    pub(crate) fn told(&self) -> BTreeMap<String, Result<String, String>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
