use std::{fmt, str::FromStr, time::Duration};

/// The service rejected an invocation because there are too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    reason: ThrottleReason,
    retry_after: Option<Duration>,
}

/// The limit that was reached, as `TooManyRequestsException` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThrottleReason {
    /// The concurrency reserved for the function.
    ReservedFunctionConcurrentInvocations,
    /// The rate that follows from the concurrency reserved for the function.
    ReservedFunctionInvocationRate,
    /// The concurrency that the account's functions share in the region.
    ConcurrentInvocations,
    /// The rate that the account's functions share in the region.
    FunctionInvocationRate,
    /// The rate of calls of this caller.
    CallerRate,
    /// The concurrent creation of snapshots, for functions that start.
    ConcurrentSnapshotCreate,
    /// An unknown reason, or none.
    Unknown,
}

/// The scope of a throttle: what would be throttled as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThrottleScope {
    /// The function, with all its aliases and versions; other functions have room.
    Function,
    /// All functions of the account in the region.
    Region,
    /// The caller, at every endpoint.
    Caller,
}

impl Throttle {
    /// Creates a throttle, for transports. `retry_after` is the delay that the service asks for.
    #[must_use]
    pub fn new(reason: ThrottleReason, retry_after: Option<Duration>) -> Self {
        Self { reason, retry_after }
    }

    /// Returns the limit that was reached.
    #[must_use]
    pub fn reason(&self) -> ThrottleReason {
        self.reason
    }

    /// Returns the delay that the service asks for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the scope of the throttle.
    #[must_use]
    pub fn scope(&self) -> ThrottleScope {
        self.reason.scope()
    }
}

const NAMES: [(&str, ThrottleReason); 6] = [
    (
        "ReservedFunctionConcurrentInvocationLimitExceeded",
        ThrottleReason::ReservedFunctionConcurrentInvocations,
    ),
    ("ReservedFunctionInvocationRateLimitExceeded", ThrottleReason::ReservedFunctionInvocationRate),
    ("ConcurrentInvocationLimitExceeded", ThrottleReason::ConcurrentInvocations),
    ("FunctionInvocationRateLimitExceeded", ThrottleReason::FunctionInvocationRate),
    ("CallerRateLimitExceeded", ThrottleReason::CallerRate),
    ("ConcurrentSnapshotCreateLimitExceeded", ThrottleReason::ConcurrentSnapshotCreate),
];

impl ThrottleReason {
    /// Returns the scope of the limit. An unknown limit counts as the function's.
    #[must_use]
    pub fn scope(self) -> ThrottleScope {
        match self {
            Self::ConcurrentInvocations | Self::FunctionInvocationRate => ThrottleScope::Region,
            Self::CallerRate => ThrottleScope::Caller,
            _ => ThrottleScope::Function,
        }
    }
}

impl FromStr for ThrottleReason {
    type Err = std::convert::Infallible;

    /// Returns the reason with this name in the API, or [`Unknown`](Self::Unknown).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = NAMES.iter().find(|(name, _)| *name == text);
        Ok(known.map_or(Self::Unknown, |&(_, reason)| reason))
    }
}

impl fmt::Display for ThrottleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = NAMES.iter().find(|(_, reason)| reason == self);
        f.write_str(known.map_or("no reason given", |&(name, _)| name))
    }
}

impl fmt::Display for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "throttled: {}", self.reason)?;
        match self.retry_after {
            Some(delay) => write!(f, ", retry after {delay:?}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_their_names_and_scopes() {
        for (name, reason) in NAMES {
            assert_eq!(name.parse(), Ok(reason));
            assert_eq!(reason.to_string(), name);
        }
        assert_eq!("SomethingNew".parse(), Ok(ThrottleReason::Unknown));
        let of_scope = |scope| NAMES.iter().filter(|(_, reason)| reason.scope() == scope).count();
        assert_eq!(of_scope(ThrottleScope::Function), 3);
        assert_eq!(of_scope(ThrottleScope::Region), 2);
        assert_eq!(of_scope(ThrottleScope::Caller), 1);
    }
}
