use http::{HeaderMap, HeaderName};

use crate::outcome::LoadReport;

/// The header in which a server permits a number of requests at a time: `8`, or `0` for none.
///
/// [`PermitLimited`](crate::health::PermitLimited) reads it.
pub const PERMITS: HeaderName = HeaderName::from_static("endpoint-permits");

/// Reads the header; `None` if it is missing or invalid.
pub(crate) fn read(headers: &HeaderMap) -> Option<LoadReport> {
    let value = headers.get(PERMITS)?.to_str().ok()?.trim();
    // `parse` alone accepts a sign.
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let permits = value.parse().ok().filter(|_| digits)?;
    Some(LoadReport::new().with_permits(permits))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_number_is_a_permit() {
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([(PERMITS, HeaderValue::from_static(value))]);
            read(&headers)?.permits()
        };
        for (value, permits) in [("0", Some(0)), (" 8 ", Some(8)), ("4294967295", Some(u32::MAX))] {
            assert_eq!(read(value), permits);
        }
        for value in ["", "-1", "+1", "1.5", "1e3", "4294967296", "8, 8", "x"] {
            assert_eq!(read(value), None, "{value}");
        }
        assert_eq!(super::read(&HeaderMap::new()), None);
    }
}
