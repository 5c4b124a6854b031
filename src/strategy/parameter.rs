use std::{borrow::Cow, error::Error as StdError, fmt};

use crate::ConfigError;

/// A parameter of a strategy that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidParameter {
    name: String,
    expected: Cow<'static, str>,
}

impl InvalidParameter {
    pub(crate) fn new(name: impl Into<String>, expected: &'static str) -> Self {
        Self { name: name.into(), expected: expected.into() }
    }

    /// Which parameter; a path (`inner.threshold`) if it is one of a strategy inside another.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it should be.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// The same error seen from the strategy around.
    pub(crate) fn within(self, outer: &str) -> Self {
        Self { name: format!("{outer}.{}", self.name), ..self }
    }
}

impl fmt::Display for InvalidParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}", self.name, self.expected)
    }
}

impl StdError for InvalidParameter {}

impl From<ConfigError> for InvalidParameter {
    fn from(error: ConfigError) -> Self {
        let expected = error.expected().to_owned().into();
        Self { name: error.field().to_owned(), expected }
    }
}

/// A share from 0 to 1.
pub(crate) fn share(name: &str, value: f64) -> Result<f64, InvalidParameter> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(InvalidParameter::new(name, "a share from 0 to 1"))
}
