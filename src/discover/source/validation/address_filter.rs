use std::{
    error::Error as StdError,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use crate::opaque::Opaque;

/// Rejects addresses that must not become endpoints.
///
/// The answers of a name service decide where requests are sent. A filter rejects the addresses
/// that are never intended.
///
/// | address | [`usable`](Self::usable) | [`new`](Self::new) | [`strict`](Self::strict) |
/// |---|---|---|---|
/// | port 0 | rejected | rejected | rejected |
/// | unspecified | rejected | rejected | rejected |
/// | multicast, broadcast | rejected | rejected | rejected |
/// | IPv6 link-local without a zone | rejected | rejected | rejected |
/// | metadata services of clouds | accepted | rejected | rejected |
/// | other link-local addresses | accepted | accepted | rejected |
/// | loopback, private and all others | accepted | accepted | accepted |
///
/// - Unspecified: `0.0.0.0/8` and `::`, which reach the host itself on many systems.
/// - Multicast: `224.0.0.0/4` and `ff00::/8`; broadcast: `255.255.255.255`.
/// - IPv6 link-local: `fe80::/10`, which cannot be routed without a zone.
/// - Metadata services, which also return credentials: `169.254.169.254`, `169.254.170.2`,
///   `169.254.170.23`, `fd00:ec2::254`, `fd00:ec2::23`, `fd20:ce::254`, `100.100.100.200`.
/// - Other link-local addresses: `169.254.0.0/16`, and `fe80::/10` with a zone.
///
/// An IPv4 address within an IPv6 address is checked as the IPv4 address: `::ffff:0:0/96`
/// (mapped), `::/96` (compatible) and `64:ff9b::/96` (NAT64).
///
/// The default accepts `169.254.0.0/16` because some services have addresses there, such as those
/// of Amazon VPC Lattice in `169.254.171.0/24`. For names that others control, use
/// [`strict`](Self::strict), and add the rules of your network with [`and`](Self::and).
///
/// ```
/// use std::net::{IpAddr, SocketAddr};
/// use tower_lb::discover::AddressFilter;
///
/// let metadata: SocketAddr = "169.254.169.254:80".parse()?;
/// assert!(AddressFilter::new().check(metadata).is_err());
/// assert!(AddressFilter::usable().check(metadata).is_ok());
///
/// // For names that others control: no address of this host either.
/// let filter = AddressFilter::strict().and(|ip: IpAddr| !ip.is_loopback());
/// assert!(filter.check("127.0.0.1:80".parse()?).is_err());
/// assert!(filter.check("10.0.0.1:80".parse()?).is_ok());
/// # Ok::<_, std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct AddressFilter {
    level: Level,
    and: Option<Opaque<Arc<dyn Fn(IpAddr) -> bool + Send + Sync>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Usable,
    NoMetadata,
    NoLinkLocal,
}

impl AddressFilter {
    /// Creates the default filter of every source, which rejects addresses that can never be an
    /// endpoint and the metadata services of clouds.
    #[must_use]
    pub fn new() -> Self {
        Self { level: Level::NoMetadata, and: None }
    }

    /// Creates a filter that rejects only addresses that can never be an endpoint.
    #[must_use]
    pub fn usable() -> Self {
        Self { level: Level::Usable, and: None }
    }

    /// Creates a filter that rejects all link-local addresses in addition to those that
    /// [`new`](Self::new) rejects.
    #[must_use]
    pub fn strict() -> Self {
        Self { level: Level::NoLinkLocal, and: None }
    }

    /// Also rejects the addresses for which `accept` returns false. An IPv4 address within an IPv6
    /// address is passed as the IPv4 address. With several calls, all functions must accept.
    #[must_use]
    pub fn and(mut self, accept: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        self.and = Some(Opaque(match self.and {
            None => Arc::new(accept),
            Some(Opaque(first)) => Arc::new(move |address| first(address) && accept(address)),
        }));
        self
    }

    /// Checks an address, for sources outside this crate.
    ///
    /// # Errors
    ///
    /// [`RejectedAddress`], with the reason, if the filter rejects it.
    pub fn check(&self, address: SocketAddr) -> Result<(), RejectedAddress> {
        let has_zone = matches!(address, SocketAddr::V6(address) if address.scope_id() != 0);
        self.check_parts(address.ip(), has_zone, address.port())
    }

    /// Checks an address whose zone may be a name.
    pub(crate) fn check_parts(
        &self,
        address: IpAddr,
        has_zone: bool,
        port: u16,
    ) -> Result<(), RejectedAddress> {
        if port == 0 {
            return Err(RejectedAddress { address, problem: Problem::Port });
        }
        self.check_unported(address, has_zone)
    }

    /// Checks an address that has no port and no IPv6 zone.
    #[cfg(feature = "dns")]
    pub(crate) fn check_ip(&self, address: IpAddr) -> Result<(), RejectedAddress> {
        self.check_unported(address, false)
    }

    fn check_unported(&self, address: IpAddr, has_zone: bool) -> Result<(), RejectedAddress> {
        let inner = embedded(address);
        let problem = match problem(inner, has_zone) {
            Some((level, problem)) if level <= self.level => problem,
            _ if self.and.as_ref().is_some_and(|Opaque(accept)| !accept(inner)) => Problem::Custom,
            _ => return Ok(()),
        };
        Err(RejectedAddress { address, problem })
    }
}

impl Default for AddressFilter {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the IPv4 address that an IPv6 address contains, or else the address itself.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [.., high, low] = v6.segments();
    let v4 = Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match v6.segments() {
        // `::` and `::1` contain no IPv4 address.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => v4.into(),
        _ => address,
    }
}

/// Returns the problem of an address, and the lowest level that rejects it.
fn problem(address: IpAddr, has_zone: bool) -> Option<(Level, Problem)> {
    if METADATA_SERVICES.contains(&address) {
        return Some((Level::NoMetadata, Problem::Metadata));
    }
    match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some((Level::Usable, Problem::Unspecified)),
        IpAddr::V6(v6) if v6.is_unspecified() => Some((Level::Usable, Problem::Unspecified)),
        IpAddr::V4(v4) if v4.is_broadcast() => Some((Level::Usable, Problem::Broadcast)),
        _ if address.is_multicast() => Some((Level::Usable, Problem::Multicast)),
        IpAddr::V4(v4) if v4.is_link_local() => Some((Level::NoLinkLocal, Problem::LinkLocal)),
        IpAddr::V6(v6) if v6.is_unicast_link_local() && has_zone => {
            Some((Level::NoLinkLocal, Problem::LinkLocal))
        }
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some((Level::Usable, Problem::NoZone)),
        _ => None,
    }
}

/// The addresses of the metadata and credentials services of clouds.
const METADATA_SERVICES: [IpAddr; 7] = [
    // Most clouds.
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    // Tasks of Amazon ECS.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    // Pods of Amazon EKS.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    // Google Cloud.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    // Alibaba Cloud.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];

/// The error of an address that an [`AddressFilter`] rejects. `Display` gives the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedAddress {
    address: IpAddr,
    problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Port,
    Unspecified,
    Multicast,
    Broadcast,
    NoZone,
    Metadata,
    LinkLocal,
    Custom,
}

impl RejectedAddress {
    /// Returns the address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl fmt::Display for RejectedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            Problem::Port => "its port is 0",
            Problem::Unspecified => "it is an unspecified address",
            Problem::Multicast => "it is a multicast address",
            Problem::Broadcast => "it is the broadcast address",
            Problem::NoZone => "it is a link-local address without a zone",
            Problem::Metadata => "it is the address of a metadata service",
            Problem::LinkLocal => "it is a link-local address",
            Problem::Custom => "the address filter does not accept it",
        };
        write!(f, "{} can't be an endpoint: {problem}", self.address)
    }
}

impl StdError for RejectedAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns which of `usable`, `new` and `strict` accept an address.
    fn accepted(address: &str) -> [bool; 3] {
        let address = address.parse().unwrap();
        [AddressFilter::usable(), AddressFilter::new(), AddressFilter::strict()]
            .map(|filter| filter.check(address).is_ok())
    }

    #[test]
    fn the_table_holds() {
        for (addresses, expected) in [
            (
                "10.0.0.1:0 0.0.0.0:80 0.1.2.3:80 [::]:80 224.0.0.1:80 239.255.255.255:80 \
                 [ff02::1]:80 255.255.255.255:80 [fe80::1]:80 [febf::1]:80 [::ffff:0.0.0.0]:80 \
                 [::ffff:224.0.0.1]:80 [::ffff:255.255.255.255]:80 [64:ff9b::0.0.0.0]:80 \
                 [::224.0.0.1]:80",
                [false, false, false],
            ),
            (
                "169.254.169.254:80 169.254.170.2:80 169.254.170.23:80 [fd00:ec2::254]:80 \
                 [fd00:ec2::23]:80 [fd20:ce::254]:80 100.100.100.200:80 \
                 [::ffff:169.254.169.254]:80 [::169.254.169.254]:80 [64:ff9b::169.254.169.254]:80",
                [true, false, false],
            ),
            (
                "169.254.0.1:80 169.254.171.33:443 [fe80::1%3]:80 [::ffff:169.254.0.1]:80",
                [true, true, false],
            ),
            (
                "127.0.0.1:80 [::1]:80 [::ffff:127.0.0.1]:80 10.0.0.1:80 192.168.0.1:80 \
                 172.16.0.1:80 100.64.0.1:80 8.8.8.8:53 [fd00::1]:80 [fd00:ec2:80::1]:80 \
                 [2001:db8::1]:80 [64:ff9b::8.8.8.8]:80",
                [true, true, true],
            ),
        ] {
            for address in addresses.split(' ') {
                assert_eq!(accepted(address), expected, "{address}");
            }
        }
    }

    #[test]
    fn functions_add_to_what_is_rejected() {
        let filter = AddressFilter::new()
            .and(|ip| !ip.is_loopback())
            .and(|ip| matches!(ip, IpAddr::V4(v4) if v4.is_private()));
        let check = |address: &str| filter.check(address.parse().unwrap());
        assert_eq!(check("10.0.0.1:80"), Ok(()));
        assert_eq!(check("[::ffff:10.0.0.1]:80"), Ok(()), "checked as the IPv4 address");
        for (address, expected) in [
            (
                "127.0.0.1:80",
                "127.0.0.1 can't be an endpoint: the address filter does not accept it",
            ),
            ("0.0.0.0:80", "0.0.0.0 can't be an endpoint: it is an unspecified address"),
            ("10.0.0.1:0", "10.0.0.1 can't be an endpoint: its port is 0"),
        ] {
            assert_eq!(check(address).unwrap_err().to_string(), expected);
        }
        assert!(check("8.8.8.8:80").is_err());
    }
}
