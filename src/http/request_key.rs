use std::{fmt, net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderName, Request, header};

use crate::strategy::{HashKey, stable_hash};

/// What of an HTTP request decides which endpoint it goes to, for the strategies that hash.
///
/// The bytes are hashed by [`stable_hash`] as the request has them: nothing is decoded, and upper and
/// lower case differ. A key that is there but empty is a key. A request that has none of them goes
/// anywhere, by weight.
///
/// ```
/// use tower_lb::{http::RequestKey, strategy::Maglev};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // By user where one is logged in, by path otherwise.
/// let key = RequestKey::header("x-user-id")?.or(RequestKey::cookie("session")?).or(RequestKey::path());
/// let strategy = Maglev::new(key);
/// # let _ = strategy; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RequestKey {
    /// The first that the request has is its key.
    parts: Vec<Part>,
}

#[derive(Clone)]
enum Part {
    Header(HeaderName),
    Cookie(Box<str>),
    Path,
    Query(Box<str>),
    Authority,
    Source(Arc<dyn Fn(&http::Extensions) -> Option<IpAddr> + Send + Sync>),
}

impl RequestKey {
    /// The value of a header; the first of several.
    ///
    /// # Errors
    ///
    /// If no header can have that name.
    pub fn header(name: impl AsRef<str>) -> Result<Self, InvalidKeyName> {
        let name = name.as_ref();
        let header = name.parse().map_err(|_| InvalidKeyName::new("header", name))?;
        Ok(Self::from(Part::Header(header)))
    }

    /// The value of a cookie; the first of several. Quotes around it are part of it.
    ///
    /// # Errors
    ///
    /// If no cookie can have that name: it is empty, or has a character that RFC 6265 forbids.
    pub fn cookie(name: impl AsRef<str>) -> Result<Self, InvalidKeyName> {
        let name = name.as_ref();
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let valid = !name.is_empty() && name.bytes().all(is_token);
        let cookie = valid.then(|| Part::Cookie(name.into()));
        cookie.map(Self::from).ok_or_else(|| InvalidKeyName::new("cookie", name))
    }

    /// The path of the URI, without the query.
    #[must_use]
    pub fn path() -> Self {
        Self::from(Part::Path)
    }

    /// The value of a parameter in the query of the URI; the first of several. The name is that in
    /// the URI, percent-encoded if need be. A parameter without `=` has an empty value.
    ///
    /// # Errors
    ///
    /// If no parameter can have that name: it is empty, or has a character that ends it.
    pub fn query(name: impl AsRef<str>) -> Result<Self, InvalidKeyName> {
        let name = name.as_ref();
        let valid = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"&=#".contains(&byte));
        let query = valid.then(|| Part::Query(name.into()));
        query.map(Self::from).ok_or_else(|| InvalidKeyName::new("query parameter", name))
    }

    /// Host and port that the request is for: those of the URI, or else the `Host` header.
    #[must_use]
    pub fn authority() -> Self {
        Self::from(Part::Authority)
    }

    /// The address that the request came from, taken from an extension of type `T`: for axum,
    /// `|info: &ConnectInfo<SocketAddr>| info.0.ip()`.
    ///
    /// An IPv4 address that is mapped into IPv6 is the IPv4 address.
    pub fn source<T: Send + Sync + 'static>(
        address: impl Fn(&T) -> IpAddr + Send + Sync + 'static,
    ) -> Self {
        Self::from(Part::Source(Arc::new(move |extensions| extensions.get().map(&address))))
    }

    /// The other key for requests that have not got this one.
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
            Self::Source(address) => Some(match address(request.extensions())?.to_canonical() {
                IpAddr::V4(address) => stable_hash(address.octets()),
                IpAddr::V6(address) => stable_hash(address.octets()),
            }),
        }
    }
}

/// The value of the first cookie of a name, in whichever `Cookie` header it is.
fn cookie<'a>(headers: &'a HeaderMap, name: &[u8]) -> Option<&'a [u8]> {
    let headers = headers.get_all(header::COOKIE).iter();
    let mut pairs = headers.flat_map(|header| header.as_bytes().split(|&byte| byte == b';'));
    pairs.find_map(|pair| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(name)?.strip_prefix(b"=")
    })
}

/// The value of the first parameter of a name.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| match pair.split_once('=') {
        Some((key, value)) => (key == name).then_some(value),
        None => (pair == name).then_some(""),
    })
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => f.debug_tuple("Header").field(name).finish(),
            Self::Cookie(name) => f.debug_tuple("Cookie").field(name).finish(),
            Self::Path => f.write_str("Path"),
            Self::Query(name) => f.debug_tuple("Query").field(name).finish(),
            Self::Authority => f.write_str("Authority"),
            Self::Source(_) => f.write_str("Source"),
        }
    }
}

/// A text that can't be the name of what a [`RequestKey`] is looked up by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidKeyName {
    kind: &'static str,
    name: Box<str>,
}

impl InvalidKeyName {
    fn new(kind: &'static str, name: &str) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for InvalidKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {} can have the name {:?}", self.kind, self.name)
    }
}

impl std::error::Error for InvalidKeyName {}

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
    fn assert_key(
        key: Result<RequestKey, InvalidKeyName>,
        request: &Request<()>,
        text: Option<&str>,
    ) {
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
    fn the_first_that_is_there_wins() {
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
    fn names_that_nothing_can_have_are_refused() {
        for name in ["", "a b", "a=b", "ä", "a\n"] {
            let refused =
                [RequestKey::header(name), RequestKey::cookie(name), RequestKey::query(name)];
            for refused in refused {
                let said = refused.unwrap_err().to_string();
                assert!(said.ends_with(&format!("{name:?}")), "{said}");
            }
        }
    }
}
