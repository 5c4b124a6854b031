use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use tokio::time::Instant;

use super::{
    Gauge, Load, Now, PeakEwma, Score,
    decayed::{Decayed, exp_neg},
    fleet::{Fleet, Means},
};
use crate::{
    endpoint::Vitals,
    outcome::{LoadReport, Meter, Sample, Start},
};

/// The latency that one more request will have, predicted from what servers
/// [report](LoadReport) of their requests in flight.
///
/// Reports come with responses, from probes ([`Probed`](crate::strategy::Probed)) or both. A load
/// is computed in three steps, `L` and `R` being the mean latency and requests in flight over all
/// reports of late (time constant 5 s):
///
/// 1. **Requests in flight, now.** The reported number drifts to `R` as it ages, with the time
///    constant `L`: after that time most of what it counted has been answered. Own requests since
///    the report are added, as far as they are still in flight; it is never less than those.
/// 2. **Latency with so many in flight.** A straight line fitted to all reports, times how slow the
///    endpoint is beside it: a moving average (a tenth per report) of the latency it reports over
///    the line's. Latencies above `5 L` count as that. An endpoint without a report yet is like all
///    others.
/// 3. **Unevenness.** `L / 2 * ((r + 1) / (R + 1))^2` is added, so that requests go where few are
///    also when the line is flat.
///
/// **Checks.** A server that claims to be idle for ever attracts nothing for long: its own requests
/// count anyway, and where answers take more than three times what it claims, the measured latency
/// counts (it is forgiven with a time constant of 30 s). Reports that tell no requests in flight
/// are ignored. Without latencies in reports, those measured here teach the line; until there are any,
/// requests in flight alone count.
///
/// **Degrading.** An endpoint that doesn't report counts as one with an old report. While nobody
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
/// Times that answers may take longer than claimed before that is held against the endpoint.
const BELIEVED: f64 = 3.0;
/// A single answer counts as at most so many times the latency claimed: it takes several to be held
/// against the endpoint.
const LONGEST: f64 = 10.0;
/// Time constant, in seconds, with which that is forgiven.
const FORGIVEN: f64 = 30.0;

impl PredictedLatency {
    /// Falls back to a [`PeakEwma`] of 10 s while nobody reports.
    #[must_use]
    pub fn new() -> Self {
        Self::or(PeakEwma::new())
    }
}

impl<L> PredictedLatency<L> {
    /// Falls back to `inner` while nobody reports.
    pub fn or(inner: L) -> Self {
        Self { inner, fleet: Arc::default() }
    }
}

impl<L: Clone> Clone for PredictedLatency<L> {
    /// Learns for itself.
    fn clone(&self) -> Self {
        Self::or(self.inner.clone())
    }
}

impl<L: Load> Load for PredictedLatency<L> {
    fn score(&self, gauge: &Gauge<'_>, now: &mut Now) -> Score {
        let means = self.fleet.means();
        let Some((endpoint, means)) = gauge.meter::<Reported>().zip(means) else {
            return self.inner.score(gauge, now);
        };
        let age = gauge.vitals().age_at(now.moment());
        let in_flight = endpoint.in_flight(gauge.vitals(), age, means);
        let latency = endpoint.slowness(age) * self.fleet.latency_at(in_flight);
        let crowding = (in_flight + 1.0) / (means.in_flight + 1.0);
        let load = latency + UNEVENNESS * means.latency * crowding * crowding;
        Score { cost: load / (in_flight + 1.0), backlog: in_flight }
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(Reported {
            fleet: Arc::clone(&self.fleet),
            last: AtomicU64::new(0),
            since: AtomicU32::new(0),
            tells_latency: AtomicBool::new(false),
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
    tells_latency: AtomicBool,
    /// Latency over that of the line by its reports: the bits of an `f32`.
    claimed: AtomicU32,
    /// The same by measured latencies, as far as above [`BELIEVED`].
    measured: AtomicU64,
    inner: Option<Arc<dyn Meter>>,
}

impl Reported {
    fn in_flight(&self, vitals: &Vitals, age: u64, means: Means) -> f64 {
        let last = Decayed::load(&self.last);
        let own = f64::from(vitals.outstanding());
        let since = f64::from(self.since.load(Ordering::Relaxed)).min(own);
        let excess = match last.value {
            0.0 => 0.0,
            value => {
                let kept = exp_neg(last.seconds_since(age) / means.latency);
                (f64::from(value) - 1.0 - means.in_flight) * kept
            }
        };
        (means.in_flight + excess + since).max(own)
    }

    /// Beside others, with as many in flight: 1 is like them.
    fn slowness(&self, age: u64) -> f64 {
        let claimed: f64 = f32::from_bits(self.claimed.load(Ordering::Relaxed)).into();
        let measured = Decayed::load(&self.measured);
        if measured.value == 0.0 {
            return claimed;
        }
        let forgiven = exp_neg(measured.seconds_since(age) / FORGIVEN);
        claimed.max(f64::from(measured.value) * forgiven / BELIEVED)
    }

    /// How a latency compares with that of the line at the last reported load.
    fn beside_others(&self, latency: f64) -> Option<f64> {
        let last = Decayed::load(&self.last).value;
        let expected = self.fleet.latency_at(f64::from(last) - 1.0);
        (last > 0.0 && expected > 0.0).then(|| (latency / expected).max(QUICKEST))
    }

    /// An answer took so long.
    fn check(&self, vitals: &Vitals, sample: &Sample<'_>) {
        let Some(latency) = sample.latency() else { return };
        let Some(slowness) = self.beside_others(latency.as_secs_f64()) else { return };
        let slowness = slowness.min(LONGEST);
        let age = sample.age(vitals);
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
    fn record(&self, vitals: &Vitals, sample: &Sample<'_>) {
        if let Some(inner) = &self.inner {
            inner.record(vitals, sample);
        }
        if sample.outcome().is_failure() || !sample.has_response() {
            return;
        }
        self.check(vitals, sample);
        let last = Decayed::load(&self.last).value;
        if let (Some(latency), false) =
            (sample.latency(), self.tells_latency.load(Ordering::Relaxed))
        {
            if last > 0.0 {
                let now = vitals.at(sample.age(vitals));
                self.fleet.learn(f64::from(last) - 1.0, latency.as_secs_f64(), now);
            }
        }
    }

    fn needs_latency(&self) -> bool {
        true
    }

    fn start(&self, vitals: &Vitals, start: Start) {
        self.since.fetch_add(1, Ordering::Relaxed);
        if let Some(inner) = self.inner.as_ref().filter(|inner| inner.needs_starts()) {
            inner.start(vitals, start);
        }
    }

    fn needs_starts(&self) -> bool {
        true
    }

    fn report(&self, vitals: &Vitals, report: &LoadReport, now: Instant) {
        if let Some(in_flight) = report.requests_in_flight() {
            let in_flight = in_flight.min(MOST_IN_FLIGHT);
            self.since.store(0, Ordering::Relaxed);
            let last = Decayed::new(in_flight as f32 + 1.0, vitals.age(now));
            Decayed::update(&self.last, |_| Some(last));
            let told = report.latency().filter(|latency| !latency.is_zero());
            self.tells_latency.store(told.is_some(), Ordering::Relaxed);
            if told.is_none() {
                self.fleet.learn_untimed(in_flight);
            }
            if let Some(latency) = told.map(|latency| latency.as_secs_f64()) {
                self.fleet.learn(in_flight, latency, now);
                if let Some(claim) = self.beside_others(latency) {
                    let claimed: f64 = f32::from_bits(self.claimed.load(Ordering::Relaxed)).into();
                    let claimed = claimed + STEP * (claim.min(SLOWEST) - claimed);
                    self.claimed.store((claimed as f32).to_bits(), Ordering::Relaxed);
                }
            }
        }
        if let Some(inner) = self.inner.as_ref().filter(|inner| inner.needs_reports()) {
            inner.report(vitals, report, now);
        }
    }

    fn needs_reports(&self) -> bool {
        true
    }

    fn inner(&self) -> Option<&dyn Meter> {
        self.inner.as_deref()
    }
}

/// A report of more is not believed to the letter.
const MOST_IN_FLIGHT: f64 = 1e6;
