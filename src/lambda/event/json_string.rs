//! Reads and writes JSON strings, eight bytes at a time.
//!
//! Most bodies are JSON within JSON, where three of ten characters are escaped. `serde_json`
//! calls several functions for each escape, and looks at the bytes between them one by one.

use std::borrow::Cow;

/// Writes `text` as a JSON string, with the same escapes as `serde_json`.
pub(super) fn write_string(json: &mut Vec<u8>, text: &str) {
    let mut buffer = [0; BUFFER_BYTES];
    json.push(b'"');
    for block in text.as_bytes().chunks(BLOCK_BYTES) {
        let (mut rest, mut end) = (block, 0);
        while let Some((bytes, after)) = rest.split_first_chunk() {
            end = escape(&mut buffer, end, u64::from_le_bytes(*bytes), WORD_BYTES);
            rest = after;
        }
        if !rest.is_empty() {
            let mut bytes = [b' '; WORD_BYTES];
            bytes[..rest.len()].copy_from_slice(rest);
            end = escape(&mut buffer, end, u64::from_le_bytes(bytes), rest.len());
        }
        json.extend_from_slice(&buffer[..end]);
    }
    json.push(b'"');
}

/// The bytes that are escaped to an array before they are copied to the document. An array has a
/// known length and no capacity, so that each write takes few instructions.
const BLOCK_BYTES: usize = 64;

/// The length of the array: an escape has at most six bytes, and each write is a whole word.
const BUFFER_BYTES: usize = 6 * BLOCK_BYTES + WORD_BYTES;

/// Writes the first `left` bytes of a word from `at` on, with escapes. Returns the end.
#[inline]
fn escape(buffer: &mut [u8; BUFFER_BYTES], mut at: usize, mut word: u64, mut left: usize) -> usize {
    let mut specials = specials(word);
    loop {
        // The bytes from the next special on are overwritten.
        buffer[at..at + WORD_BYTES].copy_from_slice(&word.to_le_bytes());
        if specials == 0 {
            return at + left;
        }
        let plain = first(specials);
        buffer[at + plain] = b'\\';
        at += plain + 1;
        left -= plain;
        // The special becomes the first byte of the word, without its mark: it stands for itself.
        specials = (specials & (specials - 1)) >> (8 * plain);
        word >>= 8 * plain;
        let byte = word as u8;
        if byte >= 0x20 {
            continue;
        }
        match letter(byte) {
            Some(letter) => word = word & !0xff | u64::from(letter),
            None => {
                let digit = |digit: u8| b"0123456789abcdef"[usize::from(digit & 0xf)];
                let escape = [b'u', b'0', b'0', digit(byte >> 4), digit(byte)];
                buffer[at..at + escape.len()].copy_from_slice(&escape);
                at += escape.len();
                left -= 1;
                specials >>= 8;
                word >>= 8;
            }
        }
    }
}

/// Returns the letter of a control character that has one.
fn letter(control: u8) -> Option<u8> {
    Some(match control {
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        b'\x08' => b'b',
        b'\x0c' => b'f',
        _ => return None,
    })
}

/// Splits a string, with its quotes, off the start of a JSON document. Returns its text, borrowed
/// if it has no escapes, and the rest of the document.
///
/// Returns `None` if there is no valid string. `serde_json` then has the error, or accepts the
/// string as the value of a member that is not read: a surrogate without its pair has no text.
pub(super) fn split_string(json: &str) -> Option<(Cow<'_, str>, &str)> {
    let content = json.strip_prefix('"')?;
    let plain = plain(content.as_bytes());
    let rest = &content.as_bytes()[plain..];
    if rest.first() == Some(&b'"') {
        return Some((content[..plain].into(), &content[plain + 1..]));
    }
    // The string can be a small part of the document, so its text grows as needed.
    let mut text = Vec::with_capacity(plain + 256);
    text.extend_from_slice(&content.as_bytes()[..plain]);
    let rest = unescape(&mut text, rest)?;
    // All members of an object are kept at once, and many can be short.
    if text.len() < text.capacity() / 2 {
        text.shrink_to_fit();
    }
    Some((String::from_utf8(text).ok()?.into(), &content[content.len() - rest.len()..]))
}

/// Returns the number of bytes before the first special one.
fn plain(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk() {
        let specials = specials(u64::from_le_bytes(*word));
        if specials != 0 {
            return bytes.len() - rest.len() + first(specials);
        }
        rest = after;
    }
    let plain = rest.iter().position(|&byte| is_special(byte)).unwrap_or(rest.len());
    bytes.len() - rest.len() + plain
}

/// Appends the text of a string up to its closing quote. Returns what comes after the quote.
fn unescape<'a>(text: &mut Vec<u8>, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    // See `BLOCK_BYTES`.
    let (mut buffer, mut end) = ([0; BLOCK_BYTES + WORD_BYTES], 0);
    loop {
        if end > BLOCK_BYTES - WORD_BYTES {
            text.extend_from_slice(&buffer[..end]);
            end = 0;
        }
        if let Some((bytes, after)) = rest.split_first_chunk() {
            let left;
            (end, left) = unescape_word(&mut buffer, end, u64::from_le_bytes(*bytes));
            if left == 0 {
                rest = after;
                continue;
            }
            rest = &rest[WORD_BYTES - left..];
        }
        // Handles the end of the string, rare escapes, and escapes that span two words.
        let (&byte, after) = rest.split_first()?;
        rest = after;
        let char = match byte {
            b'"' => {
                text.extend_from_slice(&buffer[..end]);
                return Some(rest);
            }
            b'\\' => split_escape(&mut rest)?,
            0..0x20 => return None,
            _ => {
                buffer[end] = byte;
                end += 1;
                continue;
            }
        };
        end += char.encode_utf8(&mut buffer[end..]).len();
    }
}

/// Writes the text of a word from `at` on. Returns the end, and how many bytes of the word are
/// left: the function stops before a byte or an escape that it does not handle.
#[inline]
fn unescape_word(
    buffer: &mut [u8; BLOCK_BYTES + WORD_BYTES],
    mut at: usize,
    mut word: u64,
) -> (usize, usize) {
    let (mut specials, mut left) = (specials(word), WORD_BYTES);
    loop {
        // The bytes from the next special on are overwritten.
        buffer[at..at + WORD_BYTES].copy_from_slice(&word.to_le_bytes());
        if specials == 0 {
            return (at + left, 0);
        }
        let plain = first(specials);
        at += plain;
        left -= plain;
        word >>= 8 * plain;
        specials >>= 8 * plain;
        if word as u8 != b'\\' || left < 2 {
            return (at, left);
        }
        // The letter becomes the first byte of the word, without a mark.
        let next = match (word >> 8) as u8 {
            b'"' | b'\\' | b'/' => word >> 8,
            b'n' => word >> 8 & !0xff | u64::from(b'\n'),
            _ => return (at, left),
        };
        word = next;
        specials = specials >> 8 & !0xff;
        left -= 1;
    }
}

/// Splits off what follows a backslash. Returns the character that both stand for.
fn split_escape(rest: &mut &[u8]) -> Option<char> {
    let (&letter, after) = rest.split_first()?;
    *rest = after;
    Some(match letter {
        b'"' | b'\\' | b'/' => letter.into(),
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' => '\x08',
        b'f' => '\x0c',
        b'u' => {
            let (char, after) = split_char(rest)?;
            *rest = after;
            char
        }
        _ => return None,
    })
}

/// Returns the character of a `\u` escape, which is a pair of escapes beyond U+FFFF.
fn split_char(rest: &[u8]) -> Option<(char, &[u8])> {
    let (unit, rest) = split_unit(rest)?;
    if let Some(char) = char::from_u32(unit.into()) {
        return Some((char, rest));
    }
    let (low, rest) = split_unit(rest.strip_prefix(b"\\u")?)?;
    let char = char::decode_utf16([unit, low]).next()?.ok()?;
    Some((char, rest))
}

fn split_unit(rest: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = rest.split_first_chunk::<4>()?;
    let unit = digits.iter().try_fold(0, |unit, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(unit << 4 | digit as u16)
    });
    Some((unit?, rest))
}

/// The bytes of a word.
const WORD_BYTES: usize = size_of::<u64>();

/// Returns a word with the byte repeated.
const fn repeated(byte: u8) -> u64 {
    u64::from_le_bytes([byte; WORD_BYTES])
}

/// Marks the bytes of a word that can't stand in a JSON string as they are: the highest bit of each
/// is set. The sums don't carry into the next byte, because their terms have at most seven bits.
fn specials(word: u64) -> u64 {
    let low = word & repeated(0x7f);
    let not_quote = (low ^ repeated(b'"')) + repeated(0x7f);
    let not_backslash = (low ^ repeated(b'\\')) + repeated(0x7f);
    let not_control = low + repeated(0x80 - 0x20);
    !(not_quote & not_backslash & not_control | word) & repeated(0x80)
}

fn is_special(byte: u8) -> bool {
    matches!(byte, 0..0x20 | b'"' | b'\\')
}

/// Returns the index of the first byte that is marked.
fn first(specials: u64) -> usize {
    specials.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut json = Vec::new();
        write_string(&mut json, text);
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn every_byte_is_marked_as_it_should_be() {
        for byte in 0..=u8::MAX {
            for at in 0..WORD_BYTES {
                for around in [0, b'"', b'a', 0x7f, 0x80, 0xff] {
                    let mut bytes = [around; WORD_BYTES];
                    bytes[at] = byte;
                    let marks = bytes.map(|byte| if is_special(byte) { 0x80 } else { 0 });
                    let marks = u64::from_le_bytes(marks);
                    assert_eq!(specials(u64::from_le_bytes(bytes)), marks, "{bytes:x?}");
                }
            }
        }
    }

    #[test]
    fn every_character_is_written_as_serde_json_writes_it() {
        for char in ('\0'..='\u{17f}').chain(['\u{2028}', '\u{ffff}', '\u{1f600}']) {
            for at in 0..10 {
                let text = format!("{}{char}\"{}", "a".repeat(at), "b".repeat(10 - at));
                let json = serde_json::to_string(&text).unwrap();
                assert_eq!(written(&text), json);
                assert_eq!(split_string(&json).unwrap(), (text.into(), ""));
            }
        }
    }

    #[test]
    fn full_buffers_are_written_and_read() {
        for char in ['\0', '"', '\n', 'a', '\u{e9}', '\u{1f600}'] {
            for length in 0..3 * BLOCK_BYTES {
                let text = format!("{}\n", String::from(char).repeat(length));
                let json = serde_json::to_string(&text).unwrap();
                assert_eq!(written(&text), json);
                assert_eq!(split_string(&json).unwrap(), (text.into(), ""));
            }
        }
    }

    #[test]
    fn text_without_escapes_is_borrowed() {
        for text in ["", "a", "h\u{e9}llo, w\u{f6}rld \u{1f600}", "\u{7f} longer than a word"] {
            let json = format!("\"{text}\":7");
            let (found, rest) = split_string(&json).unwrap();
            assert!(matches!(found, Cow::Borrowed(found) if found == text), "{json}");
            assert_eq!(rest, ":7");
        }
    }

    #[test]
    fn what_has_no_text_is_not_a_string() {
        for json in [
            "",
            "a",
            "7",
            "\"",
            "\"a",
            "\"\n\"",
            "\"a longer one\t\"",
            "\"\\",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "\"\\ud83d\\u0041\"",
            "\"\\ud83d\\ud83d\"",
            "\"\\ud83d\\n\"",
            "\"\\u00e\u{e9}\"",
        ] {
            assert_eq!(split_string(json), None, "{json:?}");
        }
    }

    /// Strings with escapes of all kinds, of which some are invalid.
    fn strings() -> impl Strategy<Value = String> {
        let parts = vec![
            "a",
            "longer than a word",
            "\u{e9}",
            "\u{1f600}",
            "\\n",
            "\\r",
            "\\t",
            "\\/",
            "\\\"",
            "\\\\",
            "\\b",
            "\\f",
            "\\u00e9",
            "\\u0000",
            "\\uD83D\\uDE00",
            "\\uD83D",
            "\\uDE00",
            "\\uD83D\\u0041",
            "\\x",
            "\\u12",
            "\n",
            "\u{7f}",
            "\"",
            "\\",
        ];
        prop::collection::vec(prop::sample::select(parts), 0..12)
            .prop_map(|parts| format!("\"{}\"", parts.concat()))
    }

    proptest! {
        #[test]
        fn writing_agrees_with_serde_json(
            text: String,
            parts in prop::collection::vec("[\"\\\\/a-c\0-\x1f\u{7f}-\u{a2}]{0,9}", 0..4),
        ) {
            for text in [text, parts.concat()] {
                let json = written(&text);
                prop_assert_eq!(&json, &serde_json::to_string(&text).unwrap());
                prop_assert_eq!(split_string(&json), Some((text.into(), "")));
            }
        }

        #[test]
        fn reading_agrees_with_serde_json(json in strings(), after in "[ ,}\"\\\\]{0,12}") {
            let followed = format!("{json}{after}");
            let mut values = serde_json::Deserializer::from_str(&followed).into_iter::<String>();
            let expected = values.next().unwrap().ok();
            let expected = expected.map(|text| (text.into(), &followed[values.byte_offset()..]));
            // A stream of values refuses what `after` begins with in some cases.
            if expected.is_some() {
                prop_assert_eq!(split_string(&followed), expected);
            }
            let expected = serde_json::from_str::<String>(&json).ok().map(|text| (text.into(), ""));
            let found = split_string(&json).filter(|(_, rest)| rest.is_empty());
            prop_assert_eq!(found, expected);
        }
    }
}
