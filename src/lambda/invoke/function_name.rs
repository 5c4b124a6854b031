use std::{fmt, str::FromStr, sync::Arc};

use crate::{ParseError, lambda::Qualifier};

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
