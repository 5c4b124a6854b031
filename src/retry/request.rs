use crate::outcome::Carry;

/// A request that may be sent more than once.
pub trait RetryableRequest: Carry + Sized {
    /// When it may be sent again.
    fn retry_safety(&self) -> RetrySafety;

    /// A copy to send; `None` if there can be none (any more). Attempts are shared with the copy.
    fn try_clone(&self) -> Option<Self>;
}

/// When a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetrySafety {
    /// Not at all.
    Never,
    /// If it is certain that nobody has got it, as when the connection was refused.
    IfUnsent,
    /// Whenever an attempt failed: to get it twice is the same as once.
    Idempotent,
}
