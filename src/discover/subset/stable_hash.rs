use std::fmt::{self, Display, Write};

/// A hash of a value's text, the same on every machine and in every version: FNV-1a, with its bits
/// spread by splitmix64's finalizer. Not for keys that an attacker chooses.
pub(super) fn stable_hash(value: &impl Display) -> u64 {
    let mut hash = Fnv(0xCBF2_9CE4_8422_2325);
    // Writing to it does not fail; a `Display` that fails of itself hashes as what it wrote.
    let _ = write!(hash, "{value}");
    mix(hash.0)
}

/// Spreads what differs in few bits over all.
pub(super) fn mix(bits: u64) -> u64 {
    let mut z = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients of different versions must agree; the values are pinned.
    #[test]
    fn hashes_never_change() {
        assert_eq!(stable_hash(&""), mix(0xCBF2_9CE4_8422_2325));
        assert_eq!(stable_hash(&"a"), mix(0xAF63_DC4C_8601_EC8C));
        assert_eq!(stable_hash(&"foobar"), mix(0x8594_4171_F739_67E8));
        assert_eq!(mix(0), 0xE220_A839_7B1D_CDAF);
    }
}
