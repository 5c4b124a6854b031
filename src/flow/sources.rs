use std::{collections::HashMap, net::IpAddr};

use super::{
    chain::{Chain, Order},
    flow_table::Entries,
};
use crate::capacity::shrunk;

/// How many flows each source has, and which of them are new.
// A client chooses its address within its network, so the hash has a random key.
#[derive(Debug, Default)]
pub(super) struct Sources(HashMap<u64, SourceFlows>);

#[derive(Debug)]
struct SourceFlows {
    flows: u32,
    /// Those that are not established, the oldest first.
    new: Chain,
}

/// Returns what counts as one source: an IPv4 address, or an IPv6 network of 64 bits, which is what
/// one client gets.
pub(super) fn source_of(address: IpAddr) -> u64 {
    match address.to_canonical() {
        // No network of IPv6 begins with these bits: they are not in use.
        IpAddr::V4(ip) => 0xFFFF << 32 | u64::from(ip.to_bits()),
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
    }
}

impl Sources {
    /// Returns the number of flows of a source.
    pub(super) fn flows(&self, source: u64) -> u32 {
        self.0.get(&source).map_or(0, |flows| flows.flows)
    }

    /// Returns the index of the oldest new flow of a source.
    pub(super) fn oldest_new(&self, source: u64) -> Option<usize> {
        self.0.get(&source)?.new.first()
    }

    /// Adds the new flow at `index`.
    pub(super) fn add<K, V>(&mut self, entries: &mut Entries<K, V>, index: usize) {
        let flows = self.0.entry(entries[index].source);
        let flows = flows.or_insert(SourceFlows { flows: 0, new: Chain::EMPTY });
        flows.flows += 1;
        flows.new.push(entries, Order::Source, index);
    }

    /// Takes the flow at `index` out of the new ones.
    pub(super) fn establish<K, V>(&mut self, entries: &mut Entries<K, V>, index: usize) {
        if let Some(flows) = self.0.get_mut(&entries[index].source) {
            flows.new.unlink(entries, Order::Source, index);
        }
    }

    /// Counts one flow less, which is not among the new ones any more.
    pub(super) fn remove(&mut self, source: u64) {
        if let Some(flows) = self.0.get_mut(&source) {
            flows.flows -= 1;
            if flows.flows == 0 {
                self.0.remove(&source);
                if let Some(capacity) = shrunk(self.0.len(), self.0.capacity()) {
                    self.0.shrink_to(capacity);
                }
            }
        }
    }

    /// Lets the neighbours of the new flow that is now at `index` know of its place.
    pub(super) fn moved<K, V>(&mut self, entries: &mut Entries<K, V>, index: usize) {
        if let Some(flows) = self.0.get_mut(&entries[index].source) {
            flows.new.moved(entries, Order::Source, index);
        }
    }
}
