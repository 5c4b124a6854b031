use std::{fmt, sync::Arc};

use crate::{escape::Escaped, lambda::ThrottleScope};

counts! {
    /// Counts throttles by their [`ThrottleScope`].
    pub struct ThrottleCounts, ThrottleCounters by ThrottleCounter {
        /// [`ThrottleScope::Function`].
        function: Function,
        /// [`ThrottleScope::Region`].
        region: Region,
        /// [`ThrottleScope::Caller`].
        caller: Caller,
    }
}

impl From<ThrottleScope> for ThrottleCounter {
    fn from(scope: ThrottleScope) -> Self {
        match scope {
            ThrottleScope::Function => Self::Function,
            ThrottleScope::Region => Self::Region,
            ThrottleScope::Caller => Self::Caller,
        }
    }
}

/// The state and the counters of a [`Throttles`](crate::lambda::Throttles).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ThrottlesStatus {
    /// The name.
    pub name: Arc<str>,
    /// Invocations that the service throttled, as the trackers of
    /// [`Throttles::track`](crate::lambda::Throttles::track) have seen them. Does not count shed
    /// requests.
    pub throttled: ThrottleCounts,
    /// How many functions, and accounts in a region, are left out at this moment.
    pub paused: u64,
    /// How often a function, or an account in a region, was left out.
    pub pauses: u64,
    /// Requests that [`Shed`](crate::lambda::Shed) rejected.
    pub shed: u64,
    /// The share of requests that is shed at this moment, from 0 to 1.
    pub shed_share: f64,
}

impl fmt::Display for ThrottlesStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, throttled, paused, pauses, shed, shed_share } = self;
        write!(
            f,
            "{}: {} invocations throttled ({throttled}); {paused} left out now, {pauses} pauses; \
             {shed} requests shed, {:.1} % now",
            Escaped(name),
            throttled.total(),
            shed_share * 100.0,
        )
    }
}
