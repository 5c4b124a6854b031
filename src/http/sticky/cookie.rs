use std::{fmt, time::Duration};

use http::{HeaderMap, header::SET_COOKIE};

use crate::request_cookies::pair;

/// Returns the value that a response sets the cookie `name` to, the last if it sets it several
/// times.
pub(super) fn set_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(SET_COOKIE).iter().rev();
    let pairs = lines.filter_map(|line| line.as_bytes().split(|&byte| byte == b';').next());
    pairs.filter_map(pair).find(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
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
            let response = HeaderMap::from_iter([(SET_COOKIE, value)]);
            let _ = set_cookie(&response, "l");
        }
    }
}
