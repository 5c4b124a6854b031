//! Random compositions of strategies and wrappers.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_lb::{
    endpoint::Locality,
    http::sticky::{Affinity, SessionKey, Sessions, WhenDraining},
    lambda::{Aimd, Throttles},
    load::{FailureAware, Outstanding, PeakEwma, PerClass},
    outcome::LoadReport,
    strategy::{
        BoundedLoad, Candidate, Classified, CrossZone, Dynamic, Freshest, LeastLoaded,
        LoadAwareZones, Maglev, P2c, Panic, PanicMode, PickFirst, Prequal, Probed, Random,
        Rendezvous, Ring, Rng, RoundRobin, Shares, Split, Subset, SubsetBy, Tiers, TopK,
        WeightedRoundRobin, ZonalShift, ZonalShiftHandle, ZoneAware,
    },
};

use crate::server::Request;

pub(crate) type Any = Dynamic<Request>;

pub(crate) const ZONES: [(&str, &str); 3] = [("r", "a"), ("r", "b"), ("s", "c")];

pub(crate) fn locality(zone: usize) -> Option<Locality> {
    ZONES.get(zone).map(|(region, zone)| Locality::new(*region, *zone))
}

/// The local zone of a wrapper; the last has no endpoints.
fn local(rng: &mut Rng) -> Locality {
    locality(rng.below(4)).unwrap_or_else(|| Locality::new("t", "x"))
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaf {
    RoundRobin,
    Random,
    P2c,
    P2cLatency,
    P2cPerClass,
    LeastLoaded,
    WeightedRoundRobin,
    Rendezvous,
    Maglev,
    Ring,
    BoundedRing,
    BoundedMaglev,
    TopRendezvous,
    TopRing,
    PickFirst,
    Freshest,
    Prequal,
}

const LEAVES: [Leaf; 17] = [
    Leaf::RoundRobin,
    Leaf::Random,
    Leaf::P2c,
    Leaf::P2cLatency,
    Leaf::P2cPerClass,
    Leaf::LeastLoaded,
    Leaf::WeightedRoundRobin,
    Leaf::Rendezvous,
    Leaf::Maglev,
    Leaf::Ring,
    Leaf::BoundedRing,
    Leaf::BoundedMaglev,
    Leaf::TopRendezvous,
    Leaf::TopRing,
    Leaf::PickFirst,
    Leaf::Freshest,
    Leaf::Prequal,
];

#[derive(Clone, Copy, Debug)]
pub(crate) enum Threshold {
    Share(f64),
    Count(usize),
}

/// Labels and the values that they must have; none of them: any endpoint.
pub(crate) type Labels = Vec<(&'static str, &'static str)>;

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Asked(Vec<&'static str>),
    Fixed(Labels),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Belongs {
    Version(&'static str),
    Zone(&'static str),
    Even,
    Everybody,
    Nobody,
}

impl Belongs {
    pub(crate) fn claims(self, key: usize, version: Option<&str>, zone: Option<&str>) -> bool {
        match self {
            Self::Version(wanted) => version == Some(wanted),
            Self::Zone(wanted) => zone == Some(wanted),
            Self::Even => key % 2 == 0,
            Self::Everybody => true,
            Self::Nobody => false,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) belongs: Belongs,
    pub(crate) share: u32,
    pub(crate) tree: Tree,
}

#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Leaf(Leaf),
    Tiers {
        overprovisioning: f64,
        backup_from: Option<u32>,
        by_weight: bool,
        inner: Box<Self>,
    },
    Panic {
        mode: PanicMode,
        threshold: Threshold,
        inner: Box<Self>,
    },
    Zones {
        local: Locality,
        crossing: CrossZone,
        min: usize,
        inner: Box<Self>,
    },
    LoadAwareZones {
        local: Locality,
        inner: Box<Self>,
    },
    /// With the number of its handle.
    Shift {
        handle: usize,
        inner: Box<Self>,
    },
    Subset {
        items: Vec<Labels>,
        inner: Box<Self>,
    },
    SubsetBy {
        items: Vec<Item>,
        inner: Box<Self>,
    },
    /// With the number of its shares.
    Split {
        shares: usize,
        sticky: bool,
        groups: Vec<Group>,
    },
    Classified(Box<Self>),
    Probed(Box<Self>),
    Sticky {
        affinity: Affinity,
        draining: WhenDraining,
        inner: Box<Self>,
    },
    Aimd {
        initial: u32,
        max: u32,
        inner: Box<Self>,
    },
    AvoidThrottled(Box<Self>),
}

/// What a tree is grown with, and what it consists of.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    pub(crate) shifts: usize,
    pub(crate) splits: usize,
    pub(crate) has_subset_by: bool,
    pub(crate) has_aimd: bool,
    pub(crate) has_strict_sessions: bool,
    pub(crate) has_sessions: bool,
    in_shift: bool,
}

fn one_of<T: Copy>(rng: &mut Rng, items: &[T]) -> T {
    items[rng.below(items.len())]
}

fn labels(rng: &mut Rng) -> Labels {
    match rng.below(4) {
        0 => vec![("version", "0")],
        1 => vec![("version", "1")],
        2 => vec![("stage", "x")],
        _ => vec![("version", "1"), ("stage", "x")],
    }
}

impl Tree {
    /// With so many wrappers above each leaf at most.
    pub(crate) fn grow(rng: &mut Rng, depth: usize, growth: &mut Growth) -> Self {
        if depth == 0 || rng.below(8) == 0 {
            return Self::Leaf(one_of(rng, &LEAVES));
        }
        let was_in_shift = growth.in_shift;
        // More panic rules than others: they matter to what is around them.
        let kind = [rng.below(14), 1][usize::from(rng.below(6) == 0)];
        growth.in_shift |= kind == 4;
        let inner =
            |rng: &mut Rng, growth: &mut Growth| Box::new(Self::grow(rng, depth - 1, growth));
        let tree = match kind {
            0 => Self::Tiers {
                overprovisioning: one_of(rng, &[1.0, 1.4, 2.5, f64::INFINITY]),
                backup_from: (rng.below(3) == 0).then(|| rng.below(3) as u32),
                // Weights that grow back are not modelled.
                by_weight: !growth.in_shift && rng.below(3) == 0,
                inner: inner(rng, growth),
            },
            1 => Self::Panic {
                mode: one_of(
                    rng,
                    &[PanicMode::OpenToAll, PanicMode::OpenToBest, PanicMode::Closed],
                ),
                threshold: match rng.below(4) {
                    0 => Threshold::Count(1 + rng.below(4)),
                    1 => Threshold::Share(one_of(rng, &[0.0, 0.2, 0.9, 1.0])),
                    _ => Threshold::Share(0.5),
                },
                inner: inner(rng, growth),
            },
            2 => Self::Zones {
                local: local(rng),
                crossing: one_of(
                    rng,
                    &[
                        CrossZone::AsNeeded,
                        CrossZone::AsNeeded,
                        CrossZone::Never,
                        CrossZone::Always,
                    ],
                ),
                min: 1 + rng.below(6),
                inner: inner(rng, growth),
            },
            3 => Self::LoadAwareZones { local: local(rng), inner: inner(rng, growth) },
            4 => {
                growth.shifts += 1;
                Self::Shift { handle: growth.shifts - 1, inner: inner(rng, growth) }
            }
            5 => {
                let mut items: Vec<_> = (0..=rng.below(2)).map(|_| labels(rng)).collect();
                if rng.below(3) > 0 {
                    items.push(Labels::new());
                }
                Self::Subset { items, inner: inner(rng, growth) }
            }
            6 => {
                growth.has_subset_by = true;
                let mut items = vec![Item::Asked(vec![one_of(rng, &["version", "stage"])])];
                match rng.below(4) {
                    0 => items.insert(0, Item::Asked(vec!["version", "stage"])),
                    1 => items.push(Item::Fixed(labels(rng))),
                    2 => items.push(Item::Fixed(Labels::new())),
                    _ => {}
                }
                Self::SubsetBy { items, inner: inner(rng, growth) }
            }
            7 => {
                growth.splits += 1;
                let shares = growth.splits - 1;
                let belongs = [
                    Belongs::Version("0"),
                    Belongs::Version("1"),
                    Belongs::Zone("a"),
                    Belongs::Even,
                    Belongs::Everybody,
                    Belongs::Nobody,
                ];
                let count = 1 + rng.below(3);
                let groups = (0..count).map(|index| Group {
                    belongs: one_of(rng, &belongs),
                    share: if index == 0 { 5 } else { one_of(rng, &[0, 0, 1, 95]) },
                    tree: *inner(rng, growth),
                });
                let mut groups: Vec<_> = groups.collect();
                if rng.below(2) == 0 {
                    groups[count - 1].belongs = Belongs::Everybody;
                }
                Self::Split { shares, sticky: rng.below(2) == 0, groups }
            }
            8 => Self::Classified(inner(rng, growth)),
            9 => Self::Probed(inner(rng, growth)),
            10 => {
                let strict = rng.below(3) == 0;
                growth.has_strict_sessions |= strict;
                growth.has_sessions = true;
                Self::Sticky {
                    affinity: if strict { Affinity::Strict } else { Affinity::Preferred },
                    draining: one_of(rng, &[WhenDraining::Move, WhenDraining::Stay]),
                    inner: inner(rng, growth),
                }
            }
            11 => {
                growth.has_aimd = true;
                let initial = 1 + rng.below(3) as u32;
                Self::Aimd { initial, max: one_of(rng, &[1, 3, 1000]), inner: inner(rng, growth) }
            }
            12 => Self::AvoidThrottled(inner(rng, growth)),
            _ => Self::Tiers {
                overprovisioning: 1.4,
                backup_from: None,
                by_weight: false,
                inner: inner(rng, growth),
            },
        };
        growth.in_shift = was_in_shift;
        tree
    }

    pub(crate) fn strategy(&self, controls: &Controls) -> Any {
        match self {
            Self::Leaf(leaf) => leaf.strategy(),
            Self::Tiers { overprovisioning, backup_from, by_weight, inner } => {
                let mut tiers = Tiers::new(inner.strategy(controls));
                tiers = match overprovisioning.is_finite() {
                    true => tiers.overprovisioning(*overprovisioning).unwrap(),
                    false => tiers.all_or_nothing(),
                };
                if let Some(from) = backup_from {
                    tiers = tiers.backup_from(*from);
                }
                Any::new(if *by_weight { tiers.by_weight() } else { tiers })
            }
            Self::Panic { mode, threshold, inner } => {
                let panic = Panic::new(inner.strategy(controls)).mode(*mode);
                Any::new(match *threshold {
                    Threshold::Share(share) => panic.below_share(share).unwrap(),
                    Threshold::Count(count) => panic.below_count(count).unwrap(),
                })
            }
            Self::Zones { local, crossing, min, inner } => {
                let zones = ZoneAware::new(local.clone(), inner.strategy(controls));
                Any::new(zones.cross_zone(*crossing).min_endpoints(*min).unwrap())
            }
            Self::LoadAwareZones { local, inner } => {
                Any::new(LoadAwareZones::new(local.clone(), inner.strategy(controls)))
            }
            Self::Shift { handle, inner } => {
                let shift = ZonalShift::new(inner.strategy(controls));
                Any::new(shift.following(&controls.shifts[*handle]))
            }
            Self::Subset { items, inner } => {
                let mut items = items.iter().cloned();
                let first = items.next().unwrap_or_default();
                let subset = Subset::new(inner.strategy(controls), first);
                Any::new(items.fold(subset, |subset, labels| match labels.is_empty() {
                    true => subset.or_any(),
                    false => subset.or(labels),
                }))
            }
            Self::SubsetBy { items, inner } => {
                let first: Vec<&str> = match &items[0] {
                    Item::Asked(labels) => labels.clone(),
                    Item::Fixed(_) => Vec::new(),
                };
                let by = SubsetBy::new(inner.strategy(controls), first, wanted);
                Any::new(items[1..].iter().cloned().fold(by, |by, item| match item {
                    Item::Asked(labels) => by.or(labels),
                    Item::Fixed(labels) if labels.is_empty() => by.or_any(),
                    Item::Fixed(labels) => by.or_fixed(labels),
                }))
            }
            Self::Split { shares, sticky, groups } => {
                let mut split = Split::builder();
                for (index, group) in groups.iter().enumerate() {
                    let belongs = group.belongs;
                    let claims = move |one: &Candidate| {
                        let zone = one.locality().map(Locality::zone);
                        let key = one.name().parse().unwrap();
                        belongs.claims(key, one.metadata().get("version"), zone)
                    };
                    let strategy = group.tree.strategy(controls);
                    split = split.group(index.to_string(), group.share, claims, strategy);
                }
                let split = split.starting_at(0);
                let (strategy, handle) = if *sticky {
                    let (strategy, handle) = split.sticky_by(key).build().unwrap();
                    (Any::new(strategy), handle)
                } else {
                    let (strategy, handle) = split.build().unwrap();
                    (Any::new(strategy), handle)
                };
                controls.shares.lock().unwrap().push((*shares, handle));
                strategy
            }
            Self::Classified(inner) => {
                Any::new(Classified::new(|_: &Request| 1, inner.strategy(controls)))
            }
            Self::Probed(inner) => Any::new(Probed::new(ask, inner.strategy(controls)).seed(1)),
            Self::Sticky { affinity, draining, inner } => {
                let sessions = sessions(*affinity, *draining);
                Any::new(sessions.stick(inner.strategy(controls)))
            }
            Self::Aimd { initial, max, inner } => {
                let aimd = Aimd::new(inner.strategy(controls)).initial(*initial);
                Any::new(aimd.and_then(|aimd| aimd.max(*max)).unwrap())
            }
            Self::AvoidThrottled(inner) => {
                Any::new(controls.throttles.avoid_throttled(inner.strategy(controls)))
            }
        }
    }
}

impl Leaf {
    fn strategy(self) -> Any {
        match self {
            Self::RoundRobin => Any::new(RoundRobin::starting_at(0)),
            Self::Random => Any::new(Random),
            Self::P2c => Any::new(P2c::default()),
            Self::P2cLatency => Any::new(P2c::new(FailureAware::new(PeakEwma::new()))),
            Self::P2cPerClass => {
                Any::new(P2c::new(PerClass::new(2, FailureAware::new(PeakEwma::new())).unwrap()))
            }
            Self::LeastLoaded => Any::new(LeastLoaded::default()),
            Self::WeightedRoundRobin => Any::new(WeightedRoundRobin::new().starting_at(0)),
            Self::Rendezvous => Any::new(Rendezvous::new(key)),
            Self::Maglev => Any::new(Maglev::new(key).table_size(251).unwrap()),
            Self::Ring => Any::new(Ring::new(key)),
            Self::BoundedRing => Any::new(BoundedLoad::new(Ring::new(key), 1.25).unwrap()),
            Self::BoundedMaglev => {
                let maglev = Maglev::new(key).table_size(251).unwrap();
                Any::new(BoundedLoad::new(maglev, 2.0).unwrap())
            }
            Self::TopRendezvous => {
                Any::new(TopK::new(Rendezvous::new(key), 3, Outstanding).unwrap())
            }
            Self::TopRing => Any::new(TopK::new(Ring::new(key), 2, Outstanding).unwrap()),
            Self::PickFirst => Any::new(PickFirst::new()),
            Self::Freshest => Any::new(Freshest::default()),
            Self::Prequal => Any::new(Prequal::new(ask).seed(1)),
        }
    }
}

/// By what a composition is changed from outside.
#[derive(Default)]
pub(crate) struct Controls {
    pub(crate) shifts: Vec<ZonalShiftHandle>,
    pub(crate) shares: Mutex<Vec<(usize, Shares)>>,
    pub(crate) throttles: Throttles,
}

impl fmt::Debug for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controls").finish_non_exhaustive()
    }
}

impl Controls {
    pub(crate) fn new(growth: &Growth) -> Arc<Self> {
        let shifts = (0..growth.shifts).map(|_| ZonalShiftHandle::new()).collect();
        Arc::new(Self { shifts, ..Self::default() })
    }
}

/// Sessions of all trackers and wrappers have the same key.
pub(crate) fn sessions(affinity: Affinity, draining: WhenDraining) -> Sessions {
    let sessions = Sessions::builder(SessionKey::new([7; 32]).unwrap());
    sessions.affinity(affinity).when_draining(draining).build().unwrap()
}

fn key(request: &Request) -> Option<u64> {
    request.uri().path().strip_prefix('/')?.parse().ok()
}

fn wanted<'a>(request: &'a Request, label: &str) -> Option<&'a str> {
    request.headers().get(label)?.to_str().ok()
}

/// Some endpoints answer probes, some do so late, some never.
fn ask(
    endpoint: &Candidate,
) -> Pin<Box<dyn Future<Output = Result<LoadReport, Infallible>> + Send>> {
    let number: usize = endpoint.name().parse().unwrap();
    Box::pin(async move {
        match number % 4 {
            0 => tokio::time::sleep(Duration::from_millis(10)).await,
            1 => std::future::pending().await,
            _ => {}
        }
        Ok(LoadReport::new().with_requests_in_flight(number as f64))
    })
}
