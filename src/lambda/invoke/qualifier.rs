use std::{fmt, str::FromStr, sync::Arc};

use super::function_name::is_word;
use crate::ParseError;

/// The version of a function to invoke: a version, or an alias that points to one or two.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Qualifier {
    /// `$LATEST`: the code as uploaded last.
    Latest,
    /// `$LATEST.PUBLISHED`: the version published last.
    LatestPublished,
    /// A published version.
    Version(u64),
    /// An alias: 1 to 128 letters, digits, hyphens and underscores, not digits alone.
    Alias(Arc<str>),
}

/// The longest qualifier, in bytes.
const MAX_QUALIFIER_BYTES: usize = 128;
const EXPECTED: &str = "$LATEST, a version or an alias as the qualifier";

impl Qualifier {
    /// Parses `text`, or fails with what was expected.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "$LATEST" => Ok(Self::Latest),
            "$LATEST.PUBLISHED" => Ok(Self::LatestPublished),
            _ if text.len() > MAX_QUALIFIER_BYTES => Err("a qualifier of at most 128 bytes"),
            _ if text.is_empty() || !text.bytes().all(is_word) => Err(EXPECTED),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => match text.parse() {
                Ok(version) if !text.starts_with('0') => Ok(Self::Version(version)),
                _ => Err(EXPECTED),
            },
            _ => Ok(Self::Alias(text.into())),
        }
    }
}

impl FromStr for Qualifier {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text).map_err(|expected| ParseError::new("qualifier", text, expected))
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
