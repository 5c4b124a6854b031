use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::InvalidSessions;

/// Bytes that are kept of an authentication code.
pub(super) const TAG: usize = 16;
pub(super) type Tag = [u8; TAG];

/// A secret that cookies are signed with, by HMAC-SHA-256.
///
/// All balancers that are to accept each other's sessions need the same key, and the same keys
/// (names) for their endpoints.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

/// What a code is for, so that none can be taken for one of another purpose.
#[derive(Clone, Copy)]
enum Purpose {
    Endpoint = 1,
    Binding,
    Token,
}

impl Key {
    /// From at least 32 secret, random bytes; more are no harm.
    ///
    /// # Errors
    ///
    /// [`InvalidSessions::ShortKey`] if there are fewer.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, InvalidSessions> {
        let secret = secret.as_ref();
        let short = InvalidSessions::ShortKey { bytes: secret.len() };
        if secret.len() < 32 {
            return Err(short);
        }
        Hmac::new_from_slice(secret).map(Self).map_err(|_| short)
    }

    fn code(&self, purpose: Purpose, content: &[&[u8]]) -> Hmac<Sha256> {
        #[cfg(test)]
        hashed::count(content);
        let code = self.0.clone().chain_update([purpose as u8]);
        content.iter().fold(code, |code, part| code.chain_update(part))
    }

    /// What stands for an endpoint of this name.
    pub(super) fn endpoint(&self, name: &str) -> Tag {
        truncated(self.code(Purpose::Endpoint, &[name.as_bytes()]))
    }

    /// What stands for an application's session; never 0.
    pub(super) fn binding(&self, value: &[u8]) -> u64 {
        let code = truncated(self.code(Purpose::Binding, &[value]));
        u64::from_le_bytes(std::array::from_fn(|index| code[index])).max(1)
    }

    /// Signs what is in a token, and what it is bound to.
    pub(super) fn sign(&self, content: &[u8], binding: u64) -> Tag {
        truncated(self.token(content, binding))
    }

    /// Compares in constant time.
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

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Counts what is hashed, for tests of what a request can make it cost.
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

    /// How many codes were made on this thread since the last call, and of how many bytes.
    pub(in super::super) fn take() -> (usize, usize) {
        HASHED.with(Cell::take)
    }
}
