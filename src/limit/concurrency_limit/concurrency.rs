use crate::ConfigError;

/// How many requests may be in flight: a fixed number, or a limit that adapts to the endpoints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concurrency {
    pub(super) algorithm: Algorithm,
    pub(super) min: u32,
    pub(super) max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Algorithm {
    Fixed,
    Aimd,
    Gradient,
}

/// Where adaptive limits start, if their bounds allow it.
const INITIAL_LIMIT: u32 = 20;

impl Concurrency {
    /// A limit of `requests` that never changes.
    #[must_use]
    pub const fn fixed(requests: u32) -> Self {
        Self { algorithm: Algorithm::Fixed, min: requests, max: requests }
    }

    /// A limit from `min` to `max` that grows slowly and shrinks on overload. Starts at 20.
    ///
    /// It grows by 1 after as many successful responses as the limit, while at least half of the
    /// limit is in use. It shrinks by a tenth on overload or a timeout, at most once per as many
    /// responses.
    ///
    /// Source: additive increase, multiplicative decrease, once per round trip, as in TCP
    /// (Jacobson, 1988). Where this differs: Netflix's concurrency-limits counts every response,
    /// which makes a fifth of the requests fail with overload indefinitely.
    #[must_use]
    pub const fn aimd(min: u32, max: u32) -> Self {
        Self { algorithm: Algorithm::Aimd, min, max }
    }

    /// A limit from `min` to `max` that keeps latency low. Starts at 20.
    ///
    /// It shrinks while recent latency is more than a quarter above the minimum latency. Otherwise
    /// it grows by its square root, step by step. From time to time it is halved for a while, so
    /// that queues drain and the minimum latency can be measured. Overload and timeouts reduce it
    /// by a tenth, as with [`aimd`](Self::aimd).
    ///
    /// Source: the gradient of Envoy's adaptive concurrency. Where this differs: Envoy goes down to
    /// three requests to measure. Netflix's Gradient2 compares with an average, and drifts upwards
    /// with it.
    #[must_use]
    pub const fn gradient(min: u32, max: u32) -> Self {
        Self { algorithm: Algorithm::Gradient, min, max }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::if_zero("concurrency.min", self.min.into())?;
        let expected = "at most `concurrency.max`";
        ConfigError::unless(self.min <= self.max, "concurrency.min", self.min, expected)
    }

    pub(super) fn initial(&self) -> u32 {
        INITIAL_LIMIT.clamp(self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_bounds_are_rejected() {
        assert!(Concurrency::fixed(0).check().is_err());
        assert!(Concurrency::aimd(10, 5).check().is_err());
        assert_eq!(Concurrency::aimd(50, 60).initial(), 50);
    }
}
