//! Texts from outside, made safe to show.

use std::{
    error::Error as StdError,
    fmt::{self, Display, Write},
};

/// Shows a text that comes from outside, such as the name of an endpoint or the error of a source,
/// in one line and without characters that a terminal or a log viewer obeys.
///
/// Control characters (line ends, ESC, DEL, C1), line and paragraph separators, and characters that
/// can't be seen or that change the direction of text are escaped as Rust does it: `\n`, `\u{1b}`,
/// `\u{202e}`. All others stay, and so do quotes and backslashes: a text may pass through several of
/// these, and what is escaped once must not change again.
///
/// Used by every log event and every `Display` that shows such a text. As data, it stays as it is.
#[derive(Clone, Copy)]
pub(crate) struct Escaped<T>(pub(crate) T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaper(f), "{}", self.0)
    }
}

struct Escaper<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Nearly all texts are such.
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return self.0.write_str(text);
        }
        let is_kept = |char| matches!(char, '"' | '\'' | '\\');
        for part in text.split_inclusive(is_kept) {
            let kept = part.strip_suffix(is_kept).map_or("", |escaped| &part[escaped.len()..]);
            let escaped = &part[..part.len() - kept.len()];
            write!(self.0, "{}{kept}", escaped.escape_debug())?;
        }
        Ok(())
    }
}

/// Shows an error and what is behind it, escaped, for log events: a subscriber that is given the error
/// itself shows it as it is.
pub(crate) struct EscapedChain<'e>(pub(crate) &'e (dyn StdError + 'static));

impl Display for EscapedChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Escaped(self.0))?;
        let mut causes = std::iter::successors(self.0.source(), |&error| error.source());
        causes.try_for_each(|cause| write!(f, ": {}", Escaped(cause)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    #[test]
    fn what_is_obeyed_is_escaped_and_the_rest_stays() {
        for (text, expected) in [
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("a\nb\r\tc\0", r"a\nb\r\tc\0"),
            ("\u{1b}[31mred\u{7f}", r"\u{1b}[31mred\u{7f}"),
            ("\u{85}\u{9b}31m", r"\u{85}\u{9b}31m"),
            ("\u{202e}gpj.exe\u{2066}", r"\u{202e}gpj.exe\u{2066}"),
            ("a\u{200b}b\u{feff}\u{200f}\u{61c}", r"a\u{200b}b\u{feff}\u{200f}\u{61c}"),
            ("a\u{2028}b\u{2029}", r"a\u{2028}b\u{2029}"),
            ("\u{e0041}", r"\u{e0041}"),
            (r#"the check "ping" at C:\temp isn't"#, r#"the check "ping" at C:\temp isn't"#),
            ("\"\n\\'", "\"\\n\\'"),
            ("Zürich 東京 हिन्दी e\u{301}", "Zürich 東京 हिन्दी e\u{301}"),
        ] {
            assert_eq!(Escaped(text).to_string(), expected);
        }
    }

    #[test]
    fn an_error_is_shown_with_what_is_behind_it() {
        let inner = std::io::Error::other("in\nner");
        let outer = crate::Error::Endpoint {
            endpoint: crate::endpoint::EndpointId::new("a\nb", &crate::Endpoint::new(())),
            source: inner.into(),
        };
        let shown = EscapedChain(&outer).to_string();
        assert_eq!(shown, r"endpoint a\nb failed: in\nner");
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_text_is_one_safe_line_and_escaped_once(text in any::<String>()) {
            let once = Escaped(&text).to_string();
            let is_bidi = |char| matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            prop_assert!(!once.chars().any(|char| char.is_control() || is_bidi(char)));
            prop_assert_eq!(Escaped(&once).to_string(), once);
        }
    }
}
