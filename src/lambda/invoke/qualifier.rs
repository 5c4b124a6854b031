use std::{fmt, str::FromStr, sync::Arc};

use super::function_name::is_word;
use crate::lambda::{InvalidName, NameProblem};

/// Which version of a function is invoked: a version itself, or an alias that points to one or two.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Qualifier {
    /// `$LATEST`: the code as last uploaded.
    Latest,
    /// `$LATEST.PUBLISHED`: the version published last.
    LatestPublished,
    /// A published version.
    Version(u64),
    /// An alias: 1 to 128 letters, digits, hyphens and underscores, not digits alone.
    Alias(Arc<str>),
}

/// Longest qualifier, in bytes.
const LONGEST: usize = 128;

impl Qualifier {
    pub(super) fn parse(text: &str) -> Result<Self, NameProblem> {
        match text {
            "$LATEST" => Ok(Self::Latest),
            "$LATEST.PUBLISHED" => Ok(Self::LatestPublished),
            _ if text.len() > LONGEST => Err(NameProblem::TooLong { limit: LONGEST }),
            _ if text.is_empty() || !text.bytes().all(is_word) => Err(NameProblem::Qualifier),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => match text.parse() {
                Ok(version) if !text.starts_with('0') => Ok(Self::Version(version)),
                _ => Err(NameProblem::Qualifier),
            },
            _ => Ok(Self::Alias(text.into())),
        }
    }
}

impl FromStr for Qualifier {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::parse(text).map_err(|problem| InvalidName::new(text, problem))
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("$LATEST"),
            Self::LatestPublished => f.write_str("$LATEST.PUBLISHED"),
            Self::Version(version) => write!(f, "{version}"),
            Self::Alias(alias) => f.write_str(alias),
        }
    }
}
