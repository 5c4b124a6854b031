use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, header::USER_AGENT};
use http_body_util::Full;

use super::{
    function::ErasedFunction,
    protocol::{Protocol, ProtocolVersion},
};
use crate::{
    BoxError, ConfigError,
    health::{Check, GrpcCall, HealthCheck, HttpCheck, InitialState},
    http::Client,
    lambda::{AlbEvent, HttpFunction},
};

/// How targets are checked: `HealthCheck*` and `Matcher` of the ELBv2 API.
///
/// | setting | range | default | of a function |
/// |---|---|---|---|
/// | enabled | | yes | no |
/// | interval | 5 to 300 s | 30 s | 35 s |
/// | timeout | 2 to 120 s | 5 s | 30 s |
/// | healthy threshold | 2 to 10 | 5 | 5 |
/// | unhealthy threshold | 2 to 10 | 2 | 2 |
/// | path | 1 to 1024 bytes | `/`, of gRPC `/AWS.ALB/healthcheck` | `/` |
/// | matcher | 200 to 499, of gRPC 0 to 99 | `200`, of gRPC `12` | `200` |
/// | port | 1 to 65535 | that of the target | |
/// | protocol | | that of the group | |
///
/// A check is a `GET` from the user agent `ELB-HealthChecker/2.0` on a connection of its own. A new
/// target needs one passed check.
#[derive(Clone, Debug, Default)]
pub struct HealthChecks {
    enabled: Option<bool>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    healthy_threshold: Option<u32>,
    unhealthy_threshold: Option<u32>,
    path: Option<String>,
    matcher: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) protocol: Option<Protocol>,
}

impl HealthChecks {
    /// Uses the defaults of the table above.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Sets whether targets are checked: `HealthCheckEnabled`. Only a function may be
        /// unchecked.
        pub fn enabled(enabled: bool) => enabled = Some(enabled);
        /// Sets the time between checks of a target: `HealthCheckIntervalSeconds`.
        pub fn interval(interval: Duration) => interval = Some(interval);
        /// Fails a check that takes longer: `HealthCheckTimeoutSeconds`.
        pub fn timeout(timeout: Duration) => timeout = Some(timeout);
        /// Sets how many consecutive passes make an unhealthy target healthy:
        /// `HealthyThresholdCount`.
        pub fn healthy_threshold(checks: u32) => healthy_threshold = Some(checks);
        /// Sets how many consecutive failures make a target unhealthy: `UnhealthyThresholdCount`.
        pub fn unhealthy_threshold(checks: u32) => unhealthy_threshold = Some(checks);
        /// Sets the path, with its query if it has one: `HealthCheckPath`.
        pub fn path(path: impl Into<String>) => path = Some(path.into());
        /// Sets the statuses that pass, as a list of numbers and ranges: `200,202` or `200-299`.
        pub fn matcher(matcher: impl Into<String>) => matcher = Some(matcher.into());
        /// Sets the port of checks: `HealthCheckPort`.
        pub fn port(port: u16) => port = Some(port);
        /// Sets the protocol of checks: `HealthCheckProtocol`.
        pub fn protocol(protocol: Protocol) => protocol = Some(protocol);
    }
}

/// What a group's health checks depend on besides their own settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Http(ProtocolVersion),
    Function,
}

/// Whether values that the ALB does not offer are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ranges {
    #[default]
    OfTheAlb,
    Any,
}

/// The user agent of the ALB's checks.
const HEALTH_CHECKER: HeaderValue = HeaderValue::from_static("ELB-HealthChecker/2.0");
const MAX_PATH_BYTES: usize = 1024;

impl HealthChecks {
    pub(super) fn is_enabled(&self, kind: Kind) -> bool {
        self.enabled.unwrap_or(kind != Kind::Function)
    }

    /// Returns the check and its schedule; `check` turns one into the other type that the stage
    /// needs.
    pub(super) fn build<C>(
        &self,
        kind: Kind,
        ranges: Ranges,
        check: impl FnOnce(TargetCheck) -> C,
    ) -> Result<HealthCheck<C>, ConfigError> {
        let seconds = Duration::from_secs;
        let (interval, timeout) = match kind {
            Kind::Http(_) => (seconds(30), seconds(5)),
            Kind::Function => (seconds(35), seconds(30)),
        };
        let interval = self.interval.unwrap_or(interval);
        let timeout = self.timeout.unwrap_or(timeout);
        let (rise, fall) =
            (self.healthy_threshold.unwrap_or(5), self.unhealthy_threshold.unwrap_or(2));
        if !self.is_enabled(kind) && kind != Kind::Function {
            let expected = "true, unless the target is a function";
            return Err(ConfigError::new("health_checks.enabled", expected).with_value("false"));
        }
        if self.port == Some(0) {
            return Err(ConfigError::new("health_checks.port", "at least 1").with_value(0));
        }
        if ranges == Ranges::OfTheAlb {
            ConfigError::unless_seconds("health_checks.interval", interval, 5..=300)?;
            ConfigError::unless_seconds("health_checks.timeout", timeout, 2..=120)?;
            for (field, checks) in [("healthy_threshold", rise), ("unhealthy_threshold", fall)] {
                if !(2..=10).contains(&checks) {
                    let error = ConfigError::new(field, "a number from 2 to 10");
                    return Err(error.with_value(checks).within("health_checks"));
                }
            }
        }
        let check = HealthCheck::new(check(self.check(kind)?))
            .interval(interval)
            .changing_interval(interval)
            .idle_interval(interval)
            .timeout(timeout)
            .rise(rise)
            .fall(fall)
            .initial(InitialState::Down);
        Ok(check)
    }

    fn check(&self, kind: Kind) -> Result<TargetCheck, ConfigError> {
        let is_grpc = kind == Kind::Http(ProtocolVersion::Grpc);
        let (path, matcher, range) = match is_grpc {
            true => ("/AWS.ALB/healthcheck", "12", [0, 99]),
            false => ("/", "200", [200, 499]),
        };
        let path = self.path.as_deref().unwrap_or(path);
        let matcher = Matcher::parse(self.matcher.as_deref().unwrap_or(matcher), range)?;
        let invalid = |_| {
            let expected = "a path of at most 1024 bytes that starts with a slash";
            ConfigError::new("health_checks.path", expected).with_value(path)
        };
        if path.len() > MAX_PATH_BYTES {
            return Err(invalid(()));
        }
        Ok(if is_grpc {
            let call = GrpcCall::to(path).map_err(|_| invalid(()))?;
            let call = call.header(USER_AGENT, HEALTH_CHECKER);
            TargetCheck::Grpc(call.status(move |code| matcher.contains(code)))
        } else {
            let check = HttpCheck::get(path).map_err(|_| invalid(()))?;
            let check = check.header(USER_AGENT, HEALTH_CHECKER);
            TargetCheck::Http(check.status(move |status| matcher.contains(status.as_u16().into())))
        })
    }
}

/// The check of a group.
#[derive(Clone, Debug)]
pub(super) enum TargetCheck {
    Http(HttpCheck<Full<Bytes>>),
    Grpc(GrpcCall<Full<Bytes>>),
}

impl Check<Client<Full<Bytes>>> for TargetCheck {
    fn check(&self, client: Client<Full<Bytes>>) -> BoxFuture<'static, Result<(), BoxError>> {
        match self {
            Self::Http(check) => check.check(client),
            Self::Grpc(check) => check.check(client),
        }
    }
}

impl Check<HttpFunction<ErasedFunction, AlbEvent>> for TargetCheck {
    fn check(
        &self,
        function: HttpFunction<ErasedFunction, AlbEvent>,
    ) -> BoxFuture<'static, Result<(), BoxError>> {
        match self {
            Self::Http(check) => check.check(function),
            Self::Grpc(check) => check.check(function),
        }
    }
}

/// A list of numbers and ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Matcher(Arc<[[u32; 2]]>);

impl Matcher {
    fn parse(text: &str, [least, most]: [u32; 2]) -> Result<Self, ConfigError> {
        let invalid = || {
            let expected =
                format!("numbers from {least} to {most} and ranges, such as 200,202-299");
            ConfigError::new("health_checks.matcher", expected).with_value(text)
        };
        let number = |digits: &str| {
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number: Option<u32> = digits.parse().ok().filter(|_| is_number);
            number.filter(|number| (least..=most).contains(number)).ok_or_else(invalid)
        };
        let range = |item: &str| {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let range = [number(first.trim())?, number(last.trim())?];
            if range[0] <= range[1] { Ok(range) } else { Err(invalid()) }
        };
        Ok(Self(text.split(',').map(|item| range(item.trim())).collect::<Result<_, _>>()?))
    }

    fn contains(&self, number: u32) -> bool {
        self.0.iter().any(|[first, last]| (first..=last).contains(&&number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn matchers_are_numbers_and_ranges() {
        let parse = |text| Matcher::parse(text, [200, 499]);
        for (text, matched, others) in [
            ("200", &[200][..], &[201, 199][..]),
            ("200,202", &[200, 202], &[201]),
            ("200-299, 404", &[200, 250, 299, 404], &[300, 403]),
        ] {
            let matcher = parse(text).unwrap();
            assert!(matched.iter().all(|&status| matcher.contains(status)), "{text}");
            assert!(!others.iter().any(|&status| matcher.contains(status)), "{text}");
        }
        for text in ["", ",", "200,", "-", "200-", "299-200", "199", "500", "2x", "+200", "200 201"]
        {
            let error = parse(text).unwrap_err();
            assert_eq!((error.field(), error.value()), ("health_checks.matcher", Some(text)));
        }
    }

    #[test]
    fn settings_outside_of_the_ranges_are_rejected() {
        let seconds = Duration::from_secs;
        let (checks, http) = (HealthChecks::new, Kind::Http(ProtocolVersion::Http1));
        for (settings, text) in [
            (
                checks().interval(seconds(4)),
                "`health_checks.interval` is 4s: expected a time from 5",
            ),
            (checks().interval(seconds(301)), "`health_checks.interval` is 301s"),
            (checks().timeout(seconds(1)), "`health_checks.timeout` is 1s"),
            (checks().healthy_threshold(1), "`health_checks.healthy_threshold` is 1"),
            (checks().unhealthy_threshold(11), "`health_checks.unhealthy_threshold` is 11"),
            (checks().path("healthz"), "`health_checks.path` is healthz: expected a path"),
            (checks().path(format!("/{}", "x".repeat(1024))), "`health_checks.path` is /xxx"),
            (checks().matcher("600"), "`health_checks.matcher` is 600"),
            (checks().port(0), "`health_checks.port` is 0"),
            (checks().enabled(false), "`health_checks.enabled` is false"),
        ] {
            let error = settings.build(http, Ranges::OfTheAlb, |_| ()).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
        let any = checks().interval(Duration::from_millis(50)).healthy_threshold(1);
        assert!(any.build(http, Ranges::Any, |_| ()).is_ok());
        assert!(checks().build(http, Ranges::OfTheAlb, |_| ()).is_ok());
        assert!(checks().build(Kind::Function, Ranges::OfTheAlb, |_| ()).is_ok());
        assert!(!checks().is_enabled(Kind::Function) && checks().is_enabled(http));
        let grpc = Kind::Http(ProtocolVersion::Grpc);
        assert!(checks().matcher("0-99").build(grpc, Ranges::OfTheAlb, |_| ()).is_ok());
        assert!(checks().matcher("200").build(grpc, Ranges::OfTheAlb, |_| ()).is_err());
    }

    proptest! {
        #[test]
        fn any_matcher_is_parsed_without_a_panic(text in "[0-9, x-]{0,20}", status: u32) {
            if let Ok(matcher) = Matcher::parse(&text, [200, 499]) {
                prop_assert!(!matcher.contains(status) || (200..=499).contains(&status));
            }
        }
    }
}
