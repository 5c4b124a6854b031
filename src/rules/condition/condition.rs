use std::{fmt, ops::Not, sync::Arc};

use http::request::Parts;

use super::{Pattern, leaf::is_secret_field};
use crate::escape::Escaped;

/// What a request must be for a rule to apply.
///
/// A condition with several values is met if one of them matches. The conditions of a rule must all
/// be met. [`and`](Self::and), [`or`](Self::or) and `!` combine them further.
///
/// ```
/// use tower_lb::rules::Condition;
///
/// let internal = Condition::source(["10.0.0.0/8"]).and(!Condition::header("x-canary", ["*"]));
/// let by_code = Condition::predicate("has a range", |head| head.headers.contains_key("range"));
/// let either = internal.or(by_code);
/// ```
///
/// A condition is a specification: [`RulesBuilder::build`](super::super::RulesBuilder::build)
/// checks and compiles it.
#[derive(Clone)]
pub struct Condition(pub(super) Kind);

#[derive(Clone)]
pub(super) enum Kind {
    Any,
    Host(Vec<Pattern>),
    Path(Vec<Pattern>),
    Header { name: String, values: Vec<Pattern> },
    Method(Vec<String>),
    Query(Vec<QueryPattern>),
    Source(Vec<String>),
    Predicate(Predicate),
    AllOf(Vec<Condition>),
    AnyOf(Vec<Condition>),
    Not(Box<Condition>),
}

/// A condition in code.
#[derive(Clone)]
pub(in crate::rules) struct Predicate {
    pub(in crate::rules) name: Arc<str>,
    pub(in crate::rules) is_met: Arc<dyn Fn(&Parts) -> bool + Send + Sync>,
}

impl Condition {
    /// Every request meets it.
    #[must_use]
    pub fn any() -> Self {
        Self(Kind::Any)
    }

    /// The host of the request matches a value: the authority of the target, or else of `Host`.
    ///
    /// The host is compared without its port and a final dot, and whatever its case. A request
    /// without a host, with several `Host` fields, or with an invalid one does not match. The `*`
    /// of `*.example.com` stands for any number of labels, and `example.com` itself does not match.
    pub fn host(values: impl IntoIterator<Item = impl Into<Pattern>>) -> Self {
        Self(Kind::Host(patterns(values)))
    }

    /// The path of the request matches a value, upper and lower case as written.
    ///
    /// The path is compared as it was sent: without the query, percent-encoded octets are not
    /// decoded, and dot segments are not removed. A server that decodes them can find another
    /// path in it than the rule did.
    pub fn path(values: impl IntoIterator<Item = impl Into<Pattern>>) -> Self {
        Self(Kind::Path(patterns(values)))
    }

    /// A header field with this name has a value that matches, whatever its case. A field that
    /// occurs several times is compared line by line.
    ///
    /// `Host` is not allowed: use [`host`](Self::host).
    pub fn header(
        name: impl Into<String>,
        values: impl IntoIterator<Item = impl Into<Pattern>>,
    ) -> Self {
        Self(Kind::Header { name: name.into(), values: patterns(values) })
    }

    /// The method is one of these, upper and lower case as written, without wildcards.
    ///
    /// `GET` does not include `HEAD`. Name both, so that a response to `HEAD` says what `GET`
    /// would.
    pub fn method(methods: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(Kind::Method(methods.into_iter().map(Into::into).collect()))
    }

    /// The query has a parameter that matches, whatever its case: `("key", "value")`, or a value of
    /// any key. Percent-encoded octets are not decoded. `\*` and `\?` stand for the characters
    /// themselves. A parameter without `=` has an empty value.
    pub fn query(values: impl IntoIterator<Item = impl Into<QueryPattern>>) -> Self {
        Self(Kind::Query(values.into_iter().map(Into::into).collect()))
    }

    /// The address of the client's connection is in one of these networks: `10.0.0.0/8`, or an
    /// address.
    ///
    /// The address is the peer of the [`ClientConnection`](crate::http::ClientConnection) in the
    /// extensions, never that of a header field. Without the extension, no request matches.
    pub fn source(networks: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(Kind::Source(networks.into_iter().map(Into::into).collect()))
    }

    /// The closure returns true. `name` is for explanations.
    ///
    /// The closure runs for each request that gets as far as its rule, so it should neither block
    /// nor panic.
    pub fn predicate(
        name: impl Into<Arc<str>>,
        is_met: impl Fn(&Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::Predicate(Predicate { name: name.into(), is_met: Arc::new(is_met) }))
    }

    /// Each of these is met. They are tested in order, up to the first that is not.
    pub fn all_of(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self(Kind::AllOf(conditions.into_iter().collect()))
    }

    /// One of these is met. They are tested in order, up to the first that is.
    pub fn any_of(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self(Kind::AnyOf(conditions.into_iter().collect()))
    }

    /// Both are met.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(Kind::AllOf(match self.0 {
            Kind::AllOf(conditions) => conditions.into_iter().chain([other]).collect(),
            _ => vec![self, other],
        }))
    }

    /// One of both is met.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(Kind::AnyOf(match self.0 {
            Kind::AnyOf(conditions) => conditions.into_iter().chain([other]).collect(),
            _ => vec![self, other],
        }))
    }
}

fn patterns(values: impl IntoIterator<Item = impl Into<Pattern>>) -> Vec<Pattern> {
    values.into_iter().map(Into::into).collect()
}

/// It is met if the other one is not.
impl Not for Condition {
    type Output = Self;

    fn not(self) -> Self {
        Self(Kind::Not(Box::new(self)))
    }
}

/// A parameter of a query: a value, or a key and its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueryPattern {
    pub(super) key: Option<Pattern>,
    pub(super) value: Pattern,
}

impl<V: Into<Pattern>> From<V> for QueryPattern {
    fn from(value: V) -> Self {
        Self { key: None, value: value.into() }
    }
}

impl<K: Into<Pattern>, V: Into<Pattern>> From<(K, V)> for QueryPattern {
    fn from((key, value): (K, V)) -> Self {
        Self { key: Some(key.into()), value: value.into() }
    }
}

impl fmt::Display for QueryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}={}", self.value),
            None => write!(f, "*={}", self.value),
        }
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({self})")
    }
}

/// As in an explanation: "host is a.example or *.b.example".
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Any => f.write_str("any request"),
            Kind::Host(values) => write!(f, "host is {}", Alternatives(values)),
            Kind::Path(values) => write!(f, "path is {}", Alternatives(values)),
            Kind::Header { name, .. } if is_secret_field(name) => {
                write!(f, "{} is (hidden)", Escaped(name))
            }
            Kind::Header { name, values } => {
                write!(f, "{} is {}", Escaped(name), Alternatives(values))
            }
            Kind::Method(values) => write!(f, "method is {}", Alternatives(values)),
            Kind::Query(values) => write!(f, "query has {}", Alternatives(values)),
            Kind::Source(values) => write!(f, "source is in {}", Alternatives(values)),
            Kind::Predicate(Predicate { name, .. }) => write!(f, "{}", Escaped(name)),
            Kind::AllOf(conditions) => write_joined(f, conditions, " and "),
            Kind::AnyOf(conditions) => write_joined(f, conditions, " or "),
            Kind::Not(condition) => write!(f, "not ({condition})"),
        }
    }
}

fn write_joined(
    f: &mut fmt::Formatter<'_>,
    conditions: &[Condition],
    separator: &str,
) -> fmt::Result {
    for (number, condition) in conditions.iter().enumerate() {
        let separator = if number == 0 { "" } else { separator };
        write!(f, "{separator}({condition})")?;
    }
    Ok(())
}

/// Values, of which one must match.
pub(super) struct Alternatives<'a, T>(pub(super) &'a [T]);

/// More values than this are counted, not shown.
const MAX_SHOWN: usize = 5;

impl<T: fmt::Display> fmt::Display for Alternatives<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, value) in self.0.iter().take(MAX_SHOWN).enumerate() {
            let separator = if number == 0 { "" } else { " or " };
            write!(f, "{separator}{}", Escaped(value))?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, " or {more} others"),
        }
    }
}
