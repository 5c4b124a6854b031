use std::net::IpAddr;

use ipnet::IpNet;

/// The networks whose forwarding fields are believed. Empty by default.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustedNetworks(Vec<IpNet>);

impl TrustedNetworks {
    pub(super) fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// An IPv4 address counts as such also in its form on an IPv6 socket, `::ffff:10.0.0.1`.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_ipv4_address_is_in_its_ipv4_network() {
        let networks = TrustedNetworks::new(["10.0.0.0/8".parse().unwrap()]);
        for (address, trusted) in
            [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("11.0.0.1", false), ("::1", false)]
        {
            assert_eq!(networks.contains(address.parse().unwrap()), trusted, "{address}");
        }
    }
}
