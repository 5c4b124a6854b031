//! Which endpoints requests may go to, by the documentation of each wrapper, worked out with plain sets.

use std::collections::{BTreeMap, BTreeSet};

use tower_lb::{
    endpoint::{Health, Locality},
    strategy::{Candidate, CrossZone, PanicMode},
};

use crate::tree::{Item, Labels, Threshold, Tree};

/// What is known of an endpoint when a picker is built.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) key: usize,
    weight: u32,
    health: Health,
    tier: u32,
    locality: Option<Locality>,
    version: Option<String>,
    stage: Option<String>,
    failures: u32,
}

impl Fact {
    pub(crate) fn of(candidate: &Candidate) -> Self {
        let label = |name| candidate.metadata().get(name).map(str::to_owned);
        Self {
            key: candidate.name().parse().unwrap(),
            weight: candidate.weight(),
            health: candidate.health().clone(),
            tier: candidate.tier(),
            locality: candidate.locality().cloned(),
            version: label("version"),
            stage: label("stage"),
            failures: candidate.stats().consecutive_failures(),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        matches!(self.health, Health::Draining(_)) || self.weight == 0 && self.health.is_serving()
    }

    fn is_eligible(&self) -> bool {
        self.weight > 0 && self.health.is_serving()
    }

    fn is_degraded(&self) -> bool {
        matches!(self.health, Health::Degraded(_))
    }

    /// Nobody wants it to go.
    fn counts(&self) -> bool {
        self.weight > 0 && !matches!(self.health, Health::Draining(_))
    }

    fn zone(&self) -> Option<&str> {
        self.locality.as_ref().map(Locality::zone)
    }

    fn label(&self, name: &str) -> Option<&str> {
        match name {
            "version" => self.version.as_deref(),
            _ => self.stage.as_deref(),
        }
    }

    fn has(&self, labels: &Labels) -> bool {
        labels.iter().all(|(name, value)| self.label(name) == Some(value))
    }
}

/// What a request asks for: values of the labels "version" and "stage".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub(crate) version: Option<&'static str>,
    pub(crate) stage: Option<&'static str>,
}

impl Class {
    fn wants(self, name: &str) -> Option<&'static str> {
        if name == "version" { self.version } else { self.stage }
    }
}

/// What decides beside the endpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Env {
    /// By the number of the handle.
    pub(crate) away: Vec<BTreeSet<String>>,
    pub(crate) shares: BTreeMap<usize, Vec<u32>>,
    /// What is left out, as notices say: a function, or all of them; and the region.
    pub(crate) throttled: Vec<(Option<usize>, Option<String>)>,
}

impl Env {
    /// What the notices say of throttles.
    pub(crate) fn learn(&mut self, notices: &[String]) {
        for notice in notices {
            let Some((_, domain)) = notice.split_once("left out because of throttles: ") else {
                continue;
            };
            let (what, region) = match domain.split_once(" in ") {
                Some((what, region)) => (what, Some(region.to_owned())),
                None => (domain, None),
            };
            let function = what.strip_prefix("function ").map(|name| name.parse().unwrap());
            self.throttled.push((function, region));
        }
        self.throttled.sort();
        self.throttled.dedup();
    }
}

type Set = BTreeSet<usize>;

/// Positions of endpoints, as a wrapper hands them to the next.
#[derive(Clone, Debug)]
struct View {
    eligible: Set,
    everyone: Set,
    /// Of what a panic rule counts, where that is more.
    whole: Option<(Set, Set)>,
    /// The endpoints that can take over for these; `None` is all.
    reach: Option<Set>,
    others_suffice: bool,
}

impl View {
    fn part(&self, belongs: impl Fn(usize) -> bool) -> Self {
        let of = |set: &Set| set.iter().copied().filter(|&one| belongs(one)).collect::<Set>();
        Self {
            eligible: of(&self.eligible),
            everyone: of(&self.everyone),
            whole: self.whole.as_ref().map(|(eligible, everyone)| (of(eligible), of(everyone))),
            reach: self.reach.clone(),
            others_suffice: self.others_suffice,
        }
    }

    fn confined(self, confined: bool) -> Self {
        let reach = if confined { Some(self.everyone.clone()) } else { self.reach };
        Self { reach, ..self }
    }

    fn filter(&self, keep: impl Fn(usize) -> bool) -> Self {
        let part = self.part(keep);
        let whole = part.whole.zip(self.whole.as_ref());
        let whole = whole.map(|((eligible, _), (_, everyone))| (eligible, everyone.clone()));
        Self { everyone: self.everyone.clone(), whole, ..part }
    }

    fn within(self, whole: &Self) -> Self {
        let itself = || (whole.eligible.clone(), whole.everyone.clone());
        Self { whole: Some(whole.whole.clone().unwrap_or_else(itself)), ..self }
    }

    fn admit(&self, admit: impl Fn(usize) -> bool) -> Self {
        let of = |set: &Set| set.iter().copied().filter(|&one| admit(one)).collect::<Set>();
        Self {
            eligible: of(&self.everyone),
            everyone: self.everyone.clone(),
            whole: self.whole.as_ref().map(|(_, everyone)| (of(everyone), everyone.clone())),
            reach: self.reach.clone(),
            others_suffice: self.others_suffice,
        }
    }
}

/// The endpoints, by their keys, that requests of the class may go to; all that any may without a class.
pub(crate) fn admitted(tree: &Tree, facts: &[Fact], env: &Env, class: Option<Class>) -> Set {
    let everyone: Set = (0..facts.len()).collect();
    let eligible = everyone.iter().copied().filter(|&one| facts[one].is_eligible()).collect();
    let view = View { eligible, everyone, whole: None, reach: None, others_suffice: false };
    let oracle = Oracle { facts, env, class };
    oracle.of(tree, &view).into_iter().map(|one| facts[one].key).collect()
}

struct Oracle<'a> {
    facts: &'a [Fact],
    env: &'a Env,
    class: Option<Class>,
}

impl Oracle<'_> {
    fn of(&self, tree: &Tree, view: &View) -> Set {
        match tree {
            Tree::Leaf(_) => view.eligible.clone(),
            Tree::Classified(inner)
            | Tree::Probed(inner)
            | Tree::Sticky { inner, .. }
            | Tree::Aimd { inner, .. } => self.of(inner, view),
            Tree::Tiers { overprovisioning, backup_from, by_weight, inner } => {
                self.tiers(*overprovisioning, *backup_from, *by_weight, inner, view)
            }
            Tree::Panic { mode, threshold, inner } => self.panic(*mode, *threshold, inner, view),
            Tree::Zones { local, crossing, inner, .. } => {
                self.zones((*crossing == CrossZone::Never).then_some(local), inner, view)
            }
            Tree::LoadAwareZones { inner, .. } => self.zones(None, inner, view),
            Tree::Shift { handle, inner } => {
                let away = &self.env.away[*handle];
                let is_in = |one: &Fact| one.zone().is_none_or(|zone| !away.contains(zone));
                let left = view.part(|one| is_in(&self.facts[one]));
                let futile = left.eligible.is_empty() && !self.is_left(view, is_in);
                self.of(inner, if futile { view } else { &left })
            }
            Tree::Subset { items, inner } => {
                let last = items.len() - 1;
                let parts = items.iter().enumerate();
                let parts = parts.map(|(index, one)| self.fixed(one, inner, view, index == last));
                parts.flatten().collect()
            }
            Tree::SubsetBy { items, inner } => {
                let last = items.len() - 1;
                let parts = items.iter().enumerate().map(|(index, item)| match item {
                    Item::Fixed(labels) => self.fixed(labels, inner, view, index == last),
                    Item::Asked(labels) => self.asked(labels, inner, view, index == last),
                });
                parts.flatten().collect()
            }
            Tree::Split { shares, groups, .. } => {
                let shares = &self.env.shares[shares];
                let group_of = |one: usize| {
                    let fact = &self.facts[one];
                    let claims = |belongs: crate::tree::Belongs| {
                        belongs.claims(fact.key, fact.version.as_deref(), fact.zone())
                    };
                    groups.iter().position(|group| claims(group.belongs))
                };
                let with_share = groups.iter().enumerate().filter(|(index, _)| shares[*index] > 0);
                let parts = with_share.map(|(index, group)| {
                    let part = view.part(|one| group_of(one) == Some(index));
                    if part.everyone.is_empty() { Set::new() } else { self.of(&group.tree, &part) }
                });
                parts.flatten().collect()
            }
            Tree::AvoidThrottled(inner) => {
                let (regions, functions): (Vec<_>, Vec<_>) = self
                    .env
                    .throttled
                    .iter()
                    .cloned()
                    .partition(|(function, _)| function.is_none());
                self.of(inner, &self.without(&functions, self.without(&regions, view.clone())))
            }
        }
    }

    fn without(&self, domains: &[(Option<usize>, Option<String>)], view: View) -> View {
        if domains.is_empty() {
            return view;
        }
        let is_in = |one: &Fact| {
            let region = one.locality.as_ref().map(|locality| locality.region().to_owned());
            !domains.iter().any(|(function, other)| {
                *other == region && function.is_none_or(|function| function == one.key)
            })
        };
        let left = view.filter(|one| is_in(&self.facts[one]));
        if left.eligible.is_empty() && !self.is_left(&view, is_in) { view } else { left }
    }

    /// Some eligible endpoint that can take over is in.
    fn is_left(&self, view: &View, is_in: impl Fn(&Fact) -> bool) -> bool {
        let can = |one: &usize| view.reach.as_ref().is_none_or(|reach| reach.contains(one));
        let facts = self.facts.iter().enumerate().filter(|(one, _)| can(one));
        facts.into_iter().any(|(_, fact)| fact.is_eligible() && is_in(fact))
    }

    fn fixed(&self, labels: &Labels, inner: &Tree, view: &View, is_last: bool) -> Set {
        let part = if labels.is_empty() {
            view.clone()
        } else {
            view.part(|one| self.facts[one].has(labels))
        };
        self.of(inner, &part.confined(is_last))
    }

    fn asked(&self, labels: &[&str], inner: &Tree, view: &View, is_last: bool) -> Set {
        let values = |one: usize| -> Option<Vec<&str>> {
            labels.iter().map(|label| self.facts[one].label(label)).collect()
        };
        let known: BTreeSet<_> = view.everyone.iter().filter_map(|&one| values(one)).collect();
        let wanted = known.into_iter().filter(|values| match self.class {
            None => true,
            Some(class) => {
                labels.iter().zip(values).all(|(label, value)| class.wants(label) == Some(value))
            }
        });
        let part =
            |wanted| view.part(|one| values(one).as_ref() == Some(&wanted)).confined(is_last);
        wanted.flat_map(|wanted| self.of(inner, &part(wanted))).collect()
    }

    fn zones(&self, only: Option<&Locality>, inner: &Tree, view: &View) -> Set {
        let zones: BTreeSet<_> =
            view.everyone.iter().map(|&one| self.facts[one].locality.as_ref()).collect();
        let zones = zones.into_iter().filter(|zone| only.is_none() || *zone == only);
        let parts = zones.map(|zone| {
            let part = view.part(|one| self.facts[one].locality.as_ref() == zone);
            // Where zones stand in for each other, a panic rule counts the endpoints of all.
            let part = if only.is_some() { part.confined(true) } else { part.within(view) };
            self.of(inner, &part)
        });
        parts.flatten().collect()
    }

    fn panic(&self, mode: PanicMode, threshold: Threshold, inner: &Tree, view: &View) -> Set {
        let counts = |one: usize| self.facts[one].counts();
        let count = |set: &Set| set.iter().filter(|&&one| counts(one)).count();
        let (eligible, everyone) = match &view.whole {
            Some((eligible, everyone)) => (count(eligible), count(everyone)),
            None => (count(&view.eligible), count(&view.everyone)),
        };
        let few = match threshold {
            Threshold::Share(share) => (eligible as f64) < share * everyone as f64,
            Threshold::Count(count) => eligible < count.min(everyone),
        };
        if !few || view.others_suffice {
            return self.of(inner, view);
        }
        let view = match mode {
            PanicMode::OpenToAll => view.admit(counts),
            PanicMode::OpenToBest => {
                let failures = |one: usize| self.facts[one].failures;
                let eligible = |one: usize| self.facts[one].is_eligible();
                let all = view.whole.as_ref().map_or(&view.everyone, |(_, everyone)| everyone);
                let others = all.iter().filter(|&&one| counts(one) && !eligible(one));
                let fewest = others.map(|&one| failures(one)).min();
                view.admit(|one| counts(one) && (eligible(one) || Some(failures(one)) == fewest))
            }
            _ => view.part(|_| false),
        };
        self.of(inner, &view)
    }

    fn tiers(
        &self,
        overprovisioning: f64,
        backup_from: Option<u32>,
        by_weight: bool,
        inner: &Tree,
        view: &View,
    ) -> Set {
        let fact = |one: usize| &self.facts[one];
        let size = |one| if by_weight { f64::from(fact(one).weight) } else { 1.0 };
        let mut sizes: BTreeMap<(bool, u32), (f64, f64)> = BTreeMap::new();
        for &one in view.everyone.iter().filter(|&&one| fact(one).counts()) {
            for degraded in [false, true] {
                sizes.entry((degraded, fact(one).tier)).or_default().1 += size(one);
            }
        }
        for &one in &view.eligible {
            let tier = (fact(one).is_degraded(), fact(one).tier);
            sizes.entry(tier).or_default().0 += size(one);
        }
        let is_backup = |tier: u32| backup_from.is_some_and(|from| tier >= from);
        let held_back = sizes.iter().any(|((_, tier), size)| size.0 > 0.0 && !is_backup(*tier));
        let capacities = sizes.iter().map(|((_, tier), (eligible, total))| {
            if *eligible == 0.0 || held_back && is_backup(*tier) {
                return 0.0;
            }
            (overprovisioning * eligible / total).min(1.0)
        });
        let suffices = capacities.sum::<f64>().min(1.0) >= 1.0;
        let mut plan: Vec<_> =
            sizes.iter().filter(|(_, size)| size.0 > 0.0).map(|(tier, _)| *tier).collect();
        if plan.is_empty() {
            plan.extend(sizes.keys().next());
        }
        let parts = plan.into_iter().map(|(degraded, tier)| {
            let whole = view.part(|one| fact(one).tier == tier);
            let part = whole.filter(|one| fact(one).is_degraded() == degraded).within(&whole);
            let others_suffice = part.others_suffice || suffices;
            self.of(inner, &View { others_suffice, ..part })
        });
        parts.flatten().collect()
    }
}
