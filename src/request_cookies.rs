//! Reads the cookies of a request (RFC 6265, 5.4 and RFC 9113, 8.2.3).

use http::{HeaderMap, header::COOKIE};

/// How many bytes of `Cookie` headers are searched. Servers accept 8 to 64 KiB of headers by
/// default.
const MAX_SEARCHED_BYTES: usize = 64 << 10;

/// Returns the names and values of the cookies of a request, in order.
///
/// Text that is not of the form `name=value` is skipped. So are the header that exceeds
/// [`MAX_SEARCHED_BYTES`] and those after it.
pub(crate) fn all_cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut left = MAX_SEARCHED_BYTES;
    let lines = headers.get_all(COOKIE).iter().map_while(move |value| {
        // An empty header counts 1, so that the number of headers is bounded too.
        left = left.checked_sub(value.len().max(1))?;
        Some(value.as_bytes())
    });
    lines.flat_map(|line| line.split(|&byte| byte == b';')).filter_map(pair)
}

/// Returns the values of the cookies `name` of a request, in order, as [`all_cookies`] does.
#[cfg(feature = "sticky")]
pub(crate) fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    all_cookies(headers).filter(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
}

/// Splits `name=value`, without the space around both.
pub(crate) fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = text.iter().position(|&byte| byte == b'=')?;
    Some((text[..equals].trim_ascii(), text[equals + 1..].trim_ascii()))
}

/// For the fuzz targets: returns the names and values of all cookies.
#[cfg(tower_lb_fuzz)]
pub fn request_cookies(headers: &HeaderMap) -> Vec<(&[u8], &[u8])> {
    all_cookies(headers).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let value = |value: &&str| HeaderValue::from_bytes(value.as_bytes()).unwrap();
        values.iter().map(|text| (COOKIE, value(text))).collect()
    }

    fn found(values: &[&str]) -> Vec<String> {
        let headers = headers(values);
        let found = all_cookies(&headers).filter(|(name, _)| *name == b"lb");
        found.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap()).collect()
    }

    #[test]
    fn cookies_are_found_in_any_header_and_at_any_place() {
        assert_eq!(found(&["lb=1"]), ["1"]);
        assert_eq!(found(&["a=b; lb=1;lb=2", "x=y", " lb = 3 ;"]), ["1", "2", "3"]);
        assert_eq!(found(&["lb=a=b"]), ["a=b"]);
        assert_eq!(found(&["lb="]), [""]);
        assert!(found(&["", ";", "=", "lb", "lbx=1; xlb=1; LB=1", "a=lb=1", "lb;=1"]).is_empty());
    }

    #[test]
    fn no_more_than_the_bound_is_searched() {
        let long = "x".repeat(MAX_SEARCHED_BYTES - 4);
        assert_eq!(found(&[&long, "lb=1"]), ["1"]);
        assert_eq!(found(&["lb=1", &long, "lb=2"]), ["1"]);
        assert!(found(&[&format!("{long}; lb=1")]).is_empty());
    }

    proptest! {
        #[test]
        fn any_header_is_parsed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let request = HeaderMap::from_iter([(COOKIE, value)]);
            prop_assert!(all_cookies(&request).count() <= bytes.len());
        }
    }
}
