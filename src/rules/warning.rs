use std::fmt;

use super::{
    condition::{Test, are_contradictory},
    rule::Identity,
};
use crate::escape::Escaped;

/// A rule that no request can match: the result of [`Rules::warnings`](super::Rules::warnings).
///
/// Only what can be proved is reported. Regular expressions and closures prove little, and of many
/// rules, only the first 1000 are compared with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RuleWarning {
    /// The name of the rule.
    pub rule: String,
    /// The priority of the rule.
    pub priority: u32,
    /// Why no request can match it.
    pub cause: WarningCause,
}

/// Why no request can match a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WarningCause {
    /// Two of its conditions exclude each other, such as two different hosts.
    Contradiction,
    /// A rule before it matches everything that it matches.
    Unreachable {
        /// The name of that rule.
        by: String,
        /// The priority of that rule.
        by_priority: u32,
    },
}

impl fmt::Display for RuleWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} can never match: ", Named(&self.rule, self.priority))?;
        match &self.cause {
            WarningCause::Contradiction => f.write_str("its conditions exclude each other"),
            WarningCause::Unreachable { by, by_priority } => {
                write!(f, "rule {} matches all of its requests", Named(by, *by_priority))
            }
        }
    }
}

/// A rule by its priority, and its name if that says more.
struct Named<'a>(&'a str, u32);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, priority) = self;
        write!(f, "{priority}")?;
        if **name == priority.to_string() { Ok(()) } else { write!(f, " ({})", Escaped(name)) }
    }
}

/// How many rules are compared with each other, from the first: the work grows with the square.
const MAX_COMPARED: usize = 1000;

/// Returns the rules that no request can match, in order of priority. `rules` are in that order.
pub(super) fn find_warnings<'a>(
    rules: impl Iterator<Item = (&'a Identity, &'a [Test])>,
) -> Vec<RuleWarning> {
    let mut warnings = Vec::new();
    let mut earlier: Vec<(&Identity, &[Test])> = Vec::new();
    for (number, (identity, tests)) in rules.enumerate() {
        let is_covered =
            |(_, covering): &&(_, &[Test])| covering.iter().all(|test| test.is_implied_by(tests));
        let cause = if are_contradictory(tests) {
            Some(WarningCause::Contradiction)
        } else if number >= MAX_COMPARED {
            None
        } else {
            earlier.iter().find(is_covered).map(|(by, _)| WarningCause::Unreachable {
                by: by.name.to_string(),
                by_priority: by.priority.unwrap_or_default(),
            })
        };
        match cause {
            Some(cause) => warnings.push(RuleWarning {
                rule: identity.name.to_string(),
                priority: identity.priority.unwrap_or_default(),
                cause,
            }),
            None => earlier.push((identity, tests)),
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use crate::rules::{Condition, Pattern, Rule, Rules};

    fn warnings(conditions: impl IntoIterator<Item = Condition>) -> Vec<String> {
        let rules = (1..)
            .zip(conditions)
            .map(|(priority, condition)| Rule::new(priority * 10, ()).when(condition));
        let rules = Rules::builder(()).rules(rules).build().unwrap();
        rules.warnings().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_what_is_proved_is_a_warning() {
        let path = |path: &str| Condition::path([path]);
        let host = |host: &str| Condition::host([host]);
        let unreachable = "rule 20 can never match: rule 10 matches all of its requests";
        let contradictory = "rule 20 can never match: its conditions exclude each other";
        for (one, other, expected) in [
            (path("/a/*"), path("/a/b"), Some(unreachable)),
            (path("/a/b"), path("/a/*"), None),
            (path("/a/*"), host("a.test").and(path("/a/b/*")), Some(unreachable)),
            (host("a.test").and(path("/a/*")), path("/a/b"), None),
            (host("*.test"), host("A.TEST"), Some(unreachable)),
            (path("/A"), path("/a"), None),
            (Condition::any(), Condition::method(["GET"]), Some(unreachable)),
            (
                Condition::source(["10.0.0.0/8"]),
                Condition::source(["10.1.0.0/16"]),
                Some(unreachable),
            ),
            (Condition::query(["v*"]), Condition::query([("k", "va")]), Some(unreachable)),
            (Condition::query([("k", "v")]), Condition::query(["v"]), None),
            (path("/a").or(path("/b")), path("/b"), Some(unreachable)),
            (path("/a"), path("/a").or(path("/b")), None),
            (!path("/a"), path("/b"), None),
            (Condition::path([Pattern::regex("^/a")]), path("/ab"), Some(unreachable)),
            (path("/x"), host("a.test").and(host("b.test")), Some(contradictory)),
            (path("/x"), host("a.test").and(host("*.test")), None),
            (path("/x"), path("/a").and(!path("/*")), Some(contradictory)),
            (
                path("/x"),
                Condition::method(["GET"]).and(Condition::method(["PUT"])),
                Some(contradictory),
            ),
        ] {
            let shown = format!("{one}; {other}");
            let expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(warnings([one, other]), expected, "{shown}");
        }
    }
}
