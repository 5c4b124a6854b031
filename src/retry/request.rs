use crate::outcome::Carry;

/// A request that may be sent more than once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent more than once",
    label = "this request type does not say whether it may be retried",
    note = "implement `RetryableRequest` and `Carry` for `{Self}`; for `http::Request`, place `http::ReplayLayer` above this layer"
)]
pub trait RetryableRequest: Carry + Sized {
    /// Returns when the request may be retried.
    fn retry_safety(&self) -> RetrySafety;

    /// Returns a copy to send, or `None` if the request can no longer be copied. The copy shares
    /// the attempts of the request.
    fn try_clone(&self) -> Option<Self>;
}

/// When a request may be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetrySafety {
    /// Never.
    Never,
    /// If it is certain that no endpoint has processed it, as when the connection was refused.
    IfUnsent,
    /// After any failed attempt: sending it twice has the same effect as sending it once.
    Idempotent,
}
