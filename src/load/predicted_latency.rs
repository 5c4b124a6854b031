use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use tokio::time::Instant;

use super::{
    Gauge, Load, Now, PeakEwma, Score,
    decayed::{Decayed, exp_neg, greater, lesser},
    fleet::{Fleet, Means, Weights},
};
use crate::{
    endpoint::EndpointStats,
    outcome::{LoadReport, Meter, Sample, Start},
};

/// The latency that one more request will have, predicted from what servers
/// [report](LoadReport) of their requests in flight.
///
/// Reports come with responses, from probes ([`Probed`](crate::strategy::Probed)) or both. A load
/// is computed in three steps. `L` is the mean latency that this client measures, and `R` the mean number
/// of requests in flight by the reports before, both of late (time constant 5 s).
///
/// 1. **Requests in flight, now.** The reported number drifts to `R` as it ages, with the time
///    constant `L`: after that time most of what it counted has been answered. Own requests since
///    the report are added, as far as they are still in flight; it is never less than those.
/// 2. **Latency with so many in flight.** A straight line fitted to all measured latencies, times how
///    slow the endpoint is beside it: a moving average (a tenth per report) of the latency it reports
///    over the line's. Latencies above `5 L` count as that. An endpoint without a report yet is like
///    all others.
/// 3. **Unevenness.** `L / 2 * ((r + 1) / (R + 1))^2` is added, so that requests go where few are
///    also when the line is flat.
///
/// **Weights.** `R` and the line are those of an endpoint of the mean weight. An endpoint of twice that
/// weight is taken to be as busy with twice as many requests.
///
/// **Turns.** An endpoint reports with its responses, so one that is not selected has no occasion to
/// look better. While it has no request of this client in flight, what is assumed of it instead of a report,
/// and its claim to be slower than others, fade with each turn that passes. A turn is as many responses of
/// all endpoints as there are for one of this endpoint by weight. After 8 turns nothing is left, or after
/// 64 where all weights are equal.
///
/// **What reports can't do.** Reported latencies say how an endpoint compares with others, and nothing of
/// the fleet: a flooded server reports the latency of the few requests that it has finished. An
/// endpoint's own requests count whatever it reports. Where responses take more than twice what a report
/// makes expect, the measured latency counts (forgiven with a time constant of 30 s). So a server that
/// always claims to be idle and fast is filled up to what it can do, and not beyond: at a load of 0.7 it
/// gets 1.4 times its share, at 0.9 about 1.1 times. Reports without requests in flight are ignored.
/// Until a latency is measured, requests in flight alone count.
///
/// **Degrading.** An endpoint that doesn't report counts as one with an old report. While no endpoint
/// has reported at all, the inner load counts, [`PeakEwma`] by default. Failures are not charged:
/// wrap it in [`FailureAware`](super::FailureAware).
///
/// Source: own requests since the last report are the local view of LSQ (Vargaftik, Keslassy,
/// Orda); in-flight and latency reports are Prequal's (NSDI 2024); the convex term has the purpose
/// of C3's cubic one (NSDI 2015). The combination and its constants are ours;
/// `docs/tail-latency.md` has what they are worth.
#[derive(Debug, Default)]
pub struct PredictedLatency<L = PeakEwma> {
    inner: L,
    fleet: Arc<Fleet>,
}

/// How far one report moves how slow an endpoint is.
const STEP: f64 = 0.1;
/// How slow or quick beside others one report may say that an endpoint is.
const SLOWEST: f64 = 5.0;
const QUICKEST: f64 = 1.0 / 16.0;
/// Of the mean latency, at the mean number in flight.
const UNEVENNESS: f64 = 0.5;
/// Times that responses may take longer than claimed before that is held against the endpoint. With 3 a
/// server that claims to be idle gets the same share, but the tail is longer (166 ms instead of 114).
const BELIEVED: f64 = 2.0;
/// A single answer counts as at most so many times the latency claimed: it takes several to be held
/// against the endpoint.
const LONGEST: f64 = 10.0;
/// Time constant, in seconds, with which that is forgiven.
const FORGIVEN: f64 = 30.0;

impl PredictedLatency {
    /// Falls back to a [`PeakEwma`] of 10 s while nobody reports.
    #[must_use]
    pub fn new() -> Self {
        Self::with_fallback(PeakEwma::new())
    }
}

impl<L> PredictedLatency<L> {
    /// Falls back to `inner` while nobody reports.
    pub fn with_fallback(inner: L) -> Self {
        Self { inner, fleet: Arc::default() }
    }
}

impl<L: Clone> Clone for PredictedLatency<L> {
    /// Learns for itself.
    fn clone(&self) -> Self {
        Self::with_fallback(self.inner.clone())
    }
}

impl<L: Load> Load for PredictedLatency<L> {
    fn score(&self, gauge: &Gauge<'_>, now: &mut Now) -> Score {
        let Some(endpoint) = gauge.meter::<Reported>() else {
            return self.inner.score(gauge, now);
        };
        let weight = gauge.weight();
        if endpoint.weight.load(Ordering::Relaxed) != weight {
            endpoint.weigh(weight);
        }
        let Some(means) = self.fleet.means() else { return self.inner.score(gauge, now) };
        let weights = self.fleet.weights();
        let (share, inverse) = weights.share(weight);
        let age = gauge.stats().age_at(now.moment());
        let own = gauge.stats().outstanding();
        let known = endpoint.known(own, weight, weights);
        let in_flight = endpoint.in_flight(own, age, means, share * known);
        // As many for its weight as these are for the mean weight.
        let level = in_flight * inverse;
        let latency = endpoint.slowness(age, known) * self.fleet.latency_at(level);
        let crowding = (level + 1.0) * means.crowding;
        let load = latency + UNEVENNESS * means.latency * crowding * crowding;
        Score { cost: load / (level + 1.0), backlog: in_flight }
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(Reported {
            fleet: Arc::clone(&self.fleet),
            last: AtomicU64::new(0),
            since: AtomicU32::new(0),
            weight: AtomicU32::new(0),
            asked: AtomicU32::new(self.fleet.answers()),
            claimed: AtomicU32::new(1.0_f32.to_bits()),
            measured: AtomicU64::new(0),
            inner: self.inner.meter(),
        }))
    }
}

/// What one endpoint has reported, and what was measured of it.
#[derive(Debug)]
struct Reported {
    fleet: Arc<Fleet>,
    /// In flight by the last report, plus one; 0 if there was none.
    last: AtomicU64,
    /// Own requests sent since.
    since: AtomicU32,
    /// In the eyes of the strategy that looked at it last; 0 if none did yet.
    weight: AtomicU32,
    /// How many answers of all endpoints there were when it was sent a request last.
    asked: AtomicU32,
    /// Latency over that of the line by its reports: the bits of an `f32`.
    claimed: AtomicU32,
    /// The same by measured latencies, as far as above [`BELIEVED`].
    measured: AtomicU64,
    inner: Option<Arc<dyn Meter>>,
}

impl Reported {
    #[inline]
    fn in_flight(&self, own: u32, age: u64, means: Means, share: f64) -> f64 {
        let last = Decayed::load(&self.last);
        let since = f64::from(self.since.load(Ordering::Relaxed).min(own));
        let own = f64::from(own);
        let assumed = means.in_flight * share;
        let excess = match last.value {
            0.0 => 0.0,
            value => {
                let kept = exp_neg(last.seconds_since(age) * means.rate);
                (f64::from(value) - 1.0 - assumed) * kept
            }
        };
        greater(assumed + excess + since, own)
    }

    /// How much of what others have in flight is assumed here, and how much of a claim to be slower
    /// than others counts: less with each turn that passes without a request.
    ///
    /// Otherwise an endpoint that looked bad once would have no occasion to look better: it reports
    /// with its responses, and measures itself by the requests that it gets.
    #[inline]
    fn known(&self, own: u32, weight: u32, weights: Weights) -> f64 {
        if own > 0 {
            return 1.0;
        }
        let answers = self.fleet.answers().wrapping_sub(self.asked.load(Ordering::Relaxed));
        weights.left_after(answers, weight)
    }

    /// The endpoint has this weight now.
    #[cold]
    fn weigh(&self, weight: u32) {
        let before = self.weight.swap(weight, Ordering::Relaxed);
        self.fleet.reweighed(before, weight);
    }

    /// Requests in flight by the last report, as many for its weight as these for the mean weight.
    fn reported_level(&self) -> Option<f64> {
        let weight = self.weight.load(Ordering::Relaxed);
        let (_, inverse) = self.fleet.weights().share(weight);
        let last = f64::from(Decayed::load(&self.last).value);
        (last > 0.0).then_some((last - 1.0) * inverse)
    }

    /// Beside others, with as many in flight: 1 is like them.
    #[inline]
    fn slowness(&self, age: u64, known: f64) -> f64 {
        let claimed: f64 = f32::from_bits(self.claimed.load(Ordering::Relaxed)).into();
        // A claim to be slower fades, a claim to be faster does not.
        let claimed = lesser(1.0 + (claimed - 1.0) * known, claimed);
        let measured = Decayed::load(&self.measured);
        if measured.value == 0.0 {
            return claimed;
        }
        let forgiven = exp_neg(measured.seconds_since(age) / FORGIVEN);
        greater(f64::from(measured.value) * forgiven / BELIEVED, claimed)
    }

    /// How a latency compares with that of the line at the last reported load.
    fn beside_others(&self, latency: f64) -> Option<f64> {
        // The mean in flight may be known before any latency is.
        if !self.fleet.is_timed() {
            return None;
        }
        let expected = self.fleet.latency_at(self.reported_level()?);
        (expected > 0.0).then(|| (latency / expected).max(QUICKEST))
    }

    /// An answer took so long.
    fn check(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        let Some(latency) = sample.latency() else { return };
        let Some(slowness) = self.beside_others(latency.as_secs_f64()) else { return };
        let slowness = slowness.min(LONGEST);
        let age = sample.age(stats);
        Decayed::update(&self.measured, |measured| {
            let forgiven = exp_neg(measured.seconds_since(age) / FORGIVEN);
            let current = f64::from(measured.value) * forgiven;
            let next = current + STEP * (slowness - current);
            // One word of the hot path is not written where there is nothing to hold against it.
            let notable = next > BELIEVED || measured.value > 0.0 || slowness > BELIEVED;
            notable.then(|| Decayed::new(next as f32, age))
        });
    }
}

impl Meter for Reported {
    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        if let Some(inner) = &self.inner {
            inner.record(stats, sample);
        }
        if sample.outcome().is_failure() || !sample.has_response() {
            return;
        }
        self.check(stats, sample);
        if let Some((latency, level)) = sample.latency().zip(self.reported_level()) {
            let now = stats.at(sample.age(stats));
            self.fleet.learn(level, latency.as_secs_f64(), now);
        }
    }

    fn needs_latency(&self) -> bool {
        true
    }

    fn start(&self, stats: &EndpointStats, start: Start) {
        self.since.fetch_add(1, Ordering::Relaxed);
        self.asked.store(self.fleet.answers(), Ordering::Relaxed);
        if let Some(inner) = self.inner.as_ref().filter(|inner| inner.needs_starts()) {
            inner.start(stats, start);
        }
    }

    fn needs_starts(&self) -> bool {
        true
    }

    fn report(&self, stats: &EndpointStats, report: &LoadReport, now: Instant) {
        if let Some(in_flight) = report.requests_in_flight() {
            let in_flight = in_flight.min(MOST_IN_FLIGHT);
            self.since.store(0, Ordering::Relaxed);
            let last = Decayed::new(in_flight as f32 + 1.0, stats.age(now));
            Decayed::update(&self.last, |_| Some(last));
            if let Some(level) = self.reported_level() {
                self.fleet.learn_untimed(level);
            }
            let told = report.latency().filter(|latency| !latency.is_zero());
            let claim = told.and_then(|latency| self.beside_others(latency.as_secs_f64()));
            if let Some(claim) = claim {
                let claimed: f64 = f32::from_bits(self.claimed.load(Ordering::Relaxed)).into();
                let claimed = claimed + STEP * (claim.min(SLOWEST) - claimed);
                self.claimed.store((claimed as f32).to_bits(), Ordering::Relaxed);
            }
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
        self.fleet.reweighed(*self.weight.get_mut(), 0);
    }
}

/// A report of more is not believed to the letter.
const MOST_IN_FLIGHT: f64 = 1e6;
