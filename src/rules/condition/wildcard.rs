use super::pattern::Case;

/// A text with the wildcards `*` (any bytes, also none) and `?` (one byte), compiled.
///
/// The text before the first `*` and after the last one are compared in place. Each segment between
/// two `*` is searched from where the one before it ends, because its first place leaves the most
/// text to the others. The searches never go back in the text, so a match takes time linear in its
/// length, whatever the pattern.
#[derive(Clone, Debug)]
pub(in crate::rules) struct Wildcard {
    head: Segment,
    middle: Box<[Search]>,
    /// `None` without a `*`: the head is all.
    tail: Option<Segment>,
}

/// The longest segment between two `*` that has a `?`, in bytes: the bits of a search.
pub(super) const MAX_SEARCHED_BYTES: usize = u128::BITS as usize;

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Unit {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Many,
}

/// Reads a pattern. A `\` stands for itself, unless it is an escape in front of a wildcard or
/// another `\`.
pub(super) fn units(pattern: &str, has_escapes: bool) -> Vec<Unit> {
    let mut units = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.bytes().peekable();
    while let Some(byte) = bytes.next() {
        units.push(match byte {
            b'*' => Unit::Many,
            b'?' => Unit::One,
            b'\\' if has_escapes => {
                let is_escaped = |byte: &u8| matches!(byte, b'*' | b'?' | b'\\');
                Unit::Byte(bytes.next_if(is_escaped).unwrap_or(byte))
            }
            _ => Unit::Byte(byte),
        });
    }
    units
}

impl Wildcard {
    /// Returns `None` if a segment between two `*` has a `?` and is longer than
    /// [`MAX_SEARCHED_BYTES`].
    pub(super) fn new(units: &[Unit], case: Case) -> Option<Self> {
        let mut segments: Vec<_> = units.split(|&unit| unit == Unit::Many).collect();
        let head = Segment::new(segments.remove(0), case);
        let tail = segments.pop().map(|tail| Segment::new(tail, case));
        let searched = segments.into_iter().filter(|segment| !segment.is_empty());
        let middle = searched.map(|segment| Search::new(segment, case)).collect::<Option<_>>()?;
        Some(Self { head, middle, tail })
    }

    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let Some(tail) = &self.tail else {
            return text.len() == self.head.len() && self.head.is_at(text);
        };
        let Some(end) = text.len().checked_sub(tail.len()) else { return false };
        if end < self.head.len() || !self.head.is_at(text) || !tail.is_at(&text[end..]) {
            return false;
        }
        let mut rest = &text[self.head.len()..end];
        self.middle.iter().all(|search| match search.end_in(rest) {
            Some(end) => {
                rest = &rest[end..];
                true
            }
            None => false,
        })
    }
}

/// Bytes and `?`, compared in place.
#[derive(Clone, Debug)]
struct Segment {
    text: Box<[u8]>,
    /// Which places are a `?`; empty if none is.
    any: Box<[bool]>,
    case: Case,
}

impl Segment {
    fn new(units: &[Unit], case: Case) -> Self {
        let text = units.iter().map(|&unit| if let Unit::Byte(byte) = unit { byte } else { 0 });
        let any: Box<[bool]> = units.iter().map(|unit| *unit == Unit::One).collect();
        let any = if any.contains(&true) { any } else { Box::default() };
        Self { text: text.collect(), any, case }
    }

    fn len(&self) -> usize {
        self.text.len()
    }

    /// Returns whether `text` starts with the segment.
    fn is_at(&self, text: &[u8]) -> bool {
        let Some(text) = text.get(..self.len()) else { return false };
        #[cfg(test)]
        steps::count(text.len());
        if self.any.is_empty() {
            return self.case.are_equal(text, &self.text);
        }
        let mut pairs = text.iter().zip(&self.text).zip(&self.any);
        pairs.all(|((&byte, &own), &any)| any || self.case.are_equal(&[byte], &[own]))
    }
}

/// A segment that is searched.
#[derive(Clone, Debug)]
enum Search {
    Literal(LiteralSearch),
    Masked(MaskedSearch),
}

impl Search {
    fn new(units: &[Unit], case: Case) -> Option<Self> {
        if units.contains(&Unit::One) {
            return MaskedSearch::new(units, case).map(Self::Masked);
        }
        Some(Self::Literal(LiteralSearch::new(Segment::new(units, case).text, case)))
    }

    /// Returns where the first occurrence of the segment ends.
    fn end_in(&self, text: &[u8]) -> Option<usize> {
        match self {
            Self::Literal(search) => search.end_in(text),
            Self::Masked(search) => search.end_in(text),
        }
    }
}

/// Searches bytes. After a mismatch, it goes on with the longest start of the segment that the text
/// just ends with.
///
/// Source: D. Knuth, J. Morris and V. Pratt, "Fast pattern matching in strings", 1977.
#[derive(Clone, Debug)]
struct LiteralSearch {
    text: Box<[u8]>,
    /// For each place, the length of the longest shorter start of the segment that its text up to
    /// there ends with.
    shorter: Box<[usize]>,
    case: Case,
}

impl LiteralSearch {
    fn new(text: Box<[u8]>, case: Case) -> Self {
        let mut shorter = vec![0; text.len()];
        let mut len = 0;
        for place in 1..text.len() {
            while len > 0 && !case.are_equal(&[text[place]], &[text[len]]) {
                len = shorter[len - 1];
            }
            len += usize::from(case.are_equal(&[text[place]], &[text[len]]));
            shorter[place] = len;
        }
        Self { text, shorter: shorter.into(), case }
    }

    fn end_in(&self, text: &[u8]) -> Option<usize> {
        let mut len = 0;
        for (index, &byte) in text.iter().enumerate() {
            #[cfg(test)]
            steps::count(1);
            while len > 0 && !self.case.are_equal(&[byte], &[self.text[len]]) {
                #[cfg(test)]
                steps::count(1);
                len = self.shorter[len - 1];
            }
            if self.case.are_equal(&[byte], &[self.text[len]]) {
                len += 1;
                if len == self.text.len() {
                    return Some(index + 1);
                }
            }
        }
        None
    }
}

/// Searches bytes and `?`, with a bit for each place of the segment that the text may stand at.
///
/// Source: R. Baeza-Yates and G. Gonnet, "A new approach to text searching", 1992 (Shift-And).
#[derive(Clone, Debug)]
struct MaskedSearch {
    /// For each byte, the places of the segment that it fits.
    fits: Box<[u128; 256]>,
    /// The bit of the last place.
    last: u128,
}

impl MaskedSearch {
    fn new(units: &[Unit], case: Case) -> Option<Self> {
        if units.len() > MAX_SEARCHED_BYTES {
            return None;
        }
        let mut fits = Box::new([0; 256]);
        for (place, unit) in units.iter().enumerate() {
            for byte in 0..=u8::MAX {
                let fits_here = match unit {
                    Unit::Byte(own) => case.are_equal(&[byte], &[*own]),
                    Unit::One | Unit::Many => true,
                };
                fits[usize::from(byte)] |= u128::from(fits_here) << place;
            }
        }
        Some(Self { fits, last: 1 << (units.len() - 1) })
    }

    fn end_in(&self, text: &[u8]) -> Option<usize> {
        let mut places = 0_u128;
        for (index, &byte) in text.iter().enumerate() {
            #[cfg(test)]
            steps::count(1);
            places = (places << 1 | 1) & self.fits[usize::from(byte)];
            if places & self.last != 0 {
                return Some(index + 1);
            }
        }
        None
    }
}

/// Counts the bytes that are looked at, for tests of the work that a text can cause.
#[cfg(test)]
pub(in crate::rules) mod steps {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn count(steps: usize) {
        STEPS.set(STEPS.get() + steps);
    }

    /// Returns the steps of this thread since the last call.
    pub(in crate::rules) fn take() -> usize {
        STEPS.take()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str, case: Case) -> bool {
        Wildcard::new(&units(pattern, true), case).unwrap().matches(text.as_bytes())
    }

    /// What the wildcards mean, without a thought of time.
    fn naive(pattern: &[Unit], text: &[u8], case: Case) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([Unit::Many, rest @ ..], _) => {
                (0..=text.len()).any(|skipped| naive(rest, &text[skipped..], case))
            }
            ([Unit::One, pattern @ ..], [_, text @ ..]) => naive(pattern, text, case),
            ([Unit::Byte(own), pattern @ ..], [byte, text @ ..]) => {
                case.are_equal(&[*byte], &[*own]) && naive(pattern, text, case)
            }
            _ => false,
        }
    }

    #[test]
    fn wildcards_match_any_byte() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "/a/b?c", true),
            ("?", "", false),
            ("?", "/", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", ".example.com", true),
            ("/img/*", "/img/", true),
            ("/img/*", "/img", false),
            ("/img/*/pics", "/img/a/b/pics", true),
            ("/img/*/pics", "/img/pics", false),
            ("a*a", "a", false),
            ("a*b*a", "aba", true),
            ("a*ab*b", "aab", false),
            ("*ab?c*", "xxabacabxc", true),
            (r"\*\?\\", r"*?\", true),
            (r"\*", "a", false),
            (r"\a", r"\a", true),
        ] {
            assert_eq!(matches(pattern, text, Case::Sensitive), expected, "{pattern} {text}");
        }
        assert!(!matches("/A*b*c", "/axBxC", Case::Sensitive));
        assert!(matches("/A*b*c", "/axBxC", Case::Insensitive));
    }

    #[test]
    fn a_long_segment_between_wildcards_is_refused() {
        let segment = |len| format!("*{}?*", "a".repeat(len - 1));
        let compiled = |len| Wildcard::new(&units(&segment(len), false), Case::Sensitive);
        assert!(compiled(MAX_SEARCHED_BYTES + 1).is_none());
        let longest = compiled(MAX_SEARCHED_BYTES).unwrap();
        assert!(longest.matches("a".repeat(300).as_bytes()));
        assert!(!longest.matches("a".repeat(127).as_bytes()));
    }

    /// With backtracking, each of these takes the square of the length or more.
    #[test]
    fn hostile_texts_are_read_at_most_twice() {
        let text = "a".repeat(16 << 10);
        for pattern in ["*a*a*a*a*b", "*aaaaaaaaaaaaaaaaaaaaaaab*", "a*a?a*a?a*a?b*", "*?*?*?*?*b*"]
        {
            steps::take();
            assert!(!matches(pattern, &text, Case::Insensitive), "{pattern}");
            let steps = steps::take();
            assert!(steps <= 2 * text.len() + pattern.len(), "{pattern}: {steps}");
        }
    }

    proptest! {
        #[test]
        fn matches_as_the_wildcards_mean(
            pattern in "[abA?*\\\\]{0,9}", text in "[abB*?]{0,12}", ignored: bool, escapes: bool,
        ) {
            let case = if ignored { Case::Insensitive } else { Case::Sensitive };
            let units = units(&pattern, escapes);
            let wildcard = Wildcard::new(&units, case).unwrap();
            prop_assert_eq!(wildcard.matches(text.as_bytes()), naive(&units, text.as_bytes(), case));
        }

        #[test]
        fn no_text_is_read_more_than_twice(pattern in "[a?*]{0,128}", text in "a{0,2000}b?a{0,2000}") {
            steps::take();
            matches(&pattern, &text, Case::Insensitive);
            prop_assert!(steps::take() <= 2 * text.len() + pattern.len());
        }
    }
}
