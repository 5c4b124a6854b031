/// A cache of parts by the settings `K` that they are made of. Equal settings share a part, and a
/// reload reuses the parts of the previous configuration with their state.
#[derive(Clone)]
pub(super) struct Kept<K, T> {
    before: Vec<(K, T)>,
    made: Vec<(K, T)>,
}

impl<K: PartialEq, T: Clone> Kept<K, T> {
    /// Returns the part of `key`, which `make` makes if neither configuration has it.
    pub(super) fn get_or_make<E>(
        &mut self,
        key: K,
        make: impl FnOnce(&K) -> Result<T, E>,
    ) -> Result<T, E> {
        let found = |parts: &[(K, T)]| {
            parts.iter().find(|(known, _)| *known == key).map(|(_, part)| part.clone())
        };
        if let Some(part) = found(&self.made) {
            return Ok(part);
        }
        let part = found(&self.before).map_or_else(|| make(&key), Ok)?;
        self.made.push((key, part.clone()));
        Ok(part)
    }
}

impl<K: Clone, T: Clone> Kept<K, T> {
    /// Returns the cache for the next configuration, without the parts that this one did not use.
    pub(super) fn next(&self) -> Self {
        Self { before: self.made.clone(), made: Vec::new() }
    }
}

impl<K, T> Default for Kept<K, T> {
    fn default() -> Self {
        Self { before: Vec::new(), made: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn a_part_is_made_once_and_kept_while_it_is_asked_for() {
        let mut made = 0;
        let mut ask = |kept: &mut Kept<&'static str, u32>, key| {
            let make = |_: &&str| {
                made += 1;
                Ok::<_, Infallible>(made)
            };
            kept.get_or_make(key, make).unwrap()
        };
        let mut first = Kept::default();
        assert_eq!((ask(&mut first, "a"), ask(&mut first, "b"), ask(&mut first, "a")), (1, 2, 1));
        let mut second = first.next();
        assert_eq!((ask(&mut second, "a"), ask(&mut second, "c")), (1, 3));
        let mut third = second.next();
        assert_eq!((ask(&mut third, "b"), ask(&mut third, "a")), (4, 1), "b was gone");
        assert_eq!(first.get_or_make("d", |_| Err("no")), Err("no"));
    }
}
