use std::time::Duration;

use crate::health::{
    FailureShare, InvalidSetting, LatencyOutliers, Stalls, SuccessRate,
    passive::monitor::MonitorConfig,
};

/// What makes an endpoint an outlier, and what becomes of it.
///
/// | detected | by default |
/// |---|---|
/// | [failed responses](Self::failed_responses) in a row | 5 |
/// | [requests without an answer](Self::unanswered_requests) in a row | 5 |
/// | a [success rate](Self::success_rate) below the fleet's | by 1.9 standard deviations and 5 % |
/// | a [share of failures](Self::failure_share) | 50 % |
/// | a [latency](Self::latency) above the peers' | threefold, and by 10 ms, for 3 intervals |
/// | [silence](Self::stalls) while requests wait | 1 s, and ten times the usual latency |
///
/// Each can be set or, with `None`, switched off. An answer that tells of overload is no failure. A
/// cancelled request is nothing at all, unless its response had begun well: then it counts as a success.
///
/// Rows cost a request next to nothing. For latency and silence the latency of each request is measured, two
/// clock reads unless the strategy has it measured already.
#[derive(Clone, Debug)]
pub struct OutlierDetection {
    pub(super) interval: Duration,
    failed_responses: Option<u32>,
    unanswered: Option<u32>,
    pub(super) success_rate: Option<SuccessRate>,
    pub(super) failure_share: Option<FailureShare>,
    pub(super) latency: Option<LatencyOutliers>,
    pub(super) stalls: Option<Stalls>,
    pub(super) base_time: Duration,
    pub(super) max_time: Duration,
    pub(super) jitter: f64,
    cap: Cap,
    pub(super) trial: bool,
    pub(super) seed: Option<u64>,
}

/// How many may be ejected at a time.
#[derive(Clone, Copy, Debug)]
struct Cap {
    floor: usize,
    percent: f64,
}

impl OutlierDetection {
    /// Everything on; see the table above and the methods.
    #[must_use]
    pub fn new() -> Self {
        Self {
            interval: Duration::from_secs(10),
            failed_responses: Some(5),
            unanswered: Some(5),
            success_rate: Some(SuccessRate::default()),
            failure_share: Some(FailureShare::default()),
            latency: Some(LatencyOutliers::default()),
            stalls: Some(Stalls::default()),
            base_time: Duration::from_secs(30),
            max_time: Duration::from_secs(300),
            jitter: 0.1,
            cap: Cap { floor: 1, percent: 50.0 },
            trial: true,
            seed: None,
        }
    }

    /// How often success rates, shares of failures and latencies are looked at. Default 10 s.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Ejects after so many responses in a row that say that the endpoint failed
    /// ([`Outcome::ApplicationError`](crate::outcome::Outcome::ApplicationError)). Default 5.
    ///
    /// A success ends the row; requests without an answer are counted apart and don't.
    #[must_use]
    pub fn failed_responses(mut self, in_a_row: impl Into<Option<u32>>) -> Self {
        self.failed_responses = in_a_row.into();
        self
    }

    /// Ejects after so many requests in a row that got no answer: a transport failure or a timeout.
    /// Default 5.
    ///
    /// Any answer ends the row.
    #[must_use]
    pub fn unanswered_requests(mut self, in_a_row: impl Into<Option<u32>>) -> Self {
        self.unanswered = in_a_row.into();
        self
    }

    /// Ejects for a success rate far below the fleet's.
    #[must_use]
    pub fn success_rate(mut self, rule: impl Into<Option<SuccessRate>>) -> Self {
        self.success_rate = rule.into();
        self
    }

    /// Ejects for a share of failures.
    #[must_use]
    pub fn failure_share(mut self, rule: impl Into<Option<FailureShare>>) -> Self {
        self.failure_share = rule.into();
        self
    }

    /// Ejects for a latency far above that of the peers.
    #[must_use]
    pub fn latency(mut self, rule: impl Into<Option<LatencyOutliers>>) -> Self {
        self.latency = rule.into();
        self
    }

    /// Ejects an endpoint that has gone silent.
    #[must_use]
    pub fn stalls(mut self, rule: impl Into<Option<Stalls>>) -> Self {
        self.stalls = rule.into();
        self
    }

    /// How long an endpoint is out: `base` the first time, twice that the second, up to `max`. For each
    /// interval in good ejection it is one step less. Default 30 s and 300 s.
    #[must_use]
    pub fn ejection_time(mut self, base: Duration, max: Duration) -> Self {
        (self.base_time, self.max_time) = (base, max);
        self
    }

    /// Prolongs each ejection by a random part of it, up to this, so that many that went together don't
    /// come back together. Default 0.1.
    #[must_use]
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = part;
        self
    }

    /// How many may be out at a time: `floor`, or that percentage of all endpoints, rounded down, if
    /// that is more. Default 1 and 50 %.
    ///
    /// The last endpoint that serves is never ejected, unless `percent` is 100.
    ///
    /// **The worst endpoints are ejected.** While the limit is reached, an endpoint that is to be
    /// ejected replaces the least bad of the ejected ones if it is at least one step of this table
    /// worse. The replaced endpoint is eligible again at once, and its ejection doesn't prolong later
    /// ones. An ejected endpoint never moves down the table, so two endpoints can't replace each other
    /// in turns: the number of replacements within `base` is at most eight times the limit, and one
    /// more for each change of health by upstream.
    ///
    /// | step | recent requests |
    /// |---|---|
    /// | mild | none of the below: the endpoint is slow, or fails now and then |
    /// | timing out | 4 of the last 8 failed, or the endpoint is ejected for silence or unanswered requests |
    /// | hung | 15 of the last 16 failed, at least one by a timeout |
    /// | failing | 5 of the last 8 failed without a timeout, or the endpoint is ejected for failed responses |
    /// | down | 15 of the last 16 failed without a timeout |
    ///
    /// A timeout weighs less than another failure, because in an overloaded fleet requests time out
    /// everywhere. Endpoints that are only slow would otherwise use up the limit, and one that fails
    /// each request at once would stay. An ejected endpoint that upstream calls unhealthy too is
    /// replaced first, and also by an endpoint on the same step: its ejection makes no difference.
    ///
    /// If endpoints are removed and more than the limit are ejected, the least bad return at once.
    ///
    /// Source: the limit is Envoy's and gRPC's. Where we differ: there the first endpoints to be ejected
    /// use it up.
    #[must_use]
    pub fn max_ejected(mut self, floor: usize, percent: f64) -> Self {
        self.cap = Cap { floor, percent };
        self
    }

    /// Whether an endpoint that returns is given one request first, whose outcome decides whether it
    /// is out again. Default true.
    #[must_use]
    pub fn trial(mut self, trial: bool) -> Self {
        self.trial = trial;
        self
    }

    /// Makes jitter repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(super) fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::if_zero("interval", self.interval)?;
        InvalidSetting::if_zero("ejection_time.base", self.base_time)?;
        InvalidSetting::if_inverted(
            ("ejection_time.base", self.base_time),
            ("ejection_time.max", self.max_time),
        )?;
        InvalidSetting::unless_within("jitter", self.jitter, [0.0, 1.0])?;
        InvalidSetting::unless_within("max_ejected.percent", self.cap.percent, [0.0, 100.0])?;
        let in_a_row =
            [("failed_responses", self.failed_responses), ("unanswered_requests", self.unanswered)];
        for (setting, limit) in in_a_row {
            limit.map_or(Ok(()), |limit| InvalidSetting::if_none(setting, limit.into()))?;
        }
        self.success_rate.map_or(Ok(()), |rule| rule.validate())?;
        self.failure_share.map_or(Ok(()), |rule| rule.validate())?;
        self.latency.map_or(Ok(()), |rule| rule.validate())?;
        self.stalls.map_or(Ok(()), |rule| rule.validate())
    }

    /// How many of so many endpoints may be out.
    pub(super) fn cap(&self, endpoints: usize) -> usize {
        let share = (endpoints as f64 * self.cap.percent / 100.0).floor() as usize;
        let most = if self.may_eject_all() { endpoints } else { endpoints.saturating_sub(1) };
        share.max(self.cap.floor).min(most)
    }

    pub(super) fn may_eject_all(&self) -> bool {
        self.cap.percent >= 100.0
    }

    pub(super) fn limits(&self) -> MonitorConfig {
        MonitorConfig {
            responses: self.failed_responses,
            unanswered: self.unanswered,
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
    fn the_cap_is_rounded_down_to_no_less_than_the_floor_and_spares_the_last() {
        let detection = OutlierDetection::new();
        let caps = [0, 1, 2, 3, 5, 20].map(|endpoints| detection.cap(endpoints));
        assert_eq!(caps, [0, 0, 1, 1, 2, 10]);
        let tenth = detection.clone().max_ejected(2, 10.0);
        assert_eq!([2, 3, 29, 30].map(|endpoints| tenth.cap(endpoints)), [1, 2, 2, 3]);
        let all = detection.max_ejected(0, 100.0);
        assert_eq!([1, 7].map(|endpoints| all.cap(endpoints)), [1, 7]);
    }
}
