use std::{borrow::Cow, collections::HashMap};

use super::server_name::ServerName;

/// Values by the names that certificates have, found by the name that a client asks for.
pub(super) struct NameMap<T> {
    exact: HashMap<Box<str>, Vec<T>>,
    /// By the domain below the wildcard.
    wildcard: HashMap<Box<str>, Vec<T>>,
}

impl<T> NameMap<T> {
    /// Adds a value for a name, after those that the name has already.
    pub(super) fn add(&mut self, name: &ServerName, value: T) {
        let (values, name) = match name {
            ServerName::Exact(host) => (&mut self.exact, host),
            ServerName::Wildcard(domain) => (&mut self.wildcard, domain),
        };
        values.entry(name.clone()).or_default().push(value);
    }

    /// Returns the values of exactly this name, and those of the wildcard that matches it.
    pub(super) fn get(&self, name: &str) -> [&[T]; 2] {
        let name = name.strip_suffix('.').unwrap_or(name);
        // rustls makes names lower case already. Then this allocates nothing.
        let lower: Cow<'_, str> = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => name.to_ascii_lowercase().into(),
            false => name.into(),
        };
        let exact = self.exact.get(&*lower);
        let wildcard = lower.split_once('.').and_then(|(first, domain)| match first {
            "" => None,
            _ => self.wildcard.get(domain),
        });
        [exact, wildcard].map(|values| values.map_or(&[][..], Vec::as_slice))
    }
}

impl<T> Default for NameMap<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    fn map(names: &[&str]) -> NameMap<usize> {
        let mut map = NameMap::default();
        for (number, name) in names.iter().enumerate() {
            map.add(&ServerName::parse(name).unwrap(), number);
        }
        map
    }

    #[test]
    fn exact_names_and_one_label_match() {
        let map = map(&["shop.example", "*.shop.example", "*.a.shop.example", "shop.example"]);
        let none: [&[usize]; 2] = [&[], &[]];
        for (name, found) in [
            ("shop.example", [&[0, 3][..], &[]]),
            ("SHOP.Example.", [&[0, 3], &[]]),
            ("a.shop.example", [&[], &[1]]),
            ("b.a.shop.example", [&[], &[2]]),
            ("c.b.a.shop.example", none),
            ("example", none),
            (".shop.example", none),
            ("*.shop.example", [&[], &[1]]),
            ("", none),
            (".", none),
        ] {
            assert_eq!(map.get(name), found, "{name}");
        }
    }

    #[test]
    fn a_search_in_lower_case_allocates_nothing() {
        let map = map(&["shop.example", "*.shop.example"]);
        for name in ["shop.example", "a.shop.example", "unknown.example", "localhost"] {
            let used = measure(|| {
                std::hint::black_box(map.get(name));
            });
            assert_eq!(used.count_total, 0, "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..ProptestConfig::default() })]

        /// Compares with the rule as RFC 9525 states it: label by label.
        #[test]
        fn matches_are_those_of_the_rfc(
            names in prop::collection::vec("(\\*\\.)?[ab](\\.[ab]){0,3}", 1..8),
            asked in "[abAB](\\.[abAB]){0,4}\\.?",
        ) {
            let map = map(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let labels = |name: &str| -> Vec<_> { name.trim_end_matches('.').split('.').map(str::to_lowercase).collect() };
            let asked_labels = labels(&asked);
            let matches = |name: &String| {
                let name = labels(name);
                name.len() == asked_labels.len()
                    && name.iter().zip(&asked_labels).all(|(own, asked)| own == "*" || own == asked)
            };
            let mut expected: Vec<_> = (0..names.len()).filter(|&number| matches(&names[number])).collect();
            let mut found = map.get(&asked).concat();
            found.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
