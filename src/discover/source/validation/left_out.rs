//! Endpoints that a source leaves out of its answers.

use std::{collections::HashSet, fmt, str::FromStr};

use crate::escape::Escaped;

/// The largest number of log events about the endpoints of one answer.
const MAX_EVENTS: usize = 20;

/// An endpoint that is left out of an answer, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LeftOut {
    /// The endpoint's key or address, as the source names it.
    endpoint: String,
    reason: String,
    /// Whether an answer of which only such endpoints are left out may be as intended.
    plausible: bool,
}

impl LeftOut {
    pub(crate) fn new(endpoint: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { endpoint: endpoint.into(), reason: reason.to_string(), plausible: false }
    }

    /// Leaves out what an answer may consist of entirely: the source then has no endpoints.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn plausible(self) -> Self {
        Self { plausible: true, ..self }
    }
}

/// Logs the endpoints that are left out. An endpoint that is left out of consecutive answers is
/// logged once, because sources are polled every few seconds.
#[derive(Debug, Default)]
pub(crate) struct LeftOutLog {
    last: HashSet<LeftOut>,
}

impl LeftOutLog {
    /// Logs the endpoints that were not left out of the last answer.
    pub(crate) fn log(&mut self, source: &str, left_out: Vec<LeftOut>) {
        let now: HashSet<LeftOut> = left_out.into_iter().collect();
        let new = || now.difference(&self.last);
        for LeftOut { endpoint, reason, .. } in new().take(MAX_EVENTS) {
            let (endpoint, reason) = (Escaped(endpoint), Escaped(reason));
            tracing::warn!(source = %Escaped(source), %endpoint, %reason, "an endpoint is left out");
        }
        let more = new().count().saturating_sub(MAX_EVENTS);
        if more > 0 {
            tracing::warn!(source = %Escaped(source), more, "more endpoints are left out");
        }
        self.last = now;
    }

    /// Logs the endpoints of an answer that are left out, and returns the others.
    ///
    /// Fails if all of them are left out, so that the last endpoints stay: an answer without a
    /// usable endpoint is more likely wrong than intended.
    #[cfg(any(
        feature = "cloudmap",
        feature = "consul",
        feature = "document",
        feature = "kubernetes"
    ))]
    pub(crate) fn keep_usable<E>(
        &mut self,
        source: &str,
        answer: impl IntoIterator<Item = Result<E, LeftOut>>,
    ) -> Result<Vec<E>, String> {
        let (mut usable, mut left_out) = (Vec::new(), Vec::new());
        for endpoint in answer {
            match endpoint {
                Ok(endpoint) => usable.push(endpoint),
                Err(reason) => left_out.push(reason),
            }
        }
        let suspect = left_out.iter().find(|one: &&LeftOut| !one.plausible);
        let error = suspect.filter(|_| usable.is_empty()).map(|first| {
            let (endpoint, reason) = (Escaped(&first.endpoint), Escaped(&first.reason));
            format!("none of {} endpoints is usable; {endpoint}: {reason}", left_out.len())
        });
        self.log(source, left_out);
        error.map_or(Ok(usable), Err)
    }
}

/// Parses a host and a port as a target. An IP address, with or without a zone, must pass the
/// filter; a name is not resolved.
#[cfg(any(feature = "cloudmap", feature = "consul", feature = "kubernetes"))]
pub(crate) fn parse_target<T: std::str::FromStr<Err: fmt::Display>>(
    key: &str,
    host: &str,
    port: u16,
    filter: &crate::discover::AddressFilter,
) -> Result<T, LeftOut> {
    let address = host_port(host, port);
    let (ip, zone) = split_zone(host);
    if let Ok(ip) = ip.parse() {
        filter
            .check_parts(ip, zone.is_some(), port)
            .map_err(|rejected| LeftOut::new(key, rejected))?;
    } else if port == 0 {
        return Err(LeftOut::new(key, PortZero(&address)));
    }
    let parsed = parse_address(&address);
    parsed.map_err(|problem| LeftOut::new(key, format_args!("{address}: {problem}")))
}

/// Parses an address as a target; the error says why it is not one.
#[cfg(any(feature = "cloudmap", feature = "consul", feature = "document", feature = "kubernetes"))]
pub(crate) fn parse_address<T>(address: &str) -> Result<T, String>
where
    T: std::str::FromStr<Err: fmt::Display>,
{
    address.parse().map_err(|error: T::Err| match zone_of(address) {
        // The error of `SocketAddr` does not say that the name of the zone is the problem.
        Some(zone) if zone.parse::<u32>().is_err() => {
            format!("{error}; the zone {zone:?} is not a number")
        }
        _ => error.to_string(),
    })
}

/// Says that an address has the port 0.
#[cfg(any(feature = "cloudmap", feature = "consul", feature = "document", feature = "kubernetes"))]
pub(crate) struct PortZero<'a>(pub(crate) &'a str);

#[cfg(any(feature = "cloudmap", feature = "consul", feature = "document", feature = "kubernetes"))]
impl fmt::Display for PortZero<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} can't be an endpoint: its port is 0", self.0)
    }
}

/// Splits a host into the IP address, without brackets, and the IPv6 zone after `%`.
#[cfg(any(
    feature = "cloudmap",
    feature = "consul",
    feature = "dns",
    feature = "document",
    feature = "kubernetes"
))]
pub(crate) fn split_zone(host: &str) -> (&str, Option<&str>) {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let Some((ip, zone)) = bare.split_once('%') else { return (bare, None) };
    if std::net::Ipv6Addr::from_str(ip).is_err() {
        return (bare, None);
    }
    // In a URL the separator is itself escaped, as `%25` (RFC 6874).
    let escaped = zone.strip_prefix("25").filter(|zone| !zone.is_empty());
    (ip, Some(escaped.unwrap_or(zone)))
}

/// Splits an address or URL into host and port, if it has a port.
#[cfg(any(feature = "cloudmap", feature = "consul", feature = "document", feature = "kubernetes"))]
fn split_port(address: &str) -> Option<(&str, &str)> {
    let authority = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next()?;
    let (host, port) = authority.rsplit_once(':')?;
    // A bare IPv6 address has no port.
    (!host.contains(':') || host.ends_with(']')).then_some((host, port))
}

/// Returns true if an address or URL has the port 0.
#[cfg(feature = "document")]
pub(crate) fn has_port_zero(address: &str) -> bool {
    split_port(address)
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|digit| digit == b'0'))
}

/// Returns the zone of the IPv6 address in an address or URL.
#[cfg(any(feature = "cloudmap", feature = "consul", feature = "document", feature = "kubernetes"))]
pub(crate) fn zone_of(address: &str) -> Option<&str> {
    split_zone(split_port(address).map_or(address, |(host, _)| host)).1
}

/// Joins a host and a port, with brackets around an IPv6 address.
#[cfg(any(feature = "cloudmap", feature = "consul", feature = "kubernetes"))]
pub(crate) fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(all(test, feature = "consul", feature = "document"))]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::discover::AddressFilter;

    #[test]
    fn zones_are_read_in_all_forms() {
        for (host, expected) in [
            ("fe80::1", ("fe80::1", None)),
            ("fe80::1%3", ("fe80::1", Some("3"))),
            ("[fe80::1%eth0]", ("fe80::1", Some("eth0"))),
            ("[fe80::1%25eth0]", ("fe80::1", Some("eth0"))),
            ("fe80::1%25", ("fe80::1", Some("25"))),
            ("a%3", ("a%3", None)),
        ] {
            assert_eq!(split_zone(host), expected, "{host}");
        }
        assert_eq!(zone_of("http://[fe80::1%25eth0]:80/a"), Some("eth0"));
        assert_eq!(zone_of("[fe80::1%3]:80"), Some("3"));
        assert_eq!(zone_of("10.0.0.1:80"), None);
    }

    #[cfg(any(feature = "cloudmap", feature = "consul", feature = "kubernetes"))]
    #[test]
    fn an_answer_without_a_usable_endpoint_is_an_error_unless_it_may_be_meant() {
        let keep =
            |answer: Vec<Result<(), LeftOut>>| LeftOutLog::default().keep_usable("s", answer);
        let out = |reason| LeftOut::new("a", reason);
        assert_eq!(keep(vec![]).unwrap().len(), 0);
        assert_eq!(keep(vec![Ok(()), Err(out("wrong"))]).unwrap().len(), 1);
        let error = keep(vec![Err(out("wrong")), Err(out("late"))]).unwrap_err();
        assert_eq!(error, "none of 2 endpoints is usable; a: wrong");
        #[cfg(feature = "kubernetes")]
        {
            assert_eq!(keep(vec![Err(out("meant").plausible())]).unwrap().len(), 0);
            assert!(keep(vec![Err(out("meant").plausible()), Err(out("wrong"))]).is_err());
        }
    }

    /// A zone must not hide an address from the filter, whatever the type of the target.
    #[test]
    fn a_zone_does_not_evade_the_filter() {
        let parse = |host, filter: &AddressFilter| parse_target::<String>("k", host, 80, filter);
        for host in ["fd00:ec2::254%eth0", "[fd00:ec2::254%25eth0]", "fd00:ec2::254%1", "[::%1]"] {
            assert!(parse(host, &AddressFilter::new()).is_err(), "{host}");
        }
        for host in ["fe80::1%eth0", "[fe80::1%3]"] {
            assert!(parse(host, &AddressFilter::new()).is_ok(), "{host}");
            assert!(parse(host, &AddressFilter::strict()).is_err(), "{host}");
        }
        let address = |host| parse_target::<SocketAddr>("k", host, 80, &AddressFilter::new());
        assert_eq!(address("fe80::1%3"), Ok("[fe80::1%3]:80".parse().unwrap()));
        let reason = "[fe80::1%eth0]:80: invalid socket address syntax; \
            the zone \"eth0\" is not a number";
        assert_eq!(address("fe80::1%eth0"), Err(LeftOut::new("k", reason)));
    }

    #[test]
    fn port_zero_is_found_in_all_forms() {
        for address in ["10.0.0.1:0", "[::1]:0", "a:0", "a:00", "http://a:0/b", "https://[::1]:0"] {
            assert!(has_port_zero(address), "{address}");
        }
        for address in ["10.0.0.1:80", "::0", "a", "a:", "http://a/b:0", "a:10", "[::1]:8080"] {
            assert!(!has_port_zero(address), "{address}");
        }
    }
}
