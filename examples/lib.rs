//! Code that the examples share.

pub mod backend;
pub mod server;
