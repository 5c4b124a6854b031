use http::{HeaderMap, HeaderName, HeaderValue};

use crate::outcome::LoadReport;

/// The header by which a server tells how many requests it has: `endpoint-in-flight: 7`, or, from
/// one that knows how many it can serve at once, `endpoint-in-flight: 7/16`.
///
/// The smallest load report there is, and one line to write by hand in any server;
/// [`ReportLoad`](super::ReportLoad) writes it.
pub const IN_FLIGHT: HeaderName = HeaderName::from_static("endpoint-in-flight");

/// Digits that are read; more are no report.
const LONGEST: usize = 32;

/// What a response says in that header. What can't be read is no report.
pub(super) fn read(headers: &HeaderMap) -> Option<LoadReport> {
    let value = headers.get(IN_FLIGHT)?;
    let value = value.to_str().ok().filter(|value| value.len() <= LONGEST)?.trim();
    let number = |digits: &str| digits.trim().parse::<u32>().ok().map(f64::from);
    let (in_flight, capacity) = match value.split_once('/') {
        Some((in_flight, capacity)) => (number(in_flight)?, Some(number(capacity)?)),
        None => (number(value)?, None),
    };
    let report = LoadReport::new().with_requests_in_flight(in_flight);
    Some(match capacity {
        Some(capacity) => report.with_free_capacity((capacity - in_flight).max(0.0)),
        None => report,
    })
}

pub(super) fn write(headers: &mut HeaderMap, in_flight: usize, capacity: Option<u32>) {
    headers.insert(IN_FLIGHT, value(in_flight, capacity));
}

pub(super) fn value(in_flight: usize, capacity: Option<u32>) -> HeaderValue {
    let Some(capacity) = capacity else { return in_flight.into() };
    let value = HeaderValue::try_from(format!("{in_flight}/{capacity}"));
    value.unwrap_or_else(|_| in_flight.into())
}

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
        for (in_flight, capacity, free) in
            [(0, None, None), (7, Some(16), Some(9.0)), (20, Some(16), Some(0.0))]
        {
            let mut headers = HeaderMap::new();
            write(&mut headers, in_flight, capacity);
            let report = read(&headers).unwrap();
            assert_eq!(report.requests_in_flight(), Some(in_flight as f64));
            assert_eq!(report.free_capacity(), free);
        }
    }

    #[test]
    fn nonsense_is_no_report() {
        assert_eq!(of(" 3 / 4"), Some((3.0, Some(1.0))));
        let long = "000000000000000000000000000000000000001";
        for value in ["", "-1", "NaN", "1e3", "7/", "/7", "7/x", "7/8/9", "99999999999", long] {
            assert_eq!(of(value), None, "{value}");
        }
    }
}
