use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{ConfigError, opaque::Opaque};

/// The length of an authentication code, which is truncated.
pub(super) const TAG_BYTES: usize = 16;
pub(super) type Tag = [u8; TAG_BYTES];

/// The minimum length of a secret.
const MIN_SECRET_BYTES: usize = 32;

/// A secret key that signs session cookies with HMAC-SHA-256.
///
/// Balancers accept each other's sessions if they have the same session key and the same names for
/// their endpoints.
#[derive(Clone, Debug)]
pub struct SessionKey(Opaque<Hmac<Sha256>>);

/// What a code is for. It is part of the code, so that a code is not valid for another purpose.
#[derive(Clone, Copy)]
enum Purpose {
    Endpoint = 1,
    Binding,
    Token,
    Derived,
}

impl SessionKey {
    /// Creates a key from at least 32 secret, random bytes.
    ///
    /// # Errors
    ///
    /// If `secret` is shorter.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let secret = secret.as_ref();
        // The value in the error is the length: the secret itself must not be printed.
        let short = || {
            ConfigError::new("secret", "at least 32 random bytes")
                .with_value(format_args!("{} bytes long", secret.len()))
        };
        if secret.len() < MIN_SECRET_BYTES {
            return Err(short());
        }
        Hmac::new_from_slice(secret).map(|key| Self(Opaque(key))).map_err(|_| short())
    }

    /// Returns another key, which only holders of this one can compute. Balancers with different
    /// contexts, such as the names of target groups, do not accept each other's cookies.
    #[must_use]
    pub fn derive(&self, context: &str) -> Self {
        let secret = self.code(Purpose::Derived, &[context.as_bytes()]).finalize().into_bytes();
        // Keys of any length are accepted here.
        Hmac::new_from_slice(&secret).map_or_else(|_| self.clone(), |key| Self(Opaque(key)))
    }

    fn code(&self, purpose: Purpose, content: &[&[u8]]) -> Hmac<Sha256> {
        #[cfg(test)]
        hashed::count(content);
        let code = self.0.0.clone().chain_update([purpose as u8]);
        content.iter().fold(code, |code, part| code.chain_update(part))
    }

    /// Returns the identifier of an endpoint with this name.
    pub(super) fn endpoint(&self, name: &str) -> Tag {
        truncated(self.code(Purpose::Endpoint, &[name.as_bytes()]))
    }

    /// Returns what a session is bound to that follows an application cookie with this value; never
    /// 0.
    pub(super) fn binding(&self, value: &[u8]) -> u64 {
        let code = truncated(self.code(Purpose::Binding, &[value]));
        u64::from_le_bytes(std::array::from_fn(|index| code[index])).max(1)
    }

    /// Returns the tag of a token with this content and binding.
    pub(super) fn sign(&self, content: &[u8], binding: u64) -> Tag {
        truncated(self.token(content, binding))
    }

    /// Returns whether `tag` is that of the token. Compares in constant time.
    pub(super) fn verify(&self, content: &[u8], binding: u64, tag: &Tag) -> bool {
        self.token(content, binding).verify_truncated_left(tag).is_ok()
    }

    fn token(&self, content: &[u8], binding: u64) -> Hmac<Sha256> {
        self.code(Purpose::Token, &[&binding.to_le_bytes(), content])
    }
}

fn truncated(code: Hmac<Sha256>) -> Tag {
    let bytes: [u8; 32] = code.finalize().into_bytes().into();
    std::array::from_fn(|index| bytes[index])
}

/// Counts the codes that are computed, for tests of the work that a request can cause.
#[cfg(test)]
pub(super) mod hashed {
    use std::cell::Cell;

    thread_local! {
        static HASHED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    }

    pub(super) fn count(content: &[&[u8]]) {
        let bytes: usize = content.iter().map(|part| part.len()).sum();
        HASHED.with(|hashed| hashed.set((hashed.get().0 + 1, hashed.get().1 + bytes)));
    }

    /// Returns how many codes this thread has computed since the last call, and from how many
    /// bytes.
    pub(in super::super) fn take() -> (usize, usize) {
        HASHED.with(Cell::take)
    }
}
