use super::{
    Check, CircuitBreaker, CircuitBroken, Drained, Draining, HealthCheck, HealthChecked,
    InvalidSetting, OutlierDetected, OutlierDetection, OverloadBackedOff, OverloadBackoff,
    SlowStart, SlowStarted,
};
use crate::discover::Discover;

/// Adapters that watch over the endpoints of every [`Discover`].
///
/// Each makes an endpoint only worse than what comes from upstream, and restores that when it is
/// satisfied; so any of them can be put after any other. In the order of the methods below, each sees
/// what it should.
pub trait HealthExt: Discover + Sized {
    /// CheckPolicy endpoints actively; see [`HealthChecked`].
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if the settings make no sense.
    fn health_checked<C>(
        self,
        check: HealthCheck<C>,
    ) -> Result<HealthChecked<Self, C>, InvalidSetting>
    where
        C: Check<Self::Target>,
    {
        HealthChecked::new(self, check)
    }

    /// Ejects endpoints that do worse than others, by what requests see; see [`OutlierDetected`].
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if the settings make no sense.
    fn outlier_detected(
        self,
        detection: OutlierDetection,
    ) -> Result<OutlierDetected<Self>, InvalidSetting> {
        OutlierDetected::new(self, detection)
    }

    /// Puts a circuit breaker before each endpoint, in place of or beside outlier detection; see
    /// [`CircuitBroken`].
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if the settings make no sense.
    fn circuit_broken(
        self,
        breaker: CircuitBreaker,
    ) -> Result<CircuitBroken<Self>, InvalidSetting> {
        CircuitBroken::new(self, breaker)
    }

    /// Gives endpoints that say they have too much to do a smaller share; see [`OverloadBackedOff`].
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if the settings make no sense.
    fn overload_backoff(
        self,
        relief: OverloadBackoff,
    ) -> Result<OverloadBackedOff<Self>, InvalidSetting> {
        OverloadBackedOff::new(self, relief)
    }

    /// Gives endpoints that come into service their share bit by bit; see [`SlowStarted`].
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if the settings make no sense.
    fn slow_start(self, slow_start: SlowStart) -> Result<SlowStarted<Self>, InvalidSetting> {
        SlowStarted::new(self, slow_start)
    }

    /// Lets endpoints that leave finish their requests first; see [`Drained`].
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if the settings make no sense.
    fn drained(self, draining: Draining) -> Result<Drained<Self>, InvalidSetting> {
        Drained::new(self, draining)
    }
}

impl<D: Discover> HealthExt for D {}
