//! A Classic Load Balancer: listeners of HTTP, HTTPS, TCP and SSL in front of the same instances.
//!
//! The module puts parts of the lower floors together with the names, the defaults and the limits
//! of AWS's Classic Load Balancer. It has no mechanism of its own: whatever it does can be had
//! without it.
//!
//! ```no_run
//! use std::{net::IpAddr, time::Duration};
//!
//! use tower_lb::{
//!     clb::{ClassicHealthCheck, ClassicListener, ClassicLoadBalancer, ClassicProtocol},
//!     discover,
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let instances: [IpAddr; 2] = ["10.0.0.1".parse()?, "10.0.0.2".parse()?];
//! let balancer = ClassicLoadBalancer::builder("shop")
//!     .listener(ClassicListener::new(ClassicProtocol::Http, "0.0.0.0:80".parse()?, 8080))
//!     .listener(ClassicListener::new(ClassicProtocol::Tcp, "0.0.0.0:25".parse()?, 2525))
//!     .instances(discover::addresses(instances))
//!     .health_check(ClassicHealthCheck::new("HTTP:8080/healthz".parse()?))
//!     .connection_draining(Duration::from_secs(300))
//!     .bind()?;
//! let handle = balancer.handle();
//! let stop = async { /* until this future is ready */ };
//! let drained = balancer.serve(stop, Duration::from_secs(30)).await;
//! println!("{} connections were cut off\n{}", drained.cut_off, handle.status());
//! # Ok(()) }
//! ```
//!
//! ```text
//!                             ┌─► least outstanding ◄─ surge queue ◄─ HTTP
//! instances ─► health checks ─┤
//!                             └─► round robin ◄─ surge queue ◄─ TCP
//! ```
//!
//! **An instance** is an IP address, and each listener has the port that it forwards to. One health
//! check decides about an instance for all listeners. Requests are counted by listener: the
//! instance with the fewest outstanding requests is that of one listener.
//!
//! **The surge queue.** Each listener sends an instance at most
//! [`max_requests_per_instance`](ClassicLoadBalancerBuilder::max_requests_per_instance) requests or
//! connections at a time. While all instances have that many, further ones wait in the order of
//! arrival, up to [`surge_queue`](ClassicLoadBalancerBuilder::surge_queue). Those beyond are
//! rejected and counted as spillover: a request by status 503, a connection by a reset. Where this
//! differs: AWS sets no limit for an instance. Its queue fills when instances do not accept
//! connections, and each node has its own.
//!
//! | question | file |
//! |---|---|
//! | what can be set? | `builder`, `listener`, `protocol`, `cookie_policy` |
//! | how are instances checked? | `health_target`, `health_check` |
//! | what do the settings become? | `http_listener`, `tcp_listener`, `plan` |
//! | who serves and drains? | `load_balancer` |
//! | what do operators see? | `status` |
//!
//! Source: the user guide and the API reference of Classic Load Balancers. Where this differs is
//! said at each setting, and in `docs/classic-load-balancer.md`.

mod builder;
mod cookie_policy;
mod health_check;
mod health_target;
mod http_listener;
mod listener;
mod load_balancer;
mod plan;
mod protocol;
mod status;
mod tcp_listener;

pub use self::{
    builder::ClassicLoadBalancerBuilder,
    cookie_policy::CookiePolicy,
    health_check::ClassicHealthCheck,
    health_target::HealthTarget,
    listener::ClassicListener,
    load_balancer::{ClassicHandle, ClassicLoadBalancer},
    protocol::ClassicProtocol,
    status::{ClassicStatus, InstanceCounts, InstanceHealth, InstanceState, ListenerCounts},
};
