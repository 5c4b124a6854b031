use std::net::IpAddr;

use http::{header::HOST, request::Parts};

use crate::http::ClientConnection;

/// The longest host that is compared, in bytes. The longest name of the DNS has 253.
pub(in crate::rules) const MAX_HOST_BYTES: usize = 255;

/// What conditions read of a request.
pub(in crate::rules) struct RequestView<'a> {
    pub(super) head: &'a Parts,
    /// In lower case, so that it is folded once and not for each rule.
    host: [u8; MAX_HOST_BYTES],
    /// 0 without a valid host.
    host_len: usize,
}

impl<'a> RequestView<'a> {
    #[inline]
    pub(in crate::rules) fn new(head: &'a Parts) -> Self {
        let mut host = [0; MAX_HOST_BYTES];
        let text = request_host(head).unwrap_or_default().as_bytes();
        for (to, from) in host.iter_mut().zip(text) {
            *to = from.to_ascii_lowercase();
        }
        Self { head, host, host_len: text.len() }
    }

    /// Returns the host in lower case, if the request has a valid one.
    #[inline]
    pub(in crate::rules) fn host(&self) -> Option<&[u8]> {
        self.host.get(..self.host_len).filter(|host| !host.is_empty())
    }

    #[inline]
    pub(in crate::rules) fn path(&self) -> &'a [u8] {
        self.head.uri.path().as_bytes()
    }

    /// Returns the parameters of the query: keys, and values that are empty without a `=`.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let query = self.head.uri.query().unwrap_or_default().as_bytes();
        let parameters = query.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
        parameters.map(|pair| match pair.iter().position(|&byte| byte == b'=') {
            Some(end) => (&pair[..end], &pair[end + 1..]),
            None => (pair, &pair[..0]),
        })
    }

    /// Returns the address of the client's connection.
    pub(super) fn source(&self) -> Option<IpAddr> {
        let connection = self.head.extensions.get::<ClientConnection>()?;
        Some(connection.peer().ip().to_canonical())
    }
}

/// Returns the host of a request, without its port and a final dot: the target's, or else that of
/// the only `Host` field. `None` if it is not a name or an address.
#[inline]
pub(in crate::rules) fn request_host(head: &Parts) -> Option<&str> {
    let host = match head.uri.host() {
        Some(host) => host,
        None => {
            let mut fields = head.headers.get_all(HOST).iter();
            let field = fields.next()?.to_str().ok()?;
            if fields.next().is_some() {
                return None;
            }
            host_of(field)?
        }
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    is_host(host).then_some(host)
}

/// Splits the port off, if it is a number or empty.
fn host_of(field: &str) -> Option<&str> {
    let end = match field.find(']') {
        Some(end) if field.starts_with('[') => end + 1,
        Some(_) => return None,
        None => field.find(':').unwrap_or(field.len()),
    };
    let (host, port) = field.split_at(end);
    let digits = port.strip_prefix(':').unwrap_or(port);
    let is_port = (port.is_empty() || port.starts_with(':'))
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_port.then_some(host)
}

/// Returns whether the text is a name, an IPv4 address, or an IPv6 address in brackets. What is
/// more would let a client write into a redirect.
pub(in crate::rules) fn is_host(host: &str) -> bool {
    if host.is_empty() || host.len() > MAX_HOST_BYTES {
        return false;
    }
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn host(uri: &str, fields: &[&str]) -> Option<String> {
        let mut request = Request::get(uri);
        for field in fields {
            request = request.header(HOST, *field);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let view = RequestView::new(&head);
        view.host().map(|host| String::from_utf8(host.to_vec()).unwrap())
    }

    #[test]
    fn the_host_has_no_port_and_no_case() {
        for (uri, fields, expected) in [
            ("/", &["Shop.Example:8080"][..], Some("shop.example")),
            ("/", &["shop.example:"], Some("shop.example")),
            ("/", &["shop.example.:80"], Some("shop.example")),
            ("/", &["[::1]:80"], Some("[::1]")),
            ("https://A.example/x", &["b.example"], Some("a.example")),
            ("/", &[], None),
            ("/", &["a", "a"], None),
            ("/", &[""], None),
            ("/", &[":80"], None),
            ("/", &["."], None),
            ("/", &["a:80:80"], None),
            ("/", &["a:x"], None),
            ("/", &["[::1"], None),
            ("/", &["[::1]x"], None),
            ("/", &["u@a"], None),
            ("/", &["a/b"], None),
            ("/", &["a b"], None),
            ("/", &["[a]"], None),
        ] {
            assert_eq!(host(uri, fields).as_deref(), expected, "{uri} {fields:?}");
        }
        assert_eq!(host("/", &["a".repeat(255).as_str()]).unwrap().len(), 255);
        assert_eq!(host("/", &["a".repeat(256).as_str()]), None);
    }

    #[test]
    fn parameters_are_split_once() {
        let parameters = |uri: &str| {
            let (head, ()) = Request::get(uri).body(()).unwrap().into_parts();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let view = RequestView::new(&head);
            view.parameters().map(|(key, value)| text(key) + ":" + &text(value)).collect::<Vec<_>>()
        };
        assert_eq!(
            parameters("/?a=1&b==2&&c&=d&a%3D=%26"),
            ["a:1", "b:=2", "c:", ":d", "a%3D:%26"]
        );
        assert!(parameters("/").is_empty() && parameters("/?").is_empty());
    }
}
