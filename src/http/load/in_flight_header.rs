use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::outcome::LoadReport;

/// The header in which a server reports its requests in flight.
///
/// | value | meaning |
/// |---|---|
/// | `7` | 7 requests in flight |
/// | `7/16` | 7 requests in flight; the server can serve 16 concurrently |
/// | `7/16;latency-ms=12.5` | and requests take 12.5 ms at the present load |
///
/// Other parameters are ignored. [`ReportLoad`](crate::http::ReportLoad) writes the header; a
/// server in another language needs one line for it.
pub const IN_FLIGHT: HeaderName = HeaderName::from_static("endpoint-in-flight");

/// A longer value is not a report.
const MAX_VALUE_BYTES: usize = 64;

/// Reads the header; `None` if it is missing or invalid.
pub(crate) fn read(headers: &HeaderMap) -> Option<LoadReport> {
    let value = headers.get(IN_FLIGHT)?;
    let value = value.to_str().ok().filter(|value| value.len() <= MAX_VALUE_BYTES)?.trim();
    let (requests, parameters) = value.split_once(';').unwrap_or((value, ""));
    let number = |digits: &str| digits.trim().parse::<u32>().ok().map(f64::from);
    let (in_flight, capacity) = match requests.split_once('/') {
        Some((in_flight, capacity)) => (number(in_flight)?, Some(number(capacity)?)),
        None => (number(requests)?, None),
    };
    let mut report = LoadReport::new().with_requests_in_flight(in_flight);
    if let Some(capacity) = capacity {
        report = report.with_free_capacity((capacity - in_flight).max(0.0));
    }
    for parameter in parameters.split(';') {
        if let Some(latency) = parameter.trim().strip_prefix(LATENCY) {
            report = report.with_latency(milliseconds(latency)?);
        }
    }
    Some(report)
}

/// The parameter for a latency in milliseconds.
const LATENCY: &str = "latency-ms=";

/// Parses digits with at most one point, but not the other forms of a float, such as `1e3` or
/// `inf`.
fn milliseconds(value: &str) -> Option<Duration> {
    let decimal = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value: f64 = value.parse().ok().filter(|_| decimal)?;
    Duration::try_from_secs_f64(value / 1e3).ok()
}

/// The load that a server reports in the header.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) in_flight: usize,
    pub(super) capacity: Option<u32>,
    pub(super) latency: Option<Duration>,
}

impl InFlight {
    pub(super) fn value(self) -> HeaderValue {
        if self.capacity.is_none() && self.latency.is_none() {
            return self.in_flight.into();
        }
        let capacity = self.capacity.map(|capacity| format!("/{capacity}")).unwrap_or_default();
        let latency = self.latency.map(|latency| latency.min(MAX_LATENCY).as_secs_f64() * 1e3);
        let latency = latency.map(|latency| format!(";{LATENCY}{latency:.3}")).unwrap_or_default();
        let value = HeaderValue::try_from(format!("{}{capacity}{latency}", self.in_flight));
        value.unwrap_or_else(|_| self.in_flight.into())
    }
}

/// Keeps the value below [`MAX_VALUE_BYTES`].
const MAX_LATENCY: Duration = Duration::from_secs(1_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &'static str) -> Option<(f64, Option<f64>)> {
        let mut headers = HeaderMap::new();
        headers.insert(IN_FLIGHT, HeaderValue::from_static(value));
        let report = read(&headers)?;
        Some((report.requests_in_flight()?, report.free_capacity()))
    }

    #[test]
    fn what_is_written_is_read() {
        let micros = Duration::from_micros;
        for (in_flight, capacity, latency, free) in [
            (0, None, None, None),
            (7, Some(16), None, Some(9.0)),
            (20, Some(16), Some(micros(12_345)), Some(0.0)),
            (usize::MAX >> 32, Some(u32::MAX), Some(Duration::MAX), Some(0.0)),
            (1, None, Some(Duration::ZERO), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IN_FLIGHT, InFlight { in_flight, capacity, latency }.value());
            let report = read(&headers).unwrap();
            assert_eq!(report.requests_in_flight(), Some(in_flight as f64));
            assert_eq!(report.free_capacity(), free);
            assert_eq!(report.latency(), latency.map(|latency| latency.min(MAX_LATENCY)));
        }
    }

    #[test]
    fn other_parameters_are_ignored() {
        let mut headers = HeaderMap::new();
        headers.insert(IN_FLIGHT, HeaderValue::from_static("7/16 ; new=x; latency-ms=2;other"));
        let report = read(&headers).unwrap();
        assert_eq!(report.latency(), Some(Duration::from_millis(2)));
        assert_eq!(report.requests_in_flight(), Some(7.0));
    }

    #[test]
    fn nonsense_is_no_report() {
        assert_eq!(of(" 3 / 4"), Some((3.0, Some(1.0))));
        let long = "00000000000000000000000000000000000000000000000000000000000000001";
        let nonsense = "7;latency-ms= 7;latency-ms=-1 7;latency-ms=1e9 7;latency-ms=inf \
            ;latency-ms=1 -1 NaN 1e3 7/ /7 7/x 7/8/9 99999999999";
        for value in nonsense.split(' ').chain(["", long]) {
            assert_eq!(of(value), None, "{value}");
        }
    }
}
