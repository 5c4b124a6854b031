use std::net::{Ipv4Addr, SocketAddr};

/// The keys of all balancers compared: as many distinct socket addresses.
pub fn addresses(n: usize) -> impl Iterator<Item = SocketAddr> {
    (0..n).map(address)
}

pub fn address(index: usize) -> SocketAddr {
    let ip = Ipv4Addr::from_bits(0x0A00_0000 + index as u32);
    (ip, 80).into()
}
