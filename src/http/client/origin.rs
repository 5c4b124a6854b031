use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr},
    str::FromStr,
};

use http::{
    HeaderValue, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::ParseError;

/// Where an endpoint serves HTTP: a scheme, a host, a port and perhaps a path, such as
/// `http://10.0.0.1:8080` or `https://shop.example/api`.
///
/// It is parsed from text, where the default scheme is `http`, or made from a [`SocketAddr`]. The
/// path comes before the path of every request. A host that is an IPv6 address may have a zone
/// (`http://[fe80::1%25eth0]`), which is used to connect and is not sent (RFC 6874, 4).
///
/// # Errors
///
/// Parsing returns a [`ParseError`] for schemes other than `http` and `https`, ports other than 1
/// to 65535, user names, queries and fragments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    authority: Authority,
    /// Empty, or starts with a slash and does not end with one.
    base_path: Box<str>,
    address: Address,
}

/// What a connection to an origin is opened to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    /// The host and the port of the authority.
    Authority,
    /// The host of the authority, an IPv6 address, in this zone.
    Zone(Box<str>),
    /// Another address than the authority's.
    Socket(SocketAddr),
}

impl Origin {
    /// Connects to `address` instead of resolving the host.
    ///
    /// The host stays the name of the endpoint: it is sent as [`HostHeader::Endpoint`], and a TLS
    /// certificate is verified for it. So endpoints whose addresses come from DNS or Kubernetes are
    /// reached by TLS:
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use tower_lb::http::Origin;
    ///
    /// let name: Origin = "https://shop.example".parse()?;
    /// let address: SocketAddr = "10.0.0.1:8443".parse().unwrap();
    /// let origin = name.at(address);
    /// # Ok::<_, tower_lb::ParseError>(())
    /// ```
    ///
    /// Only the clients of `Pool` (feature `http-client`) support it. A service in
    /// [`SetOrigin`](crate::http::SetOrigin) connects to the host.
    ///
    /// [`HostHeader::Endpoint`]: crate::http::HostHeader::Endpoint
    #[must_use]
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = Address::Socket(address);
        self
    }

    /// Replaces the scheme by `https` or `http`. A port that the origin does not name is then that
    /// of the new scheme.
    #[cfg(any(feature = "alb", feature = "clb"))]
    pub(crate) fn secured(mut self, https: bool) -> Self {
        self.scheme = if https { Scheme::HTTPS } else { Scheme::HTTP };
        self
    }

    /// Replaces the port.
    #[cfg(feature = "alb")]
    pub(crate) fn on_port(mut self, port: u16) -> Self {
        let host = self.authority.host();
        // A host with a port is an authority, so the old one never stays.
        if let Ok(authority) = format!("{host}:{port}").parse() {
            self.authority = authority;
        }
        if let Address::Socket(address) = &mut self.address {
            address.set_port(port);
        }
        self
    }

    /// Returns the address that connections are opened to, unless it has to be resolved.
    #[cfg(feature = "alb")]
    pub(crate) fn socket(&self) -> Option<SocketAddr> {
        self.socket_address()
    }

    /// Returns the scheme, `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Returns host and port.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns the path that comes before the path of every request: empty, or with a slash at its
    /// start and none at its end.
    #[must_use]
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// Returns the authority as a `Host` header.
    pub(super) fn host(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.authority.as_str()).ok()
    }

    #[cfg(feature = "http-client")]
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the address that connections are opened to, unless it has to be resolved.
    pub(in crate::http) fn socket_address(&self) -> Option<SocketAddr> {
        match &self.address {
            Address::Socket(address) => Some(*address),
            Address::Zone(_) | Address::Authority => {
                Some(SocketAddr::new(self.host_name().parse().ok()?, self.port()))
            }
        }
    }

    /// Returns the host, an IPv6 address without its brackets.
    pub(in crate::http) fn host_name(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// Returns the port, or the default one of the scheme.
    pub(in crate::http) fn port(&self) -> u16 {
        let default = if self.scheme == Scheme::HTTPS { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(default)
    }

    /// Returns the path of a request with the path of the origin before it, or `None` if it is the
    /// same path.
    pub(super) fn join(&self, path: Option<&PathAndQuery>) -> Option<PathAndQuery> {
        if self.base_path.is_empty() {
            return None;
        }
        let path = path.map_or("/", PathAndQuery::as_str);
        let slash = if path.starts_with('/') { "" } else { "/" };
        format!("{}{slash}{path}", self.base_path).parse().ok()
    }
}

impl FromStr for Origin {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let invalid =
            || ParseError::new("origin", text, "an http or https URL of a host, a port and a path");
        let has_scheme = text.contains("://");
        let mut url = if has_scheme { text.to_owned() } else { format!("http://{text}") };
        if url.contains(['#', '?']) {
            return Err(invalid());
        }
        let zone = take_zone(&mut url);
        let uri = url.parse::<Uri>().map_err(|error| invalid().with_source(error))?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.ok_or_else(invalid)?;
        let authority = parts.authority.ok_or_else(invalid)?;
        let is_known = scheme == Scheme::HTTP || scheme == Scheme::HTTPS;
        if !is_known || !has_valid_host(&authority) || !has_valid_port(&authority) {
            return Err(invalid());
        }
        let address = match zone {
            Some(zone) if zone.is_empty() || ipv6(&authority).is_none() => return Err(invalid()),
            Some(zone) => Address::Zone(zone),
            None => Address::Authority,
        };
        let path = parts.path_and_query;
        let base_path = path.as_ref().map_or("", PathAndQuery::path).trim_end_matches('/').into();
        Ok(Self { scheme, authority, base_path, address })
    }
}

/// Removes the zone of an IPv6 address from a URL: `%25eth0` (RFC 6874), and `%2` as Rust writes
/// it.
fn take_zone(url: &mut String) -> Option<Box<str>> {
    let start = url.find('[')?;
    let end = start + url[start..].find(']')?;
    let percent = start + url[start..end].find('%')?;
    let zone = &url[percent + 1..end];
    let zone = zone.strip_prefix("25").filter(|zone| !zone.is_empty()).unwrap_or(zone);
    let is_valid = zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    let zone = if is_valid { zone.into() } else { Box::default() };
    url.replace_range(percent..end, "");
    Some(zone)
}

fn ipv6(authority: &Authority) -> Option<Ipv6Addr> {
    authority.host().strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn has_valid_host(authority: &Authority) -> bool {
    let host = authority.host();
    let is_valid = if host.starts_with('[') { ipv6(authority).is_some() } else { !host.is_empty() };
    is_valid && !authority.as_str().contains('@')
}

fn has_valid_port(authority: &Authority) -> bool {
    let port = &authority.as_str()[authority.host().len()..];
    match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number && digits.parse::<u16>().is_ok_and(|port| port > 0)
        }
    }
}

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Self {
        let connected = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                Address::Zone(v6.scope_id().to_string().into())
            }
            _ => Address::Authority,
        };
        let authority = match address {
            SocketAddr::V4(v4) => v4.to_string(),
            SocketAddr::V6(v6) => format!("[{}]:{}", v6.ip(), v6.port()),
        };
        // Every address and port is an authority, so the default is never used.
        let authority = authority.parse().unwrap_or_else(|_| Authority::from_static("localhost"));
        Self { scheme: Scheme::HTTP, authority, base_path: Box::default(), address: connected }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, authority, base_path, address } = self;
        match address {
            Address::Authority => write!(f, "{scheme}://{authority}{base_path}"),
            Address::Socket(address) => write!(f, "{scheme}://{authority}{base_path} at {address}"),
            Address::Zone(zone) => {
                let (host, port) = authority.as_str().split_once(']').unwrap_or_default();
                write!(f, "{scheme}://{host}%25{zone}]{port}{base_path}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use super::*;

    #[test]
    fn origins_are_scheme_host_port_and_path() {
        for (text, shown) in [
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
            ("https://example.com/", "https://example.com"),
            ("HTTPS://example.com", "https://example.com"),
            ("localhost:80", "http://localhost:80"),
            ("h:1/", "http://h:1"),
            ("http://h:1/", "http://h:1"),
            ("h:65535/api", "http://h:65535/api"),
            ("http://h/api/v1/", "http://h/api/v1"),
            ("http://[::1]:80", "http://[::1]:80"),
            ("http://[fe80::1%25eth0]:80/a", "http://[fe80::1%25eth0]:80/a"),
            ("[fe80::1%2]:80", "http://[fe80::1%252]:80"),
            ("[fe80::1%25]:80", "http://[fe80::1%2525]:80"),
        ] {
            let origin = text.parse::<Origin>().unwrap();
            assert_eq!(origin.to_string(), shown);
            assert_eq!(shown.parse::<Origin>().unwrap(), origin);
        }
        for text in [
            "",
            "/",
            "http://",
            "http://a?b",
            "http://a/b?c",
            "http://a#b",
            "a b",
            "http://u@a",
            "http://u:p@a:1",
            "u@a",
            ":80",
            "http://h:0",
            "h:0",
            "http://h:65536",
            "h:99999",
            "http://h:",
            "h:+1",
            "h:-1",
            "h:x",
            "ftp://h",
            "unix://h",
            "ws://h:1",
            "//h",
            "http:h:1",
            "http://[::g]:1",
            "http://[::1",
            "http://[]",
            "http://[1.2.3.4]",
            "http://[fe80::1%25]x",
            "http://[fe80::1%]:1",
            "http://[fe80::1%25a b]:1",
            "http://h%25eth0:1",
            "h:1:2",
        ] {
            let error = text.parse::<Origin>().unwrap_err();
            assert_eq!((error.what(), error.text()), ("origin", text));
        }
    }

    #[test]
    fn a_zone_is_not_part_of_the_authority() {
        let address: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(Origin::from(address).to_string(), "http://[::1]:80");
        let address = SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, 3);
        for origin in [Origin::from(SocketAddr::V6(address)), "[fe80::1%3]:80".parse().unwrap()] {
            assert_eq!(origin.to_string(), "http://[fe80::1%253]:80");
            assert_eq!(origin.authority(), "[fe80::1]:80");
            assert_eq!(origin.host().unwrap(), "[fe80::1]:80");
        }
    }

    #[test]
    fn the_path_of_an_origin_comes_before_that_of_a_request() {
        let joined = |origin: &str, path: &'static str| {
            let origin = origin.parse::<Origin>().unwrap();
            origin.join(Some(&PathAndQuery::from_static(path))).map(|path| path.to_string())
        };
        assert_eq!(joined("http://h", "/a"), None);
        assert_eq!(joined("http://h/api", "/a?b"), Some("/api/a?b".to_owned()));
        assert_eq!(joined("http://h/api/", "/"), Some("/api/".to_owned()));
        assert_eq!(joined("http://h/api", "?b"), Some("/api/?b".to_owned()));
    }
}
