use std::{fmt, str::FromStr, sync::Arc};

use crate::lambda::{InvalidName, NameProblem, Qualifier};

/// A function as the Invoke API names it, and perhaps a qualifier.
///
/// Parsed from any of the forms that the API takes, each with or without `:QUALIFIER` at the end:
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
/// let function: FunctionName = "arn:aws:lambda:eu-west-1:123456789012:function:orders:live".parse()?;
/// assert_eq!(function.name(), "orders");
/// assert_eq!(function.region(), Some("eu-west-1"));
/// assert_eq!(function.qualifier(), Some(&Qualifier::Alias("live".into())));
/// # Ok::<_, tower_lb::lambda::InvalidName>(())
/// ```
///
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionName {
    /// Without the qualifier.
    text: Arc<str>,
    qualifier: Option<Qualifier>,
}

/// Longest name of a function, in bytes.
const LONGEST: usize = 64;

impl FunctionName {
    /// The function's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.rsplit(':').next().unwrap_or_default()
    }

    /// The account, if it was given.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.text.rsplit(':').nth(2)
    }

    /// The region, if it was given.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.text.rsplit(':').nth(3)
    }

    /// The alias or version, if it was given.
    #[must_use]
    pub fn qualifier(&self) -> Option<&Qualifier> {
        self.qualifier.as_ref()
    }

    /// The name as it was given, without the qualifier.
    #[must_use]
    pub fn unqualified(&self) -> &str {
        &self.text
    }

    /// The same function under an alias or version.
    #[must_use]
    pub fn with_qualifier(mut self, qualifier: Qualifier) -> Self {
        self.qualifier = Some(qualifier);
        self
    }
}

impl FromStr for FunctionName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = |problem| InvalidName::new(text, problem);
        let name = match text.split_once(":function:") {
            None => text,
            Some((home, name)) => {
                check_home(home).map_err(invalid)?;
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
        if name.len() > LONGEST {
            return Err(invalid(NameProblem::TooLong { limit: LONGEST }));
        }
        if name.is_empty() || !name.bytes().all(is_word) {
            return Err(invalid(NameProblem::Name));
        }
        let end = name.as_ptr() as usize - text.as_ptr() as usize + name.len();
        Ok(Self { text: text[..end].into(), qualifier })
    }
}

/// What stands before `:function:`, an account or all of an ARN up to there.
fn check_home(home: &str) -> Result<(), NameProblem> {
    let account = match home.strip_prefix("arn:") {
        None => home,
        Some(arn) => {
            let mut parts = arn.splitn(4, ':');
            let mut next = || parts.next().unwrap_or_default();
            let (partition, service, region, account) = (next(), next(), next(), next());
            let is_lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if !partition.starts_with("aws") || !partition.bytes().all(is_lower) {
                return Err(NameProblem::Partition);
            }
            if service != "lambda" {
                return Err(NameProblem::Service);
            }
            if !region.contains('-') || !region.bytes().all(is_lower) {
                return Err(NameProblem::Region);
            }
            account
        }
    };
    let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    if is_account { Ok(()) } else { Err(NameProblem::Account) }
}

/// Letters, digits, hyphens and underscores: what names and aliases consist of.
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
    fn all_forms_are_taken_apart() {
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
    fn what_is_wrong_is_said() {
        for (text, problem) in [
            ("", NameProblem::Name),
            ("a b", NameProblem::Name),
            ("a/b", NameProblem::Name),
            ("orders:", NameProblem::Qualifier),
            ("orders:a:b", NameProblem::Qualifier),
            ("orders:$OLDEST", NameProblem::Qualifier),
            ("1234:function:orders", NameProblem::Account),
            (":function:orders", NameProblem::Account),
            ("arn:aws:s3:eu-west-1:123456789012:function:orders", NameProblem::Service),
            ("arn:aws:lambda:EU:123456789012:function:orders", NameProblem::Region),
            ("arn:gcp:lambda:eu-west-1:123456789012:function:orders", NameProblem::Partition),
            ("arn:aws:lambda:eu-west-1:123456789012:function:", NameProblem::Name),
            ("arn:aws:lambda:eu-west-1:123456789012:layer:orders", NameProblem::Qualifier),
        ] {
            let error = text.parse::<FunctionName>().unwrap_err();
            assert_eq!(error.problem(), problem, "{text}");
            assert!(error.to_string().contains(text));
        }
        let long = "a".repeat(65);
        let error = long.parse::<FunctionName>().unwrap_err();
        assert_eq!(error.problem(), NameProblem::TooLong { limit: 64 });
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_and_what_parses_is_shown_as_it_was(text in "\\PC*") {
            if let Ok(name) = text.parse::<FunctionName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn names_survive_being_shown(
            text in "(arn:aws:lambda:eu-west-1:)?123456789012:function:[a-z_-]{1,9}(:[a-z]{1,3})?",
        ) {
            let name: FunctionName = text.parse().unwrap();
            prop_assert_eq!(name.to_string(), text);
        }
    }
}
