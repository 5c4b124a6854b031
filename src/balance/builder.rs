use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use super::{Balancer, Driver, shared::Config};
use crate::{
    BoxError, ConfigError,
    discover::Discover,
    outcome::{OnResponse, ResultOnly},
    strategy::{Rng, Strategy},
};

/// Configures a [`Balancer`]; [`Balancer::builder`] returns one.
#[derive(Clone, Debug)]
pub struct Builder<T = OnResponse> {
    config: Config,
    seed: Option<u64>,
    tracker: T,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { config: Config::default(), seed: None, tracker: OnResponse::new(ResultOnly) }
    }
}

impl<T> Builder<T> {
    /// Sets the name of the balancer, which errors, log events and the status contain. Default:
    /// none. It tells the balancers of a program apart.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.config.name = Some(name.into());
        self
    }

    /// Sets whether the status contains the distributions of how long attempts took. Default
    /// `false`. It costs up to two clock readings a request if the strategy measures no latency,
    /// otherwise one, and 1 KB of memory an endpoint.
    #[must_use]
    pub fn measure_durations(mut self, measure: bool) -> Self {
        self.config.measure_durations = measure;
        self
    }

    /// Limits the requests in flight at each endpoint, counted over all clones of this balancer.
    /// Default: no limit.
    ///
    /// While all endpoints are at the limit, `poll_ready` is pending, and requests that were called
    /// anyway wait in their response futures. Requests that compete for the same endpoints are
    /// served in order of arrival. [`max_wait`](Self::max_wait) limits the wait.
    #[must_use]
    pub fn max_outstanding(mut self, requests: u32) -> Self {
        self.config.max_outstanding = Some(requests);
        self
    }

    /// Limits how long a request waits for an endpoint with room before it fails as
    /// [`Error::Overloaded`](crate::Error::Overloaded). With zero it fails at once. Default:
    /// indefinitely. Needs [`max_outstanding`](Self::max_outstanding).
    #[must_use]
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.config.max_wait = Some(time);
        self
    }

    /// Limits how many requests wait for an endpoint. A request that finds that many waiting fails
    /// at once. If all endpoints are at their limit, the error is
    /// [`Error::Overloaded`](crate::Error::Overloaded), and the status counts it as
    /// [`rejected`](crate::balance::Status::rejected). With zero, none waits. Default: no limit.
    /// Needs [`max_outstanding`](Self::max_outstanding).
    ///
    /// With a limit, `poll_ready` does not wait for room: requests wait in their response futures,
    /// where they are counted.
    #[must_use]
    pub fn max_waiting(mut self, requests: usize) -> Self {
        self.config.max_waiting = Some(requests);
        self
    }

    /// Limits how long a request waits while no endpoint can be used: none was discovered, all are
    /// unhealthy, or the picked ones do not get ready. It then fails as
    /// [`Error::NoEndpoints`](crate::Error::NoEndpoints) or
    /// [`Error::Unavailable`](crate::Error::Unavailable). Default: indefinitely, as tower's
    /// `Balance` waits.
    #[must_use]
    pub fn fail_fast(mut self, after: Duration) -> Self {
        self.config.fail_fast = Some(after);
        self
    }

    /// Makes picks repeatable: the same seed and the same requests give the same picks. Default:
    /// seeded by the operating system.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets what a response or an error says about the endpoint. The attempt is over when the
    /// service's response is there. Default: [`ResultOnly`].
    pub fn classify<C>(self, classify: C) -> Builder<OnResponse<C>> {
        self.track(OnResponse::new(classify))
    }

    /// Sets the tracker, which decides when an attempt is over and how it ended. For protocols
    /// whose responses go on after the first value.
    pub fn track<U>(self, tracker: U) -> Builder<U> {
        Builder { config: self.config, seed: self.seed, tracker }
    }

    /// Builds a balancer over the endpoints of `discover`, and its driver. Spawn the driver: the
    /// balancer learns of endpoints while it is polled.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `max_outstanding` is 0, or if `max_wait` or `max_waiting` is
    /// set without `max_outstanding`.
    pub fn build<St, D>(
        self,
        strategy: St,
        discover: D,
    ) -> Result<(Balancer<D::Target, St, T>, Driver<D, St>), ConfigError>
    where
        D: Discover,
        D::Key: fmt::Display + Eq + Hash,
        D::Target: Clone,
        D::Error: Into<BoxError>,
        St: Strategy,
    {
        match &self.config {
            Config { max_outstanding: Some(0), .. } => {
                Err(ConfigError::new("max_outstanding", "at least 1").with_value(0))
            }
            Config { max_outstanding: None, max_wait: Some(_), .. } => {
                Err(ConfigError::new("max_wait", "`max_outstanding` to be set as well"))
            }
            Config { max_outstanding: None, max_waiting: Some(_), .. } => {
                Err(ConfigError::new("max_waiting", "`max_outstanding` to be set as well"))
            }
            _ => Ok(self.assemble(strategy, discover)),
        }
    }

    /// Builds a balancer as [`build`](Self::build) does, and spawns its driver on the current tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] as `build` does.
    ///
    /// # Panics
    ///
    /// Panics at the caller if it is called outside of a tokio runtime.
    #[track_caller]
    pub fn spawn<St, D>(
        self,
        strategy: St,
        discover: D,
    ) -> Result<Balancer<D::Target, St, T>, ConfigError>
    where
        D: Discover + Send + 'static,
        D::Key: fmt::Display + Eq + Hash + Send,
        D::Target: Clone + Send + Sync,
        D::Error: Into<BoxError>,
        St: Strategy<Picker: Send + Sync> + Send + 'static,
    {
        let (balancer, driver) = self.build(strategy, discover)?;
        tokio::spawn(driver);
        Ok(balancer)
    }

    pub(super) fn assemble<St, D>(
        self,
        strategy: St,
        discover: D,
    ) -> (Balancer<D::Target, St, T>, Driver<D, St>)
    where
        D: Discover,
        D::Key: fmt::Display + Eq + Hash,
        D::Target: Clone,
        D::Error: Into<BoxError>,
        St: Strategy,
    {
        let seed = self.seed.unwrap_or_else(|| Rng::from_entropy().bits());
        let (shared, driver) = Driver::new(strategy, discover, self.config, seed);
        (Balancer::from_parts(shared, self.tracker), driver)
    }
}
