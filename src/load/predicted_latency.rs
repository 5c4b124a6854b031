use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use tokio::time::Instant;

use super::{
    Gauge, Load, Now, PeakEwma, Score,
    decayed::{AtomicF32, Decayed, exp_neg, greater, lesser},
    fleet::{Fleet, Means, Weights},
};
use crate::{
    endpoint::EndpointStats,
    outcome::{LoadReport, Meter, Sample, Start},
};

/// Predicts the latency of one more request from the requests in flight that servers
/// [report](LoadReport).
///
/// Reports come with responses, from probes ([`Probed`](crate::strategy::Probed)) or both. The
/// symbols, where "mean" is a mean over all endpoints with a time constant of 5 s:
///
/// | symbol | meaning |
/// |---|---|
/// | `L` | the mean latency that this client measures |
/// | `R` | the mean number of requests in flight by reports |
/// | `r`, `t` | the endpoint's last reported number, and its age |
/// | `o`, `s` | this client's requests in flight at the endpoint, and those sent since the report |
/// | `w` | the endpoint's weight divided by the mean weight |
/// | `k` | what is still assumed of the endpoint, from 1 down to 0; see "Turns" |
///
/// The load is computed in three steps:
///
/// 1. **Requests in flight now.** The reported number drifts to the mean as it ages: after a time
///    `L`, most of the requests that it counted have finished. Without a report, the mean is
///    assumed.
///
///    ```text
///    n = max(o, R*w*k + (r - R*w*k) * exp(-t / L) + s)
///    ```
///
/// 2. **Latency with this many in flight.** `line` is a straight line fitted to all measured
///    latencies; a latency above `5 * L` counts as `5 * L`. `slowness` compares the endpoint with
///    the line: a moving average (a tenth per report) of the latency that it reports, divided by
///    the line's. It is 1 before the first report.
///
///    ```text
///    latency = slowness * line(n / w)
///    ```
///
/// 3. **Unevenness.** A convex term sends requests where few are, even if the line is flat.
///
///    ```text
///    load = latency + L / 2 * ((n / w + 1) / (R + 1))^2
///    ```
///
/// **Weights.** `R` and `line` are those of an endpoint of the mean weight. An endpoint of twice
/// that weight is taken to be as busy with twice as many requests.
///
/// **Turns.** An endpoint reports with its responses, so an endpoint that is not selected cannot
/// report that it has become faster. While this client has no request in flight there, `k` and the
/// part of `slowness` above 1 fall with each turn that passes. A turn is as many responses of all
/// endpoints as there are for one of this endpoint by weight. They reach 0 after 8 turns, or after
/// 64 if all weights are equal.
///
/// **Limits of reports.** A reported latency compares an endpoint with others, but says nothing
/// about all of them: a flooded server reports the latency of the few requests that it has
/// finished. `o` counts whatever the endpoint reports. If responses take more than twice as long as
/// a report makes expect, the measured latency counts (forgiven with a time constant of 30 s). A
/// server that always reports that it is idle and fast is therefore filled to its capacity, and not
/// beyond: at a load of 0.7 it gets 1.4 times its share, at 0.9 about 1.1 times. Reports without
/// requests in flight are ignored. Until a latency is measured, requests in flight alone count.
///
/// **Fallback.** An endpoint that does not report counts as one with an old report. Until any
/// endpoint has reported, the inner load counts, [`PeakEwma`] by default. Failures are not charged:
/// wrap this load in [`FailureAware`](super::FailureAware).
///
/// Source: own requests since the last report are the local view of LSQ (Vargaftik, Keslassy,
/// Orda); in-flight and latency reports are Prequal's (NSDI 2024); the convex term has the purpose
/// of C3's cubic one (NSDI 2015). The combination and its constants are ours;
/// `docs/tail-latency.md` has their measured effect.
#[derive(Debug, Default)]
pub struct PredictedLatency<L = PeakEwma> {
    inner: L,
    fleet: Arc<Fleet>,
}

/// How far one report or response moves the slowness of an endpoint.
const SLOWNESS_STEP: f64 = 0.1;
/// The range of the slowness that one report or response may show.
const MIN_SLOWNESS: f64 = 1.0 / 16.0;
const MAX_REPORTED_SLOWNESS: f64 = 5.0;
/// A single response must not outweigh a report: it takes several.
const MAX_MEASURED_SLOWNESS: f64 = 10.0;
/// The convex term of an endpoint with the mean number in flight, in mean latencies.
const UNEVENNESS: f64 = 0.5;
/// How many times longer than reported responses may take before the measured latency counts. With
/// 3, a server that reports that it is idle gets the same share, but the tail is longer (166 ms
/// instead of 114).
const TOLERATED_SLOWNESS: f64 = 2.0;
/// The time constant with which a measured slowness is forgiven.
const SLOWNESS_DECAY_SECS: f64 = 30.0;
/// A report of more requests in flight counts as this.
const MAX_REPORTED_IN_FLIGHT: f64 = 1e6;

impl PredictedLatency {
    /// Falls back to a [`PeakEwma`] of 10 s until an endpoint reports.
    #[must_use]
    pub fn new() -> Self {
        Self::with_fallback(PeakEwma::new())
    }
}

impl<L> PredictedLatency<L> {
    /// Falls back to `inner` until an endpoint reports.
    pub fn with_fallback(inner: L) -> Self {
        Self { inner, fleet: Arc::default() }
    }
}

impl<L: Clone> Clone for PredictedLatency<L> {
    /// Clones the settings. The clone learns anew.
    fn clone(&self) -> Self {
        Self::with_fallback(self.inner.clone())
    }
}

impl<L: Load> Load for PredictedLatency<L> {
    fn score(&self, gauge: &Gauge<'_>, now: &mut Now) -> Score {
        let Some(endpoint) = gauge.meter::<Reported>() else { return self.inner.score(gauge, now) };
        // Only a strategy knows weights, so they are learned here and not from discovery.
        let weight = gauge.weight();
        if endpoint.weight.load(Ordering::Relaxed) != weight {
            endpoint.set_weight(weight);
        }
        let Some(means) = self.fleet.means() else { return self.inner.score(gauge, now) };
        let weights = self.fleet.weights();
        let (share, inverse) = weights.share(weight);
        let age = gauge.stats().age_at(now.moment());
        let own = gauge.stats().outstanding();
        let assumed = endpoint.assumed(own, weight, weights);
        let in_flight = endpoint.in_flight(own, age, means, share * assumed);
        let level = in_flight * inverse;
        let latency = endpoint.slowness(age, assumed) * self.fleet.latency_at(level);
        let crowding = (level + 1.0) * means.inverse_in_flight;
        let load = latency + UNEVENNESS * means.latency * crowding * crowding;
        // Strategies multiply the cost by the backlog plus one, after dividing that by the weight.
        Score { cost: load / (level + 1.0), backlog: in_flight }
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(Reported {
            fleet: Arc::clone(&self.fleet),
            last: AtomicU64::new(0),
            sent_since: AtomicU32::new(0),
            weight: AtomicU32::new(0),
            responses_at_last_start: AtomicU32::new(self.fleet.responses()),
            reported_slowness: AtomicF32::from(1.0),
            measured_slowness: AtomicU64::new(0),
            inner: self.inner.meter(),
        }))
    }
}

/// What one endpoint has reported, and what was measured there.
#[derive(Debug)]
struct Reported {
    fleet: Arc<Fleet>,
    /// Requests in flight by the last report, plus one; 0 before the first report.
    last: AtomicU64,
    /// This client's requests since then.
    sent_since: AtomicU32,
    /// The weight that the strategy used last; 0 before that.
    weight: AtomicU32,
    /// [`Fleet::responses`] when the last request to this endpoint began.
    responses_at_last_start: AtomicU32,
    /// The latency that the endpoint reports, divided by that of the line.
    reported_slowness: AtomicF32,
    /// The same by measured latencies; 0 unless it has exceeded [`TOLERATED_SLOWNESS`].
    measured_slowness: AtomicU64,
    inner: Option<Arc<dyn Meter>>,
}

impl Reported {
    /// Returns `n`, the requests in flight now. `share` is `w * k`.
    #[inline]
    fn in_flight(&self, own: u32, age: u64, means: Means, share: f64) -> f64 {
        let last = Decayed::load(&self.last);
        let sent_since = f64::from(self.sent_since.load(Ordering::Relaxed).min(own));
        let assumed = means.in_flight * share;
        let excess = match last.value {
            0.0 => 0.0,
            value => {
                let kept = exp_neg(last.seconds_since(age) * means.inverse_latency);
                (f64::from(value) - 1.0 - assumed) * kept
            }
        };
        greater(assumed + excess + sent_since, f64::from(own))
    }

    /// Returns `k`, what is still assumed of the endpoint: less with each turn without a request.
    ///
    /// Without this, an endpoint that looked slow once would never get the requests whose responses
    /// and reports show that it is not.
    #[inline]
    fn assumed(&self, own: u32, weight: u32, weights: Weights) -> f64 {
        if own > 0 {
            return 1.0;
        }
        let at_last_start = self.responses_at_last_start.load(Ordering::Relaxed);
        weights.left_after(self.fleet.responses().wrapping_sub(at_last_start), weight)
    }

    #[cold]
    fn set_weight(&self, weight: u32) {
        // The swap gives each old weight to one thread, so the sums of the fleet stay exact.
        let before = self.weight.swap(weight, Ordering::Relaxed);
        self.fleet.change_weight(before, weight);
    }

    /// Returns the requests in flight by the last report, scaled to the mean weight.
    fn reported_level(&self) -> Option<f64> {
        let weight = self.weight.load(Ordering::Relaxed);
        let (_, inverse) = self.fleet.weights().share(weight);
        let last = f64::from(Decayed::load(&self.last).value);
        (last > 0.0).then_some((last - 1.0) * inverse)
    }

    /// Returns the slowness; 1 is that of other endpoints with as many requests in flight.
    #[inline]
    fn slowness(&self, age: u64, assumed: f64) -> f64 {
        let reported = f64::from(self.reported_slowness.load());
        // A slowness above 1 falls with the turns; one below 1 stays.
        let reported = lesser(1.0 + (reported - 1.0) * assumed, reported);
        let measured = Decayed::load(&self.measured_slowness);
        if measured.value == 0.0 {
            return reported;
        }
        greater(current_slowness(measured, age) / TOLERATED_SLOWNESS, reported)
    }

    /// Returns a latency divided by that of the line at the last reported number in flight.
    fn slowness_of(&self, latency: f64) -> Option<f64> {
        // The mean number in flight may be known before any latency is.
        if !self.fleet.is_timed() {
            return None;
        }
        let expected = self.fleet.latency_at(self.reported_level()?);
        (expected > 0.0).then(|| (latency / expected).max(MIN_SLOWNESS))
    }

    /// Compares a measured latency with the one to expect by the last report.
    fn record_slowness(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        let Some(latency) = sample.latency() else { return };
        let Some(slowness) = self.slowness_of(latency.as_secs_f64()) else { return };
        let slowness = slowness.min(MAX_MEASURED_SLOWNESS);
        let age = sample.age(stats);
        Decayed::update(&self.measured_slowness, |measured| {
            let current = current_slowness(measured, age);
            let next = current + SLOWNESS_STEP * (slowness - current);
            // An endpoint that responds as it reports writes nothing on the request path.
            let matters =
                next > TOLERATED_SLOWNESS || measured.value > 0.0 || slowness > TOLERATED_SLOWNESS;
            matters.then(|| Decayed::new(next as f32, age))
        });
    }

    fn record_reported_latency(&self, report: &LoadReport) {
        let latency = report.latency().filter(|latency| !latency.is_zero());
        let slowness = latency.and_then(|latency| self.slowness_of(latency.as_secs_f64()));
        if let Some(slowness) = slowness {
            let current = f64::from(self.reported_slowness.load());
            let slowness = slowness.min(MAX_REPORTED_SLOWNESS);
            let next = current + SLOWNESS_STEP * (slowness - current);
            self.reported_slowness.store(next as f32);
        }
    }
}

fn current_slowness(measured: Decayed, age: u64) -> f64 {
    f64::from(measured.value) * exp_neg(measured.seconds_since(age) / SLOWNESS_DECAY_SECS)
}

impl Meter for Reported {
    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        if let Some(inner) = &self.inner {
            inner.record(stats, sample);
        }
        if sample.outcome().is_failure() || !sample.has_response() {
            return;
        }
        self.record_slowness(stats, sample);
        if let Some((latency, level)) = sample.latency().zip(self.reported_level()) {
            let now = stats.at(sample.age(stats));
            self.fleet.learn(level, latency.as_secs_f64(), now);
        }
    }

    fn needs_latency(&self) -> bool {
        true
    }

    fn start(&self, stats: &EndpointStats, start: Start) {
        self.sent_since.fetch_add(1, Ordering::Relaxed);
        self.responses_at_last_start.store(self.fleet.responses(), Ordering::Relaxed);
        if let Some(inner) = self.inner.as_ref().filter(|inner| inner.needs_starts()) {
            inner.start(stats, start);
        }
    }

    fn needs_starts(&self) -> bool {
        true
    }

    fn report(&self, stats: &EndpointStats, report: &LoadReport, now: Instant) {
        if let Some(in_flight) = report.requests_in_flight() {
            let in_flight = in_flight.min(MAX_REPORTED_IN_FLIGHT);
            self.sent_since.store(0, Ordering::Relaxed);
            let last = Decayed::new(in_flight as f32 + 1.0, stats.age(now));
            Decayed::update(&self.last, |_| Some(last));
            if let Some(level) = self.reported_level() {
                self.fleet.learn_untimed(level);
            }
            // After `last` is set: the latency is compared at the number in flight of the same
            // report.
            self.record_reported_latency(report);
        }
        if let Some(inner) = self.inner.as_ref().filter(|inner| inner.needs_reports()) {
            inner.report(stats, report, now);
        }
    }

    fn needs_reports(&self) -> bool {
        true
    }

    fn inner(&self) -> Option<&dyn Meter> {
        self.inner.as_deref()
    }
}

impl Drop for Reported {
    fn drop(&mut self) {
        self.fleet.change_weight(*self.weight.get_mut(), 0);
    }
}
