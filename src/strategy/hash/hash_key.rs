use xxhash_rust::xxh3::xxh3_64;

/// What of a request decides which endpoint it goes to.
///
/// Every function of the request will do. The strategies mix what it gives, so numbers that follow
/// each other, such as ids, are good hashes; for bytes and text there is [`stable_hash`].
///
/// ```
/// use tower_lb::strategy::{Maglev, stable_hash};
///
/// struct Request { user: Option<String> }
///
/// let by_user = Maglev::new(|request: &Request| request.user.as_ref().map(stable_hash));
/// ```
pub trait HashKey<Req> {
    /// The hash of the request's key; of equal keys equal, in every process, or they part ways.
    ///
    /// `None` says that the request has no key. It then goes anywhere, by weight, as if its key was
    /// drawn at random. An empty key is a key.
    fn hash(&self, request: &Req) -> Option<u64>;
}

impl<F, Req> HashKey<Req> for F
where
    F: Fn(&Req) -> Option<u64>,
{
    #[inline]
    fn hash(&self, request: &Req) -> Option<u64> {
        self(request)
    }
}

/// XXH3, 64 bits, seed 0: the hash that the crate uses for keys and for the names of endpoints.
///
/// It is the same in every process, on every platform, and stays the same in later versions.
#[inline]
#[must_use]
pub fn stable_hash(bytes: impl AsRef<[u8]>) -> u64 {
    xxh3_64(bytes.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_xxh3_with_seed_0() {
        // As the reference implementation has them: empty, and short, medium and long inputs.
        assert_eq!(stable_hash(""), 0x2D06_8005_38D3_94C2);
        assert_eq!(stable_hash("a"), 0xE6C6_32B6_1E96_4E1F);
        assert_eq!(stable_hash("10.0.0.1:8080"), stable_hash(b"10.0.0.1:8080"));
    }
}
