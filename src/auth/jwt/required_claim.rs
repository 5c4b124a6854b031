use std::{fmt, str::FromStr};

use serde_json::{Map, Value};

use crate::{ConfigError, ParseError};

/// The most values of a claim.
const MAX_VALUES: usize = 10;
/// The longest value, in bytes.
const MAX_VALUE_BYTES: usize = 256;
/// The claims that every token is checked for.
const STANDARD: [&str; 4] = ["exp", "iat", "iss", "nbf"];

/// A claim that a token must have, besides those that every token must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredClaim {
    name: String,
    format: ClaimFormat,
    values: Vec<String>,
}

/// How a claim holds its values.
///
/// The texts of `FromStr` and `Display` are those of an Application Load Balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimFormat {
    /// A string that must be one of the values: `single-string`.
    SingleString,
    /// An array of strings that must contain all of the values: `string-array`.
    StringArray,
    /// A string of words with spaces between them, which must contain all of the values:
    /// `space-separated-values`. `scope` has this format.
    SpaceSeparatedValues,
}

impl RequiredClaim {
    /// Creates the requirement. [`build`](super::JwtBuilder::build) checks that there are 1 to 10
    /// values of 1 to 256 bytes, without spaces for [`ClaimFormat::SpaceSeparatedValues`], and that
    /// the name is not `exp`, `iat`, `iss` or `nbf`.
    pub fn new(
        name: impl Into<String>,
        format: ClaimFormat,
        values: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self { name: name.into(), format, values: values.into_iter().map(Into::into).collect() }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let invalid = |expected, value: &str| {
            Err(ConfigError::new("claim", expected).with_value(format_args!("{value:?}")))
        };
        if self.name.is_empty() || STANDARD.contains(&&*self.name) {
            return invalid("a name other than exp, iat, iss and nbf", &self.name);
        }
        if self.values.is_empty() || self.values.len() > MAX_VALUES {
            return invalid("1 to 10 values", &self.name);
        }
        let has_valid_length = |value: &String| (1..=MAX_VALUE_BYTES).contains(&value.len());
        if let Some(value) = self.values.iter().find(|value| !has_valid_length(value)) {
            return invalid("values of 1 to 256 bytes", value);
        }
        let separated = self.format == ClaimFormat::SpaceSeparatedValues;
        if let Some(value) = self.values.iter().find(|value| separated && value.contains(' ')) {
            return invalid("values without spaces", value);
        }
        Ok(())
    }

    pub(super) fn is_met_by(&self, claims: &Map<String, Value>) -> bool {
        let all_in = |contains: &dyn Fn(&str) -> bool| self.values.iter().all(|v| contains(v));
        match (self.format, claims.get(&self.name)) {
            (ClaimFormat::SingleString, Some(Value::String(text))) => self.values.contains(text),
            (ClaimFormat::StringArray, Some(Value::Array(entries))) => {
                all_in(&|value| entries.iter().any(|entry| entry == value))
            }
            (ClaimFormat::SpaceSeparatedValues, Some(Value::String(text))) => {
                all_in(&|value| text.split(' ').any(|word| word == value))
            }
            _ => false,
        }
    }
}

impl ClaimFormat {
    fn as_str(self) -> &'static str {
        match self {
            Self::SingleString => "single-string",
            Self::StringArray => "string-array",
            Self::SpaceSeparatedValues => "space-separated-values",
        }
    }
}

impl FromStr for ClaimFormat {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        [Self::SingleString, Self::StringArray, Self::SpaceSeparatedValues]
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| {
                let expected = "single-string, string-array or space-separated-values";
                ParseError::new("claim format", text, expected)
            })
    }
}

impl fmt::Display for ClaimFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_met(format: ClaimFormat, values: &[&str], claim: Value) -> bool {
        let claims = Map::from_iter([("c".to_owned(), claim)]);
        RequiredClaim::new("c", format, values.iter().copied()).is_met_by(&claims)
    }

    #[test]
    fn each_format_reads_its_own_type_only() {
        use ClaimFormat::{SingleString, SpaceSeparatedValues, StringArray};
        assert!(is_met(SingleString, &["a", "b"], json!("b")));
        assert!(!is_met(SingleString, &["a", "b"], json!("a b")));
        assert!(is_met(StringArray, &["a", "b"], json!(["b", "c", "a", 1])));
        assert!(!is_met(StringArray, &["a", "b"], json!(["a"])));
        assert!(is_met(SpaceSeparatedValues, &["a", "b"], json!("b c a")));
        assert!(!is_met(SpaceSeparatedValues, &["a", "b"], json!("ab a")));
        for (format, wrong) in [
            (SingleString, json!(["a"])),
            (StringArray, json!("a")),
            (SpaceSeparatedValues, json!(["a"])),
        ] {
            assert!(!is_met(format, &["a"], wrong));
            assert!(!is_met(format, &["a"], Value::Null));
            assert!(!RequiredClaim::new("d", format, ["a"]).is_met_by(&Map::new()));
            assert!(format.to_string().parse::<ClaimFormat>().is_ok_and(|same| same == format));
        }
        assert!("Single-String".parse::<ClaimFormat>().is_err());
    }

    #[test]
    fn invalid_requirements_are_rejected() {
        use ClaimFormat::{SingleString, SpaceSeparatedValues};
        let check = |name: &str, format, values: &[&str]| {
            RequiredClaim::new(name, format, values.iter().copied()).check()
        };
        assert!(check("scope", SpaceSeparatedValues, &["a", "b"]).is_ok());
        assert!(check("name", SingleString, &["a b"]).is_ok());
        for (name, format, values) in [
            ("iss", SingleString, &["a"][..]),
            ("", SingleString, &["a"]),
            ("c", SingleString, &[]),
            ("c", SingleString, &["a"; 11]),
            ("c", SingleString, &[""]),
            ("c", SingleString, &[&*"a".repeat(257)]),
            ("c", SpaceSeparatedValues, &["a b"]),
        ] {
            assert_eq!(check(name, format, values).unwrap_err().field(), "claim", "{values:?}");
        }
    }
}
