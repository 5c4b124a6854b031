//! Texts with wildcards, as rules and `accept` have them.

/// Returns true if `text` matches `pattern`, in which `*` stands for any text and, if
/// `single` is true, `?` for one character.
///
/// Takes time in proportion to the product of the lengths: after a mismatch it returns to the last
/// `*` only.
pub(super) fn matches(pattern: &str, text: &str, single: bool) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` is, and the text that it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let is_any = pattern.get(p) == Some(&'*');
        let is_one = pattern.get(p).is_some_and(|char| *char == text[t] || single && *char == '?');
        if is_any {
            star = Some((p, t));
            p += 1;
        } else if is_one {
            (p, t) = (p + 1, t + 1);
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            (p, t) = (star_at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|char| *char == '*')
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
            ("a?c", "ac", false),
            ("*a*a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(matches(pattern, text, true), expected, "{pattern} {text}");
        }
        assert!(!matches("a?c", "abc", false));
    }
}
