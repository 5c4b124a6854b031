//! Strategies: which endpoint gets a request.
//!
//! A [`Strategy`] lives in the balancer's driver. At each change of the endpoints it builds a
//! picker from the [`Candidates`]. The picker's [`Pick::pick`] selects a candidate for each
//! request, without a lock and without an allocation. It sees the request, and takes time and
//! random numbers from its [`PickContext`], so that the same code runs in production, in tests and
//! in a simulation.
//!
//! All strategies honour weights. [`Dynamic`] holds a strategy that is chosen at run time, also
//! from a [`Config`] in a file.
//!
//! # Strategies
//!
//! | strategy | selects | use it when |
//! |---|---|---|
//! | [`P2c`] | the less loaded of two random endpoints | in doubt |
//! | [`LeastLoaded`] | the least loaded of all, or of 100 | a short tail is worth 0.1 to 0.5 µs |
//! | [`Freshest`] | the least loaded of those that reported last | servers report their load |
//! | [`Prequal`] | by the paper of that name, from probes | you want the published rule |
//! | [`RoundRobin`] | each in turn | requests cost the same and endpoints are alike |
//! | [`WeightedRoundRobin`] | each in turn, by reported utilization | servers report it |
//! | [`Random`] | a random endpoint | many clients each send little |
//! | [`PickFirst`] | the first endpoint that works | one endpoint serves and others stand by |
//!
//! Requests of the same key go to the same endpoint (caches, sessions):
//!
//! | strategy | selects | use it when |
//! |---|---|---|
//! | [`Maglev`] | by a hash of the key, from a table | in doubt |
//! | [`Ring`] | by a hash of the key, from a ring | no key may move without need |
//! | [`Rendezvous`] | by a hash of the key and each endpoint | there are a few dozen endpoints |
//! | [`BoundedLoad`] | by one of these, up to a load limit | a key is too hot for one endpoint |
//! | [`TopK`] | the least loaded of a key's first few | a few caches may hold the same key |
//!
//! # Wrappers
//!
//! A wrapper wraps any strategy, including another wrapper:
//!
//! | wrapper | selects | use it when |
//! |---|---|---|
//! | [`Subset`] | among endpoints with certain labels | versions or stages run side by side |
//! | [`SubsetBy`] | the same, with labels that the request names | clients choose a version |
//! | [`Split`] | among groups by shares | a canary gets 5 % |
//! | [`Tiers`] | in the first tier that can take the request | some endpoints are backups |
//! | [`ZoneAware`] | in the client's zone as far as possible | leaving the zone costs money |
//! | [`LoadAwareZones`] | in the client's zone as far as its load allows | zones differ in load |
//! | [`ZonalShift`] | outside of zones that a call excludes | a zone is impaired |
//! | [`Panic`] | among all endpoints while too few are healthy | health checks may be wrong |
//! | [`Probed`] | as the inner strategy, and probes loads | servers can be probed |
//! | [`Classified`] | as the inner strategy, with a class per request | routes differ in cost |
//! | [`Explained`] | as the inner strategy, and logs why | you ask why requests go where they go |
//!
//! # Writing a strategy
//!
//! | item | role |
//! |---|---|
//! | [`Strategy::build`] | builds a picker at each change of the endpoints |
//! | [`Strategy::meter`] | returns what learns from the attempts at one endpoint |
//! | [`Pick::pick`] | selects a candidate for one request |
//! | [`Pick::explain`] | the same, and says why; optional |
//! | [`Candidates`] | the endpoints that a picker is built from |
//! | [`Candidate`] | one endpoint: name, attributes, weight, statistics |
//! | [`BuildContext`] | registers events that request a new picker |
//! | [`Built`] | the picker, the eligible candidates and notices |
//! | [`PickContext`] | time, random numbers, and which candidates are full or already tried |
//!
//! ```
//! use std::sync::Arc;
//! use tower_lb::{
//!     outcome::Meter,
//!     strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
//! };
//!
//! /// Selects the first endpoint that can take the request.
//! struct First;
//!
//! impl Strategy for First {
//!     type Picker = FirstPicker;
//!
//!     fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<FirstPicker> {
//!         Built::new(FirstPicker(candidates.clone()), candidates.clone())
//!     }
//!
//!     fn meter(&self) -> Option<Arc<dyn Meter>> {
//!         None // It does not learn from requests.
//!     }
//! }
//!
//! struct FirstPicker(Candidates);
//!
//! impl<Req> Pick<Req> for FirstPicker {
//!     fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
//!         let accepted = self.0.iter().find(|candidate| context.accepts(candidate));
//!         // A retry that has tried all of them goes to one of them again.
//!         accepted.or_else(|| self.0.iter().find(|candidate| context.has_room(candidate)))
//!     }
//! }
//! ```
//!
//! # Writing a wrapper
//!
//! A wrapper narrows, widens or divides the candidates and returns what the inner strategy builds.
//! It cannot lose a part of that: [`Built::map`] wraps the picker and keeps the eligible candidates
//! and the notices, and the inner strategy registers its events with the same [`BuildContext`]. A
//! wrapper that divides the candidates merges its parts with [`BuiltParts`], whose page has an
//! example.
//!
//! ```
//! use std::sync::{Arc, atomic::{AtomicU64, Ordering::Relaxed}};
//! use tower_lb::{
//!     outcome::Meter,
//!     strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
//! };
//!
//! /// Excludes the endpoints of one version while there are others, and counts the picks.
//! struct Without<St> {
//!     version: String,
//!     picks: Arc<AtomicU64>,
//!     inner: St,
//! }
//!
//! impl<St: Strategy> Strategy for Without<St> {
//!     type Picker = CountingPicker<St::Picker>;
//!
//!     fn build(&mut self, all: &Candidates, context: &mut BuildContext) -> Built<Self::Picker> {
//!         let others = all.filter(|one| one.metadata().get("version") != Some(&*self.version));
//!         let built = if others.is_empty() {
//!             let notice = format!("only version {} is left", self.version);
//!             self.inner.build(all, context).with_notices([notice])
//!         } else {
//!             self.inner.build(&others, context)
//!         };
//!         built.map(|inner| CountingPicker { inner, picks: Arc::clone(&self.picks) })
//!     }
//!
//!     fn meter(&self) -> Option<Arc<dyn Meter>> {
//!         self.inner.meter()
//!     }
//! }
//!
//! struct CountingPicker<P> {
//!     inner: P,
//!     picks: Arc<AtomicU64>,
//! }
//!
//! impl<P: Pick<Req>, Req> Pick<Req> for CountingPicker<P> {
//!     fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
//!         self.picks.fetch_add(1, Relaxed);
//!         self.inner.pick(request, context)
//!     }
//! }
//! ```
//!
//! A wrapper without a picker of its own has `type Picker = St::Picker` and returns `built` as it
//! is.

mod build;
mod candidate;
mod candidates;
mod config;
mod context;
pub(crate) mod explain;
mod hash;
mod least_loaded;
mod metered;
mod p2c;
mod pick_first;
mod probing;
mod random;
mod round_robin;
mod sampling;
#[allow(clippy::module_inception)]
mod strategy;
mod ticker;
mod wakers;
mod wrappers;
mod zones;

pub(crate) use self::candidates::{CHUNK, Chunk};
#[cfg(feature = "lambda")]
pub(crate) use self::wakers::{Registration, Wakers};
pub use self::{
    build::{BuildContext, Built},
    candidate::Candidate,
    candidates::Candidates,
    config::{Config, Dynamic, GroupConfig, LoadConfig, Named, SpreadConfig},
    context::PickContext,
    explain::{
        Explained, ExplainedCandidate, ExplainedStep, Explainer, Explanation, PickOutcome, Standing,
    },
    hash::{BoundedLoad, HashKey, Maglev, Rank, Rendezvous, Ring, TopK},
    least_loaded::{Freshest, LeastLoaded},
    p2c::P2c,
    pick_first::PickFirst,
    probing::{AwaitProbes, AwaitProbesFuture, AwaitProbesLayer, Fresh, Prequal, Probed, Probes},
    random::Random,
    round_robin::{RoundRobin, WeightedRoundRobin},
    strategy::{Pick, Strategy},
    wrappers::{
        BuiltParts, ByTurns, Classified, Panic, PanicMode, PartPicker, Shares, Split, SplitBuilder,
        Subset, SubsetBy, Tiers,
    },
    zones::{CrossZone, LoadAwareZones, ZonalShift, ZonalShiftHandle, ZoneAware},
};
pub use crate::{hash::stable_hash, rng::Rng};
