//! A secret of the configuration: its value is for the clients alone, everyone else sees where it came from.

use std::fmt;
use std::path::{Path, PathBuf};

use domain::{Error, Result};
use serde::{Deserialize, Serialize, Serializer};

/// See the module.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Secret {
    value: String,
    file: Option<PathBuf>,
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self { value, file: None }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            None => f.write_str("(set)"),
            Some(file) => write!(f, "(from file {})", file.display()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Secret {
    /// The secret itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.value
    }

    /// The secret of the setting `key`, from its value or its file.
    ///
    /// # Errors
    /// When both are given, the file cannot be read, or there is nothing in it.
    pub(super) fn given(key: &str, value: Option<Self>, file: Option<PathBuf>) -> Result<Option<Self>> {
        let name = variable(key);
        match (value, file) {
            (Some(_), Some(_)) => Err(Error::invalid(format!(
                "{key} and {key}_file are both given, in the configuration file or as {name} and {name}_FILE: give one of them"
            ))),
            (Some(value), None) if value.value.is_empty() => {
                Err(Error::invalid(format!("{key} ({name}) is empty: give its value, or leave it out")))
            }
            (None, Some(file)) => Self::read(&file).map(Some).map_err(|what| {
                Error::invalid(format!("{key}_file ({name}_FILE): {} {what}", file.display()))
            }),
            (value, None) => Ok(value),
        }
    }

    fn read(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err("is empty".to_owned()),
            value => Ok(Self { value: value.to_owned(), file: Some(file.to_owned()) }),
        }
    }
}

/// The variable of the environment that gives a setting.
pub(super) fn variable(key: &str) -> String {
    format!("INTELLICARTEL__{}", key.replace('.', "__").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::from("hush".to_owned());
        let from_file = Secret { file: Some("/run/x".into()), ..secret.clone() };
        let shown = format!("{secret} {secret:?} {from_file} {:?}", serde_json::to_string(&from_file));
        assert!(
            !shown.contains("hush") && shown.contains("(set)") && shown.contains("(from file /run/x)"),
            "{shown}"
        );
        assert_eq!(from_file.reveal(), "hush");
    }
}
