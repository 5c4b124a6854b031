use std::{collections::BTreeMap, fmt::Write as _, iter, sync::Arc};

use super::{
    built_parts::{BuiltParts, PartPicker},
    panic::counts,
    part_strategies::PartStrategies,
};
use crate::{
    ConfigError,
    endpoint::Health,
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
        explain::{Observe, observed_pick},
        sampling::draw::Draw,
    },
};

/// Priority tiers: requests go to the first tier, and spill to the next ones as far as it lacks
/// healthy endpoints.
///
/// - A tier can take a share of the traffic of 1.4 times its share of healthy endpoints (see
///   [`overprovisioning`](Self::overprovisioning)). It spills nothing until less than 72 % of its
///   endpoints are healthy; below that it spills in proportion.
/// - Degraded endpoints come after the healthy endpoints of all tiers, by the same rule.
/// - If all tiers together cannot take the traffic, they share it in proportion to what each can
///   take.
/// - If no tier has an eligible endpoint, the first tier gets all requests, which a
///   [`Panic`](crate::strategy::Panic) inside may admit.
/// - A request that has tried the endpoints of its tier goes to the next tier.
/// - Endpoints that are draining or have weight 0 do not count. Tier numbers may have gaps.
///
/// Source: Envoy's priority levels. Where this differs: shares are exact instead of whole percents,
/// and traffic is not spread over all tiers by size when no tier has a healthy endpoint.
#[derive(Clone, Debug)]
pub struct Tiers<St> {
    parts: PartStrategies<Tier, St>,
    overprovisioning: f64,
    backup_from: Option<u32>,
    by_weight: bool,
}

/// The healthy or the degraded endpoints of a tier. Orders the degraded ones after all healthy
/// ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Tier {
    degraded: bool,
    number: u32,
}

#[derive(Clone, Debug)]
struct Planned {
    tier: Tier,
    share: f64,
    candidates: Candidates,
}

impl<St: Strategy + Clone> Tiers<St> {
    /// Wraps `inner`, with an overprovisioning of 1.4 and without backup tiers.
    pub fn new(inner: St) -> Self {
        Self {
            parts: PartStrategies::new(inner),
            overprovisioning: 1.4,
            backup_from: None,
            by_weight: false,
        }
    }

    /// Sets how much more traffic than its own share an endpoint can take. With 1.4, five healthy
    /// endpoints out of seven take all of the tier's traffic. Default 1.4.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless `factor` is a finite number of at least 1.
    pub fn overprovisioning(mut self, factor: f64) -> Result<Self, ConfigError> {
        let valid = (1.0..f64::INFINITY).contains(&factor);
        ConfigError::unless(valid, "overprovisioning", factor, "a finite number of at least 1")?;
        self.overprovisioning = factor;
        Ok(self)
    }

    /// Sends all requests to the first tier with an eligible endpoint, as gRPC and HAProxy do.
    #[must_use]
    pub fn all_or_nothing(mut self) -> Self {
        self.overprovisioning = f64::INFINITY;
        self
    }

    /// Makes the tiers from number `tier` on backups: they get requests only while no other tier
    /// has an eligible endpoint. Default: no backup tiers.
    #[must_use]
    pub fn backup_from(mut self, tier: u32) -> Self {
        self.backup_from = Some(tier);
        self
    }

    /// Measures tiers by the weights of their endpoints instead of by the number of endpoints.
    #[must_use]
    pub fn by_weight(mut self) -> Self {
        self.by_weight = true;
        self
    }

    /// Returns the tiers that are built, in order of preference, with their shares of the traffic.
    fn plan(&self, candidates: &Candidates) -> Vec<Planned> {
        let size = |candidate: &Candidate| {
            if self.by_weight { f64::from(candidate.weight()) } else { 1.0 }
        };
        let mut sizes: BTreeMap<Tier, Size> = BTreeMap::new();
        for candidate in candidates.all().filter(|candidate| counts(candidate)) {
            let tier = tier_of(candidate);
            // The total of both halves is the whole tier: an unhealthy endpoint reduces the
            // capacity of the healthy half and of the degraded half.
            for degraded in [false, true] {
                sizes.entry(Tier { degraded, ..tier }).or_default().total += size(candidate);
            }
        }
        for candidate in candidates.iter() {
            sizes.entry(tier_of(candidate)).or_default().eligible += size(candidate);
        }
        let is_backup = |tier: &Tier| self.backup_from.is_some_and(|from| tier.number >= from);
        if sizes.iter().any(|(tier, size)| size.eligible > 0.0 && !is_backup(tier)) {
            for (_, size) in sizes.iter_mut().filter(|(tier, _)| is_backup(tier)) {
                size.held_back = true;
            }
        }
        let capacities: Vec<f64> =
            sizes.values().map(|size| size.capacity(self.overprovisioning)).collect();
        let total = capacities.iter().sum::<f64>().min(1.0);
        let mut unassigned = 1.0;
        let planned = sizes.iter().zip(capacities).filter(|((_, size), _)| size.eligible > 0.0);
        let mut plan: Vec<_> = planned
            .map(|((&tier, _), capacity)| {
                let share = if total > 0.0 { (capacity / total).min(unassigned) } else { 0.0 };
                unassigned -= share;
                (tier, share)
            })
            .collect();
        if plan.is_empty() {
            // Builds the first tier even if none of its endpoints counts, for its strategy's
            // notices.
            let numbers = candidates.all().map(|candidate| candidate.tier());
            let first = sizes.keys().next().copied();
            let first = first.or_else(|| Some(Tier { degraded: false, number: numbers.min()? }));
            plan.extend(first.map(|first| (first, 1.0)));
        }
        let tiers = candidates.partition(|candidate| Some(candidate.tier()));
        let planned = plan.into_iter().filter_map(|(tier, share)| {
            let whole = tiers.get(&tier.number)?;
            // A panic rule inside counts healthy and degraded endpoints of the tier together.
            let part = whole.filter(|candidate| is_degraded(candidate) == tier.degraded);
            let candidates = part.as_part_of(whole).while_others_suffice(total >= 1.0);
            Some(Planned { tier, share, candidates })
        });
        planned.collect()
    }
}

fn tier_of(candidate: &Candidate) -> Tier {
    Tier { degraded: is_degraded(candidate), number: candidate.tier() }
}

fn is_degraded(candidate: &Candidate) -> bool {
    matches!(candidate.health(), Health::Degraded(_))
}

#[derive(Clone, Copy, Debug, Default)]
struct Size {
    eligible: f64,
    total: f64,
    /// The tier is a backup, and another tier has an eligible endpoint.
    held_back: bool,
}

impl Size {
    /// Returns the share of all traffic that the tier can take.
    fn capacity(self, overprovisioning: f64) -> f64 {
        if self.eligible == 0.0 || self.held_back {
            return 0.0;
        }
        (overprovisioning * self.eligible / self.total).min(1.0)
    }
}

impl<St: Strategy + Clone> Strategy for Tiers<St> {
    type Picker = TiersPicker<St::Picker>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        let plan = self.plan(candidates);
        let (mut inner, mut all) = (self.parts.rebuild(), BuiltParts::default());
        let parts = plan.iter().filter_map(|one| {
            let built = inner.build(one.tier, &one.candidates, context);
            Some((all.add(one.tier, built)?, one.share))
        });
        let (tiers, shares): (Vec<_>, Vec<_>) = parts.unzip();
        let draw = Draw::new(&shares);
        let picker = TiersPicker { tiers: tiers.into(), draw, shares: shares.into() };
        all.finish(candidates, picker).with_notices(spill(&plan))
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.parts.meter()
    }
}

/// Returns a notice if the first tier does not get all the traffic.
fn spill(plan: &[Planned]) -> Option<String> {
    plan.first().filter(|first| first.share < 1.0)?;
    let mut notice = String::from("traffic by tier:");
    for Planned { tier, share, .. } in plan.iter().filter(|one| one.share > 0.0) {
        let _ = write!(notice, " {tier} {:.1} %", share * 100.0);
    }
    Some(notice)
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let degraded = if self.degraded { " (degraded)" } else { "" };
        write!(f, "tier {}{degraded}", self.number)
    }
}

/// The picker of [`Tiers`].
#[expect(unnameable_types, reason = "named as <Tiers as Strategy>::Picker")]
#[derive(Debug)]
pub struct TiersPicker<P> {
    /// In order of preference.
    tiers: Box<[PartPicker<P>]>,
    draw: Draw,
    /// The share of each tier, which explanations contain.
    shares: Box<[f64]>,
}

impl<P> TiersPicker<P> {
    #[inline]
    fn pick_with<Req>(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate>
    where
        P: Pick<Req>,
    {
        observer.step("tiers");
        let first = self.tiers.get(self.draw.draw(context.rng()))?;
        observer.say(|| PartPicker::describe_draw(first, &self.tiers, &self.shares));
        let tiers = iter::once(first).chain(&self.tiers);
        PartPicker::first_accepted_with(tiers, request, context, observer)
    }
}

impl<P: Pick<Req>, Req> Pick<Req> for TiersPicker<P> {
    observed_pick!(Req);
}
