//! Strategies tried out without a balancer.

use std::collections::BTreeMap;

use tokio::time::Instant;
use tower_lb::{
    endpoint::{Endpoint, Locality, Tried},
    load::Now,
    strategy::{Candidate, Candidates, Pick, PickContext, Rng, Strategy},
};

pub type Named = (String, Endpoint<()>);

/// Endpoints named by a letter and a number.
pub fn some(letter: char, count: usize, endpoint: &Endpoint<()>) -> Vec<Named> {
    let named = |number| (format!("{letter}{number}"), endpoint.clone().map(|()| ()));
    (0..count).map(named).map(|(name, endpoint)| (name, fresh(&endpoint))).collect()
}

/// The same attributes with figures of its own.
fn fresh(endpoint: &Endpoint<()>) -> Endpoint<()> {
    let mut fresh = Endpoint::new(())
        .with_weight(endpoint.weight())
        .with_tier(endpoint.tier())
        .with_health(endpoint.health().clone())
        .with_all_metadata(endpoint.metadata().clone());
    if let Some(locality) = endpoint.locality() {
        fresh = fresh.with_locality(locality.clone());
    }
    fresh
}

pub fn in_zone(zone: &str) -> Endpoint<()> {
    Endpoint::new(()).with_locality(zone_named(zone))
}

pub fn zone_named(zone: &str) -> Locality {
    Locality::new("region", zone)
}

pub fn candidates(strategy: &impl Strategy, endpoints: &[Named]) -> Candidates {
    Candidates::for_strategy(strategy, endpoints.iter().map(|(name, one)| (name, one)))
}

/// One pick, of a request that has been to `tried`.
pub fn pick_after<'a, P: Pick<()>>(
    picker: &'a P,
    tried: &[&Candidate],
    rng: &mut Rng,
    now: Instant,
) -> Option<&'a Candidate> {
    let mut been = Tried::none();
    tried.iter().for_each(|candidate| been.add(candidate.stats()));
    picker.pick(&(), &mut PickContext::new(rng, Now::at(now), &been))
}

/// The share of each group of 20 000 picks; a group is what `group` makes of a name.
pub fn shares<P: Pick<()>>(
    picker: &P,
    group: impl Fn(&Candidate) -> String,
) -> BTreeMap<String, f64> {
    const PICKS: u32 = 20_000;
    let (mut rng, now) = (Rng::seeded(1), Instant::now());
    let mut counts = BTreeMap::new();
    for _ in 0..PICKS {
        if let Some(candidate) = pick_after(picker, &[], &mut rng, now) {
            *counts.entry(group(candidate)).or_insert(0) += 1;
        }
    }
    counts.into_iter().map(|(group, count)| (group, f64::from(count) / f64::from(PICKS))).collect()
}

/// Groups by the first letter of a name.
pub fn letter(candidate: &Candidate) -> String {
    candidate.name()[..1].to_owned()
}

/// Shares of letters as expected, to within one percentage point.
pub fn assert_shares(actual: &BTreeMap<String, f64>, expected: &[(char, f64)]) {
    let total: f64 = actual.values().sum();
    let listed: f64 = expected.iter().map(|(_, share)| share).sum();
    assert!((total - listed).abs() < 1e-9, "{actual:?} instead of {expected:?}");
    for (letter, share) in expected {
        let is = actual.get(&letter.to_string()).copied().unwrap_or_default();
        assert!((is - share).abs() < 0.01, "{letter}: {is} instead of {share}: {actual:?}");
    }
}
