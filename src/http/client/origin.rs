use std::{fmt, net::SocketAddr, str::FromStr};

use http::{
    HeaderValue, Uri,
    uri::{Authority, Scheme},
};

use crate::ParseError;

/// The scheme and the authority at which an endpoint serves HTTP, such as `http://10.0.0.1:8080`.
///
/// It is parsed from text, where the default scheme is `http`, or made from a [`SocketAddr`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    authority: Authority,
}

impl Origin {
    /// Returns the scheme.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Returns host and port.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns the authority as a `Host` header.
    pub(super) fn host(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.authority.as_str()).ok()
    }
}

impl FromStr for Origin {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let invalid = || ParseError::new("origin", text, "only a scheme, a host and a port");
        let uri = text.parse::<Uri>().map_err(|error| invalid().with_source(error))?;
        let parts = uri.into_parts();
        let authority = parts.authority.ok_or_else(invalid)?;
        let has_path = parts.path_and_query.is_some_and(|path| path != "/");
        if has_path || authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(invalid());
        }
        Ok(Self { scheme: parts.scheme.unwrap_or(Scheme::HTTP), authority })
    }
}

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Self {
        let authority = address.to_string().parse();
        // Every socket address is an authority, so the default is never used.
        let authority = authority.unwrap_or_else(|_| Authority::from_static("localhost"));
        Self { scheme: Scheme::HTTP, authority }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

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
            let error = text.parse::<Origin>().unwrap_err();
            assert_eq!((error.what(), error.text()), ("origin", text));
        }
        let address: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(Origin::from(address).to_string(), "http://[::1]:80");
    }
}
