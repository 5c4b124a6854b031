use std::{fmt, sync::Arc, time::Duration};

use tower_service::Service;

use super::{
    Algorithm, CrossZone, GroupHealthThresholds, HealthChecks, Protocol, ProtocolVersion,
    Stickiness, Target,
    function::ErasedFunction,
    health_checks::{Kind, Ranges},
    target_service::TargetAddress,
};
use crate::{
    BoxError, ConfigError, ParseError,
    discover::{Discover, DiscoverExt, Erased},
    health::OutlierDetection,
    http::{Origin, Tls},
    lambda::{FunctionResponse, Invocation},
};

/// Configures a [`TargetGroup`](super::TargetGroup).
///
/// The settings have the ranges of the ALB, and combinations that the ALB excludes are errors; see
/// [`unrestricted`](Self::unrestricted) for the ranges.
///
/// | not together | why |
/// |---|---|
/// | slow start, and an algorithm other than round robin | the weight of a new target has no part in least outstanding requests, and weighted random sets it by itself |
/// | stickiness, and cross-zone off | a session would leave its zone with its client |
/// | a function, and settings of targets | there is one function, and the service scales it |
/// | settings of TLS, and `Protocol::Http` | they would have no effect |
pub struct TargetGroupBuilder<B> {
    pub(super) name: Arc<str>,
    pub(super) protocol: Protocol,
    pub(super) version: ProtocolVersion,
    pub(super) tls: TargetTls,
    pub(super) server_name: Option<String>,
    pub(super) targets: Vec<Target>,
    pub(super) sources: Vec<Erased<Arc<str>, TargetAddress>>,
    pub(super) function: Option<Function>,
    pub(super) algorithm: Algorithm<B>,
    pub(super) checks: HealthChecks,
    pub(super) outlier_detection: Option<OutlierDetection>,
    pub(super) slow_start: Duration,
    pub(super) deregistration_delay: Option<Duration>,
    pub(super) stickiness: Option<Stickiness>,
    pub(super) thresholds: GroupHealthThresholds,
    pub(super) cross_zone: CrossZone,
    pub(super) permits: Option<u32>,
    pub(super) idle_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) max_wait: Duration,
    pub(super) measure_durations: bool,
    pub(super) anomaly_interval: Option<Duration>,
    pub(super) ranges: Ranges,
    pub(super) seed: Option<u64>,
}

/// How certificates of targets are verified.
#[derive(Debug, Default)]
pub(super) enum TargetTls {
    /// By what the platform trusts.
    #[default]
    Platform,
    Configured(Tls),
    Unverified,
}

/// The one target of a group of type `lambda`.
pub(super) struct Function {
    pub(super) arn: Box<str>,
    pub(super) service: ErasedFunction,
    pub(super) multi_value: bool,
}

impl<B: 'static> TargetGroupBuilder<B> {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            protocol: Protocol::default(),
            version: ProtocolVersion::default(),
            tls: TargetTls::default(),
            server_name: None,
            targets: Vec::new(),
            sources: Vec::new(),
            function: None,
            algorithm: Algorithm::RoundRobin,
            checks: HealthChecks::new(),
            outlier_detection: None,
            slow_start: Duration::ZERO,
            deregistration_delay: None,
            stickiness: None,
            thresholds: GroupHealthThresholds::new(),
            cross_zone: CrossZone::default(),
            permits: None,
            idle_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            max_wait: Duration::ZERO,
            measure_durations: false,
            anomaly_interval: None,
            ranges: Ranges::default(),
            seed: None,
        }
    }

    setters! {
        /// Sets whether connections to targets are secured. Default [`Protocol::Http`].
        pub fn protocol(protocol: Protocol) => protocol = protocol;
        /// Sets the version of HTTP that targets speak. Default [`ProtocolVersion::Http1`].
        pub fn protocol_version(version: ProtocolVersion) => version = version;
        /// Sets how certificates of targets are verified. Default: by what the platform trusts, for
        /// the address of the target.
        pub fn tls(tls: Tls) => tls = TargetTls::Configured(tls);
        /// Sets the host name in the certificates of all targets. Default: their addresses.
        pub fn server_name(name: impl Into<String>) => server_name = Some(name.into());
        /// Sets the algorithm. Default [`Algorithm::RoundRobin`].
        pub fn algorithm(algorithm: Algorithm<B>) => algorithm = algorithm;
        /// Sets how targets are checked. Default [`HealthChecks::new`].
        pub fn health_checks(checks: HealthChecks) => checks = checks;
        /// Raises the share of new targets in a straight line during this time:
        /// `slow_start.duration_seconds`. Default 0, which is off; from 30 to 900 s.
        ///
        /// The first targets of an empty group start with their whole share. Where this differs: so
        /// does a target that arrives before another one has served for the whole time. The ALB
        /// asks for another one that is not in slow start, however young it is.
        pub fn slow_start(duration: Duration) => slow_start = duration;
        /// Limits the time in which a deregistered target may finish its requests:
        /// `deregistration_delay.timeout_seconds`. Default 300 s; from 0 to 3600 s.
        ///
        /// Where this differs: requests that take longer may still finish, but the target is gone
        /// from the status. The ALB cuts them off with status 502.
        pub fn deregistration_delay(delay: Duration) => deregistration_delay = Some(delay);
        /// Keeps the requests of a client at one target. Default off.
        pub fn stickiness(stickiness: Stickiness) => stickiness = Some(stickiness);
        /// Sets when the group counts as unhealthy. Default [`GroupHealthThresholds::new`].
        pub fn group_health(thresholds: GroupHealthThresholds) => thresholds = thresholds;
        /// Sets whether nodes send requests to targets of other zones. Default [`CrossZone::On`].
        pub fn cross_zone(cross_zone: CrossZone) => cross_zone = cross_zone;
        /// Lets each target permit how many requests it gets at a time, and permits `initial` until
        /// it does: the target optimizer. Default off. See
        /// [`PermitLimited`](crate::health::PermitLimited).
        pub fn target_permits(initial: u32) => permits = Some(initial);
        /// Limits the time in which a target, or a function, takes no part in an exchange, which
        /// then fails with status 504: `idle_timeout.timeout_seconds` of the load balancer. Default
        /// 60 s; from 1 to 4000 s.
        pub fn idle_timeout(timeout: Duration) => idle_timeout = timeout;
        /// Limits the time to open a connection to a target. Default 10 s, as at the ALB.
        pub fn connect_timeout(timeout: Duration) => connect_timeout = timeout;
        /// Sets how long a request waits while no target could take it. Default 0: it fails at
        /// once, as at the ALB.
        pub fn max_wait(time: Duration) => max_wait = time;
        /// Sets whether the status has the distributions of response times. Default false.
        pub fn measure_durations(measure: bool) => measure_durations = measure;
        /// Ejects targets whose requests fail, besides the checks. The ALB has nothing like it.
        /// Default off.
        pub fn outlier_detection(detection: OutlierDetection)
            => outlier_detection = Some(detection);
        /// Sets how often targets are compared for anomalies. Default that of
        /// [`AnomalyDetection`](crate::health::AnomalyDetection).
        pub fn anomaly_interval(interval: Duration) => anomaly_interval = Some(interval);
        /// Makes picks repeatable.
        pub fn seed(seed: u64) => seed = Some(seed);
    }

    /// Accepts any certificate of a target, as the ALB does. Default: it is verified.
    #[must_use]
    pub fn unverified_tls(mut self) -> Self {
        self.tls = TargetTls::Unverified;
        self
    }

    /// Accepts times and numbers outside of the ALB's ranges, such as health checks each second.
    /// Default: they are errors.
    #[must_use]
    pub fn unrestricted(mut self) -> Self {
        self.ranges = Ranges::Any;
        self
    }

    /// Registers a target.
    #[must_use]
    pub fn target(mut self, target: impl Into<Target>) -> Self {
        self.targets.push(target.into());
        self
    }

    /// Registers targets.
    #[must_use]
    pub fn targets<T: Into<Target>>(mut self, targets: impl IntoIterator<Item = T>) -> Self {
        self.targets.extend(targets.into_iter().map(Into::into));
        self
    }

    /// Adds the endpoints of a discovery stream, such as DNS or a file, besides those that are
    /// registered. The scheme of their origins is replaced by the group's protocol.
    #[must_use]
    pub fn discover<D>(mut self, source: D) -> Self
    where
        D: Discover + Send + 'static,
        D::Key: fmt::Display + Send + 'static,
        D::Target: Into<Origin> + Send + 'static,
        D::Error: Into<BoxError>,
    {
        let address = |target: D::Target| TargetAddress::Http(target.into());
        let source = source.map_endpoints(move |_, endpoint| endpoint.map(address));
        self.sources.push(source.map_keys(|key| Arc::from(key.to_string())).erase());
        self
    }

    /// Makes it a group of type `lambda`, with one function: a
    /// [`Function`](crate::lambda::Function), a balancer of functions, or layers around one. `arn`
    /// is that of the target group, which events contain.
    #[must_use]
    pub fn function<S>(mut self, arn: impl Into<Box<str>>, service: S) -> Self
    where
        S: Service<
                Invocation,
                Response: Into<FunctionResponse>,
                Error: Into<BoxError>,
                Future: Send,
            > + Clone
            + Send
            + Sync
            + 'static,
    {
        let multi_value = self.function.is_some_and(|function| function.multi_value);
        let service = ErasedFunction::new(service);
        self.function = Some(Function { arn: arn.into(), service, multi_value });
        self
    }

    /// Sets whether events have all values of a header and a parameter:
    /// `lambda.multi_value_headers.enabled`. Default false. Needs
    /// [`function`](Self::function) before it.
    #[must_use]
    pub fn multi_value_headers(mut self, enabled: bool) -> Self {
        if let Some(function) = &mut self.function {
            function.multi_value = enabled;
        }
        self
    }

    pub(super) fn kind(&self) -> Kind {
        match self.function {
            Some(_) => Kind::Function,
            None => Kind::Http(self.version),
        }
    }

    /// Fails if a setting is out of range, or if two exclude each other.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let excluded =
            |field: &'static str, expected: &'static str| Err(ConfigError::new(field, expected));
        if self.function.is_some() {
            self.validate_function()?;
        }
        self.validate_times()?;
        self.thresholds.validate()?;
        if !self.slow_start.is_zero()
            && !matches!(self.algorithm, Algorithm::RoundRobin | Algorithm::Other(_))
        {
            let expected = "round robin, because slow start and this algorithm exclude each other";
            return Err(ConfigError::new("algorithm", expected).with_value(self.algorithm.name()));
        }
        if self.stickiness.is_some() && self.cross_zone == CrossZone::Off {
            return excluded(
                "stickiness",
                "`cross_zone` to be on: a session may be in another zone",
            );
        }
        match (self.protocol, &self.tls, &self.server_name) {
            (Protocol::Https, TargetTls::Unverified, Some(_)) => {
                excluded("server_name", "certificates that are verified")
            }
            (Protocol::Http, TargetTls::Platform, None) | (Protocol::Https, ..) => Ok(()),
            (Protocol::Http, TargetTls::Configured(_) | TargetTls::Unverified, None)
                if self.checks.protocol == Some(Protocol::Https) =>
            {
                Ok(())
            }
            (Protocol::Http, TargetTls::Configured(_) | TargetTls::Unverified, _) => {
                excluded("tls", "`protocol` to be HTTPS")
            }
            (Protocol::Http, TargetTls::Platform, Some(_)) => {
                excluded("server_name", "`protocol` to be HTTPS")
            }
        }
    }

    fn validate_times(&self) -> Result<(), ConfigError> {
        ConfigError::if_zero_time("idle_timeout", self.idle_timeout)?;
        ConfigError::if_zero_time("connect_timeout", self.connect_timeout)?;
        if self.ranges == Ranges::Any {
            return Ok(());
        }
        ConfigError::unless_seconds("idle_timeout", self.idle_timeout, 1..=4000)?;
        ConfigError::unless_seconds("deregistration_delay", self.drain_limit(), 0..=3600)?;
        if !self.slow_start.is_zero() {
            ConfigError::unless_seconds("slow_start", self.slow_start, 30..=900)?;
        }
        Ok(())
    }

    fn validate_function(&self) -> Result<(), ConfigError> {
        let settings = [
            ("targets", !self.targets.is_empty()),
            ("discover", !self.sources.is_empty()),
            ("protocol", self.protocol != Protocol::Http),
            ("protocol_version", self.version != ProtocolVersion::Http1),
            ("algorithm", !matches!(self.algorithm, Algorithm::RoundRobin)),
            ("outlier_detection", self.outlier_detection.is_some()),
            ("slow_start", !self.slow_start.is_zero()),
            ("deregistration_delay", self.deregistration_delay.is_some()),
            ("stickiness", self.stickiness.is_some()),
            ("group_health", self.thresholds != GroupHealthThresholds::new()),
            ("cross_zone", self.cross_zone != CrossZone::On),
            ("target_permits", self.permits.is_some()),
        ];
        match settings.into_iter().find(|&(_, is_set)| is_set) {
            Some((field, _)) => {
                Err(ConfigError::new(field, "not to be set: the group has a function"))
            }
            None => Ok(()),
        }
    }

    pub(super) fn drain_limit(&self) -> Duration {
        self.deregistration_delay.unwrap_or(Duration::from_secs(300))
    }

    /// Returns the name in the certificates of targets, as an origin.
    pub(super) fn server_origin(&self) -> Result<Option<Origin>, ConfigError> {
        let Some(name) = &self.server_name else { return Ok(None) };
        let invalid =
            |_: ParseError| ConfigError::new("server_name", "a host name").with_value(name);
        format!("https://{name}").parse().map(Some).map_err(invalid)
    }
}

impl<B: 'static> fmt::Debug for TargetGroupBuilder<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetGroupBuilder")
            .field("name", &self.name)
            .field("algorithm", &self.algorithm)
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}
