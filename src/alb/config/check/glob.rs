//! Texts with wildcards, as rules and `accept` have them.

/// What a pattern means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `*` stands for any text.
    Path,
    /// `*` stands for any text, and `?` for one character.
    Rule,
    /// As `Rule`, without regard to the case of ASCII letters.
    RuleIgnoringCase,
}

/// Returns true if `text` matches `pattern`.
///
/// Takes time in proportion to the product of the lengths: after a mismatch it returns to the last
/// `*` only.
pub(super) fn matches(pattern: &str, text: &str, syntax: Syntax) -> bool {
    let (bytes, target) = (pattern.as_bytes(), text.as_bytes());
    let is_same = |a: u8, b: u8| match syntax {
        Syntax::RuleIgnoringCase => a.eq_ignore_ascii_case(&b),
        Syntax::Path | Syntax::Rule => a == b,
    };
    let (mut p, mut t) = (0, 0);
    // Where the last `*` is, and the end of the text that it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < target.len() {
        match bytes.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some(b'?') if syntax != Syntax::Path && text.is_char_boundary(t) => {
                let rest = text[t..].chars().next();
                (p, t) = (p + 1, t + rest.map_or(1, char::len_utf8));
                continue;
            }
            Some(byte) if is_same(*byte, target[t]) => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            _ => {}
        }
        let Some((star_at, taken)) = star else { return false };
        star = Some((star_at, taken + 1));
        (p, t) = (star_at + 1, taken + 1);
    }
    bytes[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("*.b.*", "a.b.c.b.d", true),
            ("a?c", "abc", true),
            ("a?c", "a\u{e4}c", true),
            ("a??c", "a\u{e4}c", false),
            ("*?c", "\u{e4}c", true),
            ("a?c", "ac", false),
            ("A", "a", false),
            ("*a*a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(matches(pattern, text, Syntax::Rule), expected, "{pattern} {text}");
        }
        assert!(!matches("a?c", "abc", Syntax::Path));
        assert!(matches("*.Example.com", "a.example.COM", Syntax::RuleIgnoringCase));
    }
}
