use std::fmt;

use http::request::Parts;

use super::{
    condition::{Leaf, Observe, RequestView},
    table::TableRule,
};
use crate::escape::Escaped;

/// Why a request matches the rule that it matches: the result of
/// [`Rules::explain`](super::Rules::explain).
///
/// `Display` writes a line for each rule and for what decided it. Texts in the fields are not
/// escaped; `Display` escapes them. The values of `Authorization`, `Proxy-Authorization`, `Cookie`
/// and sensitive header fields are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Explanation {
    /// The name of the rule that gets the request.
    pub rule: String,
    /// The priority of that rule; `None` for the default rule.
    pub priority: Option<u32>,
    /// The host with which the service of the rule gets the request, if the rule changes it.
    pub rewritten_host: Option<String>,
    /// The path and query with which the service gets the request, if the rule changes them.
    pub rewritten_url: Option<String>,
    /// Why the rewrite of the rule fails, if it does.
    pub rewrite_error: Option<String>,
    /// The rules in order of priority. The default rule is the last.
    pub rules: Vec<ExplainedRule>,
}

/// One rule in an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ExplainedRule {
    /// The name of the rule.
    pub name: String,
    /// The priority; `None` for the default rule.
    pub priority: Option<u32>,
    /// What the rule is to the request.
    pub verdict: RuleVerdict,
    /// The conditions that were tested, up to the one that decided.
    pub conditions: Vec<ExplainedCondition>,
}

/// What a rule is to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RuleVerdict {
    /// It gets the request.
    Matched,
    /// One of its conditions is not met.
    NotMatched,
    /// Its conditions are met, but a rule before it gets the request.
    Shadowed,
}

/// One condition in an [`Explanation`], or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ExplainedCondition {
    /// The number of groups around this one.
    pub depth: usize,
    /// The condition, for people: "host is *.example.com".
    pub condition: String,
    /// Whether it is met.
    pub is_met: bool,
    /// What the request has, to which the condition was compared; `None` if it lacks that part, or
    /// for a group.
    pub compared: Option<String>,
    /// The value of the condition that matched.
    pub value: Option<String>,
}

impl Explanation {
    pub(super) fn new<S>(matched: &TableRule<S>, head: &Parts, rules: Vec<ExplainedRule>) -> Self {
        let host = matched.rewrites.rewritten_host(head);
        let url = matched.rewrites.rewritten_url(head);
        let error = host.as_ref().err().or_else(|| url.as_ref().err()).map(ToString::to_string);
        Self {
            rule: matched.identity.name().to_owned(),
            priority: matched.identity.priority(),
            rewritten_host: host.ok().flatten().map(|host| host.to_string()),
            rewritten_url: url.ok().flatten().map(|url| url.to_string()),
            rewrite_error: error,
            rules,
        }
    }
}

/// Records the conditions of one rule as they are tested.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) conditions: Vec<ExplainedCondition>,
    depth: usize,
}

impl Observe for Recorder {
    fn group(&mut self, name: &'static str, run: impl FnOnce(&mut Self) -> bool) -> bool {
        let position = self.conditions.len();
        self.conditions.push(ExplainedCondition {
            depth: self.depth,
            condition: name.to_owned(),
            is_met: false,
            compared: None,
            value: None,
        });
        self.depth += 1;
        let is_met = run(self);
        self.depth -= 1;
        self.conditions[position].is_met = is_met;
        is_met
    }

    fn leaf(&mut self, leaf: &Leaf, request: &RequestView<'_>, found: Option<usize>) {
        self.conditions.push(ExplainedCondition {
            depth: self.depth,
            condition: leaf.to_string(),
            is_met: found.is_some(),
            compared: leaf.compared(request),
            value: found.and_then(|position| leaf.value(position)),
        });
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}", Named(&self.rule, self.priority))?;
        if let Some(host) = &self.rewritten_host {
            write!(f, ", with host {}", Escaped(host))?;
        }
        if let Some(url) = &self.rewritten_url {
            write!(f, ", as {}", Escaped(url))?;
        }
        if let Some(error) = &self.rewrite_error {
            write!(f, ", but {error}")?;
        }
        writeln!(f)?;
        self.rules.iter().try_for_each(|rule| rule.fmt(f))
    }
}

impl fmt::Display for ExplainedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.verdict == RuleVerdict::Matched { "→" } else { " " };
        writeln!(f, "{mark} {}: {}", Named(&self.name, self.priority), self.verdict)?;
        self.conditions.iter().try_for_each(|condition| condition.fmt(f))
    }
}

impl fmt::Display for RuleVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Matched => "matched",
            Self::NotMatched => "not matched",
            Self::Shadowed => "would match, but a rule before it does",
        })
    }
}

/// The longest text of a request that is shown whole, in characters.
const MAX_TEXT_CHARS: usize = 300;

impl fmt::Display for ExplainedCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_met { "✓" } else { "✗" };
        write!(f, "{:indent$}{mark} {}", "", self.condition, indent = 4 + 2 * self.depth)?;
        if let Some(compared) = &self.compared {
            let cut = compared.char_indices().nth(MAX_TEXT_CHARS).map(|(end, _)| end);
            let shown = &compared[..cut.unwrap_or(compared.len())];
            let end = if cut.is_some() { "…" } else { "" };
            write!(f, ": {}{end}", Escaped(shown))?;
        }
        if let Some(value) = &self.value {
            write!(f, " matches {}", Escaped(value))?;
        }
        writeln!(f)
    }
}

/// A rule by its priority, and its name if that says more.
struct Named<'a>(&'a str, Option<u32>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, priority) = self;
        match priority {
            None => write!(f, "{}", Escaped(name)),
            Some(priority) if **name == priority.to_string() => write!(f, "{priority}"),
            Some(priority) => write!(f, "{priority} ({})", Escaped(name)),
        }
    }
}
