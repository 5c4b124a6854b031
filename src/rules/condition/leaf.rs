use std::fmt;

use http::{HeaderName, HeaderValue, Method, header};
use ipnet::IpNet;

use super::{
    RequestView, TextMatcher,
    condition::{Alternatives, Predicate},
};
use crate::escape::Escaped;

/// A compiled condition that is no combination of others. It has at least one value.
#[derive(Clone, Debug)]
pub(in crate::rules) enum Leaf {
    Any,
    Host(Box<[TextMatcher]>),
    Path(Box<[TextMatcher]>),
    Header { name: HeaderName, values: Box<[TextMatcher]> },
    Method(Box<[Method]>),
    Query(Box<[ParameterMatcher]>),
    Source(Box<[IpNet]>),
    Predicate(Predicate),
}

/// A compiled parameter of a query.
#[derive(Clone, Debug)]
pub(in crate::rules) struct ParameterMatcher {
    pub(super) key: Option<TextMatcher>,
    pub(super) value: TextMatcher,
}

impl ParameterMatcher {
    fn matches(&self, (key, value): (&[u8], &[u8])) -> bool {
        self.key.as_ref().is_none_or(|own| own.matches(key)) && self.value.matches(value)
    }

    fn covers(&self, other: &Self) -> bool {
        let covers_key = match (&self.key, &other.key) {
            (None, _) => true,
            (Some(own), Some(other)) => own.covers(other),
            (Some(_), None) => false,
        };
        covers_key && self.value.covers(&other.value)
    }
}

impl Leaf {
    /// Returns the position of the first value that matches.
    #[inline]
    pub(super) fn find(&self, request: &RequestView<'_>) -> Option<usize> {
        match self {
            Self::Any => Some(0),
            Self::Host(values) => {
                let host = request.host()?;
                values.iter().position(|value| value.matches(host))
            }
            Self::Path(values) => {
                let path = request.path();
                values.iter().position(|value| value.matches(path))
            }
            Self::Header { name, values } => {
                let lines = request.head.headers.get_all(name);
                let matches =
                    |value: &TextMatcher| lines.iter().any(|line| value.matches(line.as_bytes()));
                values.iter().position(matches)
            }
            Self::Method(methods) => {
                methods.iter().position(|method| *method == request.head.method)
            }
            Self::Query(values) => {
                let matches = |value: &ParameterMatcher| {
                    request.parameters().any(|parameter| value.matches(parameter))
                };
                values.iter().position(matches)
            }
            Self::Source(networks) => {
                let source = request.source()?;
                networks.iter().position(|network| network.contains(&source))
            }
            Self::Predicate(Predicate { is_met, .. }) => is_met(request.head).then_some(0),
        }
    }

    /// Returns whether this matches each request that `other` matches, as far as that can be
    /// proved.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let cover = |own: &[TextMatcher], other: &[TextMatcher]| {
            other.iter().all(|other| own.iter().any(|own| own.covers(other)))
        };
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Host(own), Self::Host(other)) | (Self::Path(own), Self::Path(other)) => {
                cover(own, other)
            }
            (
                Self::Header { name, values },
                Self::Header { name: other_name, values: other_values },
            ) => name == other_name && cover(values, other_values),
            (Self::Method(own), Self::Method(other)) => {
                other.iter().all(|method| own.contains(method))
            }
            (Self::Query(own), Self::Query(other)) => {
                other.iter().all(|other| own.iter().any(|own| own.covers(other)))
            }
            (Self::Source(own), Self::Source(other)) => {
                other.iter().all(|other| own.iter().any(|own| own.contains(other)))
            }
            _ => false,
        }
    }

    /// Returns whether no request matches both, as far as that can be proved.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host(one), Self::Host(other)) | (Self::Path(one), Self::Path(other)) => {
                one.iter().all(|one| other.iter().all(|other| are_disjoint(one, other)))
            }
            (Self::Method(one), Self::Method(other)) => {
                !one.iter().any(|method| other.contains(method))
            }
            (Self::Source(one), Self::Source(other)) => {
                let are_disjoint =
                    |one: &IpNet, other: &IpNet| !one.contains(other) && !other.contains(one);
                one.iter().all(|one| other.iter().all(|other| are_disjoint(one, other)))
            }
            _ => false,
        }
    }

    /// Returns what the values are compared with, as text; `None` if the request has no such part.
    pub(in crate::rules) fn compared(&self, request: &RequestView<'_>) -> Option<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::Any | Self::Predicate(_) => None,
            Self::Host(_) => request.host().map(text),
            Self::Path(_) => Some(text(request.path())),
            Self::Header { name, .. } => {
                let lines = request.head.headers.get_all(name);
                let shown = |line: &HeaderValue| {
                    let is_hidden = line.is_sensitive() || is_secret_field(name.as_str());
                    if is_hidden { "(hidden)".to_owned() } else { text(line.as_bytes()) }
                };
                let lines: Vec<_> = lines.iter().map(shown).collect();
                (!lines.is_empty()).then(|| lines.join(", "))
            }
            Self::Method(_) => Some(request.head.method.to_string()),
            Self::Query(_) => request.head.uri.query().map(str::to_owned),
            Self::Source(_) => request.source().map(|source| source.to_string()),
        }
    }

    /// Returns the value at a position, as text.
    pub(in crate::rules) fn value(&self, position: usize) -> Option<String> {
        match self {
            Self::Any | Self::Predicate(_) => None,
            Self::Header { name, .. } if is_secret_field(name.as_str()) => None,
            Self::Host(values) | Self::Path(values) | Self::Header { values, .. } => {
                values.get(position).map(ToString::to_string)
            }
            Self::Method(methods) => methods.get(position).map(ToString::to_string),
            Self::Query(values) => values.get(position).map(ToString::to_string),
            Self::Source(networks) => networks.get(position).map(ToString::to_string),
        }
    }
}

fn are_disjoint(one: &TextMatcher, other: &TextMatcher) -> bool {
    match (one.literal(), other.literal()) {
        (Some(text), _) => !other.matches(text),
        (None, Some(text)) => !one.matches(text),
        (None, None) => false,
    }
}

/// Returns whether the values of a header field are secrets, which no explanation shows.
pub(super) fn is_secret_field(name: &str) -> bool {
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE]
        .iter()
        .any(|secret| secret.as_str().eq_ignore_ascii_case(name))
}

impl fmt::Display for TextMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pattern.fmt(f)
    }
}

impl fmt::Display for ParameterMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}={}", self.value),
            None => write!(f, "*={}", self.value),
        }
    }
}

/// As [`Condition`](super::Condition) displays itself.
impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any request"),
            Self::Host(values) => write!(f, "host is {}", Alternatives(values)),
            Self::Path(values) => write!(f, "path is {}", Alternatives(values)),
            Self::Header { name, .. } if is_secret_field(name.as_str()) => {
                write!(f, "{name} is (hidden)")
            }
            Self::Header { name, values } => write!(f, "{name} is {}", Alternatives(values)),
            Self::Method(methods) => write!(f, "method is {}", Alternatives(methods)),
            Self::Query(values) => write!(f, "query has {}", Alternatives(values)),
            Self::Source(networks) => write!(f, "source is in {}", Alternatives(networks)),
            Self::Predicate(Predicate { name, .. }) => write!(f, "{}", Escaped(name)),
        }
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Predicate({:?})", self.name)
    }
}
