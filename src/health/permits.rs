use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;

use super::stage::{
    members::{Id, Member, Members},
    stage::{Policy, stage, with_trial},
};
use crate::{
    ConfigError,
    endpoint::{Allowance, Endpoint, EndpointStats},
    outcome::{LoadReport, Meter, Sample},
};

/// How many requests at a time an endpoint gets before it has permitted a number itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permits {
    initial: u32,
}

impl Permits {
    /// Permits `initial` requests at a time until the endpoint reports another number. With 0, an
    /// endpoint gets no request before a report that comes without one, as by
    /// [`Balancer::report`](crate::Balancer::report).
    #[must_use]
    pub fn initially(initial: u32) -> Self {
        Self { initial }
    }

    fn validate(self) -> Result<(), ConfigError> {
        Ok(())
    }
}

impl Default for Permits {
    /// One request at a time.
    fn default() -> Self {
        Self::initially(1)
    }
}

stage! {
    /// Limits the requests in flight at each endpoint to the number that the endpoint itself
    /// permits. The stream of
    /// [`HealthExt::permit_limited`](crate::health::HealthExt::permit_limited).
    ///
    /// An endpoint reports its number with a response or separately
    /// ([`LoadReport::with_permits`]). An endpoint that permits nothing gets nothing, and an
    /// endpoint without room is not selected; requests wait while none has room. The initial number
    /// applies again after the endpoint was out of service. While an earlier stage has the endpoint
    /// on trial, the requests of the trial are the limit.
    ///
    /// Put it last: slow start takes an endpoint with an allowance for one on trial.
    ///
    /// Source: the target optimizer of AWS's Application Load Balancer, whose targets grant a
    /// concurrency over a control channel.
    PermitLimited, Permits, PermitPolicy, State
}

#[derive(Debug)]
struct State {
    meter: Arc<PermitMeter>,
    serves: bool,
}

#[derive(Debug)]
struct PermitMeter {
    allowance: Allowance,
}

impl Meter for PermitMeter {
    fn record(&self, _stats: &EndpointStats, _sample: &Sample<'_>) {}

    fn needs_latency(&self) -> bool {
        false
    }

    fn report(&self, _stats: &EndpointStats, report: &LoadReport, _now: Instant) {
        if let Some(permits) = report.permits() {
            self.allowance.set_limit(permits);
        }
    }

    fn needs_reports(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct PermitPolicy {
    permits: Permits,
}

impl PermitPolicy {
    fn new(permits: Permits) -> Self {
        Self { permits }
    }
}

impl<K, T: Clone> Policy<K, T, State> for PermitPolicy {
    fn added(&mut self, _id: Id, _key: &K, endpoint: &Endpoint<T>, _endpoints: usize) -> State {
        let allowance = Allowance::at_a_time(self.permits.initial);
        State { meter: Arc::new(PermitMeter { allowance }), serves: endpoint.is_eligible() }
    }

    fn changed(&mut self, _id: Id, member: &mut Member<K, T, State>) {
        let serves = member.endpoint.is_eligible();
        if serves && !member.state.serves {
            // The server may have restarted, and what it permitted before no longer holds.
            member.state.meter.allowance.set_limit(self.permits.initial);
        }
        member.state.serves = serves;
    }

    fn publish(&self, endpoint: Endpoint<T>, state: &State) -> Option<Endpoint<T>> {
        let endpoint = with_trial(endpoint, &state.meter.allowance);
        Some(endpoint.with_meter(Arc::clone(&state.meter) as _))
    }

    fn poll(&mut self, _members: &mut Members<K, T, State>, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
