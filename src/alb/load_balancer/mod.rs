//! A load balancer from its configuration: it binds the listeners, serves them, and takes over a
//! new configuration while it serves.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use tower_lb::alb::{LoadBalancer, config::Config};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::from_toml(r#"
//!     [[listeners]]
//!     port = 8080
//!     default_action = { forward = "web" }
//!
//!     [[target_groups]]
//!     name = "web"
//!     targets = ["10.0.0.1:80", "10.0.0.2:80"]
//! "#)?;
//! let balancer = LoadBalancer::builder(config.check()?).build()?;
//! let server = balancer.bind()?;
//! let stop = async { /* until this future is ready */ };
//! let drained = server.serve(stop, Duration::from_secs(30)).await;
//! println!("{} connections were cut off", drained.cut_off);
//! # Ok(()) }
//! ```
//!
//! A request passes, from the outside in: the listener's attributes, the proxy's rules for
//! intermediaries, the responses to failures, the load balancer's attributes, the fields of TLS,
//! the rules, the authentication and the action of one rule, retries, the target group.
//!
//! **Zones.** With zones that have addresses, each zone has a node: it is bound to its addresses,
//! and sends requests to the targets of its zone if cross-zone load balancing is off.
//! [`LoadBalancer::is_zone_healthy`] tells a DNS server whether to name it.
//!
//! **A reload** makes all parts of the new configuration before it changes anything. What has not
//! changed goes on: a target group with its statistics, a listening socket. Targets that come and
//! go are registered and deregistered. Requests in flight end by the old configuration.
//!
//! | question | file |
//! |---|---|
//! | what does the program supply? | `builder`, `resources`, `keys`, `function` |
//! | which parts does a configuration become? | `assemble` |
//! | what runs at a moment, and what does a reload change? | `state` |
//! | who binds, serves and drains? | `server`, `sockets` |
//! | what is a request served by? | `swap`, `login_router`, `rule_service` |
//! | what do operators see? | `status` |

mod assemble;
mod builder;
mod function;
mod keys;
#[allow(clippy::module_inception)]
mod load_balancer;
mod login_router;
mod resources;
mod rule_service;
mod server;
mod sockets;
mod state;
mod status;
mod swap;

pub use self::{
    builder::LoadBalancerBuilder,
    load_balancer::LoadBalancer,
    server::LoadBalancerServer,
    status::{ListenerResponses, LoadBalancerStatus, TargetGroupStatus},
};
pub use super::edge::Responses;
