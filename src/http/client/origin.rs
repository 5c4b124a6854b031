use std::{fmt, net::SocketAddr, str::FromStr};

use http::{
    HeaderValue, Uri,
    uri::{Authority, Scheme},
};

/// Where an endpoint serves HTTP: scheme and authority, as in `http://10.0.0.1:8080`.
///
/// Parsed from text (the scheme is `http` if there is none) or made from a [`SocketAddr`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    authority: Authority,
}

impl Origin {
    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Host and port.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The authority as a `Host` header.
    pub(super) fn host(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.authority.as_str()).ok()
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin { text: text.into() };
        let parts = text.parse::<Uri>().map_err(|_| invalid())?.into_parts();
        let authority = parts.authority.ok_or_else(invalid)?;
        let bare = parts.path_and_query.is_none_or(|path| path == "/");
        if !bare || authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(invalid());
        }
        Ok(Self { scheme: parts.scheme.unwrap_or(Scheme::HTTP), authority })
    }
}

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Self {
        let authority = address.to_string().parse();
        let authority = authority.unwrap_or_else(|_| Authority::from_static("localhost"));
        Self { scheme: Scheme::HTTP, authority }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// A text that is no [`Origin`]: it has no host, or more than scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidOrigin {
    text: Box<str>,
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no origin: expected scheme, host and port only", self.text)
    }
}

impl std::error::Error for InvalidOrigin {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_scheme_host_and_port() {
        for (text, shown) in [
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
            ("https://example.com/", "https://example.com"),
            ("localhost:80", "http://localhost:80"),
            ("http://[::1]:80", "http://[::1]:80"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), shown);
        }
        for text in ["", "/", "http://", "http://a/b", "http://a?b", "a b", "http://u@a", ":80"] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
        let address: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(Origin::from(address).to_string(), "http://[::1]:80");
    }
}
