use std::{fmt, time::Duration};

use http::{
    HeaderMap,
    header::{COOKIE, SET_COOKIE},
};

/// How many bytes of `Cookie` headers are searched. Servers accept 8 to 64 KiB of headers by
/// default.
const MAX_SEARCHED_BYTES: usize = 64 << 10;

/// Returns the values of the cookies `name` of a request, in order.
///
/// Text that is not of the form `name=value` is skipped. So are the header that exceeds
/// [`MAX_SEARCHED_BYTES`] and those after it.
pub(super) fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let mut left = MAX_SEARCHED_BYTES;
    let lines = headers.get_all(COOKIE).iter().map_while(move |value| {
        // An empty header counts 1, so that the number of headers is bounded too.
        left = left.checked_sub(value.len().max(1))?;
        Some(value.as_bytes())
    });
    let pairs = lines.flat_map(|line| line.split(|&byte| byte == b';'));
    pairs.filter_map(|pair| value_of(pair, name))
}

/// Returns the value that a response sets the cookie `name` to, the last if it sets it several
/// times.
pub(super) fn set_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(SET_COOKIE).iter().rev();
    let mut pairs = lines.filter_map(|line| line.as_bytes().split(|&byte| byte == b';').next());
    pairs.find_map(|pair| value_of(pair, name))
}

fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let rest = pair.trim_ascii_start().strip_prefix(name.as_bytes())?.trim_ascii_start();
    Some(rest.strip_prefix(b"=")?.trim_ascii())
}

/// The requests from other sites with which a browser sends the cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// No request.
    Strict,
    /// Navigation by links. The default.
    #[default]
    Lax,
    /// All requests, including those of frames and scripts. Needs
    /// [`secure`](super::SessionsBuilder::secure).
    None,
}

/// The attributes of a `Set-Cookie` header.
#[derive(Clone, Debug)]
pub(super) struct Attributes {
    pub(super) path: String,
    pub(super) domain: Option<String>,
    pub(super) max_age: Option<Duration>,
    pub(super) http_only: bool,
    pub(super) secure: bool,
    pub(super) same_site: SameSite,
    pub(super) partitioned: bool,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            path: "/".into(),
            domain: None,
            max_age: None,
            http_only: true,
            secure: true,
            same_site: SameSite::default(),
            partitioned: false,
        }
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "; Path={}", self.path)?;
        if let Some(domain) = &self.domain {
            write!(f, "; Domain={domain}")?;
        }
        if let Some(max_age) = self.max_age {
            write!(f, "; Max-Age={}", max_age.as_secs())?;
        }
        if self.http_only {
            f.write_str("; HttpOnly")?;
        }
        if self.secure {
            f.write_str("; Secure")?;
        }
        write!(f, "; SameSite={:?}", self.same_site)?;
        if self.partitioned {
            f.write_str("; Partitioned")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(name: http::HeaderName, values: &[&str]) -> HeaderMap {
        let value = |value: &&str| HeaderValue::from_bytes(value.as_bytes()).unwrap();
        values.iter().map(|text| (name.clone(), value(text))).collect()
    }

    fn found(values: &[&str]) -> Vec<String> {
        let headers = headers(COOKIE, values);
        let found = cookies(&headers, "lb");
        found.map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
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

    #[test]
    fn the_last_set_cookie_counts() {
        let set =
            |values: &[&str]| set_cookie(&headers(SET_COOKIE, values), "lb").map(<[u8]>::to_vec);
        assert_eq!(set(&["lb=1; Path=/", "lb=2", "x=lb"]), Some(b"2".to_vec()));
        assert_eq!(set(&["x=1; lb=2"]), None);
    }

    proptest! {
        #[test]
        fn any_header_is_parsed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let request = HeaderMap::from_iter([(COOKIE, value.clone())]);
            prop_assert!(cookies(&request, "l").count() <= bytes.len());
            let response = HeaderMap::from_iter([(SET_COOKIE, value)]);
            let _ = set_cookie(&response, "l");
        }
    }
}
