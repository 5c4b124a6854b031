//! Subsets of a large fleet: what each client is given, how even it comes out, what changes cost.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use futures::{FutureExt, StreamExt};
use proptest::{prelude::*, test_runner::RngSeed};
use tower_lb::{
    discover::{
        self, ApertureSubset, Channel, DiscoverExt, FleetMember, Handle, Placement,
        RendezvousSubset, SubsetEndpoints, Subsetting, Update,
    },
    endpoint::{Endpoint, Health},
    strategy::Rng,
};

/// Backends are numbers, which are their own keys.
type Fleet = Vec<(u32, Endpoint<u32>)>;

fn fleet(numbers: impl IntoIterator<Item = u32>) -> Fleet {
    numbers.into_iter().map(|n| (n, Endpoint::new(n))).collect()
}

/// One client: its subset, by a real stream.
struct Client<S> {
    handle: Handle<u32, u32>,
    stream: std::pin::Pin<Box<SubsetEndpoints<Channel<u32, u32>, S>>>,
    subset: BTreeMap<u32, u32>,
}

impl<S: Subsetting> Client<S> {
    fn new(subsetting: S) -> Self {
        let (handle, stream) = discover::channel();
        Self { handle, stream: Box::pin(stream.subset(subsetting)), subset: BTreeMap::new() }
    }

    fn see(&mut self, fleet: &Fleet) {
        self.handle.reset(fleet.iter().cloned()).unwrap();
        self.settle();
    }

    /// Takes in what the stream has; how many connections that opens.
    fn settle(&mut self) -> usize {
        let before: BTreeSet<_> = self.subset.keys().copied().collect();
        while let Some(Some(update)) = self.stream.next().now_or_never() {
            let Update::Reset(all) = update.unwrap() else { panic!("a subset is one change") };
            self.subset = all.iter().map(|(key, endpoint)| (*key, endpoint.weight())).collect();
        }
        self.subset.keys().filter(|key| !before.contains(key)).count()
    }

    fn has(&self, n: u32) -> bool {
        self.subset.contains_key(&n)
    }
}

#[test]
fn an_endpoint_that_leaves_is_replaced_by_one_and_the_others_stay() {
    let mut client = Client::new(RendezvousSubset::new("a", 5).unwrap());
    client.see(&fleet(0..100));
    assert_eq!(client.subset.len(), 5);
    let before = client.subset.clone();
    for n in 0..100 {
        client.handle.remove(n).unwrap();
        let opened = client.settle();
        assert_eq!(opened, usize::from(before.contains_key(&n)));
        client.handle.insert(n, n).unwrap();
        client.settle();
        assert_eq!(client.subset, before);
    }
    client.see(&fleet(0..3));
    assert_eq!(client.subset.len(), 3, "all there are");
    client.see(&fleet(0..0));
    assert!(client.subset.is_empty());
}

#[test]
fn what_may_get_no_requests_does_not_count_and_is_kept() {
    let mut client = Client::new(RendezvousSubset::new("a", 5).unwrap());
    client.see(&fleet(0..50));
    let (&gone, _) = client.subset.first_key_value().unwrap();
    let draining = Endpoint::new(gone).with_health(Health::draining("deploy"));
    client.handle.insert(gone, draining).unwrap();
    assert_eq!(client.settle(), 1, "a sixth joins");
    assert_eq!(client.subset.len(), 6);
    assert!(client.subset.contains_key(&gone));

    let sick = |(key, endpoint): (u32, Endpoint<u32>)| {
        (key, endpoint.with_health(Health::unhealthy("down")))
    };
    client.see(&fleet(0..50).into_iter().map(sick).collect());
    assert_eq!(client.subset.len(), 5, "even if all are down, not all are taken");
}

#[test]
fn each_tier_has_a_subset_of_its_own() {
    let mut client = Client::new(RendezvousSubset::new("a", 4).unwrap());
    let tiers = |(key, endpoint): (u32, Endpoint<u32>)| {
        let tier = u32::from(key > 2);
        (key, endpoint.with_tier(tier))
    };
    client.see(&fleet(0..1000).into_iter().map(tiers).collect());
    assert!((0..3).all(|n| client.has(n)), "all of the first tier");
    assert_eq!(client.subset.len(), 3 + 4);
}

#[test]
fn an_endpoint_that_comes_back_is_a_new_one_and_one_that_stays_keeps_its_figures() {
    let (handle, stream) = discover::channel();
    let mut stream = Box::pin(stream.subset(RendezvousSubset::new("a", 1).unwrap()));
    let mut next = || match stream.next().now_or_never().flatten() {
        Some(Ok(Update::Reset(all))) => all.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    };
    handle.reset(fleet(0..2)).unwrap();
    let (best, first) = next();
    handle.insert(best, Endpoint::new(best).with_weight(2)).unwrap();
    let (_, heavier) = next();
    assert!(std::sync::Arc::ptr_eq(first.stats(), heavier.stats()));
    handle.insert(best, Endpoint::new(best).with_tier(1)).unwrap();
    let _both = next();
    handle.remove(best).unwrap();
    next();
    handle.insert(best, best).unwrap();
    let (key, again) = next();
    assert_eq!(key, best);
    assert!(!std::sync::Arc::ptr_eq(first.stats(), again.stats()));
}

#[test]
fn an_aperture_follows_its_placement_and_shares_the_endpoints_at_its_borders() {
    let placement = Placement::new(0, 4).unwrap();
    let mut clients: Vec<_> =
        (0..2).map(|_| Client::new(ApertureSubset::new(&placement, 2).unwrap())).collect();
    for client in &mut clients {
        client.see(&fleet(0..10));
        // A quarter of ten endpoints: two and a half.
        let weights: BTreeSet<_> = client.subset.values().copied().collect();
        assert_eq!((client.subset.len(), weights), (3, [500, 1000].into()));
    }
    let before = clients[0].subset.clone();
    placement.set(2, 4).unwrap();
    for client in &mut clients {
        client.settle();
        assert!(client.subset.keys().all(|key| !before.contains_key(key)));
    }
    placement.set(0, 4).unwrap();
    placement.set(0, 4).unwrap();
    clients[0].settle();
    assert_eq!(clients[0].subset, before);

    assert_eq!(placement.set(4, 4).unwrap_err().field(), "index");
    clients[0].settle();
    assert_eq!(clients[0].subset, before, "nonsense changes nothing");
}

#[test]
fn an_aperture_goes_on_when_the_source_has_ended() {
    let placement = Placement::new(0, 2).unwrap();
    let stream = discover::list(fleet(0..10)).subset(ApertureSubset::new(&placement, 1).unwrap());
    let mut stream = Box::pin(stream);
    assert!(matches!(stream.next().now_or_never(), Some(Some(Ok(Update::Reset(_))))));
    assert!(stream.next().now_or_never().is_none(), "pending");
    placement.set(1, 2).unwrap();
    assert!(matches!(stream.next().now_or_never(), Some(Some(Ok(Update::Reset(_))))));

    let stream = discover::list(fleet(0..10)).subset(RendezvousSubset::new(1, 1).unwrap());
    assert_eq!(stream.collect::<Vec<Result<_, Infallible>>>().now_or_never().unwrap().len(), 1);
}

#[test]
fn subsets_of_nothing_are_rejected() {
    assert_eq!(RendezvousSubset::new("a", 0).unwrap_err().field(), "size");
    let placement = Placement::new(0, 1).unwrap();
    assert_eq!(ApertureSubset::new(&placement, 0).unwrap_err().field(), "min_endpoints");
    assert!(Placement::new(0, 0).is_err());
    assert!(Placement::new(7, 7).unwrap_err().to_string().starts_with("`index` is 7"));
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the fleet and the number of clients: positions are valid and unique, and together the
    /// clients load each eligible endpoint in proportion to its weight.
    #[test]
    fn apertures_add_up(
        weights in prop::collection::vec((0_u32..20, any::<u64>(), prop::bool::weighted(0.8)), 0..40),
        clients in 1_u32..30,
        least in 1_usize..60,
    ) {
        let fleet: Vec<_> = weights.iter().map(|&(weight, id, healthy)| {
            let mut member = FleetMember::new(id);
            (member.weight, member.eligible) = (weight, healthy && weight > 0);
            member
        }).collect();
        let mut load = vec![0_f64; fleet.len()];
        for index in 0..clients {
            let placement = Placement::new(index, clients).unwrap();
            let chosen = ApertureSubset::new(&placement, least).unwrap().choose(&fleet);
            let total: f64 = chosen.iter().map(|(_, weight)| f64::from(*weight)).sum();
            let unique: BTreeSet<_> = chosen.iter().map(|(position, _)| position).collect();
            prop_assert_eq!(unique.len(), chosen.len());
            for (position, weight) in chosen {
                load[position] += f64::from(weight) / total.max(1.0);
            }
        }
        let eligible: f64 =
            fleet.iter().filter(|m| m.eligible).map(|m| f64::from(m.weight)).sum();
        for (member, load) in fleet.iter().zip(load) {
            let fair = f64::from(member.weight) / eligible * f64::from(clients);
            // Weights are rounded to a thousandth, of at least 1/30 of the smallest.
            if member.eligible {
                prop_assert!((load - fair).abs() <= 0.02 * fair + 0.01, "{} {}", load, fair);
            } else if eligible > 0.0 {
                prop_assert_eq!(load, 0.0);
            }
        }
    }

    #[test]
    fn rendezvous_takes_as_many_as_asked_for(
        members in prop::collection::vec((any::<u64>(), any::<bool>()), 0..60),
        size in 1_usize..70,
    ) {
        let fleet: Vec<_> = members.iter().map(|&(id, eligible)| {
            let mut member = FleetMember::new(id);
            member.eligible = eligible;
            member
        }).collect();
        let chosen = RendezvousSubset::new("client", size).unwrap().choose(&fleet);
        let eligible = chosen.iter().filter(|(position, _)| fleet[*position].eligible).count();
        prop_assert_eq!(eligible, size.min(fleet.iter().filter(|m| m.eligible).count()));
        prop_assert!(chosen.len() - eligible <= size);
    }
}

/// What people do without an algorithm: draw anew whenever something changes.
struct DrawnAnew {
    rng: Rng,
    size: usize,
}

impl Subsetting for DrawnAnew {
    fn choose(&mut self, fleet: &[FleetMember]) -> Vec<(usize, u32)> {
        let mut positions: Vec<usize> = (0..fleet.len()).collect();
        for place in 0..self.size.min(positions.len()) {
            let other = place + self.rng.below(positions.len() - place);
            positions.swap(place, other);
        }
        positions.truncate(self.size);
        positions.into_iter().map(|position| (position, 1)).collect()
    }
}

/// Without optimisation fewer, to save time; what is asserted depends on the ratios only.
const CLIENTS: u32 = if cfg!(debug_assertions) { 200 } else { 1000 };
const BACKENDS: u32 = CLIENTS;
const ONE: u32 = BACKENDS / 3;

#[derive(Debug)]
struct Figures {
    per_client: f64,
    /// Of connections for a backend: least, deviation in percent of the mean, most.
    connections: (usize, f64, usize),
    /// The same for the load, in percent of the mean.
    load: (f64, f64, f64),
    /// Connections opened per client: a backend leaves, one joins, a tenth is replaced.
    churn: [f64; 3],
}

fn measure<S: Subsetting>(subsetting: impl Fn(u32) -> S) -> (Figures, Vec<Client<S>>) {
    let mut clients: Vec<_> = (0..CLIENTS).map(|n| Client::new(subsetting(n))).collect();
    let whole = fleet(0..BACKENDS);
    let mut count = BTreeMap::new();
    for client in &mut clients {
        client.see(&whole);
        let total: f64 = client.subset.values().map(|weight| f64::from(*weight)).sum();
        for (key, weight) in &client.subset {
            let (connections, load) = count.entry(*key).or_insert((0_usize, 0.0));
            *connections += 1;
            *load += f64::from(*weight) / total;
        }
    }
    assert_eq!(count.len(), BACKENDS as usize, "no backend is left out");
    let connections: Vec<f64> = count.values().map(|(n, _)| *n as f64).collect();
    let load: Vec<f64> = count.values().map(|(_, load)| load * 100.0).collect();
    let spread = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        (least, variance.sqrt() / mean * 100.0, most)
    };
    let (least, deviation, most) = spread(&connections);
    let replaced = fleet((0..BACKENDS).map(|n| if n % 10 == 3 { n + BACKENDS } else { n }));
    let mut opened = [0; 3];
    for client in &mut clients {
        client.handle.remove(ONE).unwrap();
        opened[0] += client.settle();
        client.handle.insert(ONE, ONE).unwrap();
        client.settle();
        client.handle.insert(BACKENDS, BACKENDS).unwrap();
        opened[1] += client.settle();
        client.see(&whole);
        client.handle.reset(replaced.iter().cloned()).unwrap();
        opened[2] += client.settle();
        client.see(&whole);
    }
    let churn = opened.map(|opened| opened as f64 / f64::from(CLIENTS));
    let figures = Figures {
        per_client: connections.iter().sum::<f64>() / f64::from(CLIENTS),
        connections: (least as usize, deviation, most as usize),
        load: spread(&load),
        churn,
    };
    (figures, clients)
}

/// The table of docs/discovery.md.
#[test]
fn consequences() {
    let size = 20;
    let (drawn, _) = measure(|n| DrawnAnew { rng: Rng::seeded(n.into()), size });
    let (rendezvous, _) = measure(|n| RendezvousSubset::new(format!("client-{n}"), size).unwrap());
    let (large, _) = measure(|n| RendezvousSubset::new(format!("client-{n}"), 100).unwrap());
    let placements: Vec<_> = (0..CLIENTS).map(|n| Placement::new(n, CLIENTS).unwrap()).collect();
    let (aperture, mut clients) =
        measure(|n| ApertureSubset::new(&placements[n as usize], size).unwrap());

    placements.iter().zip(0..).for_each(|(placement, n)| placement.set(n, CLIENTS + 1).unwrap());
    let opened: usize = clients.iter_mut().map(Client::settle).sum();
    let client_joins = opened as f64 / f64::from(CLIENTS);

    println!("{CLIENTS} clients, {BACKENDS} backends");
    for (name, figures) in [
        ("drawn anew at each change, 20", &drawn),
        ("Rendezvous, 20", &rendezvous),
        ("Rendezvous, 100", &large),
        ("ApertureSubset, 20", &aperture),
    ] {
        let Figures { per_client, connections, load, churn } = figures;
        println!(
            "{name:30} | {per_client:.0} per client | connections {}..{} ±{:.0} % | load \
             {:.0}..{:.0} % ±{:.0} % | opened per client: leaves {:.3}, joins {:.3}, tenth {:.2}",
            connections.0,
            connections.2,
            connections.1,
            load.0,
            load.2,
            load.1,
            churn[0],
            churn[1],
            churn[2]
        );
    }
    println!("ApertureSubset, a client joins: {client_joins:.2} opened per client");

    // Drawn anew: nearly all change each time.
    assert!(drawn.churn.iter().all(|opened| *opened > 17.0), "{drawn:?}");
    // A change concerns the clients only that have a connection to the backend.
    let concerned = size as f64 / f64::from(BACKENDS);
    for opened in &rendezvous.churn[..2] {
        assert!((concerned / 2.0..concerned * 2.0).contains(opened), "{rendezvous:?}");
    }
    // A tenth of 20 is 2, and chance lets some more go; tolerance 10 %.
    assert!((2.4..3.0).contains(&rendezvous.churn[2]), "{rendezvous:?}");
    // The deviation of the binomial distribution; tolerance 3 percent points.
    for (size, figures) in [(20.0, &rendezvous), (100.0, &large)] {
        let expected = ((1.0 - size / f64::from(BACKENDS)) / size).sqrt() * 100.0;
        assert!((figures.connections.1 - expected).abs() < 3.0, "{expected} {figures:?}");
    }
    // Even, but for rounding.
    assert!(aperture.load.0 > 99.5 && aperture.load.2 < 100.5, "{aperture:?}");
    // One for each end of the window, and what has left.
    assert!(aperture.churn[0] < 3.0 && aperture.churn[1] < 3.0, "{aperture:?}");
    assert!(client_joins < 2.0);
}
