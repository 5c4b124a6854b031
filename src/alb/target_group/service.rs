use std::{
    collections::{HashMap, HashSet},
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    CrossZone, GroupHealth, IncompatibleVersion, ProtocolVersion, TargetBody, TargetGroupBuilder,
    TargetHealth, Targets, algorithm::NodeZone, group_health::GroupHealthThresholds,
    idle_limit::IdleLimit, target_service::TargetService, tracker::GroupTracker,
};
use crate::{
    Balancer, BoxError,
    balance::{Event, Monitor, ResponseFuture, Status},
    future::polled_after_completion,
    health::{AnomalyFigures, CheckFigures},
    http::Pool,
    outcome::LoadReport,
    strategy::{Dynamic, ZonalShiftHandle},
};

/// The balancer of a group.
pub(super) type GroupBalancer<B> = Balancer<TargetService<B>, Dynamic<Request<B>>, GroupTracker>;

/// A target group: a `Service` that sends each request to one of its targets.
///
/// `B` is the type of request bodies. Errors are those of a [`Balancer`](crate::Balancer), or
/// [`IncompatibleVersion`]; [`ElbError::of`](crate::alb::ElbError::of) has the status of each.
///
/// Clones are cheap and share the targets. A request without a target that could take it fails at
/// once, as at the ALB.
pub struct TargetGroup<B> {
    pub(super) balancer: GroupBalancer<B>,
    pub(super) shared: Arc<Shared>,
    /// The zone of the node, if requests must stay in it.
    pub(super) zone: Option<Arc<str>>,
}

/// What all clones of a group share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) version: ProtocolVersion,
    pub(super) cross_zone: CrossZone,
    pub(super) thresholds: GroupHealthThresholds,
    pub(super) targets: Targets,
    pub(super) checks: Option<CheckFigures>,
    pub(super) anomalies: Option<AnomalyFigures>,
    pub(super) pool: Pool,
    pub(super) shift: ZonalShiftHandle,
    pub(super) idle_limit: IdleLimit,
}

impl<B> TargetGroup<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// Returns the default settings. `name` is that of the group in log events, figures and errors,
    /// and part of the keys of its session cookies.
    #[must_use]
    pub fn builder(name: impl Into<Arc<str>>) -> TargetGroupBuilder<B> {
        TargetGroupBuilder::new(name.into())
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns the handle that registers and deregisters targets.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.shared.targets
    }

    /// Returns the protocol version of the targets.
    #[must_use]
    pub fn protocol_version(&self) -> ProtocolVersion {
        self.shared.version
    }

    /// Returns whether nodes send requests to targets of other zones.
    #[must_use]
    pub fn cross_zone(&self) -> CrossZone {
        self.shared.cross_zone
    }

    /// Returns the group as the node of a zone sees it: without the targets of other zones if
    /// [`CrossZone::Off`] is set, and the same group otherwise.
    #[must_use]
    pub fn in_zone(&self, zone: &str) -> Self {
        let zone = (self.shared.cross_zone == CrossZone::Off).then(|| zone.into());
        Self { zone, ..self.clone() }
    }

    /// Sets the idle timeout of the exchanges that begin from now on.
    pub(in crate::alb) fn set_idle_timeout(&self, timeout: Duration) {
        self.shared.idle_limit.set(timeout);
    }

    /// Permits a target to have `permits` requests in flight, as the response header
    /// [`endpoint-permits`](crate::http::PERMITS) does: what a target grants over a channel of its
    /// own. Returns false if there is no such target. Has no effect unless
    /// [`target_permits`](TargetGroupBuilder::target_permits) is set.
    pub fn grant(&self, id: &str, permits: u32) -> bool {
        self.balancer.report(id, &LoadReport::new().with_permits(permits))
    }

    /// Returns the health of all targets, as `DescribeTargetHealth` does.
    #[must_use]
    pub fn health(&self) -> Vec<TargetHealth> {
        let status = self.balancer.status();
        let checks = self.shared.checks.as_ref().map(CheckFigures::status);
        let anomalies = self.shared.anomalies.as_ref().map(AnomalyFigures::status);
        // Maps by name: a search for each target would take quadratic time.
        let checked: Option<HashMap<&str, _>> = checks
            .as_ref()
            .map(|checks| checks.endpoints.iter().map(|check| (&*check.endpoint, check)).collect());
        let compared: HashMap<&str, _> = anomalies
            .iter()
            .flat_map(|anomalies| &anomalies.endpoints)
            .map(|anomaly| (&*anomaly.endpoint, anomaly))
            .collect();
        let known = status.endpoints.iter().map(|target| {
            let check = checked.as_ref().and_then(|checked| checked.get(&*target.name).copied());
            TargetHealth::of(target, check, compared.get(&*target.name).copied())
        });
        let mut health: Vec<_> = known.collect();
        let known: HashSet<&str> = status.endpoints.iter().map(|target| &*target.name).collect();
        for target in self.shared.targets.list() {
            if !known.contains(&*target.id()) {
                health.push(TargetHealth::registering(&target));
            }
        }
        health
    }

    /// Returns the health of one target, also if it is not registered.
    #[must_use]
    pub fn health_of(&self, id: &str) -> TargetHealth {
        let found = self.health().into_iter().find(|target| *target.id == *id);
        found.unwrap_or_else(|| TargetHealth::not_registered(id))
    }

    /// Returns the health of the group over all zones.
    #[must_use]
    pub fn group_health(&self) -> GroupHealth {
        self.shared.thresholds.state_of(self.balancer.status().endpoints.iter())
    }

    /// Returns the health of the group's targets in one zone, with those that have none.
    #[must_use]
    pub fn zone_health(&self, zone: &str) -> GroupHealth {
        let status = self.balancer.status();
        let in_zone = status.endpoints.iter().filter(|target| {
            target.attributes.locality().is_none_or(|locality| locality.zone() == zone)
        });
        self.shared.thresholds.state_of(in_zone)
    }

    /// Returns the handle that takes zones out of the group, and puts them back.
    #[must_use]
    pub fn zonal_shift(&self) -> &ZonalShiftHandle {
        &self.shared.shift
    }

    /// Returns all targets with their figures.
    #[must_use]
    pub fn status(&self) -> Status {
        self.balancer.status()
    }

    /// Returns the latest changes, up to 64, the oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.balancer.events()
    }

    /// Returns a handle that reads status and events and does not keep the group alive.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        self.balancer.monitor()
    }

    /// Returns the figures of health checks; `None` if targets are not checked.
    #[must_use]
    pub fn checks(&self) -> Option<&CheckFigures> {
        self.shared.checks.as_ref()
    }

    /// Returns the figures of anomaly detection; `None` for a function.
    #[must_use]
    pub fn anomalies(&self) -> Option<&AnomalyFigures> {
        self.shared.anomalies.as_ref()
    }

    /// Returns the pool of connections to targets.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.shared.pool
    }
}

impl<B> Service<Request<B>> for TargetGroup<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<TargetBody>;
    type Error = BoxError;
    type Future = TargetGroupFuture<B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.balancer.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> TargetGroupFuture<B> {
        if let Err(incompatible) = self.shared.version.check(&request) {
            return TargetGroupFuture { state: State::Refused { incompatible } };
        }
        if let Some(zone) = &self.zone {
            request.extensions_mut().insert(NodeZone(Arc::clone(zone)));
        }
        TargetGroupFuture { state: State::Sent { response: self.balancer.call(request) } }
    }
}

pin_project! {
    /// The response future of a [`TargetGroup`].
    ///
    /// # Panics
    ///
    /// Panics if it is polled after it has completed.
    pub struct TargetGroupFuture<B>
    where
        B: Body,
        B: Send,
        B: Unpin,
        B: 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<B>
    where
        B: Body,
        B: Send,
        B: Unpin,
        B: 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        Refused { incompatible: IncompatibleVersion },
        Sent {
            #[pin]
            response: ResponseFuture<TargetService<B>, Dynamic<Request<B>>, GroupTracker, Request<B>>,
        },
        Done,
    }
}

impl<B> Future for TargetGroupFuture<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Output = Result<Response<TargetBody>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        let result = match state.as_mut().project() {
            StateProjection::Sent { response } => ready!(response.poll(cx)).map_err(Into::into),
            StateProjection::Refused { incompatible } => Err((*incompatible).into()),
            StateProjection::Done => polled_after_completion("TargetGroupFuture"),
        };
        state.set(State::Done);
        Poll::Ready(result)
    }
}

impl<B> Clone for TargetGroup<B> {
    fn clone(&self) -> Self {
        Self {
            balancer: self.balancer.clone(),
            shared: Arc::clone(&self.shared),
            zone: self.zone.clone(),
        }
    }
}

impl<B> fmt::Debug for TargetGroup<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetGroup")
            .field("shared", &self.shared)
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for TargetGroupFuture<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetGroupFuture").finish_non_exhaustive()
    }
}
