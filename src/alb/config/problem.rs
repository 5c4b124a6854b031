use std::{borrow::Cow, error::Error as StdError, fmt};

use crate::{ConfigError, escape::Escaped};

/// A part of a configuration that is wrong, or that this library cannot do.
///
/// `Display` names the path, the value and what was expected: "`target_groups.web.port` is 0:
/// expected a port from 1 to 65535". Values are cut after 200 bytes, and never contain a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    path: String,
    value: Option<String>,
    expected: Cow<'static, str>,
    kind: ProblemKind,
}

/// What a [`Problem`] means for a load balancer that ignores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The configuration has no meaning. It cannot be accepted.
    Invalid,
    /// The ALB would reject the value. This library can do it, so that it can be accepted.
    BeyondAlb,
    /// The ALB can do it and this library cannot. If it is accepted, the setting has no effect.
    NotSupported,
}

/// The longest value that is kept, in bytes.
const MAX_VALUE_BYTES: usize = 200;

impl Problem {
    /// Creates a problem at `path`. `expected` says what is valid, or why it is not supported.
    pub(in crate::alb) fn new(
        kind: ProblemKind,
        path: impl Into<String>,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { path: path.into(), value: None, expected: expected.into(), kind }
    }

    pub(super) fn invalid(path: impl Into<String>, expected: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemKind::Invalid, path, expected)
    }

    /// Adds the value. Leave out values that are secret.
    #[must_use]
    pub(in crate::alb) fn with_value(mut self, value: impl fmt::Display) -> Self {
        let mut value = value.to_string();
        if value.len() > MAX_VALUE_BYTES {
            let mut end = MAX_VALUE_BYTES;
            while !value.is_char_boundary(end) {
                end -= 1;
            }
            value.truncate(end);
            value.push('…');
        }
        self.value = Some(value);
        self
    }

    /// Creates the problem that a builder reports, at the path of what it builds.
    pub(in crate::alb) fn from_config_error(path: &str, error: &ConfigError) -> Self {
        let path = format!("{path}.{}", error.field());
        let problem = Self::invalid(path, error.expected().to_owned());
        match error.value() {
            Some(value) => problem.with_value(value),
            None => problem,
        }
    }

    /// Returns where the problem is: a path such as `listeners.443.rules.10.action`, in which
    /// listeners are named by port, rules by priority and target groups by name; or a file and a
    /// position in it.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the value, unless it was left out.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// Returns what was expected instead, or why it is not supported.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// Returns what kind of problem it is.
    #[must_use]
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", Escaped(&self.path))?;
        if let Some(value) = &self.value {
            write!(f, " is {}", Escaped(value))?;
        }
        let expected = Escaped(&self.expected);
        match self.kind {
            ProblemKind::Invalid => write!(f, ": expected {expected}"),
            ProblemKind::BeyondAlb => write!(f, ": the ALB expects {expected}"),
            ProblemKind::NotSupported => write!(f, " is not supported: {expected}"),
        }
    }
}

impl StdError for Problem {}

/// All problems of a configuration, at least one.
///
/// `Display` has one line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Returns the problems, or `value` if there are no problems.
    pub(in crate::alb) fn or<T>(problems: Vec<Problem>, value: T) -> Result<T, Self> {
        if problems.is_empty() { Ok(value) } else { Err(Self(problems)) }
    }

    /// Returns the problems in the order of the configuration.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [problem] = &*self.0 {
            return problem.fmt(f);
        }
        write!(f, "the configuration has {} problems:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n- {problem}"))
    }
}

impl StdError for Problems {}

/// A part of a configuration that has no effect here, or that is worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    path: String,
    text: Cow<'static, str>,
}

impl Note {
    pub(super) fn new(path: impl Into<String>, text: impl Into<Cow<'static, str>>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Returns where it is, as [`Problem::path`] does.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns what is worth a look.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", Escaped(&self.path), Escaped(&self.text))
    }
}
