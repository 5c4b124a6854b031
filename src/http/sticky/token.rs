use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::key::{Key, TAG, Tag};

/// The value of a session's cookie, in base64: which endpoint, issued when, and a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Endpoint, then milliseconds since the Unix epoch.
    content: [u8; CONTENT],
    tag: Tag,
}

const CONTENT: usize = TAG + size_of::<u64>();
const BYTES: usize = CONTENT + TAG;
/// Characters of the text.
const TEXT: usize = (BYTES * 4).div_ceil(3);

impl Token {
    pub(super) fn new(key: &Key, endpoint: &str, issued: u64, binding: u64) -> Self {
        let mut content = [0; CONTENT];
        content[..TAG].copy_from_slice(&key.endpoint(endpoint));
        content[TAG..].copy_from_slice(&issued.to_be_bytes());
        let tag = key.sign(&content, binding);
        Self { content, tag }
    }

    /// `None` for what can't be one.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != TEXT {
            return None;
        }
        // A little more than needed: decoders want whole groups.
        let mut bytes = [0; BYTES.next_multiple_of(3)];
        let len = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (content, tag) = bytes.get(..len)?.split_first_chunk()?;
        Some(Self { content: *content, tag: tag.try_into().ok()? })
    }

    pub(super) fn text(&self) -> String {
        let mut bytes = [0; BYTES];
        bytes[..CONTENT].copy_from_slice(&self.content);
        bytes[CONTENT..].copy_from_slice(&self.tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(super) fn endpoint(&self) -> Tag {
        std::array::from_fn(|index| self.content[index])
    }

    /// Milliseconds since the Unix epoch. Anything, unless the token is authentic.
    pub(super) fn issued(&self) -> u64 {
        u64::from_be_bytes(std::array::from_fn(|index| self.content[TAG + index]))
    }

    pub(super) fn is_authentic(&self, key: &Key, binding: u64) -> bool {
        key.verify(&self.content, binding, &self.tag)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> Key {
        Key::new([byte; 32]).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_issued_is_authentic_and_nothing_else(
            endpoint in ".*", issued: u64, binding: u64, flipped in 0..BYTES * 8,
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
            match flipped.checked_sub(CONTENT * 8) {
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
        fn there_is_one_text_for_a_token(text in "[A-Za-z0-9_-]{54}") {
            if let Some(token) = Token::parse(text.as_bytes()) {
                prop_assert_eq!(token.text(), text);
            }
        }
    }

    #[test]
    fn other_lengths_and_alphabets_are_no_tokens() {
        let text = Token::new(&key(1), "a", 1, 1).text();
        assert_eq!(text.len(), TEXT);
        for wrong in [
            "",
            "=",
            &text[1..],
            &format!("{text}A"),
            &format!("{text}=="),
            &text.replace(&text[..1], "+"),
        ] {
            assert!(Token::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
