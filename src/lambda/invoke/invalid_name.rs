use std::fmt;

use crate::escape::Escaped;

/// A text that is no [`FunctionName`](crate::lambda::FunctionName) or [`Qualifier`](crate::lambda::Qualifier).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    text: Box<str>,
    problem: NameProblem,
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameProblem {
    /// A name is letters, digits, hyphens and underscores, and not empty.
    Name,
    /// A qualifier is `$LATEST`, a version, or an alias.
    Qualifier,
    /// Where an alias was expected, the qualifier is none.
    Alias,
    /// Where an alias or a version was expected, there is none.
    Unqualified,
    /// It is longer than so many bytes.
    TooLong {
        /// How long it may be.
        limit: usize,
    },
    /// An account is 12 digits.
    Account,
    /// A region is lower-case words with hyphens between them.
    Region,
    /// The ARN is of another service than Lambda.
    Service,
    /// The ARN's partition is none of AWS.
    Partition,
}

impl InvalidName {
    pub(crate) fn new(text: &str, problem: NameProblem) -> Self {
        Self { text: text.into(), problem }
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> NameProblem {
        self.problem
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not quoted as Rust does, so that the text can be searched for.
        write!(f, "\"{}\" is not the name that was expected: ", Escaped(&self.text))?;
        match self.problem {
            NameProblem::Name => f.write_str("names are letters, digits, hyphens and underscores"),
            NameProblem::Qualifier => {
                f.write_str("after the name comes $LATEST, a version or an alias, or nothing")
            }
            NameProblem::Alias => f.write_str("expected an alias, as in orders:live"),
            NameProblem::Unqualified => {
                f.write_str("expected an alias or a version, as in orders:live")
            }
            NameProblem::TooLong { limit } => write!(f, "longer than {limit} bytes"),
            NameProblem::Account => f.write_str("an account is 12 digits"),
            NameProblem::Region => f.write_str("expected a region, such as eu-west-1"),
            NameProblem::Service => f.write_str("the ARN is not one of Lambda"),
            NameProblem::Partition => f.write_str("expected a partition, such as aws"),
        }
    }
}

impl std::error::Error for InvalidName {}
