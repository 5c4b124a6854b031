#[allow(clippy::module_inception)]
mod replay;
mod replay_body;
mod replay_buffer;

pub use self::{
    replay::{Replay, ReplayLayer},
    replay_body::ReplayBody,
};
