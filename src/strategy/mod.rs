//! Which endpoint gets a request: the traits, and the everyday strategies.
//!
//! A [`Strategy`] is a small value that lives in the balancer's driver. At each change of the
//! endpoints it builds a picker from the [`Candidates`]; the picker's [`Pick`] chooses one for each
//! request, without a lock and without an allocation. A picker sees the request if it asks for it,
//! and gets time and randomness through its [`PickContext`], so that the same code runs in
//! production, in tests and in a simulation.
//!
//! | strategy | picks | use it when |
//! |---|---|---|
//! | [`P2c`] | the less loaded of two | in doubt |
//! | [`LeastLoaded`] | the least loaded of all, or of a few | there are few endpoints |
//! | [`RoundRobin`] | each in turn | requests cost the same, endpoints are alike |
//! | [`Random`] | any | many clients send little each |
//!
//! [`Freshest`] and [`Prequal`] go by what servers report of their load, and [`Probed`] asks them.
//!
//! All of them honour weights. A strategy of your own takes two small impls:
//!
//! ```
//! use tower_lb::strategy::{Candidate, Candidates, Pick, PickContext, Strategy};
//!
//! /// Always the first endpoint that can take the request.
//! struct First;
//!
//! impl Strategy for First {
//!     type Picker = FirstPicker;
//!
//!     fn picker(&mut self, candidates: &Candidates) -> FirstPicker {
//!         FirstPicker(candidates.clone())
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

mod alias;
mod candidate;
mod candidates;
mod choice;
mod classified;
mod config;
mod context;
mod dynamic;
mod freshest;
mod least_loaded;
mod load_aware_zones;
mod low_discrepancy;
mod metered;
mod p2c;
mod panic;
mod parameter;
mod parts;
mod pick_first;
mod pool;
mod prequal;
mod probed;
mod random;
mod rng;
mod round_robin;
mod shares;
mod smooth;
mod static_stride;
#[allow(clippy::module_inception)]
mod strategy;
mod ticker;
mod tiers;
mod utilization;
mod weighted_round_robin;
mod zonal_shift;
mod zone_aware;
mod zones;

pub(crate) use self::candidates::{CHUNK, Chunk};
pub use self::{
    candidate::Candidate,
    candidates::Candidates,
    classified::{Classified, ClassifiedPicker},
    config::{Config, LoadConfig},
    context::PickContext,
    dynamic::{Dynamic, DynamicPicker},
    freshest::{Freshest, FreshestPicker},
    least_loaded::{LeastLoaded, LeastLoadedPicker},
    load_aware_zones::LoadAwareZones,
    p2c::{P2c, P2cPicker},
    panic::{Panic, PanicMode},
    parameter::InvalidParameter,
    pick_first::{PickFirst, PickFirstPicker},
    prequal::{Prequal, PrequalPicker},
    probed::{Probed, ProbedPicker},
    random::{Random, RandomPicker},
    rng::Rng,
    round_robin::{RoundRobin, RoundRobinPicker},
    strategy::{Pick, Strategy},
    tiers::{Tiers, TiersPicker},
    weighted_round_robin::{WeightedRoundRobin, WeightedRoundRobinPicker},
    zonal_shift::{ZonalShift, ZonalShiftHandle},
    zone_aware::{CrossZone, ZoneAware},
    zones::ZonesPicker,
};
