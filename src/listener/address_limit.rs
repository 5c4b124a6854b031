use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts the open connections of each client address, and limits them.
///
/// An IPv6 client usually has a whole `/64` network, so that is what counts as its address.
#[derive(Debug)]
pub(super) struct AddressLimit {
    limit: usize,
    /// Several, so that connections that open at the same time rarely wait for each other.
    shards: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
}

const SHARDS: usize = 16;

impl AddressLimit {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, shards: Default::default() }
    }

    /// Counts a connection until the result is dropped; `None` if the address is at its limit.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<AddressPermit> {
        let address = client_of(address);
        let mut shard = self.shard(address);
        let open = shard.entry(address).or_default();
        // An entry of 0 cannot be left behind: the limit is at least 1.
        if *open >= self.limit {
            return None;
        }
        *open += 1;
        drop(shard);
        Some(AddressPermit { limit: Arc::clone(self), address })
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        let bits = match address {
            IpAddr::V4(address) => u64::from(u32::from(address)),
            IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
        };
        // The top bits of the product depend on all bits of the address.
        let index = bits.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - SHARDS.ilog2());
        self.shards[index as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            Ipv6Addr::from(network).into()
        }
    }
}

/// One open connection of an address.
#[derive(Debug)]
pub(super) struct AddressPermit {
    limit: Arc<AddressLimit>,
    address: IpAddr,
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut shard = self.limit.shard(self.address);
        if let Some(open) = shard.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                shard.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        let limit = Arc::new(AddressLimit::new(1));
        let _first = limit.admit(address("10.0.0.1")).unwrap();
        assert!(limit.admit(address("::ffff:10.0.0.1")).is_none());
        assert!(limit.admit(address("10.0.0.2")).is_some());
        let second = limit.admit(address("2001:db8:1:2::3")).unwrap();
        assert!(limit.admit(address("2001:db8:1:2:ffff::4")).is_none());
        assert!(limit.admit(address("2001:db8:1:3::3")).is_some());
        drop(second);
        assert!(limit.admit(address("2001:db8:1:2:ffff::4")).is_some());
    }

    proptest! {
        #[test]
        fn the_limit_holds_and_nothing_is_left(
            steps in prop::collection::vec((any::<bool>(), 0u8..4), 0..200),
        ) {
            let limit = Arc::new(AddressLimit::new(3));
            let mut open: [Vec<AddressPermit>; 4] = Default::default();
            for (opens, client) in steps {
                let permits = &mut open[usize::from(client)];
                if opens {
                    let admitted = limit.admit(IpAddr::from([10, 0, 0, client]));
                    prop_assert_eq!(admitted.is_some(), permits.len() < 3);
                    permits.extend(admitted);
                } else {
                    permits.pop();
                }
            }
            drop(open);
            prop_assert!(limit.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
        }
    }
}
