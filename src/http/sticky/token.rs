use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::session_key::{SessionKey, TAG_BYTES, Tag};

/// The value of a session cookie, which is base64 text: an endpoint, the time of issue, and a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// The identifier of the endpoint, then the milliseconds since the Unix epoch.
    content: [u8; CONTENT_BYTES],
    tag: Tag,
}

const CONTENT_BYTES: usize = TAG_BYTES + size_of::<u64>();
const TOKEN_BYTES: usize = CONTENT_BYTES + TAG_BYTES;
/// The length of the base64 text without padding.
const TEXT_BYTES: usize = (TOKEN_BYTES * 4).div_ceil(3);

impl Token {
    pub(super) fn new(key: &SessionKey, endpoint: &str, issued: u64, binding: u64) -> Self {
        let mut content = [0; CONTENT_BYTES];
        content[..TAG_BYTES].copy_from_slice(&key.endpoint(endpoint));
        content[TAG_BYTES..].copy_from_slice(&issued.to_be_bytes());
        let tag = key.sign(&content, binding);
        Self { content, tag }
    }

    /// Parses a token, which need not be authentic; `None` if `text` has another length or
    /// alphabet.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != TEXT_BYTES {
            return None;
        }
        // The decoder needs room for whole groups of 3 bytes.
        let mut bytes = [0; TOKEN_BYTES.next_multiple_of(3)];
        let len = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (content, tag) = bytes.get(..len)?.split_first_chunk()?;
        Some(Self { content: *content, tag: tag.try_into().ok()? })
    }

    pub(super) fn text(&self) -> String {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..CONTENT_BYTES].copy_from_slice(&self.content);
        bytes[CONTENT_BYTES..].copy_from_slice(&self.tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Returns the identifier of the endpoint.
    pub(super) fn endpoint(&self) -> Tag {
        std::array::from_fn(|index| self.content[index])
    }

    /// Returns the time of issue, in milliseconds since the Unix epoch. Any value if the token is
    /// forged.
    pub(super) fn issued(&self) -> u64 {
        u64::from_be_bytes(std::array::from_fn(|index| self.content[TAG_BYTES + index]))
    }

    pub(super) fn is_authentic(&self, key: &SessionKey, binding: u64) -> bool {
        key.verify(&self.content, binding, &self.tag)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> SessionKey {
        SessionKey::new([byte; 32]).unwrap()
    }

    proptest! {
        #[test]
        fn only_issued_tokens_are_authentic(
            endpoint in ".*", issued: u64, binding: u64, flipped in 0..TOKEN_BYTES * 8,
        ) {
            let token = Token::new(&key(1), &endpoint, issued, binding);
            let text = token.text();
            let parsed = Token::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(&parsed, &token);
            prop_assert_eq!(parsed.issued(), issued);
            prop_assert_eq!(parsed.endpoint(), key(1).endpoint(&endpoint));
            prop_assert!(parsed.is_authentic(&key(1), binding));
            prop_assert!(!parsed.is_authentic(&key(2), binding));
            prop_assert!(!parsed.is_authentic(&key(1), binding ^ 1));

            let mut forged = token;
            match flipped.checked_sub(CONTENT_BYTES * 8) {
                None => forged.content[flipped / 8] ^= 1 << (flipped % 8),
                Some(bit) => forged.tag[bit / 8] ^= 1 << (bit % 8),
            }
            prop_assert!(!forged.is_authentic(&key(1), binding));
        }

        #[test]
        fn any_bytes_are_parsed_without_a_panic(text in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Token::parse(&text);
        }

        #[test]
        fn a_token_has_only_one_text(text in "[A-Za-z0-9_-]{54}") {
            if let Some(token) = Token::parse(text.as_bytes()) {
                prop_assert_eq!(token.text(), text);
            }
        }
    }

    #[test]
    fn other_lengths_and_alphabets_are_rejected() {
        let text = Token::new(&key(1), "a", 1, 1).text();
        assert_eq!(text.len(), TEXT_BYTES);
        let (long, padded) = (format!("{text}A"), format!("{text}=="));
        for wrong in ["", "=", &text[1..], &long, &padded, &text.replace(&text[..1], "+")] {
            assert!(Token::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
