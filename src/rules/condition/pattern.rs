use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use super::wildcard::{MAX_SEARCHED_BYTES, Unit, Wildcard, units};
use crate::{ConfigError, escape::Escaped};

/// What a text is compared with.
///
/// A string is a pattern with wildcards: `*` matches any characters, also none, and also `/` and
/// `.`; `?` matches one byte. In a [query](super::Condition::query), `\*` and `\?` stand for the
/// characters themselves.
///
/// ```
/// use tower_lb::rules::{Condition, Pattern};
///
/// let by_wildcard = Condition::path(["/img/*", "/static/*.css"]);
/// let by_regex = Condition::path([Pattern::regex(r"^/v[0-9]+/users/")]);
/// let as_written = Condition::path([Pattern::literal("/what*ever?")]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    pub(super) syntax: Syntax,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Syntax {
    Wildcards,
    Literal,
    Regex,
}

impl Pattern {
    /// Compares with a regular expression, in the syntax of the crate `regex`. It matches anywhere
    /// in the text: use `^` and `$` for all of it. It ignores case where the condition does;
    /// `(?-i)` changes that.
    ///
    /// The time of a match is linear in the length of the text. So look-around and back-references
    /// are rejected when the rules are built, and so is an expression that compiles to more than
    /// 256 KiB.
    #[must_use]
    pub fn regex(expression: impl Into<String>) -> Self {
        Self { syntax: Syntax::Regex, text: expression.into() }
    }

    /// Compares with the text as it is: `*` and `?` are no wildcards.
    #[must_use]
    pub fn literal(text: impl Into<String>) -> Self {
        Self { syntax: Syntax::Literal, text: text.into() }
    }

    fn wildcards(text: impl Into<String>) -> Self {
        Self { syntax: Syntax::Wildcards, text: text.into() }
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Self::wildcards(text)
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self::wildcards(text)
    }
}

impl From<&String> for Pattern {
    fn from(text: &String) -> Self {
        Self::wildcards(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Escaped(&self.text);
        match self.syntax {
            Syntax::Wildcards => write!(f, "{text}"),
            Syntax::Literal => write!(f, "\"{text}\""),
            Syntax::Regex => write!(f, "/{text}/"),
        }
    }
}

/// Whether upper and lower case of ASCII letters differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Case {
    Sensitive,
    Insensitive,
}

impl Case {
    pub(in crate::rules) fn are_equal(self, one: &[u8], other: &[u8]) -> bool {
        match self {
            Self::Sensitive => one == other,
            Self::Insensitive => one.eq_ignore_ascii_case(other),
        }
    }
}

/// How the patterns of a condition are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) case: Case,
    /// Whether `\` escapes a wildcard.
    pub(super) has_escapes: bool,
}

/// A compiled [`Pattern`].
#[derive(Clone, Debug)]
pub(in crate::rules) struct TextMatcher {
    matcher: Matcher,
    /// What it was compiled from, for explanations.
    pub(super) pattern: Pattern,
    /// The parts of a pattern that is no regular expression, in lower case if case is ignored.
    pub(in crate::rules) units: Option<Box<[Unit]>>,
}

#[derive(Clone, Debug)]
enum Matcher {
    Literal(Box<[u8]>, Case),
    Wildcard(Wildcard),
    Regex(Regex),
}

impl TextMatcher {
    /// The error names no field: the caller knows the path of the pattern.
    pub(super) fn new(pattern: &Pattern, reading: Reading) -> Result<Self, ConfigError> {
        let Reading { case, has_escapes } = reading;
        let mut units = match pattern.syntax {
            Syntax::Regex => {
                let matcher = Matcher::Regex(compile(&pattern.text, case)?);
                return Ok(Self { matcher, pattern: pattern.clone(), units: None });
            }
            Syntax::Wildcards => units(&pattern.text, has_escapes),
            Syntax::Literal => pattern.text.bytes().map(Unit::Byte).collect(),
        };
        if case == Case::Insensitive {
            for unit in &mut units {
                if let Unit::Byte(byte) = unit {
                    byte.make_ascii_lowercase();
                }
            }
        }
        let literal = |unit: &Unit| if let Unit::Byte(byte) = unit { Some(*byte) } else { None };
        let matcher = match units.iter().map(literal).collect() {
            Some(text) => Matcher::Literal(text, case),
            None => Matcher::Wildcard(Wildcard::new(&units, case).ok_or_else(|| {
                let expected =
                    format!("at most {MAX_SEARCHED_BYTES} bytes between two *, or no ? there");
                ConfigError::new("", expected).with_value(&pattern.text)
            })?),
        };
        Ok(Self { matcher, pattern: pattern.clone(), units: Some(units.into()) })
    }

    #[inline]
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Literal(own, case) => case.are_equal(text, own),
            Matcher::Wildcard(wildcard) => wildcard.matches(text),
            Matcher::Regex(regex) => regex.is_match(text),
        }
    }

    /// Returns whether this matches everything that `other` matches, as far as that can be proved.
    pub(super) fn covers(&self, other: &Self) -> bool {
        if self.pattern == other.pattern {
            return true;
        }
        let Some(units) = &other.units else {
            // Any text matches.
            return self.units.as_deref() == Some(&[Unit::Many]);
        };
        let literal: Option<Vec<u8>> = units
            .iter()
            .map(|unit| if let Unit::Byte(byte) = unit { Some(*byte) } else { None })
            .collect();
        match (literal, &self.units) {
            (Some(text), _) => self.matches(&text),
            (None, Some(own)) => covers(own, units),
            (None, None) => false,
        }
    }

    /// Returns the text if this matches no other, apart from case.
    pub(super) fn literal(&self) -> Option<&[u8]> {
        if let Matcher::Literal(text, _) = &self.matcher { Some(text) } else { None }
    }
}

/// Returns whether each text that `other` matches is matched by `own`: a `*` covers any parts, a
/// `?` one part that is not `*`, and a byte itself.
fn covers(own: &[Unit], other: &[Unit]) -> bool {
    // The last `*` of `own`, and how much of `other` it has covered.
    let (mut at, mut of, mut star) = (0, 0, None);
    while of < other.len() {
        match own.get(at) {
            Some(Unit::Many) => {
                star = Some((at, of));
                at += 1;
            }
            Some(Unit::One) if other[of] != Unit::Many => (at, of) = (at + 1, of + 1),
            Some(unit) if *unit == other[of] => (at, of) = (at + 1, of + 1),
            _ => {
                let Some((position, covered)) = star else { return false };
                star = Some((position, covered + 1));
                (at, of) = (position + 1, covered + 1);
            }
        }
    }
    own[at..].iter().all(|unit| *unit == Unit::Many)
}

/// The largest program of a regular expression, in bytes.
const MAX_REGEX_BYTES: usize = 256 << 10;

/// Compiles a regular expression, or says what it lacks.
pub(in crate::rules) fn compile(expression: &str, case: Case) -> Result<Regex, ConfigError> {
    let invalid = |expected: String| ConfigError::new("", expected).with_value(expression);
    let mut builder = RegexBuilder::new(expression);
    builder.size_limit(MAX_REGEX_BYTES).dfa_size_limit(4 * MAX_REGEX_BYTES);
    builder.case_insensitive(case == Case::Insensitive);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            invalid(format!("a regular expression that compiles to at most {limit} bytes"))
        }
        error => {
            // The error shows the expression over several lines; its last line has the reason.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            invalid(format!("a regular expression of the crate `regex`; {reason}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SENSITIVE: Reading = Reading { case: Case::Sensitive, has_escapes: false };
    const INSENSITIVE: Reading = Reading { case: Case::Insensitive, has_escapes: true };

    fn matcher(pattern: impl Into<Pattern>, reading: Reading) -> TextMatcher {
        TextMatcher::new(&pattern.into(), reading).unwrap()
    }

    #[test]
    fn a_regex_follows_the_case_of_its_condition() {
        let regex = || Pattern::regex("^a.c$");
        assert!(matcher(regex(), INSENSITIVE).matches(b"AbC"));
        assert!(!matcher(regex(), SENSITIVE).matches(b"AbC"));
        assert!(!matcher(Pattern::regex("(?-i)^a.c$"), INSENSITIVE).matches(b"AbC"));
    }

    #[test]
    fn an_unsupported_regex_is_refused_with_the_reason() {
        for (expression, reason) in [
            ("(?=a)b", "look-around"),
            ("(?<!a)b", "look-around"),
            (r"(a)\1", "backreferences"),
            ("(a", "unclosed group"),
            ("a{1000}{1000}", "at most 262144 bytes"),
        ] {
            let error = compile(expression, Case::Sensitive).unwrap_err();
            assert!(error.expected().contains(reason), "{error}");
            assert!(!error.expected().contains('\n'), "{error}");
        }
    }

    #[test]
    fn coverage_is_proved_for_wildcards() {
        for (one, other, expected) in [
            ("*", "/a/*", true),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/b/*", true),
            ("/a/*", "/a/?", true),
            ("/a/?", "/a/*", false),
            ("/a/*", "/*", false),
            ("*.b", "*.a.b", true),
            ("*a*", "*ba*", true),
            ("/a", "/a", true),
            ("/a", "/b", false),
        ] {
            let (one, other) = (matcher(one, SENSITIVE), matcher(other, SENSITIVE));
            assert_eq!(one.covers(&other), expected, "{} {}", one.pattern, other.pattern);
        }
        let regex = matcher(Pattern::regex("^/a"), SENSITIVE);
        assert!(regex.covers(&matcher("/ab", SENSITIVE)) && regex.covers(&regex));
        assert!(!regex.covers(&matcher("/ab*", SENSITIVE)));
        assert!(matcher("*", SENSITIVE).covers(&regex));
    }

    proptest! {
        #[test]
        fn what_is_covered_matches(
            one in "[ab?*]{0,6}", other in "[ab?*]{0,6}", text in "[ab]{0,8}",
        ) {
            let (one, other) = (matcher(&one, SENSITIVE), matcher(&other, SENSITIVE));
            if one.covers(&other) && other.matches(text.as_bytes()) {
                prop_assert!(one.matches(text.as_bytes()));
            }
        }
    }
}
