use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures::future::BoxFuture;
use http::Request;
use http_body::Body;
use tokio::{runtime::Handle, task::unconstrained};

use super::{
    Algorithm, Protocol, ProtocolVersion, TargetGroup, TargetGroupBuilder, Targets,
    algorithm::{CrossZone, with_zone_labels},
    builder::TargetTls,
    health_checks::Kind,
    idle_limit::IdleLimit,
    service::{GroupBalancer, Shared},
    target_service::{Checks, Connector, TargetAddress, TargetService},
    tracker::{GroupTracker, ResponseClass},
};
use crate::{
    BoxError, ConfigError,
    balance::Builder,
    discover::{self, DiscoverExt, Erased},
    endpoint::Endpoint,
    health::{
        AnomalyDetection, AnomalyFigures, CheckFigures, Draining, HealthExt, Permits, SlowStart,
    },
    http::{Pool, Tls, UntilBodyEnd},
    lambda::{AlbEvent, HttpFunction},
    strategy::{Dynamic, ZonalShiftHandle},
};

/// The longest head of a response, in bytes, as at the ALB.
const MAX_RESPONSE_HEAD: usize = 32 << 10;

/// Keeps a [`TargetGroup`] up to date: checks targets, applies changes. Spawn it.
#[must_use = "a group learns of no target unless its driver is polled: spawn it"]
pub struct TargetGroupDriver(BoxFuture<'static, ()>);

impl TargetGroupDriver {
    /// Polls the driver once, so that the group knows its targets before it gets a request. Does
    /// nothing outside of a tokio runtime, where it could not start its timers.
    pub(in crate::alb) fn take_first_step(&mut self) {
        if Handle::try_current().is_ok() {
            // The task that polls the driver from then on replaces the waker.
            let first_step = pin!(unconstrained(self));
            let _ = first_step.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl Future for TargetGroupDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for TargetGroupDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TargetGroupDriver")
    }
}

/// The targets as the balancer gets them, and the figures of their stages.
struct Staged<B> {
    targets: Erased<Arc<str>, TargetService<B>>,
    checks: Option<CheckFigures>,
    anomalies: Option<AnomalyFigures>,
}

impl<B> TargetGroupBuilder<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// Builds the group and its driver.
    ///
    /// # Errors
    ///
    /// If a setting is out of range, if two exclude each other, or if `protocol` is HTTPS and there
    /// is no crypto provider of rustls.
    pub fn build(mut self) -> Result<(TargetGroup<B>, TargetGroupDriver), ConfigError> {
        self.validate()?;
        let (handle, registered) = discover::channel();
        let targets = Targets::new(handle);
        targets.replace(std::mem::take(&mut self.targets));
        let mut sources = vec![registered.erase()];
        if let Some(function) = &self.function {
            let key = Arc::from(&*function.arn);
            let target: Endpoint<TargetAddress> = TargetAddress::Function.into();
            sources = vec![discover::list([(key, target)]).erase()];
        }
        sources.append(&mut self.sources);
        let pool = self.pool()?;
        let idle_limit = IdleLimit::new(self.idle_timeout);
        let connector = self.connector(pool.clone(), idle_limit.clone())?;
        let Staged { targets: staged, checks, anomalies } = self.stage(sources, connector)?;
        let shift = ZonalShiftHandle::new();
        let (name, version, cross_zone) = (Arc::clone(&self.name), self.version, self.cross_zone);
        let thresholds = self.thresholds;
        let (balancer, driver) = self.balance(staged, &shift)?;
        let shared = Shared {
            name,
            version,
            cross_zone,
            thresholds,
            targets,
            checks,
            anomalies,
            pool,
            shift,
            idle_limit,
        };
        Ok((TargetGroup { balancer, shared: Arc::new(shared), zone: None }, driver))
    }

    /// Builds the group and spawns its driver on the current tokio runtime. The registered targets
    /// are known when it returns.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    ///
    /// # Panics
    ///
    /// Panics at the caller if it is called outside of a tokio runtime.
    #[track_caller]
    pub fn spawn(self) -> Result<TargetGroup<B>, ConfigError> {
        let (group, mut driver) = self.build()?;
        // The first poll applies what is registered. The task registers its own waker.
        if Pin::new(&mut driver).poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(driver);
        }
        Ok(group)
    }

    /// Returns the connections to targets.
    fn pool(&self) -> Result<Pool, ConfigError> {
        let pool = Pool::new()
            .name(format!("{} targets", self.name))
            .connect_timeout(self.connect_timeout)
            .max_response_head(MAX_RESPONSE_HEAD);
        let pool = match self.version {
            ProtocolVersion::Http1 => pool.http1(),
            ProtocolVersion::Http2 | ProtocolVersion::Grpc => pool.http2(),
        };
        let is_secured =
            self.protocol == Protocol::Https || self.checks.protocol == Some(Protocol::Https);
        if !is_secured {
            return Ok(pool);
        }
        let tls = match &self.tls {
            TargetTls::Configured(tls) => tls.clone(),
            TargetTls::Platform => Tls::builder().build().map_err(|error| error.within("tls"))?,
            TargetTls::Unverified => {
                let tls = Tls::builder().without_verification().build();
                tls.map_err(|error| error.within("tls"))?
            }
        };
        Ok(pool.tls(tls))
    }

    fn connector(&self, pool: Pool, idle_limit: IdleLimit) -> Result<Connector, ConfigError> {
        let function = self.function.as_ref().map(|function| {
            let event = AlbEvent::new(function.arn.clone());
            let event = if function.multi_value { event.multi_value() } else { event };
            HttpFunction::new(function.service.clone(), event)
        });
        Ok(Connector {
            https: self.protocol == Protocol::Https,
            server_name: self.server_origin()?,
            pool,
            idle_limit,
            function,
        })
    }

    /// Applies the stages: each one sees what the ones before it say about a target.
    fn stage(
        &self,
        sources: Vec<Erased<Arc<str>, TargetAddress>>,
        connector: Connector,
    ) -> Result<Staged<B>, ConfigError> {
        let by_zone = self.cross_zone == CrossZone::Off;
        let label = move |_: &Arc<str>, endpoint: Endpoint<TargetAddress>| {
            if by_zone { with_zone_labels(endpoint) } else { endpoint }
        };
        let connect = move |address: &TargetAddress| connector.connect(address);
        let targets = discover::merge(sources).map_endpoints(label).connect(connect).erase();
        let (targets, checks) = self.check(targets)?;
        let targets = match &self.outlier_detection {
            None => targets,
            Some(detection) => {
                targets.outlier_detected(detection.clone())?.named(&*self.name).erase()
            }
        };
        let targets = targets.drained(Draining::within(self.drain_limit().max(SOON)))?;
        let targets = match self.slow_start.is_zero() {
            true => targets.erase(),
            false => targets.slow_start(SlowStart::over(self.slow_start))?.erase(),
        };
        if self.kind() == Kind::Function {
            return Ok(Staged { targets, checks, anomalies: None });
        }
        let mitigate = matches!(self.algorithm, Algorithm::WeightedRandomWithAnomalyMitigation);
        let mut detection = AnomalyDetection::new().mitigate(mitigate);
        if let Some(interval) = self.anomaly_interval {
            detection = detection.interval(interval);
        }
        let targets = targets.anomaly_detected(detection)?.named(&*self.name);
        let anomalies = Some(targets.figures());
        let targets = match self.permits {
            None => targets.erase(),
            Some(initial) => targets.permit_limited(Permits::initially(initial))?.erase(),
        };
        Ok(Staged { targets, checks, anomalies })
    }

    fn check(
        &self,
        targets: Erased<Arc<str>, TargetService<B>>,
    ) -> Result<(Erased<Arc<str>, TargetService<B>>, Option<CheckFigures>), ConfigError> {
        let kind = self.kind();
        let checks = Checks {
            // A pool of its own, which keeps no connection.
            pool: self.pool()?.max_idle(0).name(format!("{} checks", self.name)),
            https: self.checks.protocol.map(|protocol| protocol == Protocol::Https),
            port: self.checks.port,
        };
        let checked = self.checks.build(kind, self.ranges, |check| {
            move |target: TargetService<B>| target.check(check.clone(), checks.clone())
        })?;
        if !self.checks.is_enabled(kind) {
            return Ok((targets, None));
        }
        let targets = targets.health_checked(checked)?.named(&*self.name);
        let figures = targets.figures();
        Ok((targets.erase(), Some(figures)))
    }

    fn balance(
        self,
        targets: Erased<Arc<str>, TargetService<B>>,
        shift: &ZonalShiftHandle,
    ) -> Result<(GroupBalancer<B>, TargetGroupDriver), ConfigError> {
        let tracker = UntilBodyEnd::new(ResponseClass::of(self.version));
        let strategy = self.algorithm.into_strategy(&self.thresholds, self.cross_zone, shift)?;
        let (strategy, tracker): (Dynamic<Request<B>>, _) = match &self.stickiness {
            None => (strategy, GroupTracker::Plain(tracker)),
            Some(stickiness) => {
                let sessions = stickiness.sessions(&self.name)?;
                let tracker = GroupTracker::Sticky(sessions.track(tracker));
                (Dynamic::new(sessions.stick(strategy)), tracker)
            }
        };
        let builder = Builder::http()
            .name(self.name)
            .fail_fast(self.max_wait)
            .measure_durations(self.measure_durations);
        let builder = match self.seed {
            Some(seed) => builder.seed(seed),
            None => builder,
        };
        let (balancer, driver) = builder.track(tracker).build(strategy, targets)?;
        Ok((balancer, TargetGroupDriver(Box::pin(driver))))
    }
}

/// The shortest time to drain, for a delay of 0.
const SOON: std::time::Duration = std::time::Duration::from_millis(1);
