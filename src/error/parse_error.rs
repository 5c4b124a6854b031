use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc};

use crate::escape::Escaped;

/// A text that cannot be parsed, such as an origin, a function name or a document of endpoints.
///
/// `Display` names what was parsed, the text, and what was expected; control characters are
/// escaped.
#[derive(Clone, Debug)]
pub struct ParseError {
    what: &'static str,
    text: Box<str>,
    expected: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    /// What the parser of a document reports, and its line and column.
    problem: Option<Box<str>>,
    position: Option<(usize, usize)>,
}

#[allow(dead_code, reason = "each feature uses its own part")]
impl ParseError {
    /// The longest text that is kept, in bytes. The rest is left out.
    const MAX_TEXT_BYTES: usize = 200;

    /// Creates an error: `text` is not a valid `what` ("origin"), and `expected` describes a valid
    /// one.
    pub(crate) fn new(
        what: &'static str,
        text: &str,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut end = text.len().min(Self::MAX_TEXT_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self {
            what,
            text: text[..end].into(),
            expected: expected.into(),
            source: None,
            problem: None,
            position: None,
        }
    }

    /// The same error with the message of a document's parser, and the line and the column from 1.
    #[cfg(feature = "document")]
    #[must_use]
    pub(crate) fn with_problem(
        mut self,
        position: Option<(usize, usize)>,
        problem: impl fmt::Display,
    ) -> Self {
        (self.position, self.problem) = (position, Some(problem.to_string().into()));
        self
    }

    /// Adds the error of an underlying parser as the source.
    #[must_use]
    pub(crate) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Returns what was parsed, such as "origin" or "function name".
    #[must_use]
    pub fn what(&self) -> &str {
        self.what
    }

    /// Returns the text, or its first 200 bytes.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the line of a document, from 1, or `None` if it is not known.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.position.map(|(line, _)| line)
    }

    /// Returns the column, from 1, or `None` if it is not known.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.position.map(|(_, column)| column)
    }

    /// Returns what was expected.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }
}

/// Compares what was parsed, the text and what was expected, but not the sources.
impl PartialEq for ParseError {
    fn eq(&self, other: &Self) -> bool {
        (self.what, &self.text, &self.expected, &self.problem, self.position)
            == (other.what, &other.text, &other.expected, &other.problem, other.position)
    }
}

impl Eq for ParseError {}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(problem) = &self.problem {
            write!(f, "invalid {}: ", self.what)?;
            if let Some((line, column)) = self.position {
                write!(f, "line {line}, column {column}: ")?;
            }
            return write!(f, "{}", Escaped(problem));
        }
        write!(f, "invalid {} \"{}\": expected {}", self.what, Escaped(&self.text), self.expected)
    }
}

impl StdError for ParseError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
