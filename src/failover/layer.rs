use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{Failover, primary_state::PrimaryState};
use crate::{ConfigError, retry::DEFAULT_MAX_DELAY};

/// When a request fails over from the primary to the fallback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailoverOn {
    /// When the attempt at the primary has failed, and the request may be retried. The default.
    #[default]
    Failure,
    /// When the primary is overloaded: it is not ready, all of its endpoints have the maximum
    /// number of requests in flight, or a [limit](crate::limit) rejects the request. Other failures
    /// go to the caller.
    Overload,
}

/// Gives services a fallback. Each service has its own state, which its clones share.
#[derive(Debug)]
pub struct FailoverLayer<B, P> {
    fallback: B,
    pub(super) settings: Arc<Settings<P>>,
}

/// What all clones of a [`Failover`] share, besides the state of the primary.
#[derive(Debug)]
pub(super) struct Settings<P> {
    pub(super) policy: P,
    pub(super) on: FailoverOn,
    pub(super) max_wait: Duration,
    sticky: (u32, Duration),
}

impl<B, P> FailoverLayer<B, P> {
    /// Returns a builder with default settings; `policy` decides what is a failure of the primary.
    pub fn builder(fallback: B, policy: P) -> FailoverBuilder<B, P> {
        FailoverBuilder {
            fallback,
            policy,
            on: FailoverOn::default(),
            max_wait: DEFAULT_MAX_DELAY,
            sticky: None,
        }
    }
}

impl<B: Clone, P> Clone for FailoverLayer<B, P> {
    fn clone(&self) -> Self {
        Self { fallback: self.fallback.clone(), settings: Arc::clone(&self.settings) }
    }
}

impl<A, B: Clone, P> Layer<A> for FailoverLayer<B, P> {
    type Service = Failover<A, B, P>;

    fn layer(&self, primary: A) -> Failover<A, B, P> {
        let (failures, probe_every) = self.settings.sticky;
        let state = Arc::new(PrimaryState::new(failures, probe_every));
        Failover::new(primary, self.fallback.clone(), Arc::clone(&self.settings), state)
    }
}

/// Configures a [`FailoverLayer`].
#[derive(Clone, Debug)]
pub struct FailoverBuilder<B, P> {
    fallback: B,
    policy: P,
    on: FailoverOn,
    max_wait: Duration,
    sticky: Option<(u32, Duration)>,
}

impl<B, P> FailoverBuilder<B, P> {
    /// Sets when a request fails over. Default [`FailoverOn::Failure`].
    #[must_use]
    pub fn on(mut self, on: FailoverOn) -> Self {
        self.on = on;
        self
    }

    /// Sets how long a request that fails over waits for the fallback to be ready. After that, the
    /// primary's result goes to the caller, be it a response or an error. The request's
    /// [deadline](crate::outcome::Attempts::deadline) ends the wait as well. Default 250 ms, which
    /// is also how long [`Retry`](crate::retry::Retry) waits by default with a response.
    ///
    /// The wait is bounded because the primary's response may occupy what the fallback waits for,
    /// such as a permit of a concurrency limit around both.
    #[must_use]
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.max_wait = time;
        self
    }

    /// After `failures` consecutive failures of the primary, sends all requests directly to the
    /// fallback. Once per `probe_every`, one request still tries the primary; when it succeeds, all
    /// requests use the primary again. Default: every request tries the primary.
    #[must_use]
    pub fn sticky(mut self, failures: u32, probe_every: Duration) -> Self {
        self.sticky = Some((failures, probe_every));
        self
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// If `failures` or `probe_every` of a sticky failover is 0, or it is combined with
    /// [`FailoverOn::Overload`].
    pub fn build(self) -> Result<FailoverLayer<B, P>, ConfigError> {
        let Self { fallback, policy, on, max_wait, sticky } = self;
        if let Some((failures, probe_every)) = sticky {
            ConfigError::if_zero("sticky.failures", failures.into())?;
            ConfigError::if_zero_time("sticky.probe_every", probe_every)?;
            if on == FailoverOn::Overload {
                // Overload is brief, and sending all requests elsewhere would hide its end.
                let expected = "`FailoverOn::Failure`, as `sticky` is set";
                return Err(ConfigError::new("on", expected).with_value("`FailoverOn::Overload`"));
            }
        }
        let settings = Settings { policy, on, max_wait, sticky: sticky.unwrap_or_default() };
        Ok(FailoverLayer { fallback, settings: Arc::new(settings) })
    }
}
