use std::collections::BTreeMap;

use super::slice::Slice;
use crate::{BoxError, discover::source::validation::MAX_ENDPOINTS};

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
    ) -> Result<(), BoxError> {
        let old = self.by_name.get(&slice.metadata.name);
        let (old_endpoints, old_bytes) = old.map_or((0, 0), |(old, bytes)| (old.len(), *bytes));
        let slices = self.by_name.len() + usize::from(old.is_none());
        let all_bytes = self.bytes - old_bytes + bytes;
        let endpoints = self.endpoints - old_endpoints + slice.len();
        check_limit("slices", slices, limits.slices)?;
        check_limit("bytes", all_bytes, limits.bytes)?;
        check_limit("endpoints", endpoints, limits.endpoints)?;
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

/// Fails if `count` exceeds the limit.
pub(super) fn check_limit(what: &str, count: usize, limit: usize) -> Result<(), BoxError> {
    if count > limit {
        return Err(format!("the service has more than {limit} {what} of EndpointSlices").into());
    }
    Ok(())
}

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
