//! CPU time per proxied request: `cargo run --release`.
//!
//! Three backends answer with 128 bytes; wrk asks through one proxy at a time. The proxy has one
//! core of its own, everything else the other one. The figure is the CPU time that the kernel
//! accounts to the proxy's processes during a round, divided by the requests that wrk counted. The
//! proxies take turns, several rounds in one run, so that all see the same machine.
//!
//! Options: `--rounds N` (default 5), `--seconds S` (default 4). Needs Linux with two cores,
//! `taskset` and `wrk`; HAProxy, nginx and Envoy are left out where they are absent.

mod peers;
mod roles;
mod run;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("role") => roles::serve(&arguments[1..]),
        _ => run::run(&arguments),
    }
}
