use std::{error::Error as StdError, fmt};

/// A configuration that contradicts itself, or could never work. `Display` says what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidConfig(&'static str);

impl InvalidConfig {
    /// `valid`, or else the advice.
    pub(crate) fn unless(valid: bool, advice: &'static str) -> Result<(), Self> {
        if valid { Ok(()) } else { Err(Self(advice)) }
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl StdError for InvalidConfig {}

/// Only until no layer returns an [`InvalidConfig`] any more.
impl From<InvalidConfig> for super::ConfigError {
    fn from(error: InvalidConfig) -> Self {
        Self::new("configuration", error.0)
    }
}
