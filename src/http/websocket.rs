//! The handshake of a WebSocket (RFC 6455).

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

#[cfg(feature = "proxy")]
use crate::rng::Rng;

/// Returns the `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (4.2.2).
pub(super) fn accept(key: &[u8]) -> String {
    let digest = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest.finalize())
}

/// Returns a new `Sec-WebSocket-Key`: 16 random bytes (4.1), which need not be secret.
#[cfg(feature = "proxy")]
pub(super) fn new_key() -> String {
    let mut rng = Rng::from_entropy();
    let bytes = (u128::from(rng.bits()) << 64 | u128::from(rng.bits())).to_be_bytes();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, 1.3.
    #[test]
    fn a_key_has_one_answer() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[cfg(feature = "proxy")]
    #[test]
    fn keys_are_16_bytes_and_differ() {
        let keys = [new_key(), new_key()];
        assert!(keys.iter().all(|key| STANDARD.decode(key).unwrap().len() == 16));
        assert_ne!(keys[0], keys[1]);
    }
}
