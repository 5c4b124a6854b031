use std::sync::Arc;

use crate::{
    ConfigError,
    endpoint::Health,
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Strategy, explain::Rule},
};

/// Sends requests to unhealthy endpoints too while too few endpoints are eligible.
///
/// If most endpoints seem to be down at once, it is more likely that the health checks are wrong.
/// The few eligible endpoints would fail under the traffic of all.
///
/// By default the rule holds while fewer than half of the endpoints are eligible; see
/// [`below_share`](Self::below_share) and [`below_count`](Self::below_count). Degraded endpoints
/// are eligible. Endpoints that are draining or have weight 0 do not count and never get requests.
/// While the rule holds, the balancer's [`status`](crate::Balancer::status) has a notice. A
/// `tracing` event marks its begin and its end.
///
/// - Inside [`Tiers`](crate::strategy::Tiers) it counts each tier. A tier does not panic while
///   other tiers can take over its traffic.
/// - Inside a wrapper for zones it counts the endpoints of all zones together, as outside of it.
/// - With [`CrossZone::Never`](crate::strategy::CrossZone::Never) it counts each zone.
///
/// Source: Envoy's panic threshold, which also counts degraded hosts as available. Where this
/// differs: [`PanicMode::OpenToBest`] is new.
#[derive(Clone, Debug)]
pub struct Panic<St> {
    inner: St,
    threshold: Threshold,
    mode: PanicMode,
    /// Whether the rule held for the last picker.
    panicking: bool,
}

/// Where requests go while the rule of a [`Panic`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "alb", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum PanicMode {
    /// All endpoints, whatever their health. The default, as in Envoy.
    #[default]
    OpenToAll,
    /// The eligible endpoints, and of the others those with the fewest consecutive failures.
    OpenToBest,
    /// No endpoint: requests fail as if none was available, whatever inner strategies would admit.
    Closed,
}

#[derive(Clone, Copy, Debug)]
enum Threshold {
    Share(f64),
    Count(usize),
}

impl<St> Panic<St> {
    /// Wraps `inner`: requests go to all endpoints while fewer than half of them are eligible.
    pub fn new(inner: St) -> Self {
        let threshold = Threshold::Share(0.5);
        Self { inner, threshold, mode: PanicMode::default(), panicking: false }
    }

    /// Applies the rule while less than a share of `threshold` of the endpoints is eligible.
    /// Default 0.5; with 0 the rule never holds.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless `threshold` is from 0 to 1.
    pub fn below_share(mut self, threshold: f64) -> Result<Self, ConfigError> {
        ConfigError::unless_within("threshold", threshold, [0.0, 1.0])?;
        self.threshold = Threshold::Share(threshold);
        Ok(self)
    }

    /// Applies the rule while fewer than `count` endpoints are eligible. If there are only `count`
    /// endpoints or fewer, it holds while not all of them are eligible.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if `count` is 0, with which the rule would never hold.
    pub fn below_count(mut self, count: usize) -> Result<Self, ConfigError> {
        ConfigError::if_zero("count", count as u64)?;
        self.threshold = Threshold::Count(count);
        Ok(self)
    }

    /// Sets where requests go while the rule holds. Default [`PanicMode::OpenToAll`].
    #[must_use]
    pub fn mode(mut self, mode: PanicMode) -> Self {
        self.mode = mode;
        self
    }

    /// Returns whether the rule holds, with the number of eligible endpoints and of those that
    /// count.
    fn holds(&self, candidates: &Candidates) -> (bool, usize, usize) {
        let (eligible, counted) = candidates.available(counts);
        let few = match self.threshold {
            Threshold::Share(share) => (eligible as f64) < share * counted as f64,
            Threshold::Count(count) => eligible < count.min(counted),
        };
        (few && !candidates.others_suffice(), eligible, counted)
    }

    /// Returns what the inner strategy sees while the rule holds.
    fn view(&self, candidates: &Candidates) -> Candidates {
        match self.mode {
            PanicMode::OpenToAll => candidates.admit(counts),
            PanicMode::OpenToBest => {
                let failures = |candidate: &Candidate| candidate.stats().consecutive_failures();
                let others =
                    candidates.all_of_whole().filter(|one| counts(one) && !one.is_eligible());
                let fewest = others.map(failures).min();
                let best = |one: &Candidate| one.is_eligible() || Some(failures(one)) == fewest;
                candidates.admit(|candidate| counts(candidate) && best(candidate))
            }
            // An empty part, not only an empty eligible set: a panic rule inside would admit all
            // again.
            PanicMode::Closed => candidates.part(|_| false),
        }
    }
}

/// Returns true if the endpoint is meant to get requests: it is not draining and its weight is
/// above 0.
pub(super) fn counts(candidate: &Candidate) -> bool {
    candidate.weight() > 0 && !matches!(candidate.health(), Health::Draining(_))
}

impl<St: Strategy> Strategy for Panic<St> {
    type Picker = St::Picker;

    fn build(&mut self, candidates: &Candidates, context: &mut BuildContext) -> Built<St::Picker> {
        let (holds, eligible, of) = self.holds(candidates);
        let before = std::mem::replace(&mut self.panicking, holds);
        if !holds {
            if before {
                tracing::info!(
                    balancer = context.balancer(),
                    eligible,
                    of,
                    "enough endpoints are eligible again"
                );
            }
            let others = if candidates.others_suffice() { ", and others can help" } else { "" };
            let decision = format!("does not hold, {eligible} of {of} eligible{others}");
            return self
                .inner
                .build(candidates, context)
                .with_rules([Rule::new("panic", decision)]);
        }
        if !before {
            tracing::warn!(
                balancer = context.balancer(),
                eligible,
                of,
                mode = ?self.mode,
                "too few endpoints are eligible"
            );
        }
        let destination = match self.mode {
            PanicMode::OpenToAll => "to all",
            PanicMode::OpenToBest => "to the best of the others too",
            PanicMode::Closed => "nowhere",
        };
        let notice =
            format!("panic: {eligible} of {of} endpoints eligible, requests go {destination}");
        let view = self.view(candidates);
        let decision = format!("holds, {eligible} of {of} eligible, requests go {destination}");
        let rule = Rule::new("panic", decision).excluding(candidates, &view, "panic closed");
        self.inner.build(&view, context).with_notices([notice]).with_rules([rule])
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }
}
