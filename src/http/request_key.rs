use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderName, Request, header};

use crate::{
    ParseError,
    hash::ip_hash,
    opaque::Opaque,
    strategy::{HashKey, stable_hash},
};

/// Selects the part of an HTTP request that hashing strategies hash.
///
/// [`stable_hash`] hashes the bytes as they are in the request: nothing is decoded, and upper and
/// lower case differ. An empty value is a key. A request without any key is sent to an endpoint by
/// weight.
///
/// ```
/// use tower_lb::{http::RequestKey, strategy::Maglev};
///
/// // By user if one is logged in, otherwise by path.
/// let user = RequestKey::header("x-user-id")?.or(RequestKey::cookie("session")?);
/// let key = user.or(RequestKey::path());
/// let strategy = Maglev::new(key);
/// # let _ = strategy;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RequestKey {
    /// The first part that the request has is its key.
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Header(HeaderName),
    Cookie(Box<str>),
    Path,
    Query(Box<str>),
    Authority,
    Source(Opaque<Arc<dyn Fn(&http::Extensions) -> Option<IpAddr> + Send + Sync>>),
}

/// What the names of headers and cookies consist of.
const TOKEN: &str = "letters, digits and characters such as - and _";

impl RequestKey {
    /// Selects the value of the header `name`, the first if there are several.
    ///
    /// # Errors
    ///
    /// If `name` is not a valid header name.
    pub fn header(name: impl AsRef<str>) -> Result<Self, ParseError> {
        let name = name.as_ref();
        let invalid = |_| ParseError::new("header name", name, TOKEN);
        Ok(Self::from(Part::Header(name.parse().map_err(invalid)?)))
    }

    /// Selects the value of the cookie `name`, the first if there are several. Quotes around the
    /// value are part of it.
    ///
    /// # Errors
    ///
    /// If `name` is empty or has a character that RFC 6265 does not permit.
    pub fn cookie(name: impl AsRef<str>) -> Result<Self, ParseError> {
        let name = name.as_ref();
        let cookie = is_token(name).then(|| Part::Cookie(name.into()));
        cookie.map(Self::from).ok_or_else(|| ParseError::new("cookie name", name, TOKEN))
    }

    /// Selects the path of the URI, without the query.
    #[must_use]
    pub fn path() -> Self {
        Self::from(Part::Path)
    }

    /// Selects the value of the parameter `name` in the query of the URI, the first if there are
    /// several.
    ///
    /// `name` is written as in the URI, percent-encoded if necessary. A parameter without `=` has
    /// an empty value.
    ///
    /// # Errors
    ///
    /// If `name` is empty or has a character that is not part of a parameter name.
    pub fn query(name: impl AsRef<str>) -> Result<Self, ParseError> {
        let name = name.as_ref();
        let valid = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"&=#".contains(&byte));
        let query = valid.then(|| Part::Query(name.into()));
        let expected = "visible ASCII characters other than & = #";
        query.map(Self::from).ok_or_else(|| ParseError::new("query parameter", name, expected))
    }

    /// Selects the host and the port of the URI, or else the `Host` header.
    #[must_use]
    pub fn authority() -> Self {
        Self::from(Part::Authority)
    }

    /// Selects the source address of the request, which `address` reads from an extension of type
    /// `T`.
    ///
    /// For axum, `address` is `|info: &ConnectInfo<SocketAddr>| info.0.ip()`. An IPv4-mapped IPv6
    /// address has the same hash as the IPv4 address.
    pub fn source<T: Send + Sync + 'static>(
        address: impl Fn(&T) -> IpAddr + Send + Sync + 'static,
    ) -> Self {
        let address = move |extensions: &http::Extensions| extensions.get().map(&address);
        Self::from(Part::Source(Opaque(Arc::new(address))))
    }

    /// Selects `other` for requests that do not have this key.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.parts.extend(other.parts);
        self
    }
}

impl From<Part> for RequestKey {
    fn from(part: Part) -> Self {
        Self { parts: vec![part] }
    }
}

impl<B> HashKey<Request<B>> for RequestKey {
    #[inline]
    fn hash(&self, request: &Request<B>) -> Option<u64> {
        self.parts.iter().find_map(|part| part.hash(request))
    }
}

impl Part {
    fn hash<B>(&self, request: &Request<B>) -> Option<u64> {
        let (uri, headers) = (request.uri(), request.headers());
        match self {
            Self::Header(name) => headers.get(name).map(stable_hash),
            Self::Cookie(name) => cookie(headers, name.as_bytes()).map(stable_hash),
            Self::Path => Some(stable_hash(uri.path())),
            Self::Query(name) => parameter(uri.query()?, name).map(stable_hash),
            Self::Authority => match uri.authority() {
                Some(authority) => Some(stable_hash(authority.as_str())),
                None => headers.get(header::HOST).map(stable_hash),
            },
            Self::Source(Opaque(address)) => Some(ip_hash(address(request.extensions())?)),
        }
    }
}

/// Returns whether `name` is valid for a cookie.
pub(super) fn is_token(name: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_valid)
}

/// Returns the value of the first cookie `name` in all `Cookie` headers.
fn cookie<'a>(headers: &'a HeaderMap, name: &[u8]) -> Option<&'a [u8]> {
    let headers = headers.get_all(header::COOKIE).iter();
    let mut pairs = headers.flat_map(|header| header.as_bytes().split(|&byte| byte == b';'));
    pairs.find_map(|pair| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(name)?.strip_prefix(b"=")
    })
}

/// Returns the value of the first parameter `name`.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| match pair.split_once('=') {
        Some((key, value)) => (key == name).then_some(value),
        None => (pair == name).then_some(""),
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let builder = Request::get(uri);
        let add = |builder: http::request::Builder, &(name, value): &_| builder.header(name, value);
        headers.iter().fold(builder, add).body(()).unwrap()
    }

    #[track_caller]
    fn assert_key(key: Result<RequestKey, ParseError>, request: &Request<()>, text: Option<&str>) {
        assert_eq!(key.unwrap().hash(request), text.map(stable_hash));
    }

    #[test]
    fn headers() {
        let request = request("/", &[("X-User", "ann"), ("x-user", "bob"), ("x-empty", "")]);
        assert_key(RequestKey::header("x-user"), &request, Some("ann"));
        assert_key(RequestKey::header("X-USER"), &request, Some("ann"));
        assert_key(RequestKey::header("x-empty"), &request, Some(""));
        assert_key(RequestKey::header("x-other"), &request, None);
        assert_key(RequestKey::header(header::HOST), &request, None);
    }

    #[test]
    fn cookies() {
        let headers =
            [("cookie", "xid=9; id=7;b=\"q\""), ("cookie", "empty=;  c = 1; id=8; novalue; d=x=y")];
        let request = request("/", &headers);
        for (name, value) in [
            ("id", Some("7")),
            ("b", Some("\"q\"")),
            ("empty", Some("")),
            ("d", Some("x=y")),
            ("c", None),
            ("novalue", None),
            ("ID", None),
        ] {
            assert_key(RequestKey::cookie(name), &request, value);
        }
    }

    #[test]
    fn paths_queries_and_authorities() {
        let request = request("https://shop.example:8443/a/b?x=1&y&x=2&z=%20=&", &[("host", "h")]);
        assert_key(Ok(RequestKey::path()), &request, Some("/a/b"));
        assert_key(Ok(RequestKey::authority()), &request, Some("shop.example:8443"));
        for (name, value) in
            [("x", Some("1")), ("y", Some("")), ("z", Some("%20=")), ("X", None), ("w", None)]
        {
            assert_key(RequestKey::query(name), &request, value);
        }
        let request = self::request("/a", &[("host", "h")]);
        assert_key(RequestKey::query("x"), &request, None);
        assert_key(Ok(RequestKey::authority()), &request, Some("h"));
        assert_key(Ok(RequestKey::authority()), &self::request("/a", &[]), None);
        assert_key(Ok(RequestKey::path()), &self::request("*", &[]), Some("*"));
    }

    #[test]
    fn sources() {
        #[derive(Clone)]
        struct Peer(SocketAddr);
        let key = RequestKey::source(|peer: &Peer| peer.0.ip());
        let mut request = request("/", &[]);
        assert_eq!(key.hash(&request), None);
        for address in ["10.0.0.1:1234", "[::ffff:10.0.0.1]:80"] {
            request.extensions_mut().insert(Peer(address.parse().unwrap()));
            assert_eq!(key.hash(&request), Some(stable_hash([10, 0, 0, 1])));
        }
    }

    #[test]
    fn the_first_key_of_the_request_is_used() {
        let key = || {
            let user = RequestKey::header("x-user")?;
            Ok(user.or(RequestKey::cookie("id")?.or(RequestKey::query("id")?)))
        };
        assert_key(key(), &request("/?id=3", &[("cookie", "id=2"), ("x-user", "1")]), Some("1"));
        assert_key(key(), &request("/?id=3", &[("cookie", "id="), ("x-other", "1")]), Some(""));
        assert_key(key(), &request("/?id=3", &[]), Some("3"));
        assert_key(key(), &request("/", &[]), None);
    }

    #[test]
    fn invalid_names_are_rejected() {
        for name in ["", "a b", "a=b", "ä", "a\n"] {
            let keys =
                [RequestKey::header(name), RequestKey::cookie(name), RequestKey::query(name)];
            for key in keys {
                assert_eq!(key.unwrap_err().text(), name);
            }
        }
    }
}
