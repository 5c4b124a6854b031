//! Endpoints that a source leaves out of its answers.

use std::{collections::HashSet, fmt};

use crate::escape::Escaped;

/// The largest number of log events about the endpoints of one answer.
const MAX_EVENTS: usize = 20;

/// An endpoint that is left out of an answer, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LeftOut {
    /// The endpoint's key or address, as the source names it.
    endpoint: String,
    reason: String,
}

impl LeftOut {
    pub(crate) fn new(endpoint: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { endpoint: endpoint.into(), reason: reason.to_string() }
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

    /// Logs the endpoints of an answer that are left out, and returns the others.
    ///
    /// Fails if all of them are left out, so that the last endpoints stay: an answer without a
    /// usable endpoint is more likely wrong than intended.
    #[cfg(any(feature = "cloudmap", feature = "consul", feature = "kubernetes"))]
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
        let error = left_out.first().filter(|_| usable.is_empty()).map(|first: &LeftOut| {
            let (endpoint, reason) = (Escaped(&first.endpoint), Escaped(&first.reason));
            format!("none of {} endpoints is usable; {endpoint}: {reason}", left_out.len())
        });
        self.log(source, left_out);
        error.map_or(Ok(usable), Err)
    }
}

/// Parses a host and a port as a target. An IP address must pass the filter; a name is not
/// resolved.
#[cfg(any(feature = "cloudmap", feature = "consul", feature = "kubernetes"))]
pub(crate) fn parse_target<T: std::str::FromStr<Err: fmt::Display>>(
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

/// Joins a host and a port, with brackets around an IPv6 address.
#[cfg(any(feature = "cloudmap", feature = "consul", feature = "kubernetes"))]
pub(crate) fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
