//! The Gateway Load Balancer: its codec and packets by random input, its gateway and its inspectors
//! on real sockets, and all of it beside the Linux kernel and tshark.
//!
//! Tests that need a tool or a privilege that is missing say that they are skipped.

mod codec;
mod counters;
mod failover;
mod flows;
mod fragments;
mod inspector;
mod measure;
#[cfg(target_os = "linux")]
mod namespaces;
mod packets;
mod resets;
mod returns;
mod rig;
mod tshark;

#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "the example is a program, and here a module")]
#[path = "../../../examples/gwlb/main.rs"]
mod example;
