use std::{collections::BTreeMap, error::Error as StdError, fmt};

use super::slice::Slice;
use crate::discover::source::validation::MAX_ENDPOINTS;

/// Limits on a service's slices. Exceeding one is an error, and the endpoints stay as they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) pages: usize,
    /// Bytes of JSON: of all pages of a list, and of all slices that are kept.
    pub(super) bytes: usize,
    pub(super) slices: usize,
    /// Endpoints of all slices; one that occurs in two slices counts twice.
    pub(super) endpoints: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pages: 1000, bytes: 256 << 20, slices: 20_000, endpoints: MAX_ENDPOINTS }
    }
}

/// The slices of a service by name, with their total size.
#[derive(Default)]
pub(super) struct Slices {
    /// Each slice with its size in bytes of JSON.
    pub(super) by_name: BTreeMap<String, (Slice, usize)>,
    bytes: usize,
    pub(super) endpoints: usize,
}

impl Slices {
    /// Adds a slice, or replaces the one with its name. An error changes nothing.
    pub(super) fn insert(
        &mut self,
        slice: Slice,
        bytes: usize,
        limits: &Limits,
    ) -> Result<(), LimitExceeded> {
        let old = self.by_name.get(&slice.metadata.name);
        let (old_endpoints, old_bytes) = old.map_or((0, 0), |(old, bytes)| (old.len(), *bytes));
        let slices = self.by_name.len() + usize::from(old.is_none());
        let all_bytes = self.bytes - old_bytes + bytes;
        let endpoints = self.endpoints - old_endpoints + slice.len();
        LimitExceeded::check("slices", slices, limits.slices)?;
        LimitExceeded::check("bytes", all_bytes, limits.bytes)?;
        LimitExceeded::check("endpoints", endpoints, limits.endpoints)?;
        (self.bytes, self.endpoints) = (all_bytes, endpoints);
        self.by_name.insert(slice.metadata.name.clone(), (slice, bytes));
        Ok(())
    }

    /// Removes a slice; false if there is no slice with this name.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let removed = self.by_name.remove(name);
        if let Some((slice, bytes)) = &removed {
            self.bytes -= bytes;
            self.endpoints -= slice.len();
        }
        removed.is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slice> {
        self.by_name.values().map(|(slice, _)| slice)
    }
}

/// A service has more than one of the [`Limits`] allows.
#[derive(Debug)]
pub(super) struct LimitExceeded {
    what: &'static str,
    limit: usize,
}

impl LimitExceeded {
    /// Fails if `count` exceeds the limit.
    pub(super) fn check(what: &'static str, count: usize, limit: usize) -> Result<(), Self> {
        if count > limit { Err(Self { what, limit }) } else { Ok(()) }
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the service has more than {} {} of EndpointSlices", self.limit, self.what)
    }
}

impl StdError for LimitExceeded {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::source::kubernetes::watch::tests::slice;

    #[test]
    fn counts_follow_what_is_added_replaced_and_removed() {
        let (mut slices, limits) = (Slices::default(), Limits::default());
        for (name, endpoints, bytes) in [("a", 2, 10), ("b", 3, 20), ("a", 5, 30)] {
            let slice = serde_json::from_str(&slice(name, endpoints)).unwrap();
            slices.insert(slice, bytes, &limits).unwrap();
        }
        assert_eq!((slices.endpoints, slices.bytes), (8, 50));
        assert!(slices.remove("a") && !slices.remove("a"));
        assert_eq!((slices.endpoints, slices.bytes), (3, 20));
    }
}
