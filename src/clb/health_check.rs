use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, StatusCode, header::USER_AGENT};
use http_body_util::Full;

use super::{ClassicProtocol, HealthTarget, plan::origin};
use crate::{
    BoxError, ConfigError,
    health::{Check, HealthCheck, HttpCheck, InitialState},
    http::{Pool, Tls},
    tcp::{HandshakeCheck, Relays, TargetTls},
};

/// How instances are checked: `ConfigureHealthCheck` of AWS's API.
///
/// | setting | range | default |
/// |---|---|---|
/// | interval | 5 to 300 s | 30 s |
/// | timeout | 2 to 60 s, and below the interval | 5 s |
/// | unhealthy threshold | 2 to 10 | 2 |
/// | healthy threshold | 2 to 10 | 10 |
///
/// An instance is out of service until it has passed as many consecutive checks as the healthy
/// threshold asks for. A check of HTTP is a `GET` from the user agent `ELB-HealthChecker/1.0` on a
/// connection of its own, and only status 200 passes.
#[derive(Clone, Debug)]
pub struct ClassicHealthCheck {
    target: HealthTarget,
    interval: Duration,
    timeout: Duration,
    unhealthy_threshold: u32,
    healthy_threshold: u32,
}

/// The user agent of AWS's checks.
const HEALTH_CHECKER: HeaderValue = HeaderValue::from_static("ELB-HealthChecker/1.0");

impl ClassicHealthCheck {
    /// Checks `target` of each instance, with the defaults of the table above.
    #[must_use]
    pub fn new(target: HealthTarget) -> Self {
        Self {
            target,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            unhealthy_threshold: 2,
            healthy_threshold: 10,
        }
    }

    setters! {
        /// Sets the time between checks of an instance: `Interval`. Default 30 s.
        pub fn interval(interval: Duration) => interval = interval;
        /// Fails a check that takes longer than `timeout`: `Timeout`. Default 5 s.
        pub fn timeout(timeout: Duration) => timeout = timeout;
        /// Sets how many consecutive failures take an instance out of service:
        /// `UnhealthyThreshold`. Default 2.
        pub fn unhealthy_threshold(checks: u32) => unhealthy_threshold = checks;
        /// Sets how many consecutive passes put an instance into service: `HealthyThreshold`.
        /// Default 10.
        pub fn healthy_threshold(checks: u32) => healthy_threshold = checks;
    }

    /// Returns whether checks encrypt.
    pub(super) fn is_encrypted(&self) -> bool {
        self.target.protocol().is_encrypted()
    }

    pub(super) fn validate(&self, is_restricted: bool) -> Result<(), ConfigError> {
        if is_restricted {
            ConfigError::unless_seconds("interval", self.interval, 5..=300)?;
            ConfigError::unless_seconds("timeout", self.timeout, 2..=60)?;
        }
        ConfigError::if_zero_time("interval", self.interval)?;
        ConfigError::if_zero_time("timeout", self.timeout)?;
        let (thresholds, expected) = match is_restricted {
            true => (2..=10, "a number from 2 to 10"),
            false => (1..=1_000_000, "a number from 1 to 1000000"),
        };
        for (field, checks) in [
            ("unhealthy_threshold", self.unhealthy_threshold),
            ("healthy_threshold", self.healthy_threshold),
        ] {
            ConfigError::unless(thresholds.contains(&checks), field, checks, expected)?;
        }
        let shown = format_args!("{:?}", self.timeout);
        ConfigError::unless(self.timeout < self.interval, "timeout", shown, "below `interval`")
    }

    /// Returns the check and its schedule. `tls` is set if checks encrypt.
    pub(super) fn build(
        &self,
        tls: Option<&Tls>,
    ) -> Result<HealthCheck<InstanceCheck>, ConfigError> {
        Ok(HealthCheck::new(self.check(tls)?)
            .interval(self.interval)
            .changing_interval(self.interval)
            .idle_interval(self.interval)
            .timeout(self.timeout)
            .rise(self.healthy_threshold)
            .fall(self.unhealthy_threshold)
            .initial(InitialState::FullyDown))
    }

    fn check(&self, tls: Option<&Tls>) -> Result<InstanceCheck, ConfigError> {
        let port = self.target.port();
        let Some(path) = self.target.path() else {
            let relays = Relays::builder().connect_timeout(self.timeout);
            let relays = match tls {
                Some(tls) => relays.tls(TargetTls::new(tls.config())),
                None => relays,
            };
            return Ok(InstanceCheck::Connect { relays: relays.build()?, port });
        };
        let invalid = |_| ConfigError::new("target", "a path that starts with a slash");
        let check = HttpCheck::get(path).map_err(invalid)?;
        let check = check.header(USER_AGENT, HEALTH_CHECKER).status(|one| one == StatusCode::OK);
        // Keeps no connection.
        let pool = Pool::new().http1().max_idle(0).connect_timeout(self.timeout);
        let pool = match tls {
            Some(tls) => pool.tls(tls.clone()),
            None => pool,
        };
        let encrypted = self.target.protocol() == ClassicProtocol::Https;
        Ok(InstanceCheck::Http { check: Arc::new(check), pool, port, encrypted })
    }
}

/// The check of an instance, by its address.
#[derive(Clone, Debug)]
pub(super) enum InstanceCheck {
    Http {
        check: Arc<HttpCheck<Full<Bytes>>>,
        pool: Pool,
        port: u16,
        encrypted: bool,
    },
    /// TCP, or TLS if the relays have it.
    Connect {
        relays: Relays,
        port: u16,
    },
}

impl Check<IpAddr> for InstanceCheck {
    fn check(&self, address: IpAddr) -> BoxFuture<'static, Result<(), BoxError>> {
        match self {
            Self::Http { check, pool, port, encrypted } => {
                let origin = origin(SocketAddr::new(address, *port), *encrypted);
                check.check(pool.client(origin))
            }
            Self::Connect { relays, port } => {
                HandshakeCheck.check(relays.relay(SocketAddr::new(address, *port)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_outside_of_the_ranges_are_rejected() {
        let seconds = Duration::from_secs;
        let check = || ClassicHealthCheck::new("TCP:80".parse().unwrap());
        for (check, text) in [
            (check().interval(seconds(4)), "`interval` is 4s: expected a time from 5 to 300 s"),
            (check().interval(seconds(301)), "`interval` is 301s"),
            (check().timeout(seconds(1)), "`timeout` is 1s: expected a time from 2 to 60 s"),
            (check().interval(seconds(300)).timeout(seconds(61)), "`timeout` is 61s"),
            (check().timeout(seconds(30)), "`timeout` is 30s: expected below `interval`"),
            (check().healthy_threshold(1), "`healthy_threshold` is 1"),
            (check().healthy_threshold(11), "`healthy_threshold` is 11"),
            (check().unhealthy_threshold(1), "`unhealthy_threshold` is 1"),
            (check().unhealthy_threshold(11), "`unhealthy_threshold` is 11"),
        ] {
            let error = check.validate(true).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
        check().validate(true).unwrap();
        let quick = check().interval(seconds(1)).timeout(Duration::from_millis(500));
        quick.clone().healthy_threshold(1).validate(false).unwrap();
        assert!(quick.clone().timeout(seconds(1)).validate(false).is_err());
        // Without the ranges of AWS, errors still name these settings, and not those beneath.
        for (check, text) in [
            (quick.clone().healthy_threshold(0), "`healthy_threshold` is 0"),
            (quick.clone().unhealthy_threshold(1_000_001), "`unhealthy_threshold` is 1000001"),
            (quick.clone().timeout(seconds(0)), "`timeout` is 0"),
            (quick.interval(seconds(0)), "`interval` is 0"),
        ] {
            let error = check.validate(false).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }
}
