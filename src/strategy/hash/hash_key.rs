/// What of a request decides which endpoint it goes to.
///
/// Every function of the request will do. The strategies mix what it gives, so numbers that follow
/// each other, such as ids, are good hashes; for bytes and text there is [`stable_hash`](crate::strategy::stable_hash).
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
