use std::fmt;

use http::{Request, header};

use super::original_target::original;
use crate::{http::ClientConnection, loopback::is_loopback};

/// The origin that the browser sees: a scheme and a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicOrigin {
    scheme: &'static str,
    /// In lower case, without the default port of the scheme.
    host: String,
}

impl PublicOrigin {
    /// Returns the origin of a request with exactly one valid host.
    ///
    /// It is `https`: a connection without TLS comes from a proxy that has ended TLS. Only a
    /// browser on the same machine may use `http`.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let (target, fields) = original(request);
        let mut hosts = fields.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok()?,
            (None, _) => target.authority()?.as_str(),
            (Some(_), Some(_)) => return None,
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) {
            return None;
        }
        let host = host.to_ascii_lowercase();
        let connection = request.extensions().get::<ClientConnection>();
        let has_tls = connection.is_none_or(ClientConnection::is_tls);
        let is_plain = !has_tls && is_loopback(without_port(&host));
        let (scheme, port) = if is_plain { ("http", ":80") } else { ("https", ":443") };
        let host = host.strip_suffix(port).unwrap_or(&host).to_owned();
        Some(Self { scheme, host })
    }

    /// Returns the host, with the port if it is not the default.
    pub(super) fn host(&self) -> &str {
        &self.host
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

impl fmt::Display for PublicOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn origin(hosts: &[&str], tls: Option<bool>) -> Option<String> {
        let mut request = Request::get("/path");
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let mut request = request.body(()).unwrap();
        if let Some(tls) = tls {
            let address = "127.0.0.1:1".parse().unwrap();
            request.extensions_mut().insert(ClientConnection::new(address, address).tls(tls));
        }
        PublicOrigin::of(&request).map(|origin| origin.to_string())
    }

    #[test]
    fn the_scheme_is_https_but_for_the_same_machine() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(origin(&["A.Example"], None), some("https://a.example"));
        assert_eq!(origin(&["a.example:443"], Some(true)), some("https://a.example"));
        assert_eq!(origin(&["a.example:8443"], Some(false)), some("https://a.example:8443"));
        assert_eq!(origin(&["127.0.0.1:8080"], Some(false)), some("http://127.0.0.1:8080"));
        assert_eq!(origin(&["localhost:80"], Some(false)), some("http://localhost"));
        assert_eq!(origin(&["[::1]:80"], Some(false)), some("http://[::1]"));
        assert_eq!(origin(&["localhost"], None), some("https://localhost"));
    }

    #[test]
    fn a_host_that_is_missing_repeated_or_invalid_has_no_origin() {
        for hosts in [&[][..], &[""], &["a", "a"], &["a/b"], &["a@b"], &["a b"], &["a?b"]] {
            assert_eq!(origin(hosts, None), None, "{hosts:?}");
        }
    }
}
