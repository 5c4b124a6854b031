//! What the examples share.

pub mod backend;
