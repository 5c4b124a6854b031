use std::{fmt::Write, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Version, header, request::Parts};

use super::{connection::ClientConnection, trust::TrustedNetworks};
use crate::{
    header_fields::{append_element, remove_if},
    hop_by_hop::describes_client,
    rng::Rng,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Four `X-Forwarded-` fields, `Forwarded`, `Via` and a request id.
const MAX_FIELDS: usize = 7;

/// What a [`Proxy`](crate::http::Proxy) does with the fields that tell the endpoint about the
/// client: `X-Forwarded-For`, `-Proto`, `-Port` and `-Host`, `Forwarded` (RFC 7239) and
/// `X-Real-IP`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardedFields {
    /// Adds the peer's address to `X-Forwarded-For` and sets the other `X-Forwarded-` fields if
    /// they are absent. From a peer outside the trusted networks, all fields are removed first;
    /// from one inside, those that this proxy does not write. The default.
    #[default]
    Append,
    /// Removes all fields, also those of trusted peers, and sets the `X-Forwarded-` fields.
    Replace,
    /// Removes all fields.
    Remove,
    /// Forwards all fields unchanged, also those of peers that are not trusted.
    Keep,
}

/// The settings of all fields that the proxy adds.
#[derive(Clone, Debug)]
pub(super) struct Forwarding {
    pub(super) fields: ForwardedFields,
    pub(super) trusted: TrustedNetworks,
    /// Whether `Forwarded` is written besides the `X-Forwarded-` fields.
    pub(super) write_forwarded: bool,
    pub(super) via: Option<Via>,
    pub(super) request_id: Option<HeaderName>,
}

/// The entries of `Via`, by the version of the client's connection.
#[derive(Clone, Debug)]
pub(super) struct Via {
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    /// Returns `None` if the name is not a token (RFC 9110, 5.6.2) and not a host and port.
    pub(super) fn new(name: &str) -> Option<Self> {
        let is_valid =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:[]".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_valid) {
            return None;
        }
        let entry = |version| HeaderValue::from_str(&format!("{version} {name}")).ok();
        Some(Self { http10: entry("1.0")?, http11: entry("1.1")?, http2: entry("2")? })
    }

    fn entry(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_09 | Version::HTTP_10 => &self.http10,
            Version::HTTP_11 => &self.http11,
            _ => &self.http2,
        }
    }
}

impl Forwarding {
    /// Changes the fields of a request that still has the version of the client's connection.
    pub(super) fn apply(&self, head: &mut Parts) {
        let Parts { version, headers, extensions, .. } = head;
        let connection = extensions.get::<ClientConnection>();
        let is_trusted =
            connection.is_some_and(|connection| self.trusted.contains(connection.peer().ip()));
        let drops = match self.fields {
            ForwardedFields::Append => !is_trusted,
            ForwardedFields::Replace | ForwardedFields::Remove => true,
            ForwardedFields::Keep => false,
        };
        if drops {
            // Also those that this proxy does not write, such as `X-Forwarded-Prefix`: an endpoint
            // may read them.
            remove_if(headers, describes_client);
        } else if self.fields == ForwardedFields::Append {
            // A trusted proxy that does not write these passes on what its client has sent.
            let is_foreign = |name: &HeaderName| {
                let is_written = name.as_str().starts_with("x-forwarded-")
                    || self.write_forwarded && *name == header::FORWARDED;
                describes_client(name) && !is_written
            };
            remove_if(headers, is_foreign);
        }
        // One allocation at most for all the fields below.
        headers.reserve(MAX_FIELDS);
        if let (ForwardedFields::Append | ForwardedFields::Replace, Some(connection)) =
            (self.fields, connection)
        {
            if self.write_forwarded {
                append_forwarded(headers, connection);
            }
            append_x_forwarded(headers, connection);
        }
        if let Some(via) = &self.via {
            append_element(headers, header::VIA, via.entry(*version).clone());
        }
        if let Some(name) = &self.request_id {
            if !is_trusted {
                let is_alias = |other: &HeaderName| {
                    let (other, name) = (other.as_str().as_bytes(), name.as_str().as_bytes());
                    let fold = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
                    other.len() == name.len() && other.iter().map(fold).eq(name.iter().map(fold))
                };
                remove_if(headers, is_alias);
            }
            headers.entry(name).or_insert_with(random_id);
        }
    }
}

fn append_x_forwarded(headers: &mut HeaderMap, connection: &ClientConnection) {
    append_element(headers, X_FORWARDED_FOR, connection.peer_ip_field().clone());
    let proto = HeaderValue::from_static(connection.scheme());
    headers.entry(X_FORWARDED_PROTO).or_insert(proto);
    headers.entry(X_FORWARDED_PORT).or_insert_with(|| connection.local_port_field().clone());
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
}

fn append_forwarded(headers: &mut HeaderMap, connection: &ClientConnection) {
    let mut entry = match connection.peer().ip().to_canonical() {
        IpAddr::V4(address) => format!("for={address}"),
        // A colon is not allowed in a token (RFC 7239, 6).
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    // A checked host has no quote and no backslash. Writing into a string does not fail.
    if let Some(host) = host {
        let _ = write!(entry, ";host=\"{host}\"");
    }
    let _ = write!(entry, ";proto={}", connection.scheme());
    if let Ok(entry) = HeaderValue::try_from(entry) {
        append_element(headers, header::FORWARDED, entry);
    }
}

/// Returns 32 random hexadecimal digits, which is the form of a W3C trace id. Not a secret.
fn random_id() -> HeaderValue {
    let mut rng = Rng::from_entropy();
    let id = format!("{:016x}{:016x}", rng.bits(), rng.bits());
    HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn forwarding(fields: ForwardedFields) -> Forwarding {
        Forwarding {
            fields,
            trusted: TrustedNetworks::new(["10.0.0.0/8".parse().unwrap()]),
            write_forwarded: false,
            via: None,
            request_id: None,
        }
    }

    /// Returns the fields of a request after `forwarding`, from a peer with the given address.
    fn fields(forwarding: &Forwarding, peer: &str, sent: &[(&str, &str)]) -> Vec<String> {
        let local = "192.0.2.1:8443".parse().unwrap();
        let connection = ClientConnection::new(peer.parse().unwrap(), local).tls(true);
        let request = Request::get("/").header("host", "a.example").extension(connection);
        let request = sent.iter().fold(request, |request, field| request.header(field.0, field.1));
        let mut head = request.body(()).unwrap().into_parts().0;
        head.version = Version::HTTP_2;
        forwarding.apply(&mut head);
        head.headers.remove("host");
        let mut fields: Vec<_> = head
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        fields.sort();
        fields
    }

    const SENT: [(&str, &str); 6] = [
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("x-forwarded-proto", "http"),
        ("forwarded", "for=1.1.1.1"),
        ("x-real-ip", "1.1.1.1"),
        ("x_forwarded_proto", "https"),
    ];

    #[test]
    fn fields_of_strangers_are_replaced() {
        let expected = [
            "x-forwarded-for: 198.51.100.7",
            "x-forwarded-host: a.example",
            "x-forwarded-port: 8443",
            "x-forwarded-proto: https",
        ];
        let append = forwarding(ForwardedFields::Append);
        assert_eq!(fields(&append, "198.51.100.7:5000", &SENT), expected);
        assert_eq!(fields(&append, "[::ffff:198.51.100.7]:5000", &SENT), expected);
        assert_eq!(
            fields(&forwarding(ForwardedFields::Replace), "198.51.100.7:5000", &SENT),
            expected
        );
    }

    #[test]
    fn fields_of_trusted_peers_are_continued() {
        let append = Forwarding { write_forwarded: true, ..forwarding(ForwardedFields::Append) };
        let expected = [
            "forwarded: for=1.1.1.1, for=10.0.0.9;host=\"a.example\";proto=https",
            "x-forwarded-for: 1.1.1.1, 2.2.2.2, 10.0.0.9",
            "x-forwarded-host: a.example",
            "x-forwarded-port: 8443",
            "x-forwarded-proto: http",
        ];
        assert_eq!(fields(&append, "10.0.0.9:5000", &SENT), expected);
        let ipv6 = fields(&append, "[2001:db8::7]:5000", &[]);
        assert_eq!(ipv6[0], "forwarded: for=\"[2001:db8::7]\";host=\"a.example\";proto=https");
        assert_eq!(ipv6[1], "x-forwarded-for: 2001:db8::7");
    }

    #[test]
    fn fields_can_be_removed_or_kept() {
        let remove = forwarding(ForwardedFields::Remove);
        assert!(fields(&remove, "10.0.0.9:5000", &SENT).is_empty());
        let keep = forwarding(ForwardedFields::Keep);
        assert_eq!(fields(&keep, "198.51.100.7:5000", &SENT).len(), SENT.len());
    }

    #[test]
    fn via_names_the_version_that_was_received() {
        let via = Via::new("edge").unwrap();
        let with = Forwarding { via: Some(via), ..forwarding(ForwardedFields::Remove) };
        assert_eq!(fields(&with, "10.0.0.9:5000", &[("via", "1.0 a")]), ["via: 1.0 a, 2 edge"]);
        assert!(Via::new("a b").is_none() && Via::new("").is_none() && Via::new("a,b").is_none());
    }

    #[test]
    fn ids_of_strangers_are_replaced() {
        let request_id = Some(HeaderName::from_static("x-request-id"));
        let with = Forwarding { request_id, ..forwarding(ForwardedFields::Remove) };
        let id = |peer| fields(&with, peer, &[("x-request-id", "mine")]).remove(0);
        assert_eq!(id("10.0.0.9:5000"), "x-request-id: mine");
        let other = id("198.51.100.7:5000");
        assert_eq!(other.len(), "x-request-id: ".len() + 32);
        assert_ne!(other, id("198.51.100.7:5000"));
    }
}
