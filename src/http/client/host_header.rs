use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Uri, header::HOST};

/// The host that the requests to an endpoint name, in the form of their version: the `Host` header
/// of HTTP/1.1 or `:authority` of HTTP/2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostHeader {
    /// The host that the request names: its `Host` header, else the authority of its URI. Without
    /// both, the endpoint's. The default.
    #[default]
    Keep,
    /// The endpoint's authority.
    Endpoint,
    /// A fixed name.
    Fixed(HeaderValue),
}

impl HostHeader {
    /// Returns the host to set, or `None` if the `Host` header is right as it is or the endpoint's
    /// host is unknown.
    pub(super) fn of(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        endpoint: impl FnOnce() -> Option<HeaderValue>,
    ) -> Option<HeaderValue> {
        match self {
            Self::Keep if headers.contains_key(HOST) => None,
            Self::Keep => host_of(uri).or_else(endpoint),
            Self::Endpoint => endpoint(),
            Self::Fixed(host) => Some(host.clone()),
        }
    }
}

/// Returns the authority of a URI without a user name and without the zone of an IPv6 address.
fn host_of(uri: &Uri) -> Option<HeaderValue> {
    let authority = uri.authority()?.as_str();
    let host = authority.rsplit_once('@').map_or(authority, |(_user, host)| host);
    let host = match (host.find('%'), host.find(']')) {
        (Some(zone), Some(end)) if zone < end => {
            Cow::Owned(format!("{}{}", &host[..zone], &host[end..]))
        }
        _ => Cow::Borrowed(host),
    };
    HeaderValue::from_str(&host).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_kept_set_or_fixed() {
        let named = HeaderMap::from_iter([(HOST, HeaderValue::from_static("shop.example"))]);
        let fixed = HostHeader::Fixed(HeaderValue::from_static("fixed"));
        for (host, headers, uri, expected) in [
            (&HostHeader::Keep, &named, "http://real.example/", None),
            (
                &HostHeader::Keep,
                &HeaderMap::new(),
                "http://real.example:1/",
                Some("real.example:1"),
            ),
            (
                &HostHeader::Keep,
                &HeaderMap::new(),
                "http://u:p@real.example/",
                Some("real.example"),
            ),
            (&HostHeader::Keep, &HeaderMap::new(), "/", Some("10.0.0.1:80")),
            (&HostHeader::Endpoint, &named, "http://real.example/", Some("10.0.0.1:80")),
            (&fixed, &named, "http://real.example/", Some("fixed")),
        ] {
            let endpoint = || Some(HeaderValue::from_static("10.0.0.1:80"));
            let found = host.of(headers, &uri.parse().unwrap(), endpoint);
            assert_eq!(
                found.as_ref().map(|host| host.to_str().unwrap()),
                expected,
                "{host:?} {uri}"
            );
        }
    }
}
