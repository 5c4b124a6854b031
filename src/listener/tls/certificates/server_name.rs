use std::fmt;

/// The name of a server as a certificate states it: one host, or all hosts one label below a domain
/// (RFC 9525, section 6.3). Lower case, without a dot at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ServerName {
    Exact(Box<str>),
    /// `*.` before this domain.
    Wildcard(Box<str>),
}

impl ServerName {
    /// Returns `None` if the text is not a DNS name, or has a `*` that is not its first label.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let lower = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        match lower.strip_prefix("*.") {
            Some(domain) => is_host(domain).then(|| Self::Wildcard(domain.into())),
            None => is_host(&lower).then(|| Self::Exact(lower.into())),
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(domain) => write!(f, "*.{domain}"),
        }
    }
}

/// Returns whether the text is a DNS name that a client can ask for. Names of hosts have no
/// underscore, but those of internal services do.
fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    // A name whose last label is a number is an IPv4 address, which clients don't send.
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_address = last.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253 && name.split('.').all(is_label) && !is_address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_the_whole_first_label() {
        for (name, parsed) in [
            ("shop.example", Some("shop.example")),
            ("Shop.EXAMPLE.", Some("shop.example")),
            ("*.Shop.example", Some("*.shop.example")),
            ("localhost", Some("localhost")),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("_a.internal", Some("_a.internal")),
            ("", None),
            (".", None),
            ("*", None),
            ("*.", None),
            ("**.example", None),
            ("*.*.example", None),
            ("f*.example", None),
            ("www.*.example", None),
            ("a..example", None),
            (".example", None),
            ("a b.example", None),
            ("a\n.example", None),
            ("bücher.example", None),
            ("10.0.0.1", None),
            ("[::1]", None),
        ] {
            let shown = ServerName::parse(name).map(|name| name.to_string());
            assert_eq!(shown.as_deref(), parsed, "{name}");
        }
        let long = |length| "a".repeat(length);
        assert!(ServerName::parse(&long(63)).is_some() && ServerName::parse(&long(64)).is_none());
        assert!(ServerName::parse(&format!("{}a", "a.".repeat(127))).is_none());
    }
}
