//! Code that the examples share.

pub mod backend;
