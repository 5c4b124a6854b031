//! The nouns: one backend, what is known of it, and what it has been seen to do.
//!
//! An [`Endpoint`] is a target (an address, later a service) with the attributes that discovery
//! gives it: weight, priority tier, locality, [`Health`], metadata. Its [`EndpointStats`] are what requests
//! leave behind: how many are in flight, how they ended, how long they took. Clones of an endpoint
//! share the vitals. An [`EndpointId`] names one of them for as long as it is in the balancer: what an error
//! or a response says of where it came from, and what a request has [`Tried`].
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
#[allow(clippy::module_inception)]
mod endpoint;
mod endpoint_id;
mod endpoint_state;
mod endpoint_stats;
mod health;
mod locality;
mod metadata;
mod moment;
mod tried;
mod wait_queue;

pub use self::{
    allowance::Allowance,
    attributes::Attributes,
    endpoint::Endpoint,
    endpoint_id::EndpointId,
    endpoint_stats::{EndpointStats, OutcomeCounts},
    health::Health,
    locality::Locality,
    metadata::Metadata,
    tried::Tried,
};
pub(crate) use self::{
    endpoint_state::{EndpointState, Meters},
    moment::Moment,
    wait_queue::{Look, Slots, Take, Ticket, WaitQueue, Watch},
};
