//! The header fields of a request that belong in an event, with the one host of the request.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request, uri::Authority};

use super::event_json::text;
use crate::{
    hop_by_hop::{HopByHop, describes_client},
    lambda::UnsupportedRequest,
};

/// The fields of a request without those that end at the server: fields of the connection, and
/// those about framing that an event does not have.
pub(super) struct RequestFields<'a> {
    headers: &'a HeaderMap,
    hop_by_hop: HopByHop,
    host: Option<Cow<'a, str>>,
}

/// The server handles an expectation, and an event has no trailers.
const ENDS_HERE: [HeaderName; 2] = [header::EXPECT, header::TRAILER];

impl<'a> RequestFields<'a> {
    pub(super) fn of(head: &'a request::Parts) -> Result<Self, UnsupportedRequest> {
        if head.method == Method::CONNECT {
            return Err(UnsupportedRequest::Connect);
        }
        let headers = &head.headers;
        Ok(Self { headers, hop_by_hop: HopByHop::of(headers), host: host(head)? })
    }

    /// Returns each field once, with its values. The first one is the host.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Values<'_>)> {
        let host = self.host.iter().map(|host| ("host", Values::One(Cow::Borrowed(&**host))));
        // The map has the values of a name one after the other, so that no name has to be looked
        // up unless a field is repeated.
        let (mut previous, repeats) = (None, self.headers.len() > self.headers.keys_len());
        let mut is_first = move |name| previous.replace(name) != Some(name);
        let firsts = self.headers.iter().filter(move |&(name, _)| is_first(name));
        let fields = firsts.filter(|&(name, _)| *name != header::HOST && !self.ends_here(name));
        host.chain(fields.map(move |(name, first)| {
            let values = if repeats { self.all(name, first) } else { Values::One(text(first)) };
            (name.as_str(), values)
        }))
    }

    /// Returns the values of a field other than `Host`.
    pub(super) fn values(&self, name: &HeaderName) -> Option<Values<'_>> {
        let first = self.headers.get(name).filter(|_| !self.ends_here(name))?;
        Some(self.all(name, first))
    }

    fn all<'b>(&'b self, name: &HeaderName, first: &'b HeaderValue) -> Values<'b> {
        let values = self.headers.get_all(name);
        match values.iter().nth(1) {
            None => Values::One(text(first)),
            // HTTP/2 allows a client to split cookies into several fields. Here they are one again
            // (RFC 9113, 8.2.3).
            Some(_) if *name == header::COOKIE => Values::One(joined(&values, "; ").into()),
            Some(_) => Values::More(values),
        }
    }

    fn ends_here(&self, name: &HeaderName) -> bool {
        ENDS_HERE.contains(name)
            || self.hop_by_hop.contains(name) && !is_written_by_the_server(name)
    }
}

/// Layers of this server append to these fields what they know about the client. A `Connection`
/// field from the client must not be able to remove that.
fn is_written_by_the_server(name: &HeaderName) -> bool {
    describes_client(name) || *name == "x-amzn-trace-id"
}

/// Returns the host that the request is for. The authority of the request target, or `:authority`,
/// takes precedence over `Host` (RFC 9112, 3.2.2; RFC 9113, 8.3.1).
fn host(head: &request::Parts) -> Result<Option<Cow<'_, str>>, UnsupportedRequest> {
    let mut fields = head.headers.get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() || field.is_some_and(|field| !is_host(field)) {
        return Err(UnsupportedRequest::Host);
    }
    let target = head.uri.authority().map(|authority| {
        let authority = authority.as_str();
        Cow::Borrowed(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
    });
    Ok(target.or_else(|| field.map(text)).map(without_zone))
}

/// Removes the zone of an IPv6 address, which has a meaning only on the client's machine
/// (RFC 6874, 4).
fn without_zone(host: Cow<'_, str>) -> Cow<'_, str> {
    match host.split_once('%').and_then(|(ip, rest)| Some((ip, rest.split_once(']')?.1))) {
        Some((ip, port)) => format!("{ip}]{port}").into(),
        None => host,
    }
}

/// Returns true for a host with or without a port. An empty `Host` is valid for a target without an
/// authority.
fn is_host(value: &HeaderValue) -> bool {
    let Ok(authority) = Authority::try_from(value.as_bytes()) else { return value.is_empty() };
    // `Authority` also accepts user information, and any text as the port.
    let port = authority.as_str().strip_prefix(authority.host());
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
    port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// The values of one field, at least one.
pub(super) enum Values<'a> {
    One(Cow<'a, str>),
    More(header::GetAll<'a, HeaderValue>),
}

impl<'a> Values<'a> {
    pub(super) fn last(self) -> Cow<'a, str> {
        match self {
            Self::One(value) => value,
            Self::More(values) => values.into_iter().next_back().map(text).unwrap_or_default(),
        }
    }

    pub(super) fn all(self) -> Vec<Cow<'a, str>> {
        match self {
            Self::One(value) => vec![value],
            Self::More(values) => values.into_iter().map(text).collect(),
        }
    }

    pub(super) fn joined(self) -> Cow<'a, str> {
        match self {
            Self::One(value) => value,
            Self::More(values) => joined(&values, ",").into(),
        }
    }
}

fn joined(values: &header::GetAll<'_, HeaderValue>, separator: &str) -> String {
    values.iter().map(text).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn fields(headers: &[(&str, &[u8])]) -> Vec<(String, String)> {
        let mut request = Request::builder();
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let fields = RequestFields::of(&head).unwrap();
        let all = fields.iter().map(|(name, values)| (name.into(), values.all().join("|")));
        all.collect()
    }

    #[test]
    fn each_field_comes_once_with_all_its_values() {
        let single: [(&str, &[u8]); 3] = [("b", b"1"), ("host", b"shop"), ("a", b"\xe9\t\"")];
        let expected = [("host", "shop"), ("b", "1"), ("a", "\u{e9}\t\"")];
        assert_eq!(fields(&single), expected.map(|(name, value)| (name.into(), value.into())));
        let repeated: [(&str, &[u8]); 9] = [
            ("b", b"1"),
            ("cookie", b"c=1"),
            ("a", b"\xc3\xa9"),
            ("connection", b"x"),
            ("b", b"2"),
            ("cookie", b"d=2"),
            ("x", b"1"),
            ("b", b""),
            ("x", b"2"),
        ];
        let expected = [("b", "1|2|"), ("cookie", "c=1; d=2"), ("a", "\u{c3}\u{a9}")];
        assert_eq!(fields(&repeated), expected.map(|(name, value)| (name.into(), value.into())));
    }
}
