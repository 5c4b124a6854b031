use std::sync::Arc;

use aes_gcm::{
    Aes256Gcm, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::refresh::Refreshes;
use crate::opaque::Opaque;

const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// The longest sealed text that is opened: the most that the cookies of a session hold. A longer
/// one is not ours, and would only cost the time to decrypt it.
const MAX_SEALED_BYTES: usize = 16 << 10;

/// A secret key that seals the cookies and the `state` of logins, by AES-256-GCM.
///
/// Load balancers open each other's sessions if they have the same key, realm, cookie name, issuer
/// and client. A key may seal 2³² texts, as its nonces are random. `Debug` shows nothing of it.
///
/// Clones know of each other's refreshes: layers with one realm should have clones of one key, so
/// that the provider gets each refresh token once.
#[derive(Clone, Debug)]
pub struct CookieKey {
    /// Of the secret, so that it needs no name. It is no help to find a random secret.
    id: Opaque<[u8; KEY_ID_BYTES]>,
    cipher: Opaque<Aes256Gcm>,
    refreshes: Opaque<Arc<Refreshes>>,
}

impl CookieKey {
    /// Creates a key from 32 secret, random bytes.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        let digest = Sha256::new_with_prefix(b"tower-lb cookie key id").chain_update(secret);
        let digest: [u8; 32] = digest.finalize().into();
        let id = std::array::from_fn(|index| digest[index]);
        Self {
            id: Opaque(id),
            cipher: Opaque(Aes256Gcm::new(&secret.into())),
            refreshes: Opaque(Arc::default()),
        }
    }

    /// Returns the refreshes of the sessions that this key and its clones have sealed.
    pub(super) fn refreshes(&self) -> Arc<Refreshes> {
        Arc::clone(&self.refreshes.0)
    }
}

/// What a sealed text is for. A text opens only for its own purpose.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Session = 1,
    State,
}

/// Seals texts for one realm.
#[derive(Debug)]
pub(super) struct Sealer {
    /// The first one seals, and all open.
    keys: Vec<CookieKey>,
    /// Issuer, client, cookie name and realm: the associated data of every text.
    context: Vec<u8>,
}

impl Sealer {
    pub(super) fn new(keys: Vec<CookieKey>, context: [&str; 4]) -> Self {
        let mut bytes = Vec::new();
        context.iter().for_each(|part| append(&mut bytes, part));
        Self { keys, context: bytes }
    }

    /// Returns issuer, client, cookie name and realm as bytes.
    pub(super) fn context(&self) -> &[u8] {
        &self.context
    }

    /// Returns `text` sealed for requests to `host`, in base64url. `None` if the system has no
    /// random numbers.
    pub(super) fn seal(&self, purpose: Purpose, host: &str, text: &[u8]) -> Option<String> {
        let key = self.keys.first()?;
        let nonce: [u8; NONCE_BYTES] = random()?;
        let aad = self.associated_data(purpose, host);
        let payload = Payload { msg: text, aad: &aad };
        let sealed = key.cipher.0.encrypt(&Nonce::from(nonce), payload).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&key.id.0[..], &nonce, &sealed].concat()))
    }

    /// Returns the text if a key has sealed it for this purpose and host.
    pub(super) fn open(&self, purpose: Purpose, host: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        if sealed.len() > MAX_SEALED_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (id, rest) = bytes.split_first_chunk::<KEY_ID_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        if sealed.len() < TAG_BYTES {
            return None;
        }
        let aad = self.associated_data(purpose, host);
        let open = |key: &CookieKey| {
            let payload = Payload { msg: sealed, aad: &aad };
            key.cipher.0.decrypt(&Nonce::from(*nonce), payload).ok()
        };
        self.keys.iter().filter(|key| key.id.0 == *id).find_map(open)
    }

    fn associated_data(&self, purpose: Purpose, host: &str) -> Vec<u8> {
        let mut bytes = vec![purpose as u8];
        append(&mut bytes, host);
        bytes.extend_from_slice(&self.context);
        bytes
    }
}

/// Appends a text with its length, so that no two lists of texts have the same bytes.
fn append(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// Returns random bytes of the operating system, or `None` if it has none.
pub(super) fn random<const N: usize>() -> Option<[u8; N]> {
    use aes_gcm::aead::Generate;
    <[u8; N]>::try_generate().ok()
}

/// Returns a random text of 256 bits in base64url.
pub(super) fn random_text() -> Option<String> {
    random::<32>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONTEXT: [&str; 4] = ["https://id.example", "client", "__Host-session", "rule"];

    fn sealer(keys: &[u8], context: [&str; 4]) -> Sealer {
        Sealer::new(keys.iter().map(|&byte| CookieKey::new([byte; 32])).collect(), context)
    }

    proptest! {
        #[test]
        fn only_the_same_text_opens(text: Vec<u8>, host in "[a-z.]{0,20}", bit: prop::sample::Index) {
            let sealer = sealer(&[1], CONTEXT);
            let sealed = sealer.seal(Purpose::Session, &host, &text).unwrap();
            prop_assert_eq!(sealer.open(Purpose::Session, &host, sealed.as_bytes()), Some(text));

            let mut bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let forged = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(sealer.open(Purpose::Session, &host, forged.as_bytes()), None);
        }

        #[test]
        fn any_bytes_are_opened_without_a_panic(sealed: Vec<u8>, text in "[A-Za-z0-9_-]{0,80}") {
            let sealer = sealer(&[1], CONTEXT);
            prop_assert_eq!(sealer.open(Purpose::State, "a", &sealed), None);
            prop_assert_eq!(sealer.open(Purpose::State, "a", text.as_bytes()), None);
        }
    }

    #[test]
    fn a_text_of_another_realm_host_name_or_purpose_does_not_open() {
        let own = sealer(&[1], CONTEXT);
        let sealed = own.seal(Purpose::Session, "a.example", b"text").unwrap();
        let opens = |sealer: &Sealer, purpose, host| {
            sealer.open(purpose, host, sealed.as_bytes()).is_some()
        };
        assert!(opens(&own, Purpose::Session, "a.example"));
        assert!(!opens(&own, Purpose::State, "a.example"));
        assert!(!opens(&own, Purpose::Session, "b.example"));
        for part in 0..CONTEXT.len() {
            let mut context = CONTEXT;
            context[part] = "other";
            assert!(!opens(&sealer(&[1], context), Purpose::Session, "a.example"), "{part}");
        }
        // The same letters, divided in another way.
        let moved = sealer(&[1], [CONTEXT[0], CONTEXT[1], "__Host-sessionr", "ule"]);
        assert!(!opens(&moved, Purpose::Session, "a.example"));
        for len in 0..sealed.len() {
            assert!(own.open(Purpose::Session, "a.example", &sealed.as_bytes()[..len]).is_none());
        }
    }

    #[test]
    fn a_text_that_is_too_long_for_cookies_is_not_opened() {
        let own = sealer(&[1], CONTEXT);
        let opens = |bytes: usize| {
            let sealed = own.seal(Purpose::State, "a", &vec![b'x'; bytes]).unwrap();
            (sealed.len(), own.open(Purpose::State, "a", sealed.as_bytes()).is_some())
        };
        assert_eq!(opens(MAX_SEALED_BYTES * 3 / 4 - 32), (MAX_SEALED_BYTES, true));
        assert_eq!(opens(MAX_SEALED_BYTES * 3 / 4 - 31), (MAX_SEALED_BYTES + 2, false));
    }

    #[test]
    fn keys_rotate_without_losing_texts() {
        let text = |sealer: &Sealer| sealer.seal(Purpose::Session, "a", b"text").unwrap();
        let opens = |sealer: &Sealer, sealed: &str| {
            sealer.open(Purpose::Session, "a", sealed.as_bytes()).is_some()
        };
        let [old, both, new] = [&[1][..], &[2, 1], &[2]].map(|keys| sealer(keys, CONTEXT));
        assert!(
            opens(&both, &text(&old)) && opens(&both, &text(&new)) && opens(&new, &text(&both))
        );
        assert!(!opens(&old, &text(&both)) && !opens(&new, &text(&old)));
        assert_ne!(text(&old), text(&old));
    }

    #[test]
    fn debug_shows_nothing_of_a_key() {
        let text = format!("{:?}", sealer(&[0xab], CONTEXT).keys);
        assert_eq!(text, "[CookieKey { id: .., cipher: .., refreshes: .. }]");
    }
}
