/// Finds the key by which requests stay with the same service.
///
/// Closures `Fn(&Req) -> Option<u64>` implement it. `()` finds no key.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not find a sticky key in `{Req}`",
    note = "pass a closure `|request: &{Req}| -> Option<u64>` to `sticky_by`, or implement `StickyKey<{Req}>`"
)]
pub trait StickyKey<Req> {
    /// Returns the same number for all requests that belong together, or `None` if `request` has no
    /// key.
    fn key(&self, request: &Req) -> Option<u64>;
}

/// No request has a key: each is sent independently of the others.
impl<Req> StickyKey<Req> for () {
    fn key(&self, _request: &Req) -> Option<u64> {
        None
    }
}

impl<F: Fn(&Req) -> Option<u64>, Req> StickyKey<Req> for F {
    fn key(&self, request: &Req) -> Option<u64> {
        self(request)
    }
}
