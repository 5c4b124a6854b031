//! What a pick costs, in nanoseconds: `cargo run --release --example pick_cost`, with a part of a
//! strategy's name for that one alone (so that `perf stat -e instructions:u` can count).

use std::{
    future::ready,
    hint::black_box,
    time::{Duration, Instant as Stopwatch},
};

use tokio::time::Instant;
use tower_lb::{
    BoxError,
    endpoint::{Endpoint, Tried},
    load::{FailureAware, Now, PredictedLatency},
    outcome::{LoadReport, Outcome},
    strategy::{
        BuildContext, Candidate, Candidates, Dynamic, Freshest, LeastLoaded, P2c, Pick,
        PickContext, Prequal, Rng, Strategy,
    },
};

const PICKS: u32 = 1_000_000;

fn cost(mut strategy: Dynamic<()>, endpoints: usize) -> f64 {
    let named: Vec<_> = (0..endpoints).map(|name| (name, Endpoint::new(()))).collect();
    let named = named.iter().map(|(name, endpoint)| (name, endpoint));
    let candidates = Candidates::for_strategy(&strategy, named);
    let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
    let (start, mut rng, tried) = (Instant::now(), Rng::seeded(1), Tried::none());
    for (index, candidate) in candidates.iter().enumerate() {
        let now = start + Duration::from_millis(index as u64 % 100);
        candidate.report(&LoadReport::new().with_requests_in_flight(1.0), now);
        let mut attempt = candidate.begin(Some(start)).expect("room");
        attempt.first_byte_at(now);
        attempt.finish_at(Outcome::Success, now);
    }
    let now = start + Duration::from_millis(100);
    let watch = Stopwatch::now();
    for _ in 0..PICKS {
        let mut context = PickContext::new(&mut rng, Now::at(now), &tried);
        black_box(picker.pick(&(), &mut context));
    }
    watch.elapsed().as_nanos() as f64 / f64::from(PICKS)
}

fn main() {
    let probe = |_: &Candidate| ready(Ok::<_, BoxError>(LoadReport::new()));
    let predicted = || FailureAware::new(PredictedLatency::new());
    let strategies: [(&str, Dynamic<()>); 5] = [
        ("P2c::peak_ewma()", Dynamic::new(P2c::peak_ewma())),
        ("LeastLoaded::peak_ewma()", Dynamic::new(LeastLoaded::peak_ewma())),
        ("LeastLoaded by PredictedLatency", Dynamic::new(LeastLoaded::new(predicted()))),
        ("Freshest::default()", Dynamic::new(Freshest::default())),
        ("Prequal", Dynamic::new(Prequal::new(probe))),
    ];
    println!("| strategy | 20 endpoints | 200 endpoints |\n|---|---:|---:|");
    let wanted = std::env::args().nth(1).unwrap_or_default();
    for (name, strategy) in strategies.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        let [few, many] = [20, 200].map(|endpoints| cost(strategy.clone(), endpoints));
        println!("| `{name}` | {few:.0} ns | {many:.0} ns |");
    }
}
