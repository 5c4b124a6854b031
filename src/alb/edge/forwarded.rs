use http::{HeaderMap, HeaderName, HeaderValue};

use super::refusal::Refusal;
use crate::{
    header_fields::{append_element, elements},
    http::ClientConnection,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// The most addresses in `X-Forwarded-For`; more get status 463.
const MAX_ADDRESSES: usize = 30;

/// What happens to `X-Forwarded-For`: the attribute `routing.http.xff_header_processing.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::alb) enum ClientAddress {
    /// Adds the client's address to those that the client sent.
    #[default]
    Append,
    /// The same, with the client's port.
    AppendWithPort,
    /// Passes the field unchanged.
    Preserve,
    /// Removes the field.
    Remove,
}

/// Sets the fields that tell the target about the client. `X-Forwarded-Proto` and `-Port` always
/// describe the client's connection, whatever it sent.
pub(super) fn set_forwarded(
    headers: &mut HeaderMap,
    mode: ClientAddress,
    connection: Option<&ClientConnection>,
) -> Result<(), Refusal> {
    if elements(headers, &X_FORWARDED_FOR).nth(MAX_ADDRESSES).is_some() {
        return Err(Refusal::TooManyAddresses);
    }
    match (mode, connection) {
        (ClientAddress::Remove, _) => {
            headers.remove(X_FORWARDED_FOR);
        }
        (ClientAddress::Append, Some(connection)) => {
            append_element(headers, X_FORWARDED_FOR, connection.peer_ip_field().clone());
        }
        (ClientAddress::AppendWithPort, Some(connection)) => {
            let peer = connection.peer();
            // `[v6]:port`. A mapped address is shown as the IPv4 address that it is.
            let peer = std::net::SocketAddr::new(peer.ip().to_canonical(), peer.port());
            if let Ok(value) = HeaderValue::try_from(peer.to_string()) {
                append_element(headers, X_FORWARDED_FOR, value);
            }
        }
        (ClientAddress::Preserve, _) | (_, None) => {}
    }
    let Some(connection) = connection else {
        headers.remove(X_FORWARDED_PROTO);
        headers.remove(X_FORWARDED_PORT);
        return Ok(());
    };
    let scheme = HeaderValue::from_static(connection.scheme());
    headers.insert(X_FORWARDED_PROTO, scheme);
    headers.insert(X_FORWARDED_PORT, connection.local_port_field().clone());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(mode: ClientAddress, sent: &[&'static str]) -> (Option<String>, HeaderMap) {
        let connection = ClientConnection::new(
            "192.0.2.1:5000".parse().unwrap(),
            "192.0.2.9:8080".parse().unwrap(),
        );
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(value));
        }
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        headers.insert(X_FORWARDED_PORT, HeaderValue::from_static("1"));
        set_forwarded(&mut headers, mode, Some(&connection)).unwrap();
        let mut values = headers.get_all(X_FORWARDED_FOR).iter();
        let first = values.next().map(|value| value.to_str().unwrap().to_owned());
        assert!(values.next().is_none() || mode == ClientAddress::Preserve, "one field");
        (first, headers)
    }

    #[test]
    fn each_mode_does_what_it_says() {
        use ClientAddress::{Append, AppendWithPort, Preserve, Remove};
        let value = |mode, sent: &[&'static str]| forwarded(mode, sent).0;
        assert_eq!(value(Append, &[]).as_deref(), Some("192.0.2.1"));
        assert_eq!(value(Append, &["a", "", "b"]).as_deref(), Some("a, b, 192.0.2.1"));
        assert_eq!(value(AppendWithPort, &["a"]).as_deref(), Some("a, 192.0.2.1:5000"));
        assert_eq!(value(Preserve, &["a"]).as_deref(), Some("a"));
        assert_eq!(value(Preserve, &[]), None);
        assert_eq!(value(Remove, &["a", "b"]), None);
    }

    #[test]
    fn a_client_cannot_say_how_it_is_connected() {
        let (_, headers) = forwarded(ClientAddress::Preserve, &[]);
        assert_eq!(headers[X_FORWARDED_PROTO], "http");
        assert_eq!(headers[X_FORWARDED_PORT], "8080");
    }

    #[test]
    fn more_than_thirty_addresses_are_refused() {
        let refused = |count: usize| {
            let mut headers = HeaderMap::new();
            for _ in 0..count {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_static("192.0.2.1"));
            }
            set_forwarded(&mut headers, ClientAddress::Remove, None)
        };
        assert_eq!(refused(30), Ok(()));
        assert_eq!(refused(31), Err(Refusal::TooManyAddresses));
    }
}
