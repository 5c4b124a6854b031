use std::{collections::BTreeMap, fmt::Write as _, iter, sync::Arc};

use super::{
    built_parts::{BuiltParts, PartPicker, first_accepted},
    panic::counts,
    part_strategies::PartStrategies,
};
use crate::{
    endpoint::Health,
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, InvalidParameter, Pick, PickContext, Strategy,
        sampling::draw::Draw,
    },
};

/// Priority tiers: requests go to the first tier, and to the next ones in so far as it lacks healthy
/// endpoints.
///
/// A tier can take its share of healthy endpoints times 1.4 of the traffic
/// ([`overprovisioning`](Self::overprovisioning)): it spills nothing until less than 72 % of it are
/// healthy, and what it spills from there on is in proportion. Degraded endpoints come after the
/// healthy ones of all tiers, by the same rule. If all tiers together can't take the traffic, they
/// share it in proportion to what they can take; if none has an eligible endpoint, the first gets it
/// all, and a [`Panic`](crate::strategy::Panic) inside may make something of it.
///
/// A request that has been to the endpoints of its tier goes to the next one. Endpoints that are
/// draining or have weight 0 count for nothing. Numbers of tiers may have gaps.
///
/// Source: Envoy's priority levels. Where we differ: shares are exact instead of whole percents, and
/// when no tier has a healthy endpoint traffic is not spread over all tiers by their size.
#[derive(Clone, Debug)]
pub struct Tiers<St> {
    parts: PartStrategies<Tier, St>,
    overprovisioning: f64,
    backup_from: Option<u32>,
    by_weight: bool,
}

/// Degraded endpoints of a tier come after the healthy ones of all tiers.
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
    /// Proportional spill with an overprovisioning of 1.4, no backup tiers.
    pub fn new(inner: St) -> Self {
        Self {
            parts: PartStrategies::new(inner),
            overprovisioning: 1.4,
            backup_from: None,
            by_weight: false,
        }
    }

    /// How much more traffic than their share the endpoints of a tier can take: with 1.4, five
    /// healthy ones of seven can take that of all. Default 1.4.
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] below 1 or if it is not a number.
    pub fn overprovisioning(mut self, factor: f64) -> Result<Self, InvalidParameter> {
        if !(1.0..f64::INFINITY).contains(&factor) {
            return Err(InvalidParameter::new("overprovisioning", "a number of at least 1"));
        }
        self.overprovisioning = factor;
        Ok(self)
    }

    /// The first tier with an eligible endpoint gets all the traffic, as in gRPC and HAProxy.
    #[must_use]
    pub fn all_or_nothing(mut self) -> Self {
        self.overprovisioning = f64::INFINITY;
        self
    }

    /// Tiers of this number and above are backups: they get traffic only while no other tier has an
    /// eligible endpoint. Default: there are none.
    #[must_use]
    pub fn backup_from(mut self, tier: u32) -> Self {
        self.backup_from = Some(tier);
        self
    }

    /// Measures tiers by the weight of their endpoints instead of by their number.
    #[must_use]
    pub fn by_weight(mut self) -> Self {
        self.by_weight = true;
        self
    }

    /// What each tier gets of the traffic, in order of preference.
    fn plan(&self, candidates: &Candidates) -> Vec<Planned> {
        let mut sizes: BTreeMap<Tier, Size> = BTreeMap::new();
        for candidate in candidates.everyone().filter(|candidate| counts(candidate)) {
            let tier = tier_of(candidate);
            let size = if self.by_weight { f64::from(candidate.weight()) } else { 1.0 };
            // What is not healthy is missing from both, the healthy and the degraded.
            for degraded in [false, true] {
                sizes.entry(Tier { degraded, ..tier }).or_default().total += size;
            }
        }
        for candidate in candidates.iter() {
            let size = if self.by_weight { f64::from(candidate.weight()) } else { 1.0 };
            sizes.entry(tier_of(candidate)).or_default().eligible += size;
        }
        let is_backup = |tier: &Tier| self.backup_from.is_some_and(|from| tier.number >= from);
        if sizes.iter().any(|(tier, size)| size.eligible > 0.0 && !is_backup(tier)) {
            for (_, size) in sizes.iter_mut().filter(|(tier, _)| is_backup(tier)) {
                size.held_back = true;
            }
        }
        let capacities: Vec<f64> =
            sizes.values().map(|size| size.capacity(self.overprovisioning)).collect();
        let all = capacities.iter().sum::<f64>().min(1.0);
        let mut left = 1.0;
        let planned = sizes.iter().zip(capacities).filter(|((_, size), _)| size.eligible > 0.0);
        let mut plan: Vec<_> = planned
            .map(|((&tier, _), capacity)| {
                let share = if all > 0.0 { (capacity / all).min(left) } else { 0.0 };
                left -= share;
                (tier, share)
            })
            .collect();
        if plan.is_empty() {
            // Also a tier whose endpoints count for nothing is built, for what its strategy has to say.
            let numbers = candidates.everyone().map(|candidate| candidate.tier());
            let first = sizes.keys().next().copied();
            let first = first.or_else(|| Some(Tier { degraded: false, number: numbers.min()? }));
            plan.extend(first.map(|first| (first, 1.0)));
        }
        let tiers = candidates.partition(|candidate| Some(candidate.tier()));
        let planned = plan.into_iter().filter_map(|(tier, share)| {
            let whole = tiers.get(&tier.number)?;
            // A panic rule counts healthy and degraded endpoints of the tier together.
            let part = whole.filter(|candidate| is_degraded(candidate) == tier.degraded);
            let candidates = part.as_part_of(whole).while_others_suffice(all >= 1.0);
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
    held_back: bool,
}

impl Size {
    /// The share of all traffic that it can take.
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
        let picker = TiersPicker { tiers: tiers.into(), draw: Draw::new(&shares) };
        all.finish(candidates, picker).with_notices(spill(&plan))
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.parts.meter()
    }
}

/// What to say if the first tier does not get all the traffic.
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
#[derive(Debug)]
pub struct TiersPicker<P> {
    /// In order of preference.
    tiers: Box<[PartPicker<P>]>,
    draw: Draw,
}

impl<P: Pick<Req>, Req> Pick<Req> for TiersPicker<P> {
    #[inline]
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let first = self.tiers.get(self.draw.draw(context.rng()))?;
        first_accepted(iter::once(first).chain(&self.tiers), request, context)
    }
}
