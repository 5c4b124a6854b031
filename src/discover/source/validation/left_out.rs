//! What a source leaves out of its answers.

use std::{collections::HashSet, fmt};

use crate::escape::Escaped;

/// The most log events about one answer.
const MAX_EVENTS: usize = 20;

/// An endpoint that is left out of an answer, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::discover::source) struct LeftOut {
    /// The endpoint's key or address, as the source names it.
    pub(in crate::discover::source) endpoint: String,
    pub(in crate::discover::source) reason: String,
}

impl LeftOut {
    pub(in crate::discover::source) fn new(
        endpoint: impl Into<String>,
        reason: impl fmt::Display,
    ) -> Self {
        Self { endpoint: endpoint.into(), reason: reason.to_string() }
    }
}

/// Logs what is left out, once for as long as it is left out of every answer: sources are asked every
/// few seconds.
#[derive(Debug, Default)]
pub(in crate::discover::source) struct LeftOutLog {
    last: HashSet<LeftOut>,
}

impl LeftOutLog {
    /// Logs what was not left out of the last answer.
    pub(in crate::discover::source) fn log(&mut self, source: &str, left_out: Vec<LeftOut>) {
        let now: HashSet<LeftOut> = left_out.into_iter().collect();
        let new = || now.difference(&self.last);
        for LeftOut { endpoint, reason } in new().take(MAX_EVENTS) {
            let (endpoint, reason) = (Escaped(endpoint), Escaped(reason));
            tracing::warn!(source = %Escaped(source), %endpoint, %reason, "an endpoint is left out");
        }
        let more = new().count().saturating_sub(MAX_EVENTS);
        if more > 0 {
            tracing::warn!(source = %Escaped(source), more, "more endpoints are left out");
        }
        self.last = now;
    }
}

/// Every endpoint of an answer is left out. That is an error, so that the endpoints known before stay:
/// an answer without a usable endpoint is more likely wrong than meant.
#[derive(Debug)]
#[cfg(any(feature = "cloudmap", feature = "consul", feature = "kubernetes"))]
pub(in crate::discover::source) struct NothingLeft {
    left_out: usize,
    first: LeftOut,
}

#[cfg(any(feature = "cloudmap", feature = "consul", feature = "kubernetes"))]
impl NothingLeft {
    /// An error if nothing is `left` of an answer from which something was left out.
    pub(in crate::discover::source) fn check(
        left: usize,
        left_out: &[LeftOut],
    ) -> Result<(), Self> {
        match left_out.first() {
            Some(first) if left == 0 => {
                Err(Self { left_out: left_out.len(), first: first.clone() })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(any(feature = "cloudmap", feature = "consul", feature = "kubernetes"))]
impl fmt::Display for NothingLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LeftOut { endpoint, reason } = &self.first;
        let (endpoint, reason) = (Escaped(endpoint), Escaped(reason));
        write!(f, "none of {} endpoints is usable; {endpoint}: {reason}", self.left_out)
    }
}

#[cfg(any(feature = "cloudmap", feature = "consul", feature = "kubernetes"))]
impl std::error::Error for NothingLeft {}

/// Parses a host and a port as a target. An IP address must pass the filter; a name is not looked up.
#[cfg(any(feature = "cloudmap", feature = "consul", feature = "kubernetes"))]
pub(in crate::discover::source) fn target<T: std::str::FromStr<Err: fmt::Display>>(
    key: &str,
    host: &str,
    port: u16,
    filter: &crate::discover::AddressFilter,
) -> Result<T, LeftOut> {
    let address = host_port(host, port);
    if let Ok(address) = address.parse() {
        filter.check(address).map_err(|rejected| LeftOut::new(key, rejected))?;
    } else if port == 0 {
        return Err(LeftOut::new(
            key,
            format_args!("{address} can't be an endpoint: its port is 0"),
        ));
    }
    let parsed = address.parse();
    parsed.map_err(|error| LeftOut::new(key, format_args!("{address}: {error}")))
}

/// A host and a port as one text, with brackets around an IPv6 address.
#[cfg(any(feature = "cloudmap", feature = "consul", feature = "kubernetes"))]
pub(in crate::discover::source) fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
