//! A custom strategy that reads the request. It assigns a few endpoints to each tenant ("shuffle
//! sharding"). A tenant that overloads its endpoints then affects few other tenants.
//! `cargo run --example custom_strategy`

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as StdError,
    hash::{BuildHasher, Hash},
    sync::Arc,
    time::Duration,
};

use futures::future::try_join_all;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes};
use tower::ServiceExt;
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    http::{Origin, Pool},
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
};
use tower_lb_examples::backend::Backend;

/// Assigns `shard` endpoints to each tenant, and sends each request to a random one of them.
struct ShuffleShard<H> {
    shard: usize,
    hasher: H,
}

/// The picker. Each change of the endpoints builds a new one; a picker itself never changes.
struct ShuffleShardPicker<H> {
    candidates: Candidates,
    shard: usize,
    hasher: H,
}

impl<H: Clone> Strategy for ShuffleShard<H> {
    type Picker = ShuffleShardPicker<H>;

    fn build(&mut self, all: &Candidates, _: &mut BuildContext) -> Built<Self::Picker> {
        let (candidates, hasher) = (all.clone(), self.hasher.clone());
        let picker = ShuffleShardPicker { candidates, shard: self.shard, hasher };
        Built::new(picker, all.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None // This strategy does not learn from requests.
    }
}

impl<H: BuildHasher> ShuffleShardPicker<H> {
    /// Returns the rank of an endpoint for a tenant. Processes with the same hasher agree on it.
    fn affinity(&self, tenant: impl Hash, candidate: &Candidate) -> u64 {
        self.hasher.hash_one((tenant, candidate.name()))
    }
}

impl<H: BuildHasher, B> Pick<Request<B>> for ShuffleShardPicker<H> {
    fn pick(&self, request: &Request<B>, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let tenant = request.headers().get("x-tenant");
        // The shard is the endpoints with the highest affinity. The loop visits them in descending
        // order and allocates nothing. It takes the first endpoint from a random position on.
        let start = context.rng().below(self.shard);
        let (mut fallback, mut tried) = (None, None);
        let mut bound = u64::MAX;
        for position in 0..self.shard {
            let below = self.candidates.iter().filter(|c| self.affinity(tenant, c) < bound);
            let next = below.max_by_key(|candidate| self.affinity(tenant, candidate))?;
            bound = self.affinity(tenant, next);
            if context.accepts(next) {
                fallback = Some(next);
                if position >= start {
                    return fallback;
                }
            } else if context.has_room(next) {
                tried = Some(next);
            }
        }
        // A retry that has tried the whole shard goes to one of its endpoints again.
        fallback.or(tried)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError + Send + Sync>> {
    let names = ["e1", "e2", "e3", "e4", "e5", "e6"];
    let latency = Duration::from_millis(1);
    let backends = try_join_all(names.map(|name| Backend::start(name, latency))).await?;

    let origins = backends.iter().map(|b| (b.name, Origin::from(b.address).into()));
    let endpoints = discover::list(origins.collect::<Vec<_>>()).connect(Pool::new().connector());
    let hasher = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default();
    let balancer = Builder::http().spawn(ShuffleShard { shard: 2, hasher }, endpoints)?;

    let mut shards: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for tenant in ["acme", "globex", "initech", "umbrella"] {
        for _ in 0..50 {
            let request = Request::get("/").header("x-tenant", tenant);
            let request = request.body(Empty::<Bytes>::new())?;
            let response = balancer.clone().oneshot(request).await?;
            let endpoint = response.into_body().collect().await?.to_bytes();
            let endpoint = String::from_utf8_lossy(&endpoint).into_owned();
            shards.entry(tenant).or_default().insert(endpoint);
        }
    }
    for (tenant, endpoints) in shards {
        println!("{tenant:9} uses {endpoints:?}");
    }
    Ok(())
}
