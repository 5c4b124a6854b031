//! The hash of this crate that is the same in every process.

use std::fmt::{self, Display, Write};
#[cfg(any(feature = "http", feature = "tcp", feature = "udp"))]
use std::net::IpAddr;

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

/// Returns the XXH3 hash (64 bits, seed 0) of `bytes`, which the crate uses for keys and for the
/// names of endpoints.
///
/// It is the same in every process and on every platform, and stays the same in later versions.
#[inline]
#[must_use]
pub fn stable_hash(bytes: impl AsRef<[u8]>) -> u64 {
    xxh3_64(bytes.as_ref())
}

/// Returns the [`stable_hash`] of the octets of `ip`. An address of IPv6 that an IPv4 address is
/// mapped to counts as the IPv4 address.
#[cfg(any(feature = "http", feature = "tcp", feature = "udp"))]
pub(crate) fn ip_hash(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => stable_hash(ip.octets()),
        IpAddr::V6(ip) => stable_hash(ip.octets()),
    }
}

/// Returns the [`stable_hash`] of `value`'s displayed text, without collecting it.
pub(crate) fn stable_hash_of(value: &impl Display) -> u64 {
    let mut hasher = Hasher(Xxh3Default::new());
    // The hasher never fails. A `Display` that fails hashes as the text that it has written.
    let _ = write!(hasher, "{value}");
    hasher.0.digest()
}

struct Hasher(Xxh3Default);

impl Write for Hasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// Spreads numbers that differ in few bits over all 64.
///
/// Source: splitmix64's finalizer.
#[inline]
pub(crate) fn mix(bits: u64) -> u64 {
    let mut z = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are pinned: clients of different versions must agree.
    #[test]
    fn hashes_never_change() {
        // As the reference implementation of XXH3 returns them: empty, and short.
        assert_eq!(stable_hash(""), 0x2D06_8005_38D3_94C2);
        assert_eq!(stable_hash("a"), 0xE6C6_32B6_1E96_4E1F);
        assert_eq!(stable_hash("10.0.0.1:8080"), stable_hash(b"10.0.0.1:8080"));
        assert_eq!(mix(0), 0xE220_A839_7B1D_CDAF);
    }

    /// As another implementation of XXH3 returns them.
    #[cfg(any(feature = "http", feature = "tcp", feature = "udp"))]
    #[test]
    fn hashes_of_addresses_never_change() {
        let hash = |ip: &str| ip_hash(ip.parse().unwrap());
        assert_eq!(hash("192.0.2.1"), 0x2C1C_901E_ED9A_DC4A);
        assert_eq!(hash("::ffff:192.0.2.1"), hash("192.0.2.1"));
        assert_eq!(hash("2001:db8::1"), 0x275C_8FA5_8C2D_19A0);
    }

    #[test]
    fn a_displayed_value_hashes_as_its_text() {
        let address = std::net::SocketAddr::from(([10, 0, 0, 1], 8080));
        assert_eq!(stable_hash_of(&address), stable_hash("10.0.0.1:8080"));
        let long = "x".repeat(1000);
        assert_eq!(stable_hash_of(&long), stable_hash(&long));
    }
}
