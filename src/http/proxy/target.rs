use std::net::Ipv6Addr;

use http::{HeaderValue, Method, Uri, Version, header, header::HOST, request::Parts, uri::Scheme};
use hyper::ext::Protocol;

use super::refusal::Refusal;
use crate::header_fields::join;

/// Gives a request one `Host` and a target in origin form, or refuses it.
///
/// | target | host (RFC 9112 3.2.2, RFC 9113 8.3.1) | target of the forwarded request |
/// |---|---|---|
/// | `/path?query` | `Host` | the same |
/// | `http://host/path` | the target's, whatever `Host` says | `/path` |
/// | `*` of `OPTIONS` | `Host` | the same |
/// | `host:port` of `CONNECT` | the target's | the same |
/// | HTTP/2 | `:authority`; a `Host` beside it must be equal | path of `:path` |
pub(super) fn normalize(head: &mut Parts) -> Result<(), Refusal> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::Invalid("more than one Host"));
    }
    match (host, head.uri.authority()) {
        (None, None) if head.version == Version::HTTP_10 => {}
        (None, None) => return Err(Refusal::Invalid("no Host")),
        (Some(host), None) => check_host(host.as_bytes())?,
        (host, Some(authority)) => {
            if let Some(host) = host {
                check_host(host.as_bytes())?;
                let differs = !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes());
                if differs && head.version == Version::HTTP_2 {
                    return Err(Refusal::Invalid("Host and :authority differ"));
                }
            }
            check_host(authority.as_str().as_bytes())?;
            let value = HeaderValue::from_str(authority.as_str());
            let value = value.map_err(|_| Refusal::Invalid("the authority is invalid"))?;
            head.headers.insert(HOST, value);
        }
    }
    let is_extended = head.extensions.get::<Protocol>().is_some();
    if head.method == Method::CONNECT && !is_extended {
        let has_port = has_target_port(&head.uri);
        return if has_port { Ok(()) } else { Err(Refusal::Invalid("CONNECT without a port")) };
    }
    head.uri = origin_form(head)?;
    Ok(())
}

fn has_target_port(uri: &Uri) -> bool {
    uri.path_and_query().is_none() && uri.port_u16().is_some_and(|port| port > 0)
}

fn origin_form(head: &Parts) -> Result<Uri, Refusal> {
    if let Some(scheme) = head.uri.scheme() {
        if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
            return Err(Refusal::Invalid("the scheme is unknown"));
        }
    }
    // Authority form has no path, and only CONNECT has authority form. The path of `http://host` is
    // read as `/`.
    let invalid = Refusal::Invalid("the target is not a path");
    let path = head.uri.path_and_query().ok_or(invalid)?;
    if path == "*" {
        let is_valid = head.method == Method::OPTIONS;
        return if is_valid { Ok(Uri::from(path.clone())) } else { Err(invalid) };
    }
    if path.as_str().starts_with('/') {
        return Ok(Uri::from(path.clone()));
    }
    // Only absolute form may leave the path out, as `http://host?query` does.
    if head.version == Version::HTTP_2 || head.uri.scheme().is_none() {
        return Err(invalid);
    }
    format!("/{}", path.as_str()).parse().map_err(|_| invalid)
}

/// Refuses what is not `host` or `host:port`, so that the next hop can't read it as something else.
///
/// Stricter than RFC 3986: a comma could be a list of hosts to the next reader. A zone, which is of
/// use only on the machine that has it (RFC 6874, 4), is no part of an `Ipv6Addr`.
fn check_host(host: &[u8]) -> Result<(), Refusal> {
    let is_name_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(byte);
    let (is_name, port) = if let Some(rest) = host.strip_prefix(b"[") {
        let end = rest.iter().position(|&byte| byte == b']');
        let (address, rest) = rest.split_at(end.unwrap_or_default());
        let address = std::str::from_utf8(address).ok();
        let is_address = address.is_some_and(|text| text.parse::<Ipv6Addr>().is_ok());
        (is_address, rest.strip_prefix(b"]").unwrap_or(rest))
    } else {
        let end = host.iter().position(|&byte| byte == b':').unwrap_or(host.len());
        (end > 0 && host[..end].iter().all(is_name_byte), &host[end..])
    };
    let is_port = match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => port_of(digits).is_some_and(|port| port > 0),
        _ => false,
    };
    if is_name && is_port { Ok(()) } else { Err(Refusal::Invalid("the Host is invalid")) }
}

/// Parses digits only; `u16::from_str` would take a sign as well.
fn port_of(digits: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Joins the `Cookie` fields into which an HTTP/2 client may split one (RFC 9113, 8.2.3).
pub(super) fn join_cookies(head: &mut Parts) {
    let cookies = || head.headers.get_all(header::COOKIE).iter();
    let joined = cookies().nth(1).and_then(|_| join(cookies(), "; "));
    if let Some(joined) = joined {
        head.headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// Returns host and target, or the refusal.
    fn normalized(request: http::request::Builder) -> Result<(String, String), Refusal> {
        let mut head = request.body(()).unwrap().into_parts().0;
        normalize(&mut head)?;
        let host = head.headers.get(HOST).map_or("", |host| host.to_str().unwrap());
        Ok((host.to_owned(), head.uri.to_string()))
    }

    fn ok(host: &str, target: &str) -> Result<(String, String), Refusal> {
        Ok((host.to_owned(), target.to_owned()))
    }

    #[test]
    fn the_target_of_http1_decides_before_host() {
        let get = |target: &str| Request::get(target).header(HOST, "a.example");
        assert_eq!(normalized(get("/x?y=%2F")), ok("a.example", "/x?y=%2F"));
        assert_eq!(normalized(get("//x")), ok("a.example", "//x"));
        assert_eq!(normalized(get("http://b.example:80/x")), ok("b.example:80", "/x"));
        assert_eq!(normalized(get("http://b.example")), ok("b.example", "/"));
        assert_eq!(normalized(get("http://b.example?q")), ok("b.example", "/?q"));
        for target in ["b.example", "b.example:80", "*", "ftp://b.example/"] {
            assert!(matches!(normalized(get(target)), Err(Refusal::Invalid(_))), "{target}");
        }
        let options = |target: &str| Request::options(target).header(HOST, "a.example");
        assert_eq!(normalized(options("*")), ok("a.example", "*"));
        assert_eq!(normalized(options("http://b.example/")), ok("b.example", "/"));
    }

    #[test]
    fn the_authority_of_http2_is_the_host() {
        let get = |target: &str| Request::get(target).version(Version::HTTP_2);
        assert_eq!(normalized(get("https://a.example/x")), ok("a.example", "/x"));
        let both = |host| normalized(get("https://a.example/x").header(HOST, host));
        assert_eq!(both("A.example"), ok("a.example", "/x"));
        assert!(both("b.example").is_err());
        assert_eq!(normalized(get("/x").header(HOST, "a.example")), ok("a.example", "/x"));
        assert!(normalized(get("/x")).is_err());
    }

    #[test]
    fn a_host_is_a_name_and_a_port() {
        let with = |host: &'static str| normalized(Request::get("/").header(HOST, host));
        for host in ["a.example", "a:80", "a:", "10.0.0.1:8080", "[::1]:80", "[::1]", "a_b"] {
            assert_eq!(with(host), ok(host, "/"));
        }
        for host in [
            "",
            ":80",
            "a:0",
            "a:65536",
            "a:x",
            "u@a",
            "a/b",
            "a b",
            "a,b",
            "[::1",
            "[fe80::1%25e]",
            "[a]",
            "a:80:80",
            "http://a",
            "a?b",
            "a#b",
            "\u{e4}.example",
        ] {
            assert!(with(host).is_err(), "{host}");
        }
        assert!(normalized(Request::get("/").header(HOST, "a").header(HOST, "a")).is_err());
        assert!(normalized(Request::get("/")).is_err());
        assert_eq!(normalized(Request::get("/").version(Version::HTTP_10)), ok("", "/"));
    }

    #[test]
    fn connect_keeps_its_authority() {
        let connect = |target: &str| normalized(Request::connect(target).header(HOST, "a"));
        assert_eq!(connect("b.example:443"), ok("b.example:443", "b.example:443"));
        assert!(connect("b.example").is_err());
        assert!(connect("/").is_err());
    }

    #[test]
    fn split_cookies_are_joined() {
        let request = Request::get("/").header("cookie", "a=1").header("cookie", "b=2");
        let mut head = request.body(()).unwrap().into_parts().0;
        join_cookies(&mut head);
        let cookies: Vec<_> = head.headers.get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
    }
}
