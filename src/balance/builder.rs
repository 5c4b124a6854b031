use std::{fmt, hash::Hash, time::Duration};

use super::{Balancer, Driver, shared::Config};
use crate::{
    BoxError,
    discover::Discover,
    outcome::{OnResponse, ResultOnly},
    strategy::{Rng, Strategy},
};

/// Configures a [`Balancer`]; made by [`Balancer::builder`].
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
    /// Bounds the requests in flight that this balancer (all its clones together) has at each
    /// endpoint. Default: no bound.
    ///
    /// While all endpoints have that many, `poll_ready` is pending and requests that were called
    /// regardless wait in their response futures, in order of arrival among those that compete for
    /// the same endpoints; see [`max_wait`](Self::max_wait).
    #[must_use]
    pub fn max_outstanding(mut self, requests: u32) -> Self {
        self.config.max_outstanding = Some(requests);
        self
    }

    /// How long a request waits for an endpoint with room before it fails as
    /// [`Error::Overloaded`](crate::Error::Overloaded); with zero it fails at once. Default: for
    /// ever. Needs [`max_outstanding`](Self::max_outstanding).
    #[must_use]
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.config.max_wait = Some(time);
        self
    }

    /// How long a request waits while no endpoint can be used (none was discovered, all are
    /// unhealthy, or those picked don't get ready) before it fails as
    /// [`Error::NoEndpoints`](crate::Error::NoEndpoints) or
    /// [`Error::Unavailable`](crate::Error::Unavailable). Default: for ever, as tower's `Balance`
    /// waits.
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

    /// What a response or an error says about the endpoint; the attempt is over when the response
    /// is there. Default [`ResultOnly`].
    pub fn classify<C>(self, classify: C) -> Builder<OnResponse<C>> {
        self.track(OnResponse::new(classify))
    }

    /// Decides when an attempt is over and how it ended, for protocols whose responses go on after
    /// the first value.
    pub fn track<U>(self, tracker: U) -> Builder<U> {
        Builder { config: self.config, seed: self.seed, tracker }
    }

    /// The balancer over these endpoints, and the driver that must be polled for it to learn of
    /// them: spawn it.
    ///
    /// # Errors
    ///
    /// [`BuildError`] for a configuration that makes no sense.
    pub fn build<St, D>(
        self,
        strategy: St,
        discover: D,
    ) -> Result<(Balancer<D::Target, St, T>, Driver<D, St>), BuildError>
    where
        D: Discover,
        D::Key: fmt::Display + Eq + Hash,
        D::Target: Clone,
        D::Error: Into<BoxError>,
        St: Strategy,
    {
        match self.config {
            Config { max_outstanding: Some(0), .. } => Err(BuildError::NothingOutstanding),
            Config { max_outstanding: None, max_wait: Some(_), .. } => Err(BuildError::NoLimit),
            _ => Ok(self.assemble(strategy, discover)),
        }
    }

    /// The same with the driver spawned on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`BuildError`] for a configuration that makes no sense.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, as [`tokio::spawn`] does.
    pub fn spawn<St, D>(
        self,
        strategy: St,
        discover: D,
    ) -> Result<Balancer<D::Target, St, T>, BuildError>
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

/// A configuration that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// [`Builder::max_outstanding`] is 0, so no request could ever be sent.
    NothingOutstanding,
    /// [`Builder::max_wait`] is set but not [`Builder::max_outstanding`], so there is nothing to
    /// wait for.
    NoLimit,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingOutstanding => "max_outstanding is 0: set it to at least 1, or not at all",
            Self::NoLimit => "max_wait without max_outstanding: set the limit that is waited for",
        })
    }
}

impl std::error::Error for BuildError {}
