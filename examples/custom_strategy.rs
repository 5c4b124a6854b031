//! A strategy of your own, that sees the request: tenants are pinned to a few endpoints each
//! ("shuffle sharding"), so that a tenant who brings its endpoints down leaves the others' alone.
//! `cargo run --example custom_strategy`

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    error::Error as StdError,
    hash::{BuildHasher, Hash},
};

use tower::{Service, ServiceExt, service_fn};
use tower_lb::{
    Balancer, discover,
    endpoint::Endpoint,
    strategy::{Candidate, Candidates, Pick, PickContext, Strategy},
};

/// A request names its tenant.
struct Request {
    tenant: &'static str,
}

/// Gives every tenant `shard` endpoints of its own choice, of which any takes the request.
struct ShuffleShard<H> {
    shard: usize,
    hasher: H,
}

/// What picks: built anew at each change of the endpoints, never changed in between.
struct ShuffleShardPicker<H> {
    candidates: Candidates,
    shard: usize,
    hasher: H,
}

impl<H: Clone> Strategy for ShuffleShard<H> {
    type Picker = ShuffleShardPicker<H>;

    fn picker(&mut self, candidates: &Candidates) -> Self::Picker {
        let (candidates, hasher) = (candidates.clone(), self.hasher.clone());
        ShuffleShardPicker { candidates, shard: self.shard, hasher }
    }
}

impl<H: BuildHasher> ShuffleShardPicker<H> {
    /// How much a tenant likes an endpoint; the same in every process that has the same hasher.
    fn affinity(&self, tenant: impl Hash, candidate: &Candidate) -> u64 {
        self.hasher.hash_one((tenant, candidate.name()))
    }
}

impl<H: BuildHasher> Pick<Request> for ShuffleShardPicker<H> {
    fn pick(&self, request: &Request, context: &mut PickContext<'_>) -> Option<&Candidate> {
        // The shard: the endpoints that the tenant likes most. Found without allocating, by going
        // down from the best, from a random place in the shard on.
        let start = context.rng().below(self.shard);
        let mut fallback = None;
        let mut bound = u64::MAX;
        for place in 0..self.shard {
            let below = self.candidates.iter().filter(|c| self.affinity(request.tenant, c) < bound);
            let next = below.max_by_key(|candidate| self.affinity(request.tenant, candidate))?;
            bound = self.affinity(request.tenant, next);
            if context.accepts(next) {
                fallback = Some(next);
                if place >= start {
                    return fallback;
                }
            }
        }
        fallback
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError + Send + Sync>> {
    let names = ["e1", "e2", "e3", "e4", "e5", "e6"];
    let endpoints = names.map(|name| {
        let echo = service_fn(move |_: Request| std::future::ready(Ok::<_, Infallible>(name)));
        (name, Endpoint::new(echo))
    });
    let hasher = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default();
    let strategy = ShuffleShard { shard: 2, hasher };
    let mut balancer = Balancer::spawn(strategy, discover::list(endpoints));

    let mut shards: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for tenant in ["acme", "globex", "initech", "umbrella"] {
        for _ in 0..100 {
            let endpoint = balancer.ready().await?.call(Request { tenant }).await?;
            shards.entry(tenant).or_default().insert(endpoint);
        }
    }
    for (tenant, endpoints) in shards {
        println!("{tenant:9} is served by {endpoints:?}");
    }
    Ok(())
}
