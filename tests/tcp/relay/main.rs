//! TCP relays over real sockets, next to clients and servers that others have written.
//!
//! - `closing`: ends, resets and silence of either side.
//! - `counters`: what a registry reports of relays.
//! - `failover`: targets that refuse, that do not answer, and that are the load balancer itself.
//! - `leaving`: draining, and targets that are removed or unhealthy.
//! - `proxy`: PROXY headers, as nginx and HAProxy read them.
//! - `tls`: passed through by server name, terminated, and encrypted again.
//! - `postgres`: a database that restarts.
//! - `measure`: what a connection and a gigabyte cost, if it is asked for.
//! - `process`: the example `nlb`, also under load while targets are killed.
//! - `weighted`: target groups by weight.

mod closing;
mod counters;
#[path = "../../../examples/nlb/main.rs"]
#[allow(dead_code)]
mod example;
mod failover;
mod leaving;
mod measure;
mod nlb;
mod nlb_process;
mod postgres;
mod process;
mod proxy;
mod target;
mod tls;
mod tools;
mod weighted;
