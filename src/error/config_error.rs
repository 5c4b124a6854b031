use std::{borrow::Cow, error::Error as StdError, fmt, time::Duration};

use crate::escape::Escaped;

/// A setting that is invalid, or that contradicts another one.
///
/// Every fallible `build`, `new` and setter of this crate fails with this type. `Display` names the
/// field, its value if it has one, and what was expected: "`rise` is 0: expected at least 1".
/// Control characters of the value are escaped.
///
/// ```
/// use tower_lb::ConfigError;
///
/// let error = ConfigError::new("rise", "at least 1").with_value(0);
/// assert_eq!(error.field(), "rise");
/// assert_eq!(error.to_string(), "`rise` is 0: expected at least 1");
/// let error = ConfigError::new("cookie", "a cookie name").with_value("a\nb");
/// assert_eq!(error.to_string(), "`cookie` is a\\nb: expected a cookie name");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    field: Cow<'static, str>,
    value: Option<String>,
    expected: Cow<'static, str>,
}

impl ConfigError {
    /// Creates an error about `field`. `expected` says what is valid: "at least 1", "a share from 0
    /// to 1".
    ///
    /// Strategies and layers outside this crate may use it for their own settings.
    pub fn new(
        field: impl Into<Cow<'static, str>>,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { field: field.into(), value: None, expected: expected.into() }
    }

    /// Adds the invalid value. Leave out values that are secret.
    #[must_use]
    pub fn with_value(mut self, value: impl fmt::Display) -> Self {
        self.value = Some(value.to_string());
        self
    }

    /// Returns the name of the invalid field. The field of a strategy inside another one is a path,
    /// such as `inner.threshold`.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Returns the invalid value as text, unless it was left out.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// Returns what was expected instead.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// Names the configuration around this one: `field` becomes `outer.field`.
    #[must_use]
    pub(crate) fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field).into();
        self
    }

    /// Fails unless `valid`.
    pub(crate) fn unless(
        valid: bool,
        field: &'static str,
        value: impl fmt::Display,
        expected: &'static str,
    ) -> Result<(), Self> {
        if valid { Ok(()) } else { Err(Self::new(field, expected).with_value(value)) }
    }

    /// Fails if `time` is zero.
    pub(crate) fn if_zero_time(field: &'static str, time: Duration) -> Result<(), Self> {
        if time.is_zero() {
            return Err(Self::new(field, "a time above 0").with_value("0 s"));
        }
        Ok(())
    }

    /// Fails unless `time` is within a range of seconds.
    #[cfg(any(feature = "alb", feature = "clb"))]
    pub(crate) fn unless_seconds(
        field: &'static str,
        time: Duration,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<(), Self> {
        let (least, most) = (*range.start(), *range.end());
        if (Duration::from_secs(least)..=Duration::from_secs(most)).contains(&time) {
            return Ok(());
        }
        let expected = format!("a time from {least} to {most} s");
        Err(Self::new(field, expected).with_value(format_args!("{time:?}")))
    }

    /// Fails if `number` is 0.
    pub(crate) fn if_zero(field: &'static str, number: u64) -> Result<(), Self> {
        Self::unless(number > 0, field, number, "at least 1")
    }

    /// Fails unless `least <= number <= most`, also if `number` is NaN. An infinite `most` is no
    /// limit.
    pub(crate) fn unless_within(
        field: &'static str,
        number: f64,
        [least, most]: [f64; 2],
    ) -> Result<(), Self> {
        if number >= least && number <= most {
            return Ok(());
        }
        let expected = if most == f64::INFINITY {
            format!("a number of at least {least}")
        } else {
            format!("a number from {least} to {most}")
        };
        Err(Self::new(field, expected).with_value(number))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => {
                write!(f, "`{}` is {}: expected {}", self.field, Escaped(value), self.expected)
            }
            None => write!(f, "`{}`: expected {}", self.field, self.expected),
        }
    }
}

impl StdError for ConfigError {}
