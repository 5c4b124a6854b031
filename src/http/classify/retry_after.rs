use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

/// Returns the delay of a `Retry-After` header, which is in seconds or a date.
///
/// A date is compared with the `Date` of the same response, so that the clocks of server and client
/// need not agree. A date is ignored if the response has no `Date`.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.trim());
    let value = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = httpdate::parse_http_date(value).ok()?;
    let now = httpdate::parse_http_date(text(header::DATE)?).ok()?;
    // A date in the past is no delay.
    Some(then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &'static str, date: Option<&'static str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, value.parse().unwrap());
        date.map(|date| headers.insert(header::DATE, date.parse().unwrap()));
        retry_after(&headers)
    }

    const NEW_YEAR: &str = "Fri, 31 Dec 1999 23:59:59 GMT";

    #[test]
    fn whole_seconds_count() {
        assert_eq!(parse("120", None), Some(Duration::from_secs(120)));
        assert_eq!(parse(" 0 ", None), Some(Duration::ZERO));
        for nonsense in ["", "-1", "1.5", "soon", "99999999999999999999", NEW_YEAR] {
            assert_eq!(parse(nonsense, None), None, "{nonsense}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn dates_count_from_the_date_of_the_response() {
        let date = |date| parse(NEW_YEAR, Some(date));
        assert_eq!(date("Fri, 31 Dec 1999 23:59:29 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(date(NEW_YEAR), Some(Duration::ZERO));
        assert_eq!(date("Sat, 01 Jan 2000 00:00:29 GMT"), Some(Duration::ZERO));
        assert_eq!(date("yesterday"), None);
    }
}
