//! Which models were made for a business, and which of them is served: the words of the registry.

use chrono::NaiveDate;

use crate::civil::Micros;
use crate::forecast::Backtest;

/// What happened to a model version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelAction {
    /// Its forecasts are served from then on.
    Promoted,
    /// It was made and is not served; it can be promoted by hand.
    Held,
    /// It was served until then, and what was served before it is again.
    RolledBack,
}

impl ModelAction {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Promoted, Self::Held, Self::RolledBack];

    /// As the registry stores it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Held => "held",
            Self::RolledBack => "rolled_back",
        }
    }

    /// The action of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// What happened to a model version, and what is served from then on.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelEvent {
    /// Its place among all events of the registry, from 1 on.
    pub number: i64,
    /// The business.
    pub tenant: String,
    /// When it happened.
    pub at: Micros,
    /// What happened.
    pub action: ModelAction,
    /// The version that it happened to.
    pub model_version: String,
    /// The version whose forecasts are served from then on; none before one was promoted.
    pub served_version: Option<String>,
    /// Why, in words.
    pub reason: String,
    /// The version that was served when this one was made.
    pub parent: Option<String>,
    /// The last day whose sales the version knows.
    pub origin: Option<NaiveDate>,
    /// How good it was over all articles at past origins.
    pub backtest: Backtest,
}

/// Events of the registry, in the order in which they happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelHistory {
    /// The number of the registry's last event, whosesoever; 0 before the first.
    pub last: i64,
    /// Those that were asked for.
    pub events: Vec<ModelEvent>,
}

impl ModelHistory {
    /// What was promoted and not rolled back of a business, the version that is served at the end.
    #[must_use]
    pub fn promoted(&self, tenant: &str) -> Vec<&ModelEvent> {
        let mut promoted = Vec::new();
        for event in self.events.iter().filter(|event| event.tenant == tenant) {
            match event.action {
                ModelAction::Promoted => promoted.push(event),
                ModelAction::RolledBack => {
                    promoted.pop();
                }
                ModelAction::Held => {}
            }
        }
        promoted
    }

    /// The version that is served for a business.
    #[must_use]
    pub fn served(&self, tenant: &str) -> Option<&str> {
        self.promoted(tenant).last().map(|event| event.model_version.as_str())
    }

    /// What happened last to a version of a business.
    #[must_use]
    pub fn last_of(&self, tenant: &str, version: &str) -> Option<&ModelEvent> {
        self.events.iter().rev().find(|event| event.tenant == tenant && event.model_version == version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events of businesses named by a letter, like `a+1` for promoted, `a=1` for held, `a-1` for rolled back.
    fn history(events: &[&str]) -> ModelHistory {
        let event = |(number, text): (i64, &&str)| ModelEvent {
            number,
            tenant: text[..1].to_owned(),
            at: 0,
            action: match &text[1..2] {
                "+" => ModelAction::Promoted,
                "=" => ModelAction::Held,
                _ => ModelAction::RolledBack,
            },
            model_version: text[2..].to_owned(),
            served_version: None,
            reason: String::new(),
            parent: None,
            origin: None,
            backtest: Backtest::default(),
        };
        let events: Vec<_> = (1..).zip(events).map(event).collect();
        ModelHistory { last: events.len() as i64, events }
    }

    #[test]
    fn rolling_back_goes_one_step_back_each_time_and_never_to_and_fro() {
        let mut told = vec!["a+1", "b+9", "a+2", "a=x", "a+3"];
        let served = |told: &[&str]| history(told).served("a").map(str::to_owned);
        for (next, expected) in [("a-3", "2"), ("a-2", "1"), ("a+4", "4"), ("a-4", "1")] {
            told.push(next);
            assert_eq!(served(&told).as_deref(), Some(expected), "{told:?}");
        }
        told.push("a-1");
        assert_eq!(served(&told), None);
        assert_eq!(history(&told).served("b"), Some("9"));
    }

    #[test]
    fn names_of_actions_lead_back_to_them() {
        for action in ModelAction::ALL {
            assert_eq!(ModelAction::named(action.name()), Some(action));
        }
        assert_eq!(ModelAction::named("served"), None);
    }
}
