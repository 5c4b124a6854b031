use std::sync::Arc;

use crate::{
    endpoint::Health,
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, InvalidParameter, Strategy, parameter::share,
    },
};

/// What to do when too few endpoints are eligible to be believed: if most seem to be down at once, it
/// is more likely that the checks are wrong, and the few that are left would break under the traffic
/// of all.
///
/// The rule holds while fewer than half are eligible (change it by [`below_share`](Self::below_share)
/// or [`below_count`](Self::below_count)). Degraded endpoints are eligible. Endpoints that are draining
/// or have weight 0 don't count and never get requests, because they are meant to leave. While the
/// rule holds, the balancer's [`status`](crate::Balancer::status) says so; a `tracing` event tells when
/// it begins and ends.
///
/// Put it inside [`Tiers`](crate::strategy::Tiers): a tier doesn't panic while other tiers can take over its
/// traffic. Inside of a wrapper for zones it counts the endpoints of all zones together, and comes to
/// the same result as outside of it; only where requests may not leave their zone
/// ([`CrossZone::Never`](crate::strategy::CrossZone::Never)) each zone counts by itself.
///
/// Source: Envoy's panic threshold, which counts degraded hosts as available too; "best" is ours.
#[derive(Clone, Debug)]
pub struct Panic<St> {
    inner: St,
    threshold: Threshold,
    mode: PanicMode,
    /// The rule held for the last picker.
    panicking: bool,
}

/// Where requests go while the rule of a [`Panic`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum PanicMode {
    /// To all endpoints, whatever their health. The default, as in Envoy.
    #[default]
    OpenToAll,
    /// To the eligible ones, and to those of the others that have failed the fewest times
    /// in a row ([`EndpointStats::consecutive_failures`](crate::endpoint::EndpointStats::consecutive_failures)).
    OpenToBest,
    /// Nowhere: requests fail as if no endpoint was available, whatever strategies inside would admit.
    Closed,
}

#[derive(Clone, Copy, Debug)]
enum Threshold {
    Share(f64),
    Count(usize),
}

impl<St> Panic<St> {
    /// Opens to all while fewer than half of the endpoints are eligible.
    pub fn new(inner: St) -> Self {
        let threshold = Threshold::Share(0.5);
        Self { inner, threshold, mode: PanicMode::default(), panicking: false }
    }

    /// The rule holds while less than this share of the endpoints is eligible. Default 0.5; with 0 it
    /// never holds.
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] if it is not a share from 0 to 1.
    pub fn below_share(mut self, threshold: f64) -> Result<Self, InvalidParameter> {
        self.threshold = Threshold::Share(share("threshold", threshold)?);
        Ok(self)
    }

    /// The rule holds while fewer endpoints than this are eligible; if there are no more than so
    /// many, while not all are.
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] for 0, with which it would never hold.
    pub fn below_count(mut self, endpoints: usize) -> Result<Self, InvalidParameter> {
        if endpoints == 0 {
            return Err(InvalidParameter::new("count", "at least 1"));
        }
        self.threshold = Threshold::Count(endpoints);
        Ok(self)
    }

    /// Where requests go while the rule holds. Default [`PanicMode::OpenToAll`].
    #[must_use]
    pub fn mode(mut self, mode: PanicMode) -> Self {
        self.mode = mode;
        self
    }

    /// How many are eligible and how many count, if the rule holds.
    fn holds(&self, candidates: &Candidates) -> Option<(usize, usize)> {
        if candidates.others_suffice() {
            return None;
        }
        let (eligible, counted) = candidates.available(counts);
        let few = match self.threshold {
            Threshold::Share(share) => (eligible as f64) < share * counted as f64,
            Threshold::Count(count) => eligible < count.min(counted),
        };
        few.then_some((eligible, counted))
    }

    /// What the inner strategy sees while the rule holds.
    fn view(&self, candidates: &Candidates) -> Candidates {
        match self.mode {
            PanicMode::OpenToAll => candidates.admit(counts),
            PanicMode::OpenToBest => {
                let failures = |candidate: &Candidate| candidate.stats().consecutive_failures();
                let others = candidates.of_whole().filter(|one| counts(one) && !one.is_eligible());
                let fewest = others.map(failures).min();
                let best = |one: &Candidate| one.is_eligible() || Some(failures(one)) == fewest;
                candidates.admit(|candidate| counts(candidate) && best(candidate))
            }
            // Not only none that is eligible: a panic rule further in must not let them in again.
            PanicMode::Closed => candidates.part(|_| false),
        }
    }
}

/// True unless somebody wants the endpoint to go.
pub(super) fn counts(candidate: &Candidate) -> bool {
    candidate.weight() > 0 && !matches!(candidate.health(), Health::Draining(_))
}

impl<St: Strategy> Strategy for Panic<St> {
    type Picker = St::Picker;

    fn build(&mut self, candidates: &Candidates, context: &mut BuildContext) -> Built<St::Picker> {
        let holds = self.holds(candidates);
        let before = std::mem::replace(&mut self.panicking, holds.is_some());
        let Some((eligible, of)) = holds else {
            if before {
                tracing::info!("enough endpoints are eligible again");
            }
            return self.inner.build(candidates, context);
        };
        if !before {
            tracing::warn!(eligible, of, mode = ?self.mode, "too few endpoints are eligible");
        }
        let whither = match self.mode {
            PanicMode::OpenToAll => "to all",
            PanicMode::OpenToBest => "to the best of the others too",
            PanicMode::Closed => "nowhere",
        };
        let notice = format!("panic: {eligible} of {of} endpoints eligible, requests go {whither}");
        self.inner.build(&self.view(candidates), context).with_notices([notice])
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }
}
