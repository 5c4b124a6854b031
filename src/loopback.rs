//! Whether an address leads back to this machine.

use std::net::IpAddr;
#[cfg(any(feature = "tcp", feature = "udp"))]
use std::net::SocketAddr;

/// Returns whether a host of a URL, or of a `Host` field without its port, is this machine.
#[cfg(any(feature = "alb", feature = "jwt", feature = "oidc"))]
pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns whether what is sent to `target` arrives at `local` again. `own` is the address that
/// this host uses towards the target, if it is known. A socket of IPv6 has an IPv4 address mapped.
#[cfg(any(feature = "tcp", feature = "udp"))]
pub(crate) fn is_loop(target: SocketAddr, local: SocketAddr, own: Option<IpAddr>) -> bool {
    let (ip, listens) = (target.ip().to_canonical(), local.ip().to_canonical());
    // What is sent to the unspecified address reaches this host by its loopback address.
    let is_own = ip.is_unspecified() || ip.is_loopback() || Some(ip) == own;
    let is_same = ip == listens
        || (ip.is_unspecified() && listens.is_loopback())
        || (listens.is_unspecified() && is_own);
    target.port() == local.port() && is_same
}

#[cfg(all(test, any(feature = "tcp", feature = "udp")))]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_leads_back_is_recognised() {
        let is_loop = |target: &str, local: &str, source: &str| {
            let [target, local] = [target, local].map(|text| text.parse().unwrap());
            is_loop(target, local, Some(source.parse().unwrap()))
        };
        assert!(is_loop("127.0.0.1:53", "127.0.0.1:53", "127.0.0.1"));
        assert!(is_loop("127.0.0.2:53", "0.0.0.0:53", "127.0.0.1"));
        assert!(is_loop("10.0.0.5:53", "0.0.0.0:53", "10.0.0.5"));
        assert!(is_loop("[::1]:53", "[::]:53", "::1"));
        assert!(is_loop("10.0.0.5:53", "[::]:53", "10.0.0.5"));
        assert!(is_loop("0.0.0.0:53", "127.0.0.1:53", "127.0.0.1"));
        assert!(is_loop("127.0.0.1:53", "[::ffff:127.0.0.1]:53", "127.0.0.1"));
        assert!(!is_loop("127.0.0.1:54", "0.0.0.0:53", "127.0.0.1"));
        assert!(!is_loop("10.0.0.6:53", "0.0.0.0:53", "10.0.0.5"));
        assert!(!is_loop("127.0.0.2:53", "127.0.0.1:53", "127.0.0.1"));
    }
}
