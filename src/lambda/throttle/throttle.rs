use std::{fmt, str::FromStr, time::Duration};

/// The service turned an invocation away because there are too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    reason: ThrottleReason,
    retry_after: Option<Duration>,
}

/// Which limit was reached, as `TooManyRequestsException` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThrottleReason {
    /// The concurrency reserved for the function.
    ReservedFunctionConcurrentInvocations,
    /// The rate that goes with the concurrency reserved for the function.
    ReservedFunctionInvocationRate,
    /// The concurrency that the account's functions share in the region.
    ConcurrentInvocations,
    /// The rate that the account's functions share in the region.
    FunctionInvocationRate,
    /// How fast this caller may call.
    CallerRate,
    /// Snapshots of starting functions.
    ConcurrentSnapshotCreate,
    /// One that is not known here, or none.
    Unknown,
}

/// How far a throttle reaches: whom it is no use to try next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThrottleScope {
    /// The function, all its aliases and versions; others have room.
    Function,
    /// All functions of the account in the region.
    Region,
    /// The caller, wherever it calls.
    Caller,
}

impl Throttle {
    /// A throttle as transports make it, with how long to wait before the next attempt.
    #[must_use]
    pub fn new(reason: ThrottleReason, retry_after: Option<Duration>) -> Self {
        Self { reason, retry_after }
    }

    /// Which limit was reached.
    #[must_use]
    pub fn reason(&self) -> ThrottleReason {
        self.reason
    }

    /// How long the service asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// How far it reaches.
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
    /// How far the limit reaches. One that is not known is taken for the function's.
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

    /// The reason by its name in the API.
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
    fn reasons_are_known_by_their_names_and_reach_as_far_as_documented() {
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
