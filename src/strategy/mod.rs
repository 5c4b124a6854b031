//! Which endpoint gets a request: the traits, the strategies, and wrappers that compose.
//!
//! A [`Strategy`] is a small value that lives in the balancer's driver. At each change of the
//! endpoints it builds a picker from the [`Candidates`]; the picker's [`Pick`] chooses one for each
//! request, without waiting for a lock and without an allocation. A picker sees the request if it asks for it,
//! and gets time and randomness through its [`PickContext`], so that the same code runs in
//! production, in tests and in a simulation.
//!
//! | strategy | picks | use it when |
//! |---|---|---|
//! | [`P2c`] | the less loaded of two | in doubt |
//! | [`LeastLoaded`] | the least loaded of all, or of 100 | a short tail is worth 0.1 to 0.5 µs a request |
//! | [`Freshest`] | the least loaded of those that reported last | servers tell their load |
//! | [`Prequal`] | by the paper of that name, from a pool of probes | that rule is wanted as it was published |
//! | [`RoundRobin`] | each in turn | requests cost the same, endpoints are alike |
//! | [`Random`] | any | many clients send little each |
//! | [`Maglev`] | by a hash of the request's key, from a table | requests of a key belong together: caches, sessions |
//! | [`Ring`] | by a hash, from a ring | the same, and no key should ever move without need |
//! | [`Rendezvous`] | by a hash, in a draw of all | the same, among some dozens of endpoints |
//! | [`BoundedLoad`] | by any of these, within a bound | some keys are hotter than an endpoint can take |
//! | [`TopK`] | the least loaded of a key's first few | the same, and a few caches may hold the same |
//! | [`WeightedRoundRobin`] | each in turn, by what endpoints report | endpoints know best how much they can take |
//! | [`PickFirst`] | the first that works | there is one to do the work, and others to stand in |
//!
//! Wrappers, each over any of them, or over each other:
//!
//! | wrapper | picks | use it when |
//! |---|---|---|
//! | [`Subset`], [`SubsetBy`] | among endpoints with certain labels, or those that the request names | versions or stages live side by side |
//! | [`Split`] | among groups by shares | a canary gets 5 % |
//! | [`Tiers`] | in the first tier that can take it | some endpoints are for when others fail |
//! | [`ZoneAware`], [`LoadAwareZones`] | in the client's zone, as far as that goes | leaving the zone costs time or money |
//! | [`ZonalShift`] | outside of zones that were taken out by a call | a zone is in trouble |
//! | [`Panic`] | among all, when too few are healthy | health checks may be wrong |
//! | [`Probed`] | as it is, and asks endpoints for their load between requests | servers can be asked |
//! | [`Classified`] | as it is, but telling loads the request's class | routes differ in cost |
//!
//! Which strategy it is can be left to run time: [`Dynamic`], made from a [`Config`] if you like.
//!
//! All of them honour weights. A strategy of your own takes two small impls:
//!
//! ```
//! use std::sync::Arc;
//! use tower_lb::{
//!     outcome::Meter,
//!     strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
//! };
//!
//! /// Always the first endpoint that can take the request.
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
//!         None // It doesn't learn from requests.
//!     }
//! }
//!
//! struct FirstPicker(Candidates);
//!
//! impl<Req> Pick<Req> for FirstPicker {
//!     fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
//!         self.0.iter().find(|candidate| context.accepts(candidate))
//!     }
//! }
//! ```
//!
//! A wrapper narrows, widens or divides the candidates, and passes on what the inner strategy
//! builds: the picker, the candidates that requests may go to, the notices and, with the context, the
//! events after which it wants to build anew.
//!
//! ```
//! use std::sync::Arc;
//! use tower_lb::{outcome::Meter, strategy::{BuildContext, Built, Candidates, Strategy}};
//!
//! /// Leaves out the endpoints of one version, while there are others.
//! struct Without<St> {
//!     version: String,
//!     inner: St,
//! }
//!
//! impl<St: Strategy> Strategy for Without<St> {
//!     type Picker = St::Picker;
//!
//!     fn build(&mut self, all: &Candidates, context: &mut BuildContext) -> Built<St::Picker> {
//!         let left = all.filter(|one| one.metadata().get("version") != Some(&*self.version));
//!         if left.is_empty() {
//!             let notice = format!("only version {} is left", self.version);
//!             return self.inner.build(all, context).with_notices([notice]);
//!         }
//!         self.inner.build(&left, context)
//!     }
//!
//!     fn meter(&self) -> Option<Arc<dyn Meter>> {
//!         self.inner.meter()
//!     }
//! }
//! ```

mod build;
mod candidate;
mod candidates;
mod config;
mod context;
mod hash;
mod least_loaded;
mod metered;
mod p2c;
mod parameter;
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
    config::{Config, Dynamic, DynamicPicker, GroupConfig, LoadConfig, Named, SpreadConfig},
    context::PickContext,
    hash::{BoundedLoad, HashKey, Maglev, Rank, Rendezvous, Ring, TopK},
    least_loaded::{Freshest, LeastLoaded},
    p2c::{P2c, P2cPicker},
    parameter::InvalidParameter,
    pick_first::{PickFirst, PickFirstPicker},
    probing::{AwaitProbes, AwaitProbesFuture, AwaitProbesLayer, Fresh, Prequal, Probed, Probes},
    random::{Random, RandomPicker},
    round_robin::{RoundRobin, WeightedRoundRobin},
    strategy::{Pick, Strategy},
    wrappers::{
        ByTurns, Classified, ClassifiedPicker, Panic, PanicMode, Shares, Split, SplitBuilder,
        SplitError, SplitPicker, Subset, SubsetBy, SubsetByPicker, SubsetPicker, Tiers,
        TiersPicker,
    },
    zones::{CrossZone, LoadAwareZones, ZonalShift, ZonalShiftHandle, ZoneAware},
};
pub use crate::{hash::stable_hash, rng::Rng};
