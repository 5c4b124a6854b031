use super::{
    AnomalyDetected, AnomalyDetection, Check, CircuitBreaker, CircuitBroken, Drained, Draining,
    HealthCheck, HealthChecked, OutlierDetected, OutlierDetection, OverloadBackedOff,
    OverloadBackoff, PermitLimited, Permits, SlowStart, SlowStarted,
};
use crate::{ConfigError, discover::Discover};

/// Adapters that watch the health of the endpoints of any [`Discover`].
///
/// An adapter only lowers what upstream says about an endpoint, and restores upstream's opinion
/// afterwards. The adapters therefore work in any order; in the order of the methods below, each
/// one sees the changes that concern it.
///
/// # Errors
///
/// Each method fails with a [`ConfigError`] if a setting is invalid.
pub trait HealthExt: Discover + Sized {
    /// Checks endpoints actively; see [`HealthChecked`].
    fn health_checked<C>(self, check: HealthCheck<C>) -> Result<HealthChecked<Self, C>, ConfigError>
    where
        C: Check<Self::Target>,
    {
        HealthChecked::new(self, check)
    }

    /// Ejects endpoints whose requests do worse than those of others; see [`OutlierDetected`].
    fn outlier_detected(
        self,
        detection: OutlierDetection,
    ) -> Result<OutlierDetected<Self>, ConfigError> {
        OutlierDetected::new(self, detection)
    }

    /// Puts a circuit breaker before each endpoint, instead of or besides outlier detection; see
    /// [`CircuitBroken`].
    fn circuit_broken(self, breaker: CircuitBreaker) -> Result<CircuitBroken<Self>, ConfigError> {
        CircuitBroken::new(self, breaker)
    }

    /// Lowers the weight of endpoints that fail more often than their peers; see
    /// [`AnomalyDetected`].
    fn anomaly_detected(
        self,
        detection: AnomalyDetection,
    ) -> Result<AnomalyDetected<Self>, ConfigError> {
        AnomalyDetected::new(self, detection)
    }

    /// Lowers the weight of endpoints that report an overload; see [`OverloadBackedOff`].
    fn overload_backoff(
        self,
        backoff: OverloadBackoff,
    ) -> Result<OverloadBackedOff<Self>, ConfigError> {
        OverloadBackedOff::new(self, backoff)
    }

    /// Raises the weight of endpoints that enter service step by step; see [`SlowStarted`].
    fn slow_start(self, slow_start: SlowStart) -> Result<SlowStarted<Self>, ConfigError> {
        SlowStarted::new(self, slow_start)
    }

    /// Limits the requests in flight at each endpoint as the endpoint permits; see
    /// [`PermitLimited`]. Call it last.
    fn permit_limited(self, permits: Permits) -> Result<PermitLimited<Self>, ConfigError> {
        PermitLimited::new(self, permits)
    }

    /// Lets endpoints that are removed finish their requests first; see [`Drained`].
    fn drained(self, draining: Draining) -> Result<Drained<Self>, ConfigError> {
        Drained::new(self, draining)
    }
}

impl<D: Discover> HealthExt for D {}
