use std::{fmt, str::FromStr};

use crate::ParseError;

/// The protocol of a listener, of its instances, or of health checks.
///
/// A listener of HTTP or HTTPS forwards to HTTP or HTTPS, and one of TCP or SSL to TCP or SSL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClassicProtocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// Any bytes.
    Tcp,
    /// Any bytes over TLS.
    Ssl,
}

impl ClassicProtocol {
    /// Returns the name in AWS's API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Tcp => "TCP",
            Self::Ssl => "SSL",
        }
    }

    /// Returns true for HTTP and HTTPS.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// Returns true for HTTPS and SSL.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Https | Self::Ssl)
    }
}

impl fmt::Display for ClassicProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ClassicProtocol {
    type Err = ParseError;

    /// Parses a name in AWS's API, in upper or lower case.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let all = [Self::Http, Self::Https, Self::Tcp, Self::Ssl];
        let found = all.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(text));
        found.ok_or_else(|| ParseError::new("protocol", text, "HTTP, HTTPS, TCP or SSL"))
    }
}
