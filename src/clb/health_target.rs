use std::{fmt, str::FromStr};

use super::ClassicProtocol;
use crate::{ParseError, request_path::request_path};

/// What a health check asks for: `HealthCheck.Target` of AWS's API.
///
/// | form | passes |
/// |---|---|
/// | `HTTP:80/path`, `HTTPS:443/path` | a `GET` of the path has status 200 |
/// | `TCP:80` | the instance accepts a connection |
/// | `SSL:443` | the same, and completes a TLS handshake |
///
/// The port is from 1 to 65535. The path may have a query, and the text has at most 1024
/// characters. Where this differs: the protocol may be in lower case.
///
/// ```
/// use tower_lb::clb::{ClassicProtocol, HealthTarget};
///
/// let target: HealthTarget = "HTTP:80/weather/us/wa/seattle".parse()?;
/// assert_eq!((target.protocol(), target.port()), (ClassicProtocol::Http, 80));
/// assert_eq!(target.path(), Some("/weather/us/wa/seattle"));
/// assert!("TCP:80/path".parse::<HealthTarget>().is_err());
/// # Ok::<_, tower_lb::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthTarget {
    protocol: ClassicProtocol,
    port: u16,
    /// Only of HTTP and HTTPS, and always of these.
    path: Option<Box<str>>,
}

const MAX_CHARACTERS: usize = 1024;
const EXPECTED: &str = "HTTP:80/path, HTTPS:443/path, TCP:80 or SSL:443 of at most 1024 characters";

impl HealthTarget {
    /// Connects to `port`.
    pub(super) fn tcp(port: u16) -> Self {
        Self { protocol: ClassicProtocol::Tcp, port, path: None }
    }

    /// Returns the protocol.
    #[must_use]
    pub fn protocol(&self) -> ClassicProtocol {
        self.protocol
    }

    /// Returns the port of the instance.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path, with its query if it has one; `None` for TCP and SSL.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }
}

impl FromStr for HealthTarget {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let invalid = || ParseError::new("health target", text, EXPECTED);
        if text.chars().count() > MAX_CHARACTERS {
            return Err(invalid());
        }
        let (protocol, rest) = text.split_once(':').ok_or_else(invalid)?;
        let protocol: ClassicProtocol = protocol.parse().map_err(|_| invalid())?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (port, path) = rest.split_at(digits);
        let port = port.parse().ok().filter(|&port| port > 0).ok_or_else(invalid)?;
        let path = match (protocol.is_http(), path) {
            (false, "") => None,
            (true, path) if request_path(path).is_ok() => Some(path.into()),
            _ => return Err(invalid()),
        };
        Ok(Self { protocol, port, path })
    }
}

impl fmt::Display for HealthTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.protocol, self.port, self.path.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_form_is_parsed_and_shown() {
        for (text, protocol, port, path) in [
            ("HTTP:80/", ClassicProtocol::Http, 80, Some("/")),
            ("HTTP:8080/a/b?c=d", ClassicProtocol::Http, 8080, Some("/a/b?c=d")),
            ("HTTPS:443/healthz", ClassicProtocol::Https, 443, Some("/healthz")),
            ("TCP:65535", ClassicProtocol::Tcp, 65535, None),
            ("SSL:1", ClassicProtocol::Ssl, 1, None),
        ] {
            let target: HealthTarget = text.parse().unwrap();
            let parts = (target.protocol(), target.port(), target.path());
            assert_eq!(parts, (protocol, port, path));
            assert_eq!(target.to_string(), text);
            assert_eq!(text.to_lowercase().parse::<HealthTarget>().unwrap(), target);
        }
    }

    #[test]
    fn everything_else_is_an_error_that_shows_the_text() {
        let long = format!("HTTP:80/{}", "x".repeat(MAX_CHARACTERS));
        for text in [
            "",
            "HTTP",
            "HTTP:",
            "HTTP:80",
            "HTTP:/",
            "HTTP:0/",
            "HTTP:65536/",
            "HTTP:80path",
            "HTTP:80/a b",
            "HTTP:80/\n",
            "HTTP:+80/",
            "HTTP: 80/",
            "TCP:80/",
            "TCP:80 ",
            "TCP:",
            "TCP:0",
            "SSL:443/path",
            "UDP:53",
            "80",
            "/",
            ":80/",
            "HTTP:80?a",
            &long,
        ] {
            let error = text.parse::<HealthTarget>().unwrap_err();
            assert_eq!(error.what(), "health target");
            assert!(text.starts_with(error.text()), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(text in "(HTTPS?|TCP|SSL)?:?[0-9]{0,6}.{0,10}") {
            if let Ok(target) = text.parse::<HealthTarget>() {
                prop_assert_eq!(target.to_string().parse::<HealthTarget>().unwrap(), target);
            }
        }
    }
}
