use std::time::Duration;

use crate::{
    ConfigError,
    health::{FailureShare, LatencyOutliers, Stalls, SuccessRate, passive::monitor::MonitorConfig},
};

/// What makes an endpoint an outlier, and how long it is ejected.
///
/// | detected | default |
/// |---|---|
/// | consecutive [failed responses](Self::failed_responses) | 5 |
/// | consecutive [requests without a response](Self::unanswered_requests) | 5 |
/// | a [success rate](Self::success_rate) below that of others | by 1.9 deviations and 5 % |
/// | a [share of failures](Self::failure_share) | 50 % |
/// | a [latency](Self::latency) above that of others | threefold, and by 10 ms, for 3 intervals |
/// | a [stall](Self::stalls): requests wait unanswered | 1 s and 10 times the usual latency |
///
/// Each rule can be changed or, with `None`, switched off. A response that reports an overload is
/// not a failure. A cancelled request does not count, unless its response had begun well: then it
/// is a success.
///
/// Counting consecutive failures costs almost nothing per request. The rules for latency and stalls
/// measure the latency of each request: two clock reads, unless the strategy measures it already.
#[derive(Clone, Debug)]
pub struct OutlierDetection {
    pub(super) interval: Duration,
    failed_responses: Option<u32>,
    unanswered_requests: Option<u32>,
    pub(super) success_rate: Option<SuccessRate>,
    pub(super) failure_share: Option<FailureShare>,
    pub(super) latency: Option<LatencyOutliers>,
    pub(super) stalls: Option<Stalls>,
    pub(super) base_time: Duration,
    pub(super) max_time: Duration,
    pub(super) jitter: f64,
    max_ejected: MaxEjected,
    pub(super) trial: bool,
    pub(super) seed: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct MaxEjected {
    floor: usize,
    percent: f64,
}

impl OutlierDetection {
    /// Enables all rules with their defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            interval: Duration::from_secs(10),
            failed_responses: Some(5),
            unanswered_requests: Some(5),
            success_rate: Some(SuccessRate::default()),
            failure_share: Some(FailureShare::default()),
            latency: Some(LatencyOutliers::default()),
            stalls: Some(Stalls::default()),
            base_time: Duration::from_secs(30),
            max_time: Duration::from_secs(300),
            jitter: 0.1,
            max_ejected: MaxEjected { floor: 1, percent: 50.0 },
            trial: true,
            seed: None,
        }
    }

    setters! {
        /// Sets how often success rates, shares of failures and latencies are compared. Default 10
        /// s.
        pub fn interval(interval: Duration) => interval = interval;
        /// Ejects an endpoint after this many consecutive responses that report a failure
        /// ([`Outcome::ApplicationError`](crate::outcome::Outcome::ApplicationError)). Default 5.
        ///
        /// A success resets the number. Requests without a response are counted separately and do
        /// not.
        pub fn failed_responses(consecutive: impl Into<Option<u32>>)
            => failed_responses = consecutive.into();
        /// Ejects an endpoint after this many consecutive requests without a response: transport
        /// failures and timeouts. Default 5.
        ///
        /// Any response resets the number.
        pub fn unanswered_requests(consecutive: impl Into<Option<u32>>)
            => unanswered_requests = consecutive.into();
        /// Ejects an endpoint whose success rate is far below that of others.
        pub fn success_rate(rule: impl Into<Option<SuccessRate>>) => success_rate = rule.into();
        /// Ejects an endpoint of which a share of the requests fails.
        pub fn failure_share(rule: impl Into<Option<FailureShare>>) => failure_share = rule.into();
        /// Ejects an endpoint whose latency is far above that of others.
        pub fn latency(rule: impl Into<Option<LatencyOutliers>>) => latency = rule.into();
        /// Ejects an endpoint that has stopped responding.
        pub fn stalls(rule: impl Into<Option<Stalls>>) => stalls = rule.into();
    }

    /// Sets how long an endpoint is ejected: `base` the first time, `2 * base` the second time, up
    /// to `max`. Each interval in service takes one step back. Default 30 s and 300 s.
    #[must_use]
    pub fn ejection_time(mut self, base: Duration, max: Duration) -> Self {
        (self.base_time, self.max_time) = (base, max);
        self
    }

    setters! {
        /// Prolongs each ejection by a random share of it, at most `share`, so that endpoints
        /// ejected together do not return together. Default 0.1; from 0 to 1.
        pub fn jitter(share: f64) => jitter = share;
    }

    /// Limits how many endpoints are ejected at a time: `floor`, or `percent` of all endpoints,
    /// rounded down, if that is more. Default 1 and 50 %.
    ///
    /// The last endpoint in service is never ejected, unless `percent` is 100.
    ///
    /// **The worst endpoints are ejected.** At the limit, an outlier replaces the ejected endpoint
    /// of the lowest severity if its own severity is at least one step of this table higher. The
    /// replaced endpoint is eligible again at once, and its ejection does not prolong later ones.
    /// The severity of an ejected endpoint never falls, so two endpoints cannot replace each other
    /// in turns: within `base`, there are at most eight times as many replacements as the limit,
    /// and one more for each change of health by upstream.
    ///
    /// | severity | recent requests |
    /// |---|---|
    /// | mild | none of the below: the endpoint is slow, or fails occasionally |
    /// | timing out | 4 of the last 8 failed, or ejected for a stall or unanswered requests |
    /// | hung | 15 of the last 16 failed, at least one by a timeout |
    /// | failing | 5 of the last 8 failed without a timeout, or ejected for failed responses |
    /// | down | 15 of the last 16 failed without a timeout |
    ///
    /// A timeout weighs less than another failure, because requests time out everywhere if all
    /// endpoints are overloaded. Without severities, endpoints that are only slow would use up the
    /// limit, and one that fails every request at once would stay in service. An ejected endpoint
    /// that upstream calls unhealthy too is replaced first, and also by an endpoint of the same
    /// severity: its ejection makes no difference.
    ///
    /// If endpoints are removed and more than the limit are ejected, those of the lowest severity
    /// return at once.
    ///
    /// Source: the limit of Envoy and gRPC. Where this differs: there, the first endpoints to be
    /// ejected use up the limit.
    #[must_use]
    pub fn max_ejected(mut self, floor: usize, percent: f64) -> Self {
        self.max_ejected = MaxEjected { floor, percent };
        self
    }

    setters! {
        /// Sets whether an endpoint that returns gets one request first, whose outcome decides
        /// whether it is ejected again. Default true.
        pub fn trial(trial: bool) => trial = trial;
        /// Makes jitter repeatable.
        pub fn seed(seed: u64) => seed = Some(seed);
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::if_zero_time("interval", self.interval)?;
        ConfigError::if_zero_time("ejection_time.base", self.base_time)?;
        ConfigError::unless(
            self.base_time <= self.max_time,
            "ejection_time.max",
            format_args!("{:?}", self.max_time),
            "at least `ejection_time.base`",
        )?;
        ConfigError::unless_within("jitter", self.jitter, [0.0, 1.0])?;
        ConfigError::unless_within("max_ejected.percent", self.max_ejected.percent, [0.0, 100.0])?;
        // `None` switches a rule off.
        let failed_responses = self.failed_responses.unwrap_or(1);
        ConfigError::if_zero("failed_responses", failed_responses.into())?;
        let unanswered_requests = self.unanswered_requests.unwrap_or(1);
        ConfigError::if_zero("unanswered_requests", unanswered_requests.into())?;
        self.success_rate.map_or(Ok(()), |rule| rule.validate())?;
        self.failure_share.map_or(Ok(()), |rule| rule.validate())?;
        self.latency.map_or(Ok(()), |rule| rule.validate())?;
        self.stalls.map_or(Ok(()), |rule| rule.validate())
    }

    /// Returns how many of `endpoints` may be ejected.
    pub(super) fn max_ejected_of(&self, endpoints: usize) -> usize {
        let share = (endpoints as f64 * self.max_ejected.percent / 100.0).floor() as usize;
        let max = if self.may_eject_all() { endpoints } else { endpoints.saturating_sub(1) };
        share.max(self.max_ejected.floor).min(max)
    }

    pub(super) fn may_eject_all(&self) -> bool {
        self.max_ejected.percent >= 100.0
    }

    pub(super) fn monitor_config(&self) -> MonitorConfig {
        MonitorConfig {
            failed_responses: self.failed_responses,
            unanswered_requests: self.unanswered_requests,
            stalls: self.stalls.is_some(),
            latency: self.latency.is_some(),
            trials: self.trial,
        }
    }
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_rounded_down_is_at_least_the_floor_and_spares_the_last_endpoint() {
        let detection = OutlierDetection::new();
        let limits = [0, 1, 2, 3, 5, 20].map(|endpoints| detection.max_ejected_of(endpoints));
        assert_eq!(limits, [0, 0, 1, 1, 2, 10]);
        let tenth = detection.clone().max_ejected(2, 10.0);
        assert_eq!([2, 3, 29, 30].map(|endpoints| tenth.max_ejected_of(endpoints)), [1, 2, 2, 3]);
        let all = detection.max_ejected(0, 100.0);
        assert_eq!([1, 7].map(|endpoints| all.max_ejected_of(endpoints)), [1, 7]);
    }
}
