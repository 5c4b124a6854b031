//! Target groups before real servers on real sockets.

mod algorithms;
pub(crate) mod backend;
mod errors;
mod function;
mod health;
mod lifecycle;
mod permits;
mod protocol;
mod settings;
mod stickiness;
mod weights;
mod zones;
