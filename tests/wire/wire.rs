//! The gateway example between real clients and real backends, over real sockets.
//!
//! - `matrix`: every version of the client's connection with every version of the backend's, and
//!   the same requests through nginx and HAProxy.
//! - `desync`, `limits`: requests that must not reach a backend, or only in one form.
//! - `edges`: relays of TCP and UDP and a gateway, for what is observed of them.
//! - `garbage`: random bytes. `WIRE_GARBAGE=100000` sends as many strings.
//! - `process`: the command line, draining, accept errors.
//! - `dashboard`: the page of `observe::Dashboard` in Chromium, if it is installed.
//! - `metrics`: what promtool says of a scrape, of alerts and queries.
//! - `peers`: curl, h2load, Chromium, and gRPC from Python, if they are installed.

mod backend;
mod certificate;
mod chromium;
mod client;
mod dashboard;
mod desync;
mod edges;
#[path = "../../examples/gateway/main.rs"]
#[allow(dead_code)]
mod example;
mod garbage;
mod gateway;
mod h1;
mod limits;
mod matrix;
mod metrics;
mod peers;
mod process;
mod references;
