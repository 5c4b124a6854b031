use super::flow_table::Entries;

/// A doubly linked list of entries of a table, by their indexes. Adding an entry at the end and
/// taking one out take constant time and no memory of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    first: u32,
    last: u32,
}

/// An entry's neighbours in a [`Chain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    before: u32,
    after: u32,
}

/// Which of its chains an entry is linked in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// All flows with the same timeout, by the time when they were last moved to the end.
    Use = 0,
    /// The new flows of one source.
    Source = 1,
}

/// Stands for no entry.
const NONE: u32 = u32::MAX;

impl Link {
    pub(super) const UNLINKED: Self = Self { before: NONE, after: NONE };
}

impl Chain {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };

    /// Returns the index of the first entry.
    pub(super) fn first(&self) -> Option<usize> {
        (self.first != NONE).then_some(self.first as usize)
    }

    /// Adds the entry at `index`, which is in no chain of this order, at the end.
    pub(super) fn push<K, V>(&mut self, entries: &mut Entries<K, V>, order: Order, index: usize) {
        let before = std::mem::replace(&mut self.last, index as u32);
        entries[index].links[order as usize] = Link { before, after: NONE };
        match before {
            NONE => self.first = index as u32,
            _ => entries[before as usize].links[order as usize].after = index as u32,
        }
    }

    /// Takes the entry at `index` out.
    pub(super) fn unlink<K, V>(&mut self, entries: &mut Entries<K, V>, order: Order, index: usize) {
        let links = &mut entries[index].links[order as usize];
        let Link { before, after } = std::mem::replace(links, Link::UNLINKED);
        self.join(entries, order, (before, after), (after, before));
    }

    /// Lets the neighbours of the entry that is now at `index` know of its new place.
    pub(super) fn moved<K, V>(&mut self, entries: &mut Entries<K, V>, order: Order, index: usize) {
        let Link { before, after } = entries[index].links[order as usize];
        let index = index as u32;
        self.join(entries, order, (before, index), (after, index));
    }

    /// Sets what follows the entry `before`, and what precedes the entry `after`.
    fn join<K, V>(
        &mut self,
        entries: &mut Entries<K, V>,
        order: Order,
        (before, next): (u32, u32),
        (after, previous): (u32, u32),
    ) {
        match before {
            NONE => self.first = next,
            _ => entries[before as usize].links[order as usize].after = next,
        }
        match after {
            NONE => self.last = previous,
            _ => entries[after as usize].links[order as usize].before = previous,
        }
    }
}
