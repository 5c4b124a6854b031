use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{Failover, switch::Switch};
use crate::{InvalidConfig, retry::DEFAULT_LONGEST};

/// When a request goes over to the second service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum When {
    /// When the attempt at the first has failed, and may be repeated. The default.
    #[default]
    Failed,
    /// When the first has too much to do: it is not ready, all of its endpoints have as many requests
    /// as they may, or a [limit](crate::limit) rejects the request. Its failures are the answer.
    Overloaded,
}

/// Gives services a second one to go over to. Each service has a state of its own, which its clones share.
#[derive(Debug)]
pub struct FailoverLayer<B, J> {
    second: B,
    pub(super) rules: Arc<Rules<J>>,
}

/// What all clones of a [`Failover`] go by.
#[derive(Debug)]
pub(super) struct Rules<J> {
    pub(super) policy: J,
    pub(super) when: When,
    pub(super) max_wait: Duration,
    sticky: (u32, Duration),
}

impl<B, J> FailoverLayer<B, J> {
    /// Settings; `policy` says what is a failure of the first service.
    pub fn builder(second: B, policy: J) -> FailoverBuilder<B, J> {
        FailoverBuilder {
            second,
            policy,
            when: When::default(),
            max_wait: DEFAULT_LONGEST,
            sticky: None,
        }
    }
}

impl<B: Clone, J> Clone for FailoverLayer<B, J> {
    fn clone(&self) -> Self {
        Self { second: self.second.clone(), rules: Arc::clone(&self.rules) }
    }
}

impl<A, B: Clone, J> Layer<A> for FailoverLayer<B, J> {
    type Service = Failover<A, B, J>;

    fn layer(&self, first: A) -> Failover<A, B, J> {
        let (failures, probe_every) = self.rules.sticky;
        let switch = Arc::new(Switch::new(failures, probe_every));
        Failover::new(first, self.second.clone(), Arc::clone(&self.rules), switch)
    }
}

/// Configures a [`FailoverLayer`].
#[derive(Clone, Debug)]
pub struct FailoverBuilder<B, J> {
    second: B,
    policy: J,
    when: When,
    max_wait: Duration,
    sticky: Option<(u32, Duration)>,
}

impl<B, J> FailoverBuilder<B, J> {
    /// When a request goes over. Default [`When::Failed`].
    #[must_use]
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// How long a request that the first service has failed waits for the second to be ready. Then
    /// the first's answer, be it a response or an error, is the caller's. The request's
    /// [deadline](crate::outcome::Attempts::deadline) ends the wait too. Default 250 ms, as long as
    /// [`Retry`](crate::retry::Retry) waits by default with a response in hand.
    ///
    /// The bound is there because the first's answer may hold what the second waits for: the place
    /// in a concurrency limit around both, for example.
    #[must_use]
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.max_wait = time;
        self
    }

    /// After so many failures of the first service in a row, all requests go to the second at once. One
    /// request each `probe_every` tries the first still; when one succeeds there, all come back.
    /// Default: every request tries the first.
    #[must_use]
    pub fn sticky(mut self, failures: u32, probe_every: Duration) -> Self {
        self.sticky = Some((failures, probe_every));
        self
    }

    /// The layer.
    ///
    /// # Errors
    ///
    /// For a sticky failover after 0 failures, or with probes all the time, or on overload.
    pub fn build(self) -> Result<FailoverLayer<B, J>, InvalidConfig> {
        let Self { second, policy, when, max_wait, sticky } = self;
        if let Some((failures, probe_every)) = sticky {
            InvalidConfig::unless(
                failures > 0,
                "sticky failover after 0 failures: set after how many to switch, or have no first \
                 service",
            )?;
            InvalidConfig::unless(
                !probe_every.is_zero(),
                "sticky failover with a probe every 0 s never stays: set the time between probes",
            )?;
            InvalidConfig::unless(
                when == When::Failed,
                "overload passes, so failover on overload can't be sticky: leave one of them out",
            )?;
        }
        let rules = Rules { policy, when, max_wait, sticky: sticky.unwrap_or_default() };
        Ok(FailoverLayer { second, rules: Arc::new(rules) })
    }
}
