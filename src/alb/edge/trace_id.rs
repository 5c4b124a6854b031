use std::{
    fmt::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::rng::Rng;

const X_AMZN_TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// Marks the request for tracing: a new `Root`, or `Self` beside the `Root` that the client sent.
///
/// An id is `1-TIME-RANDOM`: seconds since 1970 in 8 and a random number in 24 hexadecimal digits.
/// All other parts of the field pass.
pub(super) fn set_trace_id(headers: &mut HeaderMap, rng: &mut Rng) {
    let id = Id::new(rng);
    let sent = headers.get(X_AMZN_TRACE_ID).and_then(|value| value.to_str().ok());
    let value = match sent.filter(|sent| part(sent, "Root").is_some()) {
        None => format!("Root={id}"),
        Some(sent) => {
            let mut value = format!("Self={id}");
            for kept in sent.split(';').filter(|kept| !is_part(kept, "Self")) {
                // Writing to a string does not fail.
                let _ = write!(value, ";{}", kept.trim());
            }
            value
        }
    };
    // What the client sent was a header value, and an id has only hexadecimal digits.
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(X_AMZN_TRACE_ID, value);
    }
}

struct Id {
    seconds: u32,
    random: [u64; 2],
}

impl Id {
    fn new(rng: &mut Rng) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // AWS's format has 8 digits, which last until the year 2106.
        Self { seconds: since_1970.as_secs() as u32, random: [rng.bits(), rng.bits()] }
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [high, low] = self.random;
        write!(f, "1-{:08x}-{:08x}{:016x}", self.seconds, high as u32, low)
    }
}

fn is_part(text: &str, name: &str) -> bool {
    text.trim().split_once('=').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
}

fn part<'a>(field: &'a str, name: &str) -> Option<&'a str> {
    field.split(';').find(|text| is_part(text, name))
}

/// For the fuzz targets: marks the request for tracing.
#[cfg(tower_lb_fuzz)]
pub fn mark_for_tracing(headers: &mut HeaderMap) {
    set_trace_id(headers, &mut Rng::seeded(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traced(sent: Option<&'static str>) -> String {
        let mut headers = HeaderMap::new();
        if let Some(sent) = sent {
            headers.insert(X_AMZN_TRACE_ID, HeaderValue::from_static(sent));
        }
        set_trace_id(&mut headers, &mut Rng::seeded(1));
        headers[X_AMZN_TRACE_ID].to_str().unwrap().to_owned()
    }

    fn is_id(text: &str) -> bool {
        let parts: Vec<_> = text.split('-').collect();
        let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        matches!(parts[..], ["1", time, random] if time.len() == 8 && random.len() == 24
            && hex(time) && hex(random))
    }

    #[test]
    fn a_request_without_root_gets_one() {
        for sent in [None, Some("Self=1-0-0"), Some("garbage")] {
            let value = traced(sent);
            assert!(is_id(value.strip_prefix("Root=").unwrap()), "{value}");
        }
    }

    #[test]
    fn a_root_is_kept_and_gets_a_self() {
        let value = traced(Some("Root=1-67891233-abcdef012345678912345678; CalledFrom=app"));
        let (id, rest) = value.strip_prefix("Self=").unwrap().split_once(';').unwrap();
        assert!(is_id(id), "{value}");
        assert_eq!(rest, "Root=1-67891233-abcdef012345678912345678;CalledFrom=app");
        let value = traced(Some("Self=1-0-0;Root=1-2-3"));
        assert!(value.ends_with(";Root=1-2-3") && !value.contains("1-0-0"), "{value}");
    }
}
