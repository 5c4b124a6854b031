//! One endpoint: its target, its attributes and its live figures.
//!
//! An [`Endpoint`] is a target (an address, later a service) with the [`Attributes`] that discovery
//! sets: weight, priority tier, [`Locality`], [`Health`], [`Metadata`]. Its [`EndpointStats`] count
//! the requests in flight and the outcomes of past ones, and have the latency estimate; clones
//! share them. A [`Distribution`] says how long attempts took. An [`EndpointId`] identifies one
//! instance of an endpoint in errors and responses, and a request records those it has [`Tried`].
//!
//! Inside the crate, an `EndpointState` is an endpoint in one balancer, and `wait_queue` is where
//! requests wait for a free slot.
//!
//! ```
//! use tower_lb::endpoint::{Endpoint, Health, Locality};
//!
//! let endpoint = Endpoint::new("10.0.0.7:8080")
//!     .with_weight(5)
//!     .with_locality(Locality::new("eu-central-1", "eu-central-1a"))
//!     .with_health(Health::degraded("disk almost full"))
//!     .with_metadata("version", "2.4");
//!
//! assert!(endpoint.is_eligible());
//! assert_eq!(endpoint.metadata().get("version"), Some("2.4"));
//! ```

mod allowance;
mod attributes;
mod distribution;
mod durations;
#[allow(clippy::module_inception)]
mod endpoint;
mod endpoint_id;
mod endpoint_name;
mod endpoint_state;
mod endpoint_stats;
mod health;
mod locality;
mod metadata;
mod moment;
mod observation;
mod origin;
mod tried;
mod wait_queue;

pub use self::{
    allowance::Allowance,
    attributes::Attributes,
    distribution::Distribution,
    endpoint::Endpoint,
    endpoint_id::EndpointId,
    endpoint_stats::{EndpointStats, OutcomeCounts},
    health::Health,
    locality::Locality,
    metadata::Metadata,
    tried::Tried,
};
pub(crate) use self::{
    durations::Durations,
    endpoint_name::EndpointName,
    endpoint_state::{EndpointState, Successes},
    moment::Moment,
    observation::Observation,
    origin::Origin,
    wait_queue::{Look, Slots, Take, Ticket, WaitQueue, Watch},
};
