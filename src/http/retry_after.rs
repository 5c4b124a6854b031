use std::time::Duration;

use http::{HeaderMap, header};

/// The delay that a `Retry-After` header asks for in seconds. A date is not looked at: it needs the
/// other side's clock to agree with ours.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_seconds_count() {
        let parse = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(parse("120"), Some(Duration::from_secs(120)));
        assert_eq!(parse(" 0 "), Some(Duration::ZERO));
        for nonsense in
            ["", "-1", "1.5", "soon", "99999999999999999999", "Fri, 31 Dec 1999 23:59:59 GMT"]
        {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
