use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Identifies a flow: the packets between two ends that belong together.
///
/// | made by | packets belong together if they have the same |
/// |---|---|
/// | [`five_tuple`](Self::five_tuple) | protocol, addresses and ports |
/// | [`three_tuple`](Self::three_tuple) | protocol and addresses |
/// | [`two_tuple`](Self::two_tuple) | addresses |
///
/// A key has a direction, from the source to the destination. [`symmetric`](Self::symmetric)
/// removes it, so that both directions have the same key and the same hash. An IPv4 address equals
/// the IPv6 address that it is mapped to. A key takes 37 bytes.
///
/// A packet without ports, such as a later fragment, belongs to the three-tuple. As a number, that
/// is a five-tuple whose ports are 0, and a two-tuple is a three-tuple of protocol 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey([u8; KEY_BYTES]);

/// Two ends of 18 bytes, and the protocol.
const KEY_BYTES: usize = 2 * END_BYTES + 1;
/// An address of 16 bytes, and a port.
const END_BYTES: usize = 18;

impl FlowKey {
    /// The IP protocol number of ICMP.
    pub const ICMP: u8 = 1;
    /// The IP protocol number of TCP.
    pub const TCP: u8 = 6;
    /// The IP protocol number of UDP.
    pub const UDP: u8 = 17;
    /// The IP protocol number of ICMPv6.
    pub const ICMPV6: u8 = 58;

    /// Creates the key of the packets of `protocol`, an IP protocol number, between two addresses
    /// and ports.
    #[must_use]
    pub fn five_tuple(protocol: u8, source: SocketAddr, destination: SocketAddr) -> Self {
        let (source, destination) = (end(source), end(destination));
        let mut key = [protocol; KEY_BYTES];
        key[..END_BYTES].copy_from_slice(&source);
        key[END_BYTES..2 * END_BYTES].copy_from_slice(&destination);
        Self(key)
    }

    /// Creates the key of the packets of `protocol`, an IP protocol number, between two addresses.
    #[must_use]
    pub fn three_tuple(protocol: u8, source: IpAddr, destination: IpAddr) -> Self {
        Self::five_tuple(protocol, (source, 0).into(), (destination, 0).into())
    }

    /// Creates the key of all packets between two addresses.
    #[must_use]
    pub fn two_tuple(source: IpAddr, destination: IpAddr) -> Self {
        Self::three_tuple(0, source, destination)
    }

    /// Returns the protocol, an IP protocol number; 0 for a two-tuple.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.0[KEY_BYTES - 1]
    }

    /// Returns the source; its port is 0 if ports do not belong to the key.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        address(self.ends().0)
    }

    /// Returns the destination; its port is 0 if ports do not belong to the key.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        address(self.ends().1)
    }

    /// Returns the key of the packets in the other direction.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let (source, destination) = self.ends();
        let mut key = *self;
        key.0[..END_BYTES].copy_from_slice(destination);
        key.0[END_BYTES..2 * END_BYTES].copy_from_slice(source);
        key
    }

    /// Returns the key that the packets of both directions have in common: the lower of the two
    /// ends is its source.
    #[must_use]
    pub fn symmetric(&self) -> Self {
        let (source, destination) = self.ends();
        if source <= destination { *self } else { self.reversed() }
    }

    /// Returns the XXH3 hash (64 bits) of the key with `seed`.
    ///
    /// It is the same in every process, and stays the same in later versions. Clients choose their
    /// ports, so a client that knows the seed can choose the hash. With a secret seed it cannot,
    /// and only processes that share the seed agree.
    #[must_use]
    pub fn hash(&self, seed: u64) -> u64 {
        xxh3_64_with_seed(&self.0, seed)
    }

    fn ends(&self) -> (&[u8], &[u8]) {
        let (source, rest) = self.0.split_at(END_BYTES);
        (source, &rest[..END_BYTES])
    }
}

fn end(address: SocketAddr) -> [u8; END_BYTES] {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut end = [0; END_BYTES];
    end[..16].copy_from_slice(&ip.octets());
    end[16..].copy_from_slice(&address.port().to_be_bytes());
    end
}

fn address(end: &[u8]) -> SocketAddr {
    let (ip, port) = end.split_at(16);
    let (mut octets, mut number) = ([0; 16], [0; 2]);
    octets.copy_from_slice(ip);
    number.copy_from_slice(port);
    (Ipv6Addr::from(octets).to_canonical(), u16::from_be_bytes(number)).into()
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol() {
            0 => f.write_str("any")?,
            Self::ICMP => f.write_str("icmp")?,
            Self::TCP => f.write_str("tcp")?,
            Self::UDP => f.write_str("udp")?,
            Self::ICMPV6 => f.write_str("icmpv6")?,
            other => write!(f, "protocol {other}")?,
        }
        let (source, destination) = (self.source(), self.destination());
        if (source.port(), destination.port()) == (0, 0) {
            write!(f, " {} -> {}", source.ip(), destination.ip())
        } else {
            write!(f, " {source} -> {destination}")
        }
    }
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlowKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(source: &str, destination: &str) -> FlowKey {
        FlowKey::five_tuple(FlowKey::UDP, source.parse().unwrap(), destination.parse().unwrap())
    }

    #[test]
    fn keys_show_their_parts() {
        let four = key("192.0.2.1:5000", "198.51.100.1:53");
        assert_eq!(four.to_string(), "udp 192.0.2.1:5000 -> 198.51.100.1:53");
        assert_eq!(format!("{:?}", key("[::1]:1", "[::2]:2")), "FlowKey(udp [::1]:1 -> [::2]:2)");
        let (source, destination) = (four.source().ip(), four.destination().ip());
        let three = FlowKey::three_tuple(47, source, destination);
        assert_eq!(three.to_string(), "protocol 47 192.0.2.1 -> 198.51.100.1");
        let two = FlowKey::two_tuple(source, destination);
        assert_eq!(two.to_string(), "any 192.0.2.1 -> 198.51.100.1");
        assert_eq!(size_of::<FlowKey>(), 37);
    }

    #[test]
    fn a_mapped_address_is_the_address() {
        let mapped = key("[::ffff:192.0.2.1]:5000", "198.51.100.1:53");
        assert_eq!(mapped, key("192.0.2.1:5000", "198.51.100.1:53"));
    }

    /// The values are pinned: processes of different versions must agree.
    #[test]
    fn hashes_never_change() {
        let key = key("192.0.2.1:5000", "198.51.100.1:53");
        assert_eq!(key.hash(0), crate::hash::stable_hash(key.0));
        let pinned = (17_066_737_329_151_137_097, 5_527_150_403_180_154_944);
        assert_eq!((key.hash(0), key.hash(7)), pinned);
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
    }

    proptest! {
        #[test]
        fn both_directions_have_one_symmetric_key(
            protocol: u8, source in address(), destination in address(),
        ) {
            let there = FlowKey::five_tuple(protocol, source, destination);
            let back = FlowKey::five_tuple(protocol, destination, source);
            prop_assert_eq!(there.reversed(), back);
            prop_assert_eq!(there.symmetric(), back.symmetric());
            prop_assert_eq!(there.symmetric().hash(1), back.symmetric().hash(1));
            prop_assert_eq!(there.source().ip(), source.ip().to_canonical());
            prop_assert_eq!(there.destination().port(), destination.port());
            prop_assert_eq!(there.protocol(), protocol);
        }
    }
}
