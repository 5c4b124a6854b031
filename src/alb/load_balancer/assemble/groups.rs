use std::{collections::BTreeMap, time::Duration};

use hyper::body::Incoming;
use tower_layer::Layer;

use crate::{
    ConfigError,
    alb::{
        config::{self, BoundTarget, Checked, Problem},
        load_balancer::{function::AnyInvoke, resources::Resources},
        target_group::{
            Algorithm, CrossZone, GroupHealthThresholds, HealthChecks, Protocol, ProtocolVersion,
            Stickiness, Target, TargetGroup, TargetGroupBuilder, TargetGroupDriver,
        },
    },
    health::{FailureShare, LatencyOutliers, OutlierDetection, Stalls, SuccessRate},
    hedge::Delay,
    http::{ReplayBody, ReplayLayer, RequestBody, ResilienceLayer, Resilient, Tls},
    lambda::{Function, FunctionName},
    retry::{Backoff, Budget},
};

/// The request body that reaches a target group: that of the client, as the proxy and the retries
/// pass it on.
pub(in crate::alb::load_balancer) type GroupBody = ReplayBody<RequestBody<Incoming>>;

/// A target group behind its retries.
pub(in crate::alb::load_balancer) type GroupService = Resilient<TargetGroup<GroupBody>>;

/// A target group that runs.
#[derive(Clone, Debug)]
pub(in crate::alb::load_balancer) struct Group {
    pub(in crate::alb::load_balancer) settings: GroupSettings,
    pub(in crate::alb::load_balancer) group: TargetGroup<GroupBody>,
    pub(in crate::alb::load_balancer) retries: RetrySettings,
    pub(in crate::alb::load_balancer) resilience: ResilienceLayer,
}

/// The settings that a group cannot change while it serves. A group that is built anew has to learn
/// which of its targets are healthy, so what it can change is not among them: its targets, its
/// retries, the idle timeout.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::alb::load_balancer) struct GroupSettings {
    group: config::TargetGroup,
    connect_timeout: Duration,
    outlier_detection: Option<config::OutlierDetectionConfig>,
    cross_zone: bool,
    /// Where the function is. `None`: the program supplies it.
    function: Option<config::FunctionBinding>,
    secure_cookies: bool,
}

impl GroupSettings {
    pub(in crate::alb::load_balancer) fn of(group: &config::TargetGroup, config: &Checked) -> Self {
        let resilience = config.resilience_of(group);
        let is_https =
            |listener: &config::Listener| listener.protocol == config::ListenerProtocol::Https;
        let mut settings = Self {
            group: group.clone(),
            connect_timeout: resilience.timeouts.connect.into(),
            outlier_detection: resilience.outlier_detection.clone(),
            cross_zone: match group.attributes.cross_zone {
                config::CrossZoneMode::On => true,
                config::CrossZoneMode::Off => false,
                config::CrossZoneMode::Inherit => config.load_balancer.attributes.cross_zone,
            },
            function: config.bound_function(group).cloned(),
            // Browsers do not send a secure cookie over plain HTTP.
            secure_cookies: group.attributes.stickiness.is_some()
                && config.listeners.iter().all(is_https),
        };
        // What is above, or what no group is built of.
        settings.group.resilience = None;
        settings.group.attributes.cross_zone = config::CrossZoneMode::Inherit;
        if group.kind == config::TargetKind::Lambda {
            // A function has neither connections nor zones, and is not ejected.
            settings.connect_timeout = Duration::ZERO;
            settings.outlier_detection = None;
            settings.cross_zone = true;
        } else {
            settings.group.targets.clear();
            settings.group.port = None;
            settings.group.arn = None;
        }
        settings
    }
}

/// The settings of the retries in front of a group.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::alb::load_balancer) struct RetrySettings {
    retries: Option<config::Retries>,
    hedge: Option<config::Time>,
    budget: config::BudgetConfig,
}

impl RetrySettings {
    pub(in crate::alb::load_balancer) fn of(group: &config::TargetGroup, config: &Checked) -> Self {
        let config::Resilience { retries, hedge, budget, .. } = config.resilience_of(group).clone();
        Self { retries, hedge, budget }
    }
}

impl Group {
    /// Returns the group behind other retries, which have a budget and counts of their own.
    pub(in crate::alb::load_balancer) fn with_retries(
        self,
        retries: RetrySettings,
    ) -> Result<Self, Problem> {
        if self.retries == retries {
            return Ok(self);
        }
        let name = &self.settings.group.name;
        let resilience = resilience(name, &retries).map_err(|error| invalid(name, &error))?;
        Ok(Self { retries, resilience, ..self })
    }

    /// Takes a zone out of the group, and brings all others back.
    pub(in crate::alb::load_balancer) fn shift(&self, zone: Option<&str>) {
        let shift = self.group.zonal_shift();
        for other in shift.zones().iter().filter(|shifted| zone != Some(shifted.as_str())) {
            shift.restore(other, Duration::ZERO);
        }
        if let Some(zone) = zone {
            shift.shift_away(zone);
        }
    }

    /// Returns whether a zone has enough healthy targets of the group for DNS.
    pub(in crate::alb::load_balancer) fn is_in_dns(&self, zone: &str) -> bool {
        if self.settings.group.kind == config::TargetKind::Lambda {
            return true;
        }
        let health = match self.group.cross_zone() {
            CrossZone::On => self.group.group_health(),
            CrossZone::Off => self.group.zone_health(zone),
        };
        health.is_in_dns || self.group.targets().list().is_empty()
    }

    /// Returns the service of the group for the node of a zone.
    pub(in crate::alb::load_balancer) fn service(&self, zone: Option<&str>) -> GroupService {
        let group = zone.map_or_else(|| self.group.clone(), |zone| self.group.in_zone(zone));
        self.resilience.layer(group)
    }
}

/// Returns the targets of a group that have addresses, with their zones.
pub(in crate::alb::load_balancer) fn targets_of(
    group: &config::TargetGroup,
    config: &Checked,
) -> Result<Vec<Target>, Problem> {
    let target = |BoundTarget { address, zone }: BoundTarget| {
        zone.into_iter().fold(Target::new(address), |target, zone| target.in_zone(zone))
    };
    Ok(config.bound_targets(group)?.into_iter().map(target).collect())
}

/// Makes a target group without targets, and the driver that has to be polled.
pub(in crate::alb::load_balancer) fn assemble_group(
    settings: GroupSettings,
    retries: RetrySettings,
    idle_timeout: Duration,
    resources: &Resources,
) -> Result<(Group, TargetGroupDriver), Problem> {
    let name = &settings.group.name;
    let invalid = |error: ConfigError| invalid(name, &error);
    let builder = match settings.group.kind {
        config::TargetKind::Lambda => function_group(&settings, &resources.functions)?,
        _ => target_group(&settings, resources).map_err(invalid)?,
    };
    let builder = builder.idle_timeout(idle_timeout).unrestricted();
    let (group, driver) = builder.build().map_err(invalid)?;
    let resilience = resilience(name, &retries).map_err(invalid)?;
    Ok((Group { settings, group, retries, resilience }, driver))
}

fn invalid(group: &str, error: &ConfigError) -> Problem {
    Problem::from_config_error(&format!("target_groups.{group}"), error)
}

fn function_group(
    settings: &GroupSettings,
    functions: &BTreeMap<String, AnyInvoke>,
) -> Result<TargetGroupBuilder<GroupBody>, Problem> {
    let config = &settings.group;
    let invalid = |expected: &'static str, value: &str| {
        invalid(&config.name, &ConfigError::new("targets", expected).with_value(value))
    };
    let [target] = &*config.targets else {
        return Err(invalid("the ARN of one function", &config.targets.len().to_string()));
    };
    let name: FunctionName =
        target.id.parse().map_err(|_| invalid("the ARN of a function", &target.id))?;
    let supplied = |names: &[&str]| {
        let found = names.iter().find_map(|name| functions.get(*name));
        let problem = || invalid("a function that the program or a binding supplies", &target.id);
        found.cloned().ok_or_else(problem)
    };
    let invoke = match &settings.function {
        Some(config::FunctionBinding::Endpoint(url)) => {
            let url = url.parse().map_err(|_| invalid("the URL of an Invoke API", url))?;
            AnyInvoke::unsigned(url)
        }
        Some(config::FunctionBinding::Program(program)) => supplied(&[program])?,
        None => supplied(&[&target.id, name.name()])?,
    };
    let arn = config.arn.clone().unwrap_or_else(|| config.name.clone());
    let function = Function::new(invoke, name);
    Ok(TargetGroup::builder(config.name.as_str())
        .function(arn, function)
        .multi_value_headers(config.attributes.multi_value_headers)
        .health_checks(health_checks(config)))
}

fn target_group(
    settings: &GroupSettings,
    resources: &Resources,
) -> Result<TargetGroupBuilder<GroupBody>, ConfigError> {
    let config = &settings.group;
    let attributes = &config.attributes;
    let mut builder = TargetGroup::builder(config.name.as_str())
        .protocol(protocol(config.protocol))
        .protocol_version(match config.version {
            config::TargetVersion::Http1 => ProtocolVersion::Http1,
            config::TargetVersion::Http2 => ProtocolVersion::Http2,
            config::TargetVersion::Grpc => ProtocolVersion::Grpc,
        })
        .algorithm(algorithm(config)?)
        .health_checks(health_checks(config))
        .slow_start(attributes.slow_start.into())
        .deregistration_delay(attributes.deregistration_delay.into())
        .group_health(thresholds(attributes))
        .cross_zone(if settings.cross_zone { CrossZone::On } else { CrossZone::Off })
        .connect_timeout(settings.connect_timeout);
    let check = config.effective_health_check();
    if [config.protocol, check.protocol].contains(&config::TargetProtocol::Https) {
        // As at the ALB, whose targets have certificates of their own.
        let tls = Tls::builder().without_verification();
        let provider = resources.crypto_provider.clone();
        let tls = provider.into_iter().fold(tls, |tls, provider| tls.crypto_provider(provider));
        builder = builder.tls(tls.build()?);
    }
    if let Some(stickiness) = &attributes.stickiness {
        let key = resources.keys.session.clone();
        let sticky = match stickiness {
            config::Stickiness::LbCookie { .. } => Stickiness::load_balancer_cookie(key),
            config::Stickiness::AppCookie { cookie, .. } => {
                Stickiness::application_cookie(key, cookie)
            }
        };
        let sticky = sticky.duration(stickiness.duration().into());
        builder = builder.stickiness(sticky.secure(settings.secure_cookies));
    }
    if let Some(outliers) = &settings.outlier_detection {
        builder = builder.outlier_detection(outlier_detection(outliers));
    }
    Ok(builder)
}

fn protocol(protocol: config::TargetProtocol) -> Protocol {
    match protocol {
        config::TargetProtocol::Http => Protocol::Http,
        config::TargetProtocol::Https => Protocol::Https,
    }
}

fn algorithm(config: &config::TargetGroup) -> Result<Algorithm<GroupBody>, ConfigError> {
    if let Some(strategy) = &config.strategy {
        return strategy.build().map(Algorithm::Other).map_err(|error| error.within("strategy"));
    }
    Ok(match config.attributes.algorithm {
        config::Algorithm::RoundRobin => Algorithm::RoundRobin,
        config::Algorithm::LeastOutstandingRequests => Algorithm::LeastOutstandingRequests,
        config::Algorithm::WeightedRandom if config.attributes.anomaly_mitigation => {
            Algorithm::WeightedRandomWithAnomalyMitigation
        }
        config::Algorithm::WeightedRandom => Algorithm::WeightedRandom,
    })
}

fn health_checks(config: &config::TargetGroup) -> HealthChecks {
    let check = config.effective_health_check();
    let matcher: Vec<_> = check
        .matcher
        .iter()
        .map(|range| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        })
        .collect();
    let checks = HealthChecks::new()
        .enabled(check.enabled)
        .path(check.path)
        .interval(check.interval.into())
        .timeout(check.timeout.into())
        .healthy_threshold(check.healthy_threshold)
        .unhealthy_threshold(check.unhealthy_threshold)
        .matcher(matcher.join(","));
    if config.kind == config::TargetKind::Lambda {
        return checks;
    }
    let checks = checks.protocol(protocol(check.protocol));
    check.port.into_iter().fold(checks, HealthChecks::port)
}

fn thresholds(attributes: &config::TargetGroupAttributes) -> GroupHealthThresholds {
    let config::HealthThresholds { count, percentage } = attributes.dns_failover;
    let targets = |threshold: config::Threshold| threshold.number() as usize;
    let mut thresholds = GroupHealthThresholds::new()
        .routing_count(targets(attributes.fail_open.count))
        .dns_count(Some(targets(count)).filter(|&targets| targets > 0));
    if attributes.fail_open.percentage != config::Threshold::Off {
        thresholds = thresholds.routing_percentage(attributes.fail_open.percentage.number());
    }
    if percentage != config::Threshold::Off {
        thresholds = thresholds.dns_percentage(percentage.number());
    }
    thresholds
}

fn outlier_detection(config: &config::OutlierDetectionConfig) -> OutlierDetection {
    let consecutive = |number: u32| Some(number).filter(|&number| number > 0);
    OutlierDetection::new()
        .interval(config.interval.into())
        .failed_responses(consecutive(config.failed_responses))
        .unanswered_requests(consecutive(config.unanswered_requests))
        .success_rate(config.success_rate.then(SuccessRate::default))
        .failure_share(config.failure_share.then(FailureShare::default))
        .latency(config.latency.then(LatencyOutliers::default))
        .stalls(config.stalls.then(Stalls::default))
        .ejection_time(config.ejection_time.into(), config.max_ejection_time.into())
        .max_ejected(1, config.max_ejected_percent)
}

fn resilience(name: &str, settings: &RetrySettings) -> Result<ResilienceLayer, ConfigError> {
    let RetrySettings { retries, hedge, budget } = settings;
    let within = |field: &'static str| move |error: ConfigError| error.within(field);
    let budget = Budget::builder()
        .name(name)
        .share(budget.share)
        .floor(budget.floor)
        .window(budget.window.into())
        .build()
        .map_err(within("resilience.budget"))?;
    let mut builder = ResilienceLayer::builder().name(name).budget(budget);
    builder = match retries {
        Some(retries) => {
            let cap = usize::try_from(retries.max_body_bytes).unwrap_or(usize::MAX);
            let builder = builder
                .attempts(retries.attempts)
                .overall(retries.overall.into())
                .replay(ReplayLayer::new().cap(cap));
            match retries.backoff {
                Some(backoff) => {
                    builder.backoff(Backoff::full(backoff.base.into(), backoff.max.into()))
                }
                None => builder,
            }
        }
        // Without retries no request is kept, and only the targets' own limits of time hold.
        None => builder.attempts(1).overall(Duration::MAX).replay(ReplayLayer::new().cap(0)),
    };
    if let Some(delay) = *hedge {
        builder = builder.hedge(Delay::fixed(delay.into()));
    }
    builder.build().map_err(within("resilience.retries"))
}
