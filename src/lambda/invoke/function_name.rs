use std::{fmt, str::FromStr, sync::Arc};

use crate::{
    ParseError,
    discover::{List, list},
    endpoint::{Endpoint, Locality},
};

/// The name of a function, as the Invoke API takes it, with an optional qualifier.
///
/// Parsed from each form that the API takes, with or without `:QUALIFIER` at the end:
///
/// | form | example |
/// |---|---|
/// | name | `orders` |
/// | partial ARN | `123456789012:function:orders` |
/// | ARN | `arn:aws:lambda:eu-west-1:123456789012:function:orders` |
///
/// ```
/// use tower_lb::lambda::{FunctionName, Qualifier};
///
/// let function: FunctionName =
///     "arn:aws:lambda:eu-west-1:123456789012:function:orders:live".parse()?;
/// assert_eq!(function.name(), "orders");
/// assert_eq!(function.region(), Some("eu-west-1"));
/// assert_eq!(function.qualifier(), Some(&Qualifier::Alias("live".into())));
/// # Ok::<_, tower_lb::ParseError>(())
/// ```
///
/// Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionName {
    /// The name without the qualifier.
    text: Arc<str>,
    qualifier: Option<Qualifier>,
}

/// The longest name of a function, in bytes.
const MAX_NAME_BYTES: usize = 64;

impl FunctionName {
    /// Returns the function's name alone.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.rsplit(':').next().unwrap_or_default()
    }

    /// Returns the account id, if the name has one.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.text.rsplit(':').nth(2)
    }

    /// Returns the region, if the name has one.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.text.rsplit(':').nth(3)
    }

    /// Returns the alias or version, if the name has one.
    #[must_use]
    pub fn qualifier(&self) -> Option<&Qualifier> {
        self.qualifier.as_ref()
    }

    /// Returns the name as it was parsed, without the qualifier.
    #[must_use]
    pub fn unqualified(&self) -> &str {
        &self.text
    }

    /// Returns the same function under `qualifier`.
    #[must_use]
    pub fn with_qualifier(mut self, qualifier: Qualifier) -> Self {
        self.qualifier = Some(qualifier);
        self
    }
}

impl FromStr for FunctionName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let invalid = |expected| ParseError::new("function name", text, expected);
        let name = match text.split_once(":function:") {
            None => text,
            Some((prefix, name)) => {
                check_arn_prefix(prefix).map_err(invalid)?;
                name
            }
        };
        let (name, qualifier) = match name.split_once(':') {
            None => (name, None),
            Some((name, qualifier)) => {
                let qualifier = Qualifier::parse(qualifier).map_err(invalid)?;
                (name, Some(qualifier))
            }
        };
        if name.len() > MAX_NAME_BYTES {
            return Err(invalid("a name of at most 64 bytes"));
        }
        if name.is_empty() || !name.bytes().all(is_word) {
            return Err(invalid("a name of letters, digits, hyphens and underscores"));
        }
        // `name` is a part of `text`: keep everything up to its end, which leaves out the
        // qualifier.
        let end = name.as_ptr() as usize - text.as_ptr() as usize + name.len();
        Ok(Self { text: text[..end].into(), qualifier })
    }
}

/// Checks what precedes `:function:`: an account, or an ARN up to there. Fails with what was
/// expected.
fn check_arn_prefix(prefix: &str) -> Result<(), &'static str> {
    let account = match prefix.strip_prefix("arn:") {
        None => prefix,
        Some(arn) => {
            let mut parts = arn.splitn(4, ':');
            let mut next = || parts.next().unwrap_or_default();
            let (partition, service, region, account) = (next(), next(), next(), next());
            let is_lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if !partition.starts_with("aws") || !partition.bytes().all(is_lower) {
                return Err("a partition of AWS in the ARN, such as aws");
            }
            if service != "lambda" {
                return Err("an ARN of the service lambda");
            }
            if !region.contains('-') || !region.bytes().all(is_lower) {
                return Err("a region in the ARN, such as eu-west-1");
            }
            account
        }
    };
    let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    if is_account { Ok(()) } else { Err("an account id of 12 digits") }
}

/// Returns true for letters, digits, hyphens and underscores, which names and aliases consist of.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.qualifier {
            Some(qualifier) => write!(f, ":{qualifier}"),
            None => Ok(()),
        }
    }
}

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

/// Returns a source of endpoints with a fixed list of functions. Each function is its own key; its
/// locality is the region of its ARN, if it has one.
///
/// ```
/// use tower_lb::lambda;
///
/// let functions = lambda::functions([
///     "arn:aws:lambda:eu-west-1:123456789012:function:orders:live",
///     "arn:aws:lambda:us-east-1:123456789012:function:orders:live",
/// ])?;
/// # Ok::<_, tower_lb::ParseError>(())
/// ```
///
/// # Errors
///
/// Fails with a [`ParseError`] for the first text that is not a [`FunctionName`].
pub fn functions<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> Result<List<FunctionName, FunctionName>, ParseError> {
    let endpoint = |name: &str| {
        let name: FunctionName = name.parse()?;
        let mut endpoint = Endpoint::new(name.clone());
        if let Some(region) = name.region() {
            endpoint = endpoint.with_locality(Locality::new(region, ""));
        }
        Ok((name, endpoint))
    };
    let endpoints: Result<Vec<_>, _> = names.into_iter().map(endpoint).collect();
    endpoints.map(list)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_forms_are_parsed() {
        let parse = |text: &str| text.parse::<FunctionName>().unwrap();
        let plain = parse("orders_2-a");
        assert_eq!((plain.name(), plain.account(), plain.region()), ("orders_2-a", None, None));
        let partial = parse("123456789012:function:orders:7");
        assert_eq!(partial.account(), Some("123456789012"));
        assert_eq!(partial.qualifier(), Some(&Qualifier::Version(7)));
        assert_eq!(partial.unqualified(), "123456789012:function:orders");
        let arn = parse("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:orders:$LATEST");
        assert_eq!(arn.region(), Some("us-gov-west-1"));
        assert_eq!(arn.qualifier(), Some(&Qualifier::Latest));
        assert_eq!(parse("function:live").name(), "function");
        assert_eq!(parse("123456789012:function:function:live").name(), "function");
        assert_eq!(plain.with_qualifier(Qualifier::Version(1)).to_string(), "orders_2-a:1");
    }

    #[test]
    fn errors_name_the_invalid_part() {
        for (text, expected) in [
            ("", "a name of letters"),
            ("a b", "a name of letters"),
            ("a/b", "a name of letters"),
            ("orders:", "$LATEST, a version or an alias"),
            ("orders:a:b", "$LATEST, a version or an alias"),
            ("orders:$OLDEST", "$LATEST, a version or an alias"),
            ("1234:function:orders", "an account id"),
            (":function:orders", "an account id"),
            ("arn:aws:s3:eu-west-1:123456789012:function:orders", "an ARN of the service lambda"),
            ("arn:aws:lambda:EU:123456789012:function:orders", "a region"),
            ("arn:gcp:lambda:eu-west-1:123456789012:function:orders", "a partition"),
            ("arn:aws:lambda:eu-west-1:123456789012:function:", "a name of letters"),
            (
                "arn:aws:lambda:eu-west-1:123456789012:layer:orders",
                "$LATEST, a version or an alias",
            ),
        ] {
            let error = text.parse::<FunctionName>().unwrap_err();
            assert!(error.expected().starts_with(expected), "{text}: {error}");
            assert!(error.to_string().contains(text));
        }
        let long = "a".repeat(65);
        let error = long.parse::<FunctionName>().unwrap_err();
        assert_eq!(error.expected(), "a name of at most 64 bytes");
    }

    proptest! {
        #[test]
        fn a_name_that_parses_is_displayed_unchanged(text in "\\PC*") {
            if let Ok(name) = text.parse::<FunctionName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn names_round_trip_through_display(
            text in "(arn:aws:lambda:eu-west-1:)?123456789012:function:[a-z_-]{1,9}(:[a-z]{1,3})?",
        ) {
            let name: FunctionName = text.parse().unwrap();
            prop_assert_eq!(name.to_string(), text);
        }
    }
}
