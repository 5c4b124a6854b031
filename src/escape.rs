//! Escaping of texts from outside the process, so that they are safe to show.

use std::{
    error::Error as StdError,
    fmt::{self, Display, Write},
};

/// Displays a text from outside, such as the name of an endpoint or the error of a source, on one
/// line and without characters that a terminal or a log viewer interprets.
///
/// Control characters (line ends, ESC, DEL, C1), line and paragraph separators, and characters that
/// are invisible or change the direction of text are escaped as in Rust: `\n`, `\u{1b}`,
/// `\u{202e}`. All others stay the same, also quotes and backslashes: a text may be escaped several
/// times, and the second time must not change it.
///
/// Every log event and every `Display` that shows such a text uses it. Data stays unescaped.
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
        // Nearly all texts are printable ASCII.
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

/// Displays an error and its sources, escaped, for log events. A subscriber that gets the error
/// itself would not escape it.
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
    fn escapes_what_terminals_interpret_and_keeps_the_rest() {
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
    fn an_error_is_shown_with_its_sources() {
        let inner = std::io::Error::other("in\nner");
        let outer = crate::Error::Endpoint {
            balancer: None,
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
