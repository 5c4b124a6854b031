//! Escapes and unescapes JSON strings without intermediate copies.

/// Appends `piece` to `json`, escaped. A character may be split across pieces: its bytes are never
/// escaped.
pub(super) fn escape(mut piece: &[u8], json: &mut Vec<u8>) {
    while let Some((word, rest)) = piece.split_first_chunk() {
        escape_word(word, json);
        piece = rest;
    }
    piece.iter().for_each(|&byte| escape_byte(byte, json));
}

/// Returns an upper bound of the length of an escaped piece, including the spare room that `escape`
/// needs.
pub(super) fn escaped_len(piece: &[u8]) -> usize {
    let more = |&byte: &u8| match byte {
        0..0x20 => 5,
        b'"' | b'\\' => 1,
        _ => 0_u8,
    };
    // A sum of 32 such numbers fits a byte, so the compiler can vectorize the addition.
    let sum = |few: &[u8]| usize::from(few.iter().map(more).sum::<u8>());
    ESCAPED_WORD + piece.len() + piece.chunks(32).map(sum).sum::<usize>()
}

const WORD: usize = size_of::<u64>();
/// The length of a word in which each byte has a short escape.
const ESCAPED_WORD: usize = 2 * WORD;

/// The character after the backslash for each byte: 0 for no escape, `u` for `\u00XX`.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes[b'\n' as usize] = b'n';
    escapes[b'\r' as usize] = b'r';
    escapes[b'\t' as usize] = b't';
    escapes
};

#[inline]
fn escape_word(word: &[u8; WORD], json: &mut Vec<u8>) {
    if first_special(word) == WORD {
        return json.extend_from_slice(word);
    }
    // Branch-free per byte: the position of escapes in JSON is unpredictable.
    let (mut escaped, mut len, mut is_long) = ([0; ESCAPED_WORD], 0, false);
    for &byte in word {
        let escape = ESCAPES[usize::from(byte)];
        escaped[len % ESCAPED_WORD] = b'\\';
        len += usize::from(escape != 0);
        escaped[len % ESCAPED_WORD] = if escape == 0 { byte } else { escape };
        len += 1;
        is_long |= escape == b'u';
    }
    if is_long {
        return word.iter().for_each(|&byte| escape_byte(byte, json));
    }
    // Appending a fixed length and truncating is faster than appending a variable length.
    json.extend_from_slice(&escaped);
    json.truncate(json.len() - ESCAPED_WORD + len);
}

fn escape_byte(byte: u8, json: &mut Vec<u8>) {
    match ESCAPES[usize::from(byte)] {
        0 => json.push(byte),
        b'u' => {
            let [high, low] =
                [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]);
            json.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
        escape => json.extend_from_slice(&[b'\\', escape]),
    }
}

/// Returns the number of bytes before the first that must be escaped. Compares all bytes at once.
///
/// Source: "has a byte less than n" and "has a zero byte" in Anderson's "Bit Twiddling Hacks". Only
/// the lowest bit that these find is reliable, and only that one is used.
#[inline]
fn first_special(word: &[u8; WORD]) -> usize {
    const fn all(byte: u8) -> u64 {
        u64::from_le_bytes([byte; WORD])
    }
    let below = |word: u64, n: u8| word.wrapping_sub(all(n)) & !word & all(0x80);
    let bytes = u64::from_le_bytes(*word);
    let found = below(bytes, 0x20) | below(bytes ^ all(b'"'), 1) | below(bytes ^ all(b'\\'), 1);
    found.trailing_zeros() as usize / 8
}

/// Appends the bytes up to the first that must be escaped, and returns how many they are.
#[inline]
fn push_plain(word: &[u8; WORD], to: &mut Vec<u8>) -> usize {
    let plain = first_special(word);
    to.extend_from_slice(word);
    to.truncate(to.len() - WORD + plain);
    plain
}

/// Returns the text of a JSON string, given what is between its quotes. `None` for an invalid
/// escape.
pub(super) fn unescape(json: &str) -> Option<Vec<u8>> {
    let bytes = json.as_bytes();
    let mut text = Vec::with_capacity(json.len());
    let mut at = 0;
    loop {
        if let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let plain = push_plain(word, &mut text);
            at += plain;
            if plain == WORD {
                continue;
            }
        }
        let Some(&byte) = bytes.get(at) else { return Some(text) };
        if byte != b'\\' {
            text.push(byte);
            at += 1;
            continue;
        }
        let kind = *bytes.get(at + 1)?;
        at += 2;
        text.push(match kind {
            b'"' | b'\\' | b'/' => kind,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, rest) = unicode(json.get(at..)?)?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                at = json.len() - rest.len();
                continue;
            }
            _ => return None,
        });
    }
}

/// Decodes one `\u` escape, or a surrogate pair of two, after the first `\u`. Returns the rest too.
fn unicode(json: &str) -> Option<(char, &str)> {
    let unit = |json: &str| {
        let digits = json.get(..4).filter(|four| four.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u32::from_str_radix(digits, 16).ok()
    };
    let (first, rest) = (unit(json)?, json.get(4..)?);
    if let Some(character) = char::from_u32(first) {
        return Some((character, rest));
    }
    let rest = rest.strip_prefix("\\u")?;
    let (high, low) = (first.checked_sub(0xD800)?, unit(rest)?.checked_sub(0xDC00)?);
    let is_pair = high < 0x400 && low < 0x400;
    let character = is_pair.then(|| char::from_u32(0x1_0000 + (high << 10 | low)))??;
    Some((character, rest.get(4..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut json = Vec::new();
        escape(text, &mut json);
        assert!(json.len() <= escaped_len(text));
        String::from_utf8(json).unwrap()
    }

    /// Reads a string with `serde_json`.
    fn read(json: &str) -> Option<String> {
        serde_json::from_str(&format!("\"{json}\"")).ok()
    }

    proptest! {
        #[test]
        fn escaped_text_is_read_unchanged(text in "[\\x00-\\x7f\u{e9}\u{1f600}]{0,40}") {
            let json = escaped(text.as_bytes());
            prop_assert_eq!(read(&json), Some(text.clone()));
            prop_assert_eq!(unescape(&json), Some(text.into_bytes()));
        }

        #[test]
        fn unescape_agrees_with_serde_json(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "\u{e9}", "\\n", "\\/", "\\\"", "\\\\", "\\b", "\\f", "\\u00e9", "\\u0000",
                    "\\uD83D\\uDE00", "\\uD83D", "\\uDE00", "\\uD83D\\u0041", "\\uFFFF", "\\x",
                    "\\u12", "\\u+123", "\\ud83d\\ude",
                ]),
                0..8,
            ),
            end in prop::sample::select(vec!["", "\\"]),
        ) {
            let json = parts.concat() + end;
            let expected = read(&json);
            prop_assert_eq!(unescape(&json), expected.map(String::into_bytes));
        }
    }
}
