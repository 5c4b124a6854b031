/// Returns the hash of a request's key, which decides where the request goes.
///
/// Every function of the request is a `HashKey`. The strategies mix the hash, so consecutive
/// numbers, such as ids, are good hashes. For bytes and text, use
/// [`stable_hash`](crate::strategy::stable_hash).
///
/// ```
/// use tower_lb::strategy::{Maglev, stable_hash};
///
/// struct Request { user: Option<String> }
///
/// let by_user = Maglev::new(|request: &Request| request.user.as_ref().map(stable_hash));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not find a key in requests of type `{Req}`",
    label = "this is not a key of these requests",
    note = "pass a function of the request that the endpoints get: `|request: &{Req}| -> Option<u64>`"
)]
pub trait HashKey<Req> {
    /// Returns the hash of the request's key. Equal keys must have equal hashes in every process.
    ///
    /// `None` means that the request has no key. It then goes to any endpoint, by weight, as if its
    /// key was drawn at random. An empty key is a key.
    fn hash(&self, request: &Req) -> Option<u64>;
}

#[diagnostic::do_not_recommend]
impl<F, Req> HashKey<Req> for F
where
    F: Fn(&Req) -> Option<u64>,
{
    #[inline]
    fn hash(&self, request: &Req) -> Option<u64> {
        self(request)
    }
}
