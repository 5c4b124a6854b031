//! A Classic Load Balancer over real sockets, next to clients and servers that others have written.
//!
//! - `http`: who gets a request, what an instance learns about the client, failures.
//! - `tcp`: round robin, PROXY headers as HAProxy reads them, instances that are killed.
//! - `encrypted`: HTTPS and SSL on both sides, with curl and `openssl s_client`.
//! - `cookies`: the policies of sessions, with the cookie jar of curl.
//! - `health`: each form of a check, and its thresholds.
//! - `source`: the streams of instances end, fail, panic, and are dropped.
//! - `surge`: the queue fills, spills over and drains.
//! - `draining`: instances that are removed, and the end of the load balancer.
//! - `zones`: who gets a request with and without cross-zone load balancing.
//! - `settings`: what is rejected, and by which field.
//! - `process`: the example `clb` as a process.

mod balancer;
mod cookies;
mod draining;
mod encrypted;
#[path = "../../../examples/clb/main.rs"]
#[allow(dead_code)]
mod example;
mod health;
mod http;
mod instance;
mod process;
mod settings;
mod source;
mod surge;
#[path = "../../tcp/relay/target.rs"]
#[allow(dead_code)]
mod target;
mod tcp;
#[path = "../../tcp/relay/tools.rs"]
#[allow(dead_code)]
mod tools;
mod zones;
