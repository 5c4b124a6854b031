use http::{HeaderMap, HeaderValue, header::HOST};

use crate::http::ClientConnection;

/// Gives `Host` the port of the listener, as an Application Load Balancer does unless it preserves
/// the field: none for ports 80 and 443, and the port for all others. It does so for functions too:
/// the attribute belongs to the load balancer, and AWS names no exception.
pub(super) fn set_host_port(headers: &mut HeaderMap, connection: &ClientConnection) {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return };
    let name = without_port(host);
    let value = match connection.local().port() {
        80 | 443 if name.len() == host.len() => return,
        80 | 443 => HeaderValue::from_str(name),
        port => HeaderValue::try_from(format!("{name}:{port}")),
    };
    // A part of a header value with digits behind it is one.
    if let Ok(value) = value {
        headers.insert(HOST, value);
    }
}

/// Returns the host without its port. The proxy has checked that it is `host` or `host:port`.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(sent: &'static str, port: u16) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(sent));
        let local = ([127, 0, 0, 1], port).into();
        set_host_port(&mut headers, &ClientConnection::new(local, local));
        headers[HOST].to_str().unwrap().to_owned()
    }

    #[test]
    fn the_port_is_that_of_the_listener() {
        assert_eq!(host("a.test", 8080), "a.test:8080");
        assert_eq!(host("a.test:99", 8080), "a.test:8080");
        assert_eq!(host("a.test:99", 443), "a.test");
        assert_eq!(host("a.test", 80), "a.test");
        assert_eq!(host("[::1]", 8080), "[::1]:8080");
        assert_eq!(host("[::1]:99", 80), "[::1]");
    }
}
