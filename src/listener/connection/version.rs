use std::io;

use super::ClientStream;

/// The version of HTTP that a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// What a client of HTTP/2 sends first (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Version {
    /// Returns the version that a TLS handshake has agreed on. Without ALPN it is HTTP/1.1: RFC
    /// 9113 section 3.2 demands ALPN for HTTP/2.
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    pub(super) fn from_alpn(protocol: Option<&[u8]>) -> Self {
        if protocol == Some(b"h2") { Self::Http2 } else { Self::Http1 }
    }

    /// Looks at the first bytes, and leaves them in the stream. `None` if the client has closed
    /// without a byte.
    pub(super) async fn detect(stream: &mut ClientStream) -> io::Result<Option<Self>> {
        loop {
            match Self::of(stream.ahead()) {
                Some(version) => return Ok(Some(version)),
                None if stream.read_ahead().await? > 0 => {}
                None if stream.ahead().is_empty() => return Ok(None),
                // The server says what is wrong.
                None => return Ok(Some(Self::Http1)),
            }
        }
    }

    /// Returns the version of a connection that begins with `bytes`; `None` if more are needed.
    fn of(bytes: &[u8]) -> Option<Self> {
        let length = bytes.len().min(PREFACE.len());
        if bytes[..length] != PREFACE[..length] {
            return Some(Self::Http1);
        }
        (length == PREFACE.len()).then_some(Self::Http2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_decides_as_early_as_it_can() {
        assert_eq!(Version::of(b""), None);
        assert_eq!(Version::of(b"G"), Some(Version::Http1));
        assert_eq!(Version::of(b"PR"), None);
        assert_eq!(Version::of(b"PROPFIND / HTTP/1.1"), Some(Version::Http1));
        assert_eq!(Version::of(&PREFACE[..23]), None);
        assert_eq!(Version::of(PREFACE), Some(Version::Http2));
        assert_eq!(Version::of(&[PREFACE, b"\0\0"].concat()), Some(Version::Http2));
    }
}
