use http::{Uri, uri::Scheme};

use crate::{ConfigError, loopback::is_loopback};

pub(super) const SECURE_URL: &str = "an https URL with a host; http is accepted for loopback only";

/// Returns the URL if what is read from it can be trusted: over TLS, or from the same machine.
pub(super) fn secure_url(text: &str) -> Option<Uri> {
    let uri = text.parse::<Uri>().ok()?;
    let host = uri.host()?;
    let is_secure = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => is_loopback(host),
        _ => false,
    };
    // A password in a URL would end in logs.
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    (is_secure && !has_user && !host.is_empty()).then_some(uri)
}

/// Does the same as [`secure_url`] for the setting `field`.
pub(super) fn checked_url(field: &'static str, text: &str) -> Result<Uri, ConfigError> {
    secure_url(text).ok_or_else(|| ConfigError::new(field, SECURE_URL).with_value(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_loopback_are_secure() {
        for url in [
            "https://id.example.com/jwks",
            "http://127.0.0.1:8080/jwks",
            "http://localhost/",
            "http://[::1]:80",
        ] {
            assert!(secure_url(url).is_some(), "{url}");
        }
        for url in [
            "http://id.example.com/jwks",
            "http://localhost.example.com/",
            "https://user:word@id.example.com/",
            "file:///etc/passwd",
            "/jwks",
            "id.example.com",
            "",
        ] {
            assert!(secure_url(url).is_none(), "{url}");
        }
        let error = checked_url("jwks", "http://a.example").unwrap_err();
        assert_eq!((error.field(), error.value()), ("jwks", Some("http://a.example")));
    }
}
