//! Request bodies that can be sent more than once.
//!
//! [`Replay`] decides when a request may be sent more than once and wraps its body into a
//! [`ReplayBody`]. `replay_buffer` holds the frames that have been read and hands them to each
//! attempt; it is shared by all copies of one body.

#[allow(clippy::module_inception)]
mod replay;
mod replay_body;
mod replay_buffer;

pub use self::{
    replay::{Replay, ReplayLayer},
    replay_body::ReplayBody,
};
