use std::{any::TypeId, fmt, sync::Arc};

use super::{BalancerReport, Report};
use crate::{
    Balancer,
    balance::Monitor,
    discover::SourceStatus,
    failover::FailoverLayer,
    health::{BackoffFigures, CheckFigures, CircuitFigures, EjectionFigures},
    hedge::HedgeLayer,
    limit::{AdaptiveThrottleLayer, ConcurrencyLimitLayer, RateLimitLayer},
    retry::{Budget, RetryLayer},
    strategy::Strategy,
};

/// A component that a [`Registry`](super::Registry) can observe: a balancer, a layer that counts,
/// an edge, or the figures of a stage of discovery.
pub trait Observable {
    /// Returns what the registry keeps of the component.
    fn observe(&self) -> Observed;
}

/// What a [`Registry`](super::Registry) keeps of a component.
// Each part has the address of what it reads, or 0.
pub struct Observed(pub(super) Vec<(usize, Arc<dyn Component>)>);

/// A part of a registry.
pub(super) trait Component: Send + Sync {
    /// Adds what the component has to say to the report. Returns false if the component is gone.
    fn read(&self, report: &mut Report) -> bool;
}

impl<F> Component for F
where
    F: Fn(&mut Report) -> bool + Send + Sync,
{
    fn read(&self, report: &mut Report) -> bool {
        self(report)
    }
}

impl Observed {
    /// Observes a component by what `status` returns, until that is `None`.
    pub(super) fn by<S: 'static>(
        status: impl Fn() -> Option<S> + Send + Sync + 'static,
        list: fn(&mut Report) -> &mut Vec<S>,
    ) -> Self {
        let read = move |report: &mut Report| match status() {
            Some(status) => {
                report.numbers.push((TypeId::of::<S>(), report.component));
                list(report).push(status);
                true
            }
            None => false,
        };
        Self(vec![(0, Arc::new(read))])
    }

    /// Sets the address of the component, by which the registry finds it again.
    pub(super) fn at<T: ?Sized>(mut self, component: *const T) -> Self {
        self.0.iter_mut().for_each(|(address, _)| *address = component.cast::<()>() as usize);
        self
    }
}

impl<S, St, T> Observable for Balancer<S, St, T>
where
    S: Send + Sync + 'static,
    St: Strategy<Picker: Send + Sync + 'static>,
{
    fn observe(&self) -> Observed {
        self.monitor().observe()
    }
}

impl Observable for Monitor {
    fn observe(&self) -> Observed {
        let monitor = self.clone();
        let read = move || {
            let (status, events) = (monitor.status()?, monitor.events()?);
            Some(BalancerReport { status, events })
        };
        Observed::by(read, |report| &mut report.balancers).at(self.address())
    }
}

/// Observes whatever serves at a moment: what a reload adds, too.
#[cfg(feature = "alb")]
impl Observable for crate::alb::LoadBalancer {
    fn observe(&self) -> Observed {
        let (groups, status) = (self.weak_groups(), self.weak_status());
        let read = move |report: &mut Report| match groups() {
            Some(groups) => {
                for (group, resilience) in groups {
                    for Observed(parts) in [group.observe(), resilience.observe()] {
                        parts.iter().for_each(|(_, part)| _ = part.read(report));
                    }
                }
                true
            }
            None => false,
        };
        let Observed(mut parts) = Observed::by(status, |report| &mut report.load_balancers);
        parts.push((0, Arc::new(read)));
        Observed(parts)
    }
}

/// Observes the health checks, and each listener with its balancer.
#[cfg(feature = "clb")]
impl Observable for crate::clb::ClassicHandle {
    fn observe(&self) -> Observed {
        let Observed(mut parts) = self.checks().observe();
        for (listener, balancer) in self.listeners() {
            for Observed(mut more) in [listener.observe(), balancer.observe()] {
                parts.append(&mut more);
            }
        }
        Observed(parts)
    }
}

#[cfg(feature = "listener")]
impl Observable for crate::listener::ListenerHandle {
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.listeners)
    }
}

#[cfg(feature = "rules")]
impl<S: Send + Sync + 'static> Observable for crate::rules::Rules<S> {
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.rules)
    }
}

impl<P: Send + Sync + 'static> Observable for RetryLayer<P> {
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.retries)
    }
}

impl<P: Send + Sync + 'static> Observable for HedgeLayer<P> {
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.hedges)
    }
}

impl<B, P> Observable for FailoverLayer<B, P>
where
    B: Send + Sync + 'static,
    P: Send + Sync + 'static,
{
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.failovers)
    }
}

/// An unlimited budget counts nothing, so there is nothing to observe.
impl Observable for Budget {
    fn observe(&self) -> Observed {
        match (self.weak_status(), self.address()) {
            (Some(status), Some(address)) => {
                Observed::by(status, |report| &mut report.budgets).at(address)
            }
            _ => Observed(Vec::new()),
        }
    }
}

/// Observes the layers of retries and hedges, and their budget.
#[cfg(feature = "http")]
impl Observable for crate::http::ResilienceLayer {
    fn observe(&self) -> Observed {
        let Observed(mut parts) = self.retry().observe();
        parts.extend(self.hedge().observe().0);
        parts.extend(self.budget().observe().0);
        Observed(parts)
    }
}

#[cfg(feature = "http-client")]
impl Observable for crate::http::Pool {
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.pools).at(self.address())
    }
}

/// Observes the group's balancer, the connections to its targets, and its health checks.
#[cfg(feature = "alb")]
impl<B> Observable for crate::alb::TargetGroup<B>
where
    B: http_body::Body<Data: Send, Error: Into<crate::BoxError>> + Send + Unpin + 'static,
{
    fn observe(&self) -> Observed {
        let Observed(mut parts) = self.monitor().observe();
        parts.extend(self.pool().observe().0);
        parts.extend(self.checks().into_iter().flat_map(|checks| checks.observe().0));
        Observed(parts)
    }
}

#[cfg(feature = "lambda")]
impl Observable for crate::lambda::Throttles {
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.throttles)
    }
}

#[cfg(feature = "lambda")]
impl Observable for crate::lambda::BillingLayer {
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.billing)
    }
}

impl<C, I, P> Observable for ConcurrencyLimitLayer<C, I, P>
where
    C: Send + Sync + 'static,
    I: Send + Sync + 'static,
    P: Send + Sync + 'static,
{
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.limits)
    }
}

impl Observable for RateLimitLayer {
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.limits)
    }
}

impl<C: Send + Sync + 'static> Observable for AdaptiveThrottleLayer<C> {
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.limits)
    }
}

macro_rules! observe_figures {
    ($($figures:ty => $list:ident;)*) => {
        $(impl Observable for $figures {
            fn observe(&self) -> Observed {
                let figures = self.downgrade();
                let status = move || Some(figures.upgrade()?.status());
                Observed::by(status, |report| &mut report.$list)
            }
        })*
    };
}

observe_figures! {
    CheckFigures => checks;
    EjectionFigures => ejections;
    CircuitFigures => circuits;
    BackoffFigures => backoffs;
}

impl Observable for SourceStatus {
    fn observe(&self) -> Observed {
        let source = self.downgrade();
        let report = move || Some(source.upgrade()?.report());
        Observed::by(report, |report| &mut report.sources)
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("parts", &self.0.len()).finish()
    }
}
