//! The cookies of a request.

#![no_main]

use http::{HeaderMap, HeaderValue, header::COOKIE};
use libfuzzer_sys::fuzz_target;
use tower_lb::request_cookies;

fuzz_target!(|bytes: &[u8]| {
    // Each line is a field.
    let values = bytes.split(|&byte| byte == b'\n').map(HeaderValue::from_bytes);
    let headers: HeaderMap = values.flatten().map(|value| (COOKIE, value)).collect();
    let found = request_cookies(&headers);
    for (name, value) in &found {
        assert!(!name.contains(&b'=') && !name.contains(&b';') && !value.contains(&b';'));
        assert_eq!((*name, *value), (name.trim_ascii(), value.trim_ascii()));
    }
    // The same cookies in one field are read the same.
    let cookies = found.iter().map(|(name, value)| [name, &b"="[..], value].concat());
    let joined = cookies.collect::<Vec<_>>().join(&b"; "[..]);
    let joined = HeaderValue::from_bytes(&joined).expect("its parts were in a field");
    if joined.len() < 1 << 16 {
        let again: HeaderMap = [(COOKIE, joined)].into_iter().collect();
        assert_eq!(request_cookies(&again), found);
    }
});
