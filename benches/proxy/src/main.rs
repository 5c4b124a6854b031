//! CPU time per proxied request: `cargo run --release`; TLS: `cargo run --release -- tls`.
//!
//! Three backends answer with 128 bytes; wrk asks through one proxy at a time. The proxy has one
//! core of its own, everything else the other one. The figure is the CPU time that the kernel
//! accounts to the proxy's processes during a round, divided by the requests that wrk counted. The
//! proxies take turns, several rounds in one run, so that all see the same machine.
//!
//! With `tls`, the proxies terminate TLS 1.3 with one suite (`TLS13_AES_128_GCM_SHA256`) and one
//! key exchange (X25519). Their CPU time is divided by full handshakes, resumed handshakes,
//! requests on open connections, and gibibytes; at the end, 10 000 connections are left idle in
//! each.
//!
//! Options: `--rounds N` (default 5), `--seconds S` (default 4), `--idle N` (default 10 000). Needs
//! Linux with two cores, `taskset` and `wrk`. `tls` also needs `openssl`, and `ulimit -n` well
//! above the number of idle connections. HAProxy, nginx and Envoy are left out where they are
//! absent.

mod load;
mod peers;
mod roles;
mod run;
mod table;
mod tls;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("role") => roles::serve(&arguments[1..]),
        Some("load") => load::run(&arguments[1..]),
        Some("tls") => run::run(&arguments, tls::compare),
        _ => run::run(&arguments, run::compare),
    }
}
