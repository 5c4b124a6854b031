use std::collections::BTreeMap;

use super::condition::{Leaf, MAX_HOST_BYTES, RequestView, Test, TextMatcher, Unit};

/// Finds the rules that a request may match, by the literal parts of their hosts and paths.
///
/// Host and path each give a set of rules as bits in order of priority. The bits that both have in
/// common are the candidates, from the lowest. A candidate is still tested; a rule that is no
/// candidate cannot match. So the result is that of a test of all rules in order.
#[derive(Debug)]
pub(super) struct Index {
    /// Hosts are read backwards, because wildcards stand in front.
    hosts: PrefixIndex,
    paths: PrefixIndex,
    words: usize,
}

impl Index {
    /// `rules` are the conditions of the rules in order of priority.
    pub(super) fn new<'a>(rules: impl ExactSizeIterator<Item = &'a [Test]> + Clone) -> Self {
        let words = rules.len().div_ceil(BITS);
        let hosts = rules.clone().map(|tests| keys_of_all(tests, &host_keys));
        let paths = rules.map(|tests| keys_of_all(tests, &path_keys));
        Self { hosts: PrefixIndex::new(hosts, words), paths: PrefixIndex::new(paths, words), words }
    }

    /// Returns the positions of the rules that may match, from the lowest.
    #[inline]
    pub(super) fn candidates(&self, request: &RequestView<'_>) -> Candidates<'_> {
        let hosts = if self.hosts.entries.is_empty() {
            &[][..]
        } else {
            let mut reversed = [0; MAX_HOST_BYTES];
            let host = request.host().unwrap_or_default();
            for (to, from) in reversed.iter_mut().zip(host.iter().rev()) {
                *to = *from;
            }
            self.hosts.find(&reversed[..host.len()])
        };
        let hosts = Words { everywhere: &self.hosts.everywhere, own: hosts };
        let paths = self.paths.find(request.path());
        let paths = Words { everywhere: &self.paths.everywhere, own: paths };
        Candidates { hosts, paths, words: self.words, next: 0, word: 0 }
    }
}

const BITS: usize = u64::BITS as usize;

/// Iterates over the bits that two sets have in common.
pub(super) struct Candidates<'a> {
    hosts: Words<'a>,
    paths: Words<'a>,
    words: usize,
    /// The number of the next word.
    next: usize,
    /// What is left of the word before it.
    word: u64,
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.word == 0 {
            if self.next == self.words {
                return None;
            }
            self.word = self.hosts.word(self.next) & self.paths.word(self.next);
            self.next += 1;
        }
        let bit = self.word.trailing_zeros() as usize;
        self.word &= self.word - 1;
        Some((self.next - 1) * BITS + bit)
    }
}

/// The words of a set, in order.
struct Words<'a> {
    everywhere: &'a [u64],
    /// The words of which a bit is set, behind those that were read.
    own: &'a [(u32, u64)],
}

impl Words<'_> {
    /// Returns a word. The numbers of the calls ascend.
    #[inline]
    fn word(&mut self, number: usize) -> u64 {
        let everywhere = self.everywhere.get(number).copied().unwrap_or_default();
        match self.own.split_first() {
            Some(((own, bits), rest)) if *own as usize == number => {
                self.own = rest;
                everywhere | bits
            }
            _ => everywhere,
        }
    }
}

/// The literal part of a pattern: the texts that it matches start with `text`, or are equal to it.
#[derive(Clone, Debug)]
struct Key {
    text: Vec<u8>,
    is_whole: bool,
}

/// Returns keys of which each request that meets the conditions has one; `None` without such keys.
fn keys_of_all(tests: &[Test], leaf_keys: &impl Fn(&Leaf) -> Option<Vec<Key>>) -> Option<Vec<Key>> {
    tests.iter().find_map(|test| keys(test, leaf_keys))
}

fn keys(test: &Test, leaf_keys: &impl Fn(&Leaf) -> Option<Vec<Key>>) -> Option<Vec<Key>> {
    match test {
        Test::Leaf(leaf) => leaf_keys(leaf),
        Test::AllOf(tests) => keys_of_all(tests, leaf_keys),
        Test::AnyOf(tests) => {
            let all: Option<Vec<_>> = tests.iter().map(|test| keys(test, leaf_keys)).collect();
            Some(all?.concat())
        }
        Test::Not(_) => None,
    }
}

fn host_keys(leaf: &Leaf) -> Option<Vec<Key>> {
    let Leaf::Host(values) = leaf else { return None };
    values.iter().map(|value| literal_part(value, true)).collect()
}

fn path_keys(leaf: &Leaf) -> Option<Vec<Key>> {
    let Leaf::Path(values) = leaf else { return None };
    values.iter().map(|value| literal_part(value, false)).collect()
}

/// Returns the part up to the first wildcard, or backwards from the last one.
fn literal_part(value: &TextMatcher, is_backwards: bool) -> Option<Key> {
    let byte = |unit: &Unit| if let Unit::Byte(byte) = unit { Some(*byte) } else { None };
    let units = value.units.as_deref()?;
    let text: Vec<u8> = if is_backwards {
        units.iter().rev().map_while(byte).collect()
    } else {
        units.iter().map_while(byte).collect()
    };
    let is_whole = text.len() == units.len();
    (is_whole || !text.is_empty()).then_some(Key { text, is_whole })
}

/// Sets of rules by the start of a text.
#[derive(Debug)]
struct PrefixIndex {
    /// The rules that have no key.
    everywhere: Box<[u64]>,
    /// Sorted by text.
    entries: Box<[Entry]>,
}

#[derive(Debug)]
struct Entry {
    text: Box<[u8]>,
    /// The longest other text that starts this one.
    parent: Option<u32>,
    /// The rules for texts that start with this one.
    starting: Box<[(u32, u64)]>,
    /// The rules for this text. They include those of `starting`.
    equal: Box<[(u32, u64)]>,
}

/// The positions of the rules of a key.
#[derive(Default)]
struct Positions {
    starting: Vec<usize>,
    whole: Vec<usize>,
}

impl PrefixIndex {
    fn new(rules: impl Iterator<Item = Option<Vec<Key>>>, words: usize) -> Self {
        let mut everywhere = vec![0; words];
        let mut by_text = BTreeMap::<Vec<u8>, Positions>::new();
        for (position, keys) in rules.enumerate() {
            let Some(keys) = keys else {
                everywhere[position / BITS] |= 1 << (position % BITS);
                continue;
            };
            for Key { text, is_whole } in keys {
                let positions = by_text.entry(text).or_default();
                let list = if is_whole { &mut positions.whole } else { &mut positions.starting };
                list.push(position);
            }
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(by_text.len());
        for (text, positions) in by_text {
            // In sorted order, the texts that start this one are the entry before it, and those
            // that start that one.
            let mut parent = entries.len().checked_sub(1);
            while let Some(number) =
                parent.filter(|&number| !text.starts_with(&entries[number].text))
            {
                parent = entries[number].parent.map(|number| number as usize);
            }
            let inherited = parent.map_or(&[][..], |number| &entries[number].starting);
            let starting = with_bits(inherited, &positions.starting);
            let equal = with_bits(&starting, &positions.whole);
            let parent = parent.and_then(|number| u32::try_from(number).ok());
            entries.push(Entry { text: text.into(), parent, starting, equal });
        }
        Self { everywhere: everywhere.into(), entries: entries.into() }
    }

    /// Returns the words of the rules with a key that `text` starts with or is.
    #[inline]
    fn find(&self, text: &[u8]) -> &[(u32, u64)] {
        // Every entry that starts `text` starts the last entry that does not sort behind it.
        let behind = self.entries.partition_point(|entry| *entry.text <= *text);
        let Some(mut number) = behind.checked_sub(1) else { return &[] };
        let common = common_prefix(&self.entries[number].text, text);
        loop {
            let entry = &self.entries[number];
            if entry.text.len() <= common {
                let is_whole = entry.text.len() == text.len();
                return if is_whole { &entry.equal } else { &entry.starting };
            }
            match entry.parent {
                Some(parent) => number = parent as usize,
                None => return &[],
            }
        }
    }
}

fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// Returns sorted words with more bits.
fn with_bits(words: &[(u32, u64)], positions: &[usize]) -> Box<[(u32, u64)]> {
    let mut all: BTreeMap<u32, u64> = words.iter().copied().collect();
    for position in positions {
        // Priorities end at 50000, so the number of a word fits.
        *all.entry((position / BITS) as u32).or_default() |= 1 << (position % BITS);
    }
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(texts: &[(&str, bool)]) -> Option<Vec<Key>> {
        let key = |&(text, is_whole): &(&str, bool)| Key { text: text.into(), is_whole };
        Some(texts.iter().map(key).collect())
    }

    fn found(index: &PrefixIndex, text: &str, words: usize) -> Vec<usize> {
        let set = || Words { everywhere: &index.everywhere, own: index.find(text.as_bytes()) };
        Candidates { hosts: set(), paths: set(), words, next: 0, word: 0 }.collect()
    }

    #[test]
    fn the_longest_key_knows_the_shorter_ones() {
        let rules = [
            keys(&[("/a/", false)]),
            keys(&[("/a/b", true)]),
            None,
            keys(&[("/", false), ("/c", true)]),
            keys(&[("/a/bc", false)]),
            keys(&[("", true)]),
        ];
        let index = PrefixIndex::new(rules.into_iter(), 1);
        for (text, expected) in [
            ("/a/", &[0, 2, 3][..]),
            ("/a/b", &[0, 1, 2, 3]),
            ("/a/bb", &[0, 2, 3]),
            ("/a/bcd", &[0, 2, 3, 4]),
            ("/a", &[2, 3]),
            ("/zzz", &[2, 3]),
            ("", &[2, 5]),
            ("*", &[2]),
        ] {
            assert_eq!(found(&index, text, 1), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn all_keys_of_a_text_are_found(
            rules in prop::collection::vec(
                prop::option::of(prop::collection::vec(("[ab]{0,4}", any::<bool>()), 1..3)), 0..200,
            ),
            text in "[ab]{0,6}",
        ) {
            let is_met = |keys: &Option<Vec<(String, bool)>>| keys.as_ref().is_none_or(|keys| {
                keys.iter().any(|(key, is_whole)| {
                    if *is_whole { *key == text } else { text.starts_with(key) }
                })
            });
            let expected: Vec<_> =
                rules.iter().enumerate().filter(|(_, keys)| is_met(keys)).map(|(at, _)| at).collect();
            let key = |(text, is_whole): &(String, bool)| Key { text: text.clone().into(), is_whole: *is_whole };
            let all = rules.iter().map(|keys| keys.as_ref().map(|keys| keys.iter().map(key).collect()));
            let words = rules.len().div_ceil(BITS);
            let index = PrefixIndex::new(all, words);
            prop_assert_eq!(found(&index, &text, words), expected);
        }
    }
}
